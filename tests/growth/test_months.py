"""Promise: a log may be kept in months; to get there, back and on loses nothing, and no write fails."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine

from flask_audit_logger import AuditLogger
from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.growth import months as module
from flask_audit_logger.growth.maintain import alone
from flask_audit_logger.growth.months import months, rotate, this_month
from flask_audit_logger.growth.notices import log_of
from flask_audit_logger.health import obstacles
from flask_audit_logger.schema.catalog import is_append_only
from flask_audit_logger.schema.declared import Declaration
from flask_audit_logger.schema.objects import Tables
from tests.capture.tables import run
from tests.growth.conftest import writers
from tests.migrations.catalog import catalog
from tests.migrations.project import Project
from tests.support.apps import Application, make_app
from tests.support.server import Server, plain_engine

INSERT = "INSERT INTO item (name) VALUES ('x')"


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [month.name for month in months(connection, "public")]


def entries(engine: Engine) -> list[tuple[Any, ...]]:
    """All entries with their transactions, oldest first."""
    query = "SELECT a.*, t.* FROM activity AS a JOIN transaction AS t ON t.id = a.transaction_id ORDER BY a.id"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.fixture
def partitioned(engine: Engine) -> Engine:
    for statement in Tables(None, 1, "text").split():
        run(engine, statement)
    return engine


def metadata_of(partition: Any) -> sa.MetaData:
    db = SQLAlchemy()
    sa.Table(
        "item",
        db.metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text),
        info={"audit_logged": True},
    )
    AuditLogger(db, partition=partition).detach()
    return db.metadata


def test_a_migration_makes_a_log_in_months(server: Server, tmp_path: Path) -> None:
    """The next migration finds nothing to do, a month later, too; downgrading leaves nothing behind."""
    with server.database() as url:
        engine = plain_engine(url)
        before = catalog(engine)
        project = Project(tmp_path, url)
        project.migrate_and_upgrade(metadata_of("month"))
        assert "partition='month'" in next(project.versions.glob("*.py")).read_text()
        run(engine, INSERT)
        assert rotate(engine, None, "2099_01")
        run(engine, INSERT)
        project.migrate_and_upgrade(metadata_of("month"))
        assert len(list(project.versions.glob("*.py"))) == 1
        assert names(engine) == [this_month(), "2099_01"]
        assert len(entries(engine)) == 2
        project.downgrade("base")
        assert catalog(engine) == before


def test_a_log_that_is_there_gets_months_and_goes_back(server: Server, tmp_path: Path) -> None:
    """Entries, ids, readers and the guard stay; the way back gives exactly the plain log, with what came since."""
    with server.database() as url, server.role() as reader:
        engine = plain_engine(url)
        project = Project(tmp_path, url)
        project.migrate_and_upgrade(metadata_of(None))
        run(engine, f'GRANT SELECT ON activity, transaction TO "{reader}"')
        run(engine, INSERT + ";" + INSERT)
        plain, written = catalog(engine), entries(engine)
        project.migrate_and_upgrade(metadata_of("month"))
        assert "op.partition_audit_logger_tables(" in max(project.versions.glob("*.py")).read_text()
        assert entries(engine) == written
        run(engine, INSERT)
        assert rotate(engine, None, "2099_01")
        run(engine, INSERT)
        run(engine, "SELECT count(*) FROM activity JOIN transaction AS t ON t.id = transaction_id", role=reader)
        with engine.connect() as connection:
            assert is_append_only(connection, "public")
        written = entries(engine)
        assert len(written) == 4
        project.downgrade("0001")
        assert catalog(engine) == plain
        assert entries(engine) == written
        run(engine, INSERT)
        assert len(entries(engine)) == 5
        run(engine, f'DROP OWNED BY "{reader}"')


def test_who_takes_the_months_back_unites_the_log(server: Server, tmp_path: Path) -> None:
    with server.database() as url:
        engine = plain_engine(url)
        project = Project(tmp_path, url)
        project.migrate_and_upgrade(metadata_of("month"))
        with engine.connect() as connection:  # which remembers the tables of before
            connection.exec_driver_sql(INSERT)
            connection.commit()
            project.migrate_and_upgrade(metadata_of(None))
            connection.exec_driver_sql(INSERT)
            connection.commit()
        assert "op.unpartition_audit_logger_tables(" in max(project.versions.glob("*.py")).read_text()
        assert (names(engine), len(entries(engine))) == ([], 2)


def test_create_all_makes_months(server: Server) -> None:
    with server.database() as url:
        application = make_app(url, partition="month")
        engine = plain_engine(url)
        run(engine, "INSERT INTO users (name) VALUES ('x')")
        assert (names(engine), len(entries(engine))) == ([this_month()], 1)
        application.dispose()


def test_create_all_leaves_a_log_as_it_is(server: Server) -> None:
    """It makes what is missing; to change what is there is the task of a migration."""
    with server.database() as url:
        make_app(url, partition=None).dispose()
        make_app(url, partition="month").dispose()
        assert names(plain_engine(url)) == []


def test_another_partition_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'week'.*'month'"):
        AuditLogger(SQLAlchemy(), partition="week")  # type: ignore[arg-type]


def test_each_month_has_its_entries(partitioned: Engine) -> None:
    """A month begins once; what is written then is in it, and the ids only grow."""
    for month in (this_month(), "2099_01", "2099_02"):
        assert rotate(partitioned, None, month) is (month != this_month())
        assert not rotate(partitioned, None, month)
        run(partitioned, INSERT)
    query = "SELECT tableoid::regclass::text FROM {} ORDER BY id"
    for log in ("activity", "transaction"):
        with partitioned.connect() as connection:
            places = list(connection.exec_driver_sql(query.format(log)).scalars())
        assert places == [f"{log}_{this_month()}", f"{log}_2099_01", f"{log}_2099_02"]
    assert names(partitioned) == [this_month(), "2099_01", "2099_02"]


def test_ids_go_on_where_nothing_was_written_since(engine: Engine) -> None:
    """A conversion, and the beginning of a month, leave sequences that say what comes next, not what was last."""
    run(engine, INSERT)
    run(engine, "SELECT setval(name || '_id_seq', 2, false) FROM unnest('{activity,transaction}'::text[]) AS name")
    run(engine, "CREATE INDEX by_time ON activity (issued_at)")  # of somebody else, called as they like
    run(engine, *Tables(None, 1, "text").split())
    run(engine, INSERT)
    assert rotate(engine, None, "2099_01")
    run(engine, *Tables(None, 1, "text").unite())
    run(engine, INSERT)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT id, transaction_id FROM activity ORDER BY id").all()
    assert [tuple(row) for row in found] == [(1, 1), (2, 2), (3, 1_000_000_000)]


def test_row_security_of_a_log_is_not_lost(partitioned: Engine) -> None:
    """The tables that take the names of the log have none: whoever may read them would read all."""
    run(partitioned, "ALTER TABLE activity ENABLE ROW LEVEL SECURITY")
    with pytest.raises(Exception, match="activity has row security"):
        run(partitioned, *Tables(None, 1, "text").unite())
    run(partitioned, "ALTER TABLE activity DISABLE ROW LEVEL SECURITY", *Tables(None, 1, "text").unite())
    run(partitioned, "ALTER TABLE activity ENABLE ROW LEVEL SECURITY")
    with pytest.raises(Exception, match="activity has row security"):
        run(partitioned, *Tables(None, 1, "text").split())


def test_a_month_of_a_log_whose_schema_is_translated(partitioned: Engine) -> None:
    moved = partitioned.execution_options(schema_translate_map={"audit": "public"})
    assert rotate(moved, "audit", "2099_01")
    assert names(partitioned) == [this_month(), "2099_01"]


def test_two_hosts_begin_a_month_at_the_same_time(partitioned: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(lambda _: rotate(partitioned, None, "2099_01"), range(4)))
    assert sorted(begun) == [False, False, False, True]


def test_a_plain_log_has_no_months(engine: Engine) -> None:
    assert not rotate(engine, None, "2099_01")
    assert names(engine) == []


def test_no_write_fails_while_months_begin(partitioned: Engine) -> None:
    """Four threads write while five months begin: each write is logged once, none fails, no ids mingle."""
    with writers(partitioned, 4) as written:
        for month in ("2099_01", "2099_02", "2099_03", "2099_04", "2099_05"):
            assert rotate(partitioned, None, month)
    found = entries(partitioned)
    assert len(found) == sum(written)
    assert len({row[0] for row in found}) == len(found)
    spans = "SELECT min(id), max(id) FROM activity GROUP BY tableoid ORDER BY min(transaction_id)"
    with partitioned.connect() as connection:
        ids = [number for span in connection.exec_driver_sql(spans) for number in span]
    assert len(ids) >= 4 and ids == sorted(ids)


@pytest.mark.parametrize("drawn", [999_999_999, 5_500_000_000])
def test_without_the_job_entries_go_on(partitioned: Engine, drawn: int) -> None:
    """The ids get to the spare part by themselves; the month that begins then has them, and a spare part follows."""
    run(partitioned, f"SELECT setval('transaction_id_seq', {drawn})")
    for _ in range(2):
        run(partitioned, INSERT)
    with partitioned.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ONLY transaction_spare").scalar() == 2
    assert rotate(partitioned, None, "2099_01")
    run(partitioned, INSERT)
    with partitioned.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ONLY transaction_2099_01").scalar() == 3
        assert connection.exec_driver_sql("SELECT count(*) FROM ONLY transaction_spare").scalar() == 0
    assert rotate(partitioned, None, "2099_02")
    run(partitioned, INSERT)
    assert len(entries(partitioned)) == 4


def test_a_month_waits_for_who_holds_the_log(partitioned: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and begins when they are done."""
    monkeypatch.setattr(module, "REST", 0.01)
    with partitioned.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM transaction")
        with pytest.raises(ConfigurationError, match="no moment to begin the month 2099_01"):
            rotate(partitioned, None, "2099_01", patience=0.1)
        connection.rollback()
    assert rotate(partitioned, None, "2099_01")


def test_parts_are_as_closed_as_the_log(server: Server, partitioned: Engine) -> None:
    """A grant on a part opens nothing, and default privileges give nothing on the next one."""
    with server.role() as role:
        run(partitioned, f'ALTER DEFAULT PRIVILEGES GRANT INSERT, DELETE ON TABLES TO "{role}"')
        assert rotate(partitioned, None, "2099_01")
        assert rotate(partitioned, None, "2099_02")
        run(partitioned, INSERT)
        with partitioned.connect() as connection:
            assert is_append_only(connection, "public")
        for part in ("activity_2099_01", "activity_2099_02", "activity_spare", "transaction_2099_02"):
            with partitioned.connect() as connection:
                acl = "SELECT relacl::text FROM pg_class WHERE oid = %s::regclass"
                assert role not in str(connection.exec_driver_sql(acl, (part,)).scalar())
            run(partitioned, f'GRANT DELETE, SELECT ON {part} TO "{role}"')
            with pytest.raises(Exception, match="only its owner may change the log"):
                run(partitioned, f"DELETE FROM {part}", role=role)
        run(partitioned, f'DROP OWNED BY "{role}"')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ALTER TABLE activity_2099_01 SET UNLOGGED", "UNLOGGED"),
        ("CREATE TRIGGER lose BEFORE INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION lose()", "the trigger lose on {0}"),
    ],
)
def test_status_looks_at_each_part(partitioned: Engine, damage: str, said: str) -> None:
    """A row trigger of a part takes entries out, too, that are written by the name of the log."""
    assert rotate(partitioned, None, "2099_01")
    run(partitioned, "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    run(partitioned, damage.format("activity_2099_01"))
    with partitioned.connect() as connection:
        found = list(obstacles.of_log(connection, "public"))
    assert len(found) == 1
    assert said.format("activity_2099_01") in found[0]


@pytest.mark.parametrize("name", ["next month", "2099_13", "2099_00", None])
def test_a_month_has_a_name_of_digits(partitioned: Engine, name: Any) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="is no month; give one like 2026_12"):
        rotate(partitioned, None, name)


def test_no_month_begins_after_a_later_one(partitioned: Engine) -> None:
    """The job of a host whose clock is late does nothing: its month would count as over while it is written."""
    assert rotate(partitioned, None, "2099_02")
    assert not rotate(partitioned, None, "2099_01")
    assert names(partitioned) == [this_month(), "2099_02"]


def test_a_month_that_was_detached_has_not_begun(partitioned: Engine) -> None:
    """Its table is in the way; that is said, rather than that there is nothing to do."""
    assert rotate(partitioned, None, "2099_01")
    for log in ("activity", "transaction"):
        run(partitioned, f"ALTER TABLE {log} DETACH PARTITION {log}_2099_01")
    with pytest.raises(sa.exc.DBAPIError, match='relation "transaction_2099_01" already exists'):
        rotate(partitioned, None, "2099_01")


def cli(application: Application, *arguments: str) -> tuple[int, str]:
    result = application.app.test_cli_runner().invoke(args=["audit", *arguments])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    return result.exit_code, result.output


def test_the_job_and_what_status_says_of_it(server: Server) -> None:
    """Status fails when the job has not run for days, a part is gone, or the layout is another one than declared."""
    with server.database() as url:
        application = make_app(url, partition="month")
        engine = plain_engine(url)
        try:
            assert cli(application, "status")[0] == 0
            assert cli(application, "maintain") == (0, f"month {this_month()}: has begun before\n")
            for log in ("transaction", "activity"):
                run(engine, f"ALTER TABLE {log}_{this_month()} RENAME TO {log}_2020_01")
            code, output = cli(application, "status")
            assert code == 1
            assert "its newest month is 2020_01: let cron" in output
            code, output = cli(application, "maintain", "--json")
            assert (code, json.loads(output)["databases"][0]["begun"]) == (0, True)
            assert cli(application, "status")[0] == 0
            run(engine, "DROP TABLE activity_spare")
            assert "its part activity_spare is missing" in cli(application, "status")[1]
        finally:
            application.dispose()


def test_status_says_that_no_part_takes_the_next_entries(server: Server) -> None:
    """Who drops or detaches the newest month stops all audited writes; the statement that is named lets them go on."""
    with server.database() as url:
        application = make_app(url, partition="month")
        engine = plain_engine(url)
        try:
            run(engine, f"DROP TABLE activity_{this_month()}")
            code, output = cli(application, "status")
            assert code == 1
            assert f"its part activity_{this_month()} is missing" in output
            run(engine, f"ALTER TABLE transaction DETACH PARTITION transaction_{this_month()}")
            with pytest.raises(Exception, match="no partition of relation"):
                run(engine, "INSERT INTO users (name) VALUES ('Ann')")
            code, output = cli(application, "status")
            assert code == 1
            assert "no part of the log takes the next entries, so audited tables can't be written" in output
            remedy = next(line for line in output.splitlines() if "SELECT setval" in line)
            run(engine, remedy[remedy.index("SELECT") :])
            run(engine, "INSERT INTO users (name) VALUES ('Ann')")
            assert cli(application, "status")[0] == 0
        finally:
            application.dispose()


def test_status_says_that_the_layout_is_another_one(server: Server) -> None:
    with server.database() as url:
        make_app(url, partition=None).dispose()
        application = make_app(url, partition="month", create_all=False)
        code, output = cli(application, "status")
        assert (code, "not laid out as AuditLogger(partition=…) says" in output) == (1, True)
        assert cli(application, "maintain") == (
            1,
            "Error: The log in schema public is not kept in months yet: `flask db upgrade`, if the migration is "
            "waiting; else `flask db migrate` writes it.\n",
        )
        application.dispose()


def test_the_job_is_done_by_one(server: Server) -> None:
    with server.database() as url:
        application = make_app(url, partition="month")
        engine = plain_engine(url)
        for log in ("transaction", "activity"):
            run(engine, f"ALTER TABLE {log}_{this_month()} RENAME TO {log}_2020_01")
        with engine.connect() as connection:
            log = log_of(connection, Declaration())
        with alone(engine, log) as is_alone:
            assert is_alone
            assert cli(application, "maintain") == (0, "log in schema public: another one is at it\n")
        assert cli(application, "maintain", "--dry-run") == (0, f"month {this_month()}: would begin\n")
        assert names(engine) == ["2020_01"]
        assert cli(application, "maintain") == (0, f"month {this_month()}: begun\n")
        application.dispose()


def test_a_plain_log_has_no_job(server: Server) -> None:
    with server.database() as url:
        application = make_app(url, partition=None)
        assert "Nothing to do: the log is not kept in months" in cli(application, "maintain")[1]
        application.dispose()


@pytest.mark.parametrize(
    ("newest", "today", "is_late"),
    [
        ("2026_12", dt.date(2026, 12, 31), False),
        ("2026_12", dt.date(2027, 1, 3), False),
        ("2026_12", dt.date(2027, 1, 4), True),
        ("2027_01", dt.date(2026, 12, 31), False),
    ],
)
def test_a_job_is_late_from_the_fourth_day_of_a_month(
    partitioned: Engine, newest: str, today: dt.date, is_late: bool
) -> None:
    for log in ("transaction", "activity"):
        run(partitioned, f"ALTER TABLE {log}_{this_month()} RENAME TO {log}_{newest}")
    with partitioned.connect() as connection:
        assert bool(module.faults(connection, "public", today)) is is_late
