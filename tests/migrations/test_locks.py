"""An upgrade never stops production: whoever holds its locks, no write waits longer than a second."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

TABLES = ["articles", "products", "users"]


class Writer(threading.Thread):
    """Somebody who writes to one table all the time and waits for no lock longer than a second."""

    def __init__(self, engine, table):
        super().__init__()
        self.engine, self.table = engine, table
        self.writes = 0
        self.error = None
        self.stop = threading.Event()

    def run(self):
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET lock_timeout = '1s'")
            while not self.stop.wait(0.005):
                try:
                    connection.exec_driver_sql(f"UPDATE {self.table} SET name = name || '.' WHERE id = 1")
                except sa.exc.DBAPIError as error:
                    self.error = error
                    return
                self.writes += 1


@pytest.fixture
def writers(outside):
    """A writer for each table, started by the test."""
    made = [Writer(outside, table) for table in TABLES]
    yield made
    for writer in made:
        writer.stop.set()
        if writer.ident:
            writer.join()


def all_write(writers, times):
    """Wait until each writer has written some more times, or one has failed."""
    wanted = {writer: writer.writes + times for writer in writers}
    while not any(writer.error for writer in writers) and any(w.writes < wanted[w] for w in writers):
        writers[0].stop.wait(0.01)
    assert [(writer.table, writer.error) for writer in writers if writer.error] == []


@pytest.fixture
def database(project, release, execute, query):
    """Tables in use; a function that runs a migration on them while one transaction has written to "users"."""

    def run(outside, writers, migrate):
        with outside.connect() as holder, ThreadPoolExecutor() as pool:
            holder.exec_driver_sql("UPDATE users SET name = 'held' WHERE id = 2")
            for writer in writers:
                writer.start()
            all_write(writers, 3)
            running = pool.submit(migrate)
            try:
                tries = (
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%lock_timeout%' AND wait_event = 'PgSleep'"
                )
                while not running.done() and query(tries) == [(0,)]:
                    all_write(writers, 1)
                all_write(writers, 60)
                assert not running.done(), "nothing was in its way"
            finally:
                holder.rollback()
            running.result(timeout=60)
            all_write(writers, 3)

    project.migrate_and_upgrade(release(**{table: {} for table in TABLES}))
    for table in TABLES:
        execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")
    return run


def audited(release):
    return release(**{table: {"audit": True} for table in TABLES})


@pytest.mark.parametrize("way", ["upgrade", "script", "downgrade", "by hand"])
def test_no_write_waits_longer_than_a_second(project, release, outside, writers, database, query, psql, way):
    """The locks of all tables are had at once, or given back."""
    if way == "by hand":
        project.write('op.init_audit_logger_triggers("users", version=1)')
    else:
        project.migrate(audited(release))
    if way == "downgrade":
        project.upgrade()
        database(outside, writers, lambda: project.downgrade("-1"))
        assert query("SELECT DISTINCT tgname FROM pg_trigger WHERE tgname LIKE 'audit%'") == [
            ("audit_logger_append_only",)
        ]
    elif way == "script":
        script = project.sql("0001:head")
        database(outside, writers, lambda: psql(script))
        assert query("SELECT count(*) > 0 FROM activity") == [(True,)]
    elif way == "by hand":
        database(outside, writers, project.upgrade)
    else:
        database(outside, writers, project.upgrade)
        assert query("SELECT count(DISTINCT table_name) FROM activity") == [(3,)]


def test_the_locks_of_a_revision_are_in_its_migration(project, release):
    """They come first, in both directions, in one order, with the tables of other operations of the revision."""
    project.migrate_and_upgrade(release(users={}, **{"Odd, 'one'": {}}, pets={}))
    written = project.migrate(release(users={"audit": True}, **{"Odd, 'one'": {"audit": True}}, pets={"columns": []}))
    upgrade, _, downgrade = written.partition("def downgrade():")
    tables = "\"Odd, 'one'\", 'pets', 'users'"
    assert first_line(upgrade) == f"op.lock_audit_logger_tables({tables}, exclusive=True)"
    assert first_line(downgrade) == f"op.lock_audit_logger_tables({tables}, exclusive=True)"


def first_line(body):
    return next(line.strip() for line in body.splitlines() if line.strip().startswith("op."))


def test_a_migration_that_touches_nothing_in_use_needs_no_locks(project, release):
    upgrade, _, downgrade = project.migrate(audited(release)).partition("def downgrade():")
    assert "lock_audit_logger_tables" not in upgrade
    assert "lock_audit_logger_tables" in downgrade


def test_it_gives_up_with_a_hint(outside, project, execute):
    """Without end it would wait for a transaction that somebody has forgotten."""
    execute("CREATE TABLE users (id int PRIMARY KEY)")
    project.write('op.lock_audit_logger_tables("users", "nothing")')
    script = project.sql().replace("COMMIT", "")
    with outside.connect() as holder, outside.connect() as connection, connection.connection.cursor() as cursor:
        holder.exec_driver_sql("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        with pytest.raises(Exception, match=r"no moment to lock public\.users"):
            cursor.execute(script.replace("interval '5 minutes'", "interval '1 millisecond'"))
        connection.connection.rollback()
        holder.rollback()
        cursor.execute("SET lock_timeout = '7s'")
        cursor.execute(script)
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("7s",)
