"""Promise P3: who acts travels with the first write, and the application sees no difference."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_audit_logger.capture.stamp import is_in_transaction
from tests.support.proxy import proxied
from tests.support.server import both_drivers

TAG = "INSERT INTO tags (name) VALUES ('it''s 100%% \\ ?')"


def orm(app, session):
    for name in "ab":
        session.add(app.models.Tag(name=name))
        session.flush()
    session.commit()
    session.add(app.models.Tag(name="c"))
    session.commit()


def orm_many(app, session):
    session.add_all([app.models.Tag(name=str(n)) for n in range(3)])
    session.commit()


def orm_change(app, session):
    session.scalars(sa.select(app.models.Tag)).first().name += "!"
    session.commit()


def orm_statement(app, session):
    session.execute(sa.update(app.models.Tag).values(name=app.models.Tag.name + "x"))
    session.commit()


def core(app, session):
    with app.db.engine.begin() as connection:
        for _ in range(2):
            connection.execute(sa.insert(app.models.Tag.__table__).values(name="c"))


def core_returning(app, session):
    tags = app.models.Tag.__table__
    with app.db.engine.begin() as connection:
        connection.execute(sa.insert(tags).returning(tags.c.id), [{"name": str(n)} for n in range(1100)]).all()


def text(app, session):
    with app.db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tags SET name = name || :more"), {"more": "50% \\ :x"})


def text_alone(app, session):
    with app.db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tags SET name = name || 'x'"))


def driver_sql(app, session):
    with app.db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO tags (name) VALUES ('x')")


def no_parameters(app, session):
    with app.db.engine.connect().execution_options(no_parameters=True) as connection:
        connection.exec_driver_sql("UPDATE tags SET name = name || '100%'")
        connection.commit()


def autocommit(app, session):
    with app.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.insert(app.models.Tag.__table__).values(name="c"))
        connection.execute(sa.text("UPDATE tags SET name = name || 'x'"))


def function(app, session):
    session.execute(sa.text("SELECT pg_notify('x', 'y')"))
    session.commit()


def failed(app, session):
    with pytest.raises(sa.exc.IntegrityError):
        session.execute(sa.text("INSERT INTO tags (id) VALUES (1)"))
    session.rollback()


def savepoints(app, session):
    for _ in range(3):
        nested = session.begin_nested()
        session.add(app.models.Tag(name="x"))
        session.flush()
        nested.rollback()
    session.commit()


TOGETHER = [
    orm, orm_many, orm_change, orm_statement, core, core_returning, text, text_alone, driver_sql, no_parameters,
    autocommit, function, failed, savepoints,
]  # fmt: skip


def executemany(app, session):
    tags = app.models.Tag.__table__
    statement = sa.update(tags).where(tags.c.id == sa.bindparam("key")).values(name=tags.c.name + sa.bindparam("more"))
    with app.db.engine.begin() as connection:
        connection.execute(statement, [{"key": 1, "more": "x"}, {"key": 2, "more": "y"}])


def call(app, session):
    with app.db.engine.begin() as connection:
        connection.exec_driver_sql("DO $$ BEGIN UPDATE tags SET name = name || 'x'; END $$")


def named_cursor(app, session):
    with app.db.engine.connect().execution_options(stream_results=True) as connection:
        connection.execute(sa.text("SELECT pg_notify('x', 'y')")).all()
        connection.commit()


APART = [executemany, call, named_cursor]


@pytest.fixture
def flights_of(create_app, database_url):
    """How many flights some work takes without us, and with us."""

    def measure(work, **options):
        found = []
        with proxied(database_url) as (url, flights):
            for audited in (False, True):
                app = create_app(url, audited=audited, **(options if audited else {}))
                with app.app.test_request_context("/", method="POST"):
                    app.db.session.add_all([app.models.Tag(name="1"), app.models.Tag(name="2")])
                    app.db.session.commit()
                    for _ in range(7):  # what a driver asks once, and prepares after some times
                        work(app, app.db.session)
                    before = flights.count
                    if audited:
                        with app.audit_logger.context(actor=7, reason="it's 100% \\ fine"):
                            work(app, app.db.session)
                    else:
                        work(app, app.db.session)
                    found.append(flights.count - before)
                if audited:
                    written = [t for t in app.transactions() if t.context.get("reason")]
                app.dispose()
        assert {(t.actor_id, t.context["reason"]) for t in written} <= {(7, "it's 100% \\ fine")}
        assert bool(written) == (work not in (function, named_cursor, failed, savepoints))
        return found

    return measure


@both_drivers
@pytest.mark.parametrize("work", TOGETHER, ids=lambda work: work.__name__)
def test_writing_takes_no_flight_more(flights_of, work):
    """Whatever the application writes with, it waits for the server as often as without us, or less."""
    without, with_us = flights_of(work)
    assert with_us <= without


@both_drivers
@pytest.mark.parametrize("work", APART, ids=lambda work: work.__name__)
def test_what_can_not_travel_takes_one_flight_more(flights_of, work):
    without, with_us = flights_of(work)
    assert with_us == without + 1


@both_drivers
def test_a_stamp_of_its_own_takes_one_flight_more(flights_of):
    """With the setting, for those who want the statements of an application in the server's views and logs."""
    without, with_us = flights_of(core, config={"AUDIT_LOGGER_SEPARATE_STAMP": True})
    assert with_us == without + 1


@both_drivers
def test_listeners_that_send_statements_themselves_get_them_as_they_are(create_app):
    """A listener of the application on the same event is asked, and sends what it was given."""
    app, seen = create_app(), []

    def send(cursor, statement, parameters, context):
        seen.append(statement)
        cursor.execute(statement, parameters)
        return True

    with app.app.app_context(), app.audit_logger.context(actor=7):
        event.listen(app.db.engine, "do_execute", send)
        core(app, None)
    assert [statement.split(" (")[0] for statement in seen] == ["INSERT INTO tags"] * 2
    assert [t.actor_id for t in app.transactions()] == [7]


@both_drivers
def test_a_statement_in_autocommit_that_is_stamped_apart(create_app):
    """It and its stamp are one transaction, which ends with it; listeners of the application are asked once."""
    app, seen = create_app(config={"AUDIT_LOGGER_SEPARATE_STAMP": True}), []
    add = "INSERT INTO tags (name) VALUES ('%s')"
    with app.app.app_context(), app.audit_logger.context(actor=7):
        connection = app.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with connection:
            connection.exec_driver_sql(add % "alone")
            event.listen(app.db.engine, "do_execute_no_params", lambda cursor, statement, *args: seen.append(statement))
            event.listen(app.db.engine, "do_execute", lambda cursor, statement, *args: seen.append(statement))
            connection.exec_driver_sql(add % "seen")
            with pytest.raises(sa.exc.IntegrityError):
                connection.exec_driver_sql("INSERT INTO tags (id, name) VALUES (1, 'again')")
            driver = connection.connection.dbapi_connection
            assert not is_in_transaction(driver)
            cursor = driver.cursor()
            cursor.execute("SELECT current_setting('flask_audit_logger.context', true)")
            assert cursor.fetchone()[0] in (None, "")
            connection.exec_driver_sql(add % "after")
    assert [statement.split("'")[1] for statement in seen] == ["seen", "again", "after"]
    assert [(t.actor_id, t.native_transaction_id) for t in app.transactions()] == [
        (7, a.native_transaction_id) for a in app.activities()
    ]
    assert len(app.activities()) == 3


# The same as without us

NOTICE = """
CREATE FUNCTION raise_notice() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hello'; RETURN 1; END $$
"""
BROKEN = "SELECT * FROM nowhere, pg_notify('x', 'y')"
OUTCOMES = {
    "insert": "INSERT INTO tags (name) VALUES ('a')",
    "returning": "INSERT INTO tags (name) VALUES ('b'), ('c') RETURNING id, name",
    "no row": "UPDATE tags SET name = 'x' WHERE id = -1",
    "two rows": "UPDATE tags SET name = name || '!' WHERE id IN (1, 2)",
    "delete": "DELETE FROM tags WHERE id = 2",
    "comments": "/* a; b */ -- c; d\n UPDATE tags SET name = 'x' -- e",
    "semicolon": "UPDATE tags SET name = 'a;b'; ",
    "notice": "SELECT raise_notice()",
    "syntax": "INSERT INTO tags (name) VALUE ('a')",
    "syntax on line 3": "INSERT INTO tags\n (name)\n VALUE ('a')",
    "no table": BROKEN,
    "not null": "INSERT INTO tags (id) VALUES (3)",
    "unique": "INSERT INTO tags (id, name) VALUES (1, 'again')",
    "foreign key": "INSERT INTO articles (title, author_id) VALUES ('x', 9)",
    "several": "UPDATE tags SET name = 'y'; DELETE FROM tags WHERE id = 1",
    "several, one wrong": "UPDATE tags SET name = 'y'; DELETE FROM nowhere",
    "copy": "COPY tags TO STDOUT",
    "truncate": "TRUNCATE article_tags",
    "explain": "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE tags SET name = 'z'",
}
MODES = ("text", "parameters", "no parameters", "autocommit", "pipeline", "savepoint")


def outcome(app, statement, mode, caplog):
    """What an application can see of a statement: result, error, logs, events and the state of the connection."""
    seen = []
    bound = statement + " /* %(p)s */" if mode == "parameters" else statement

    def before(connection, cursor, sql, parameters, context, executemany):
        seen.append(("before", sql, parameters))

    def after(connection, cursor, sql, parameters, context, executemany):
        seen.append(("after", sql, parameters))

    options = {"autocommit": {"isolation_level": "AUTOCOMMIT"}, "no parameters": {"no_parameters": True}}
    with app.app.app_context(), app.db.engine.connect().execution_options(**options.get(mode, {})) as connection:
        driver = connection.connection.dbapi_connection
        if mode == "savepoint":
            connection.begin_nested()
        event.listen(connection, "before_cursor_execute", before)
        event.listen(connection, "after_cursor_execute", after)
        caplog.clear()
        try:
            if mode == "pipeline":
                with driver.pipeline():
                    result = connection.exec_driver_sql(bound)
            else:
                result = connection.exec_driver_sql(bound, {"p": 1} if mode == "parameters" else None)
            rows = [tuple(row) for row in result.all()] if result.returns_rows else result.rowcount
            seen.append((rows, result.cursor and result.cursor.statusmessage))
        except Exception as error:
            original = getattr(error, "orig", error)
            diag = original.diag
            seen.append((type(error), type(original), str(error), getattr(error, "statement", None)))
            seen.append((diag.sqlstate, diag.message_primary, diag.constraint_name, diag.context))
            seen.append((getattr(error, "params", None), getattr(error, "connection_invalidated", None)))
        seen.append(int(driver.info.transaction_status))
        seen.append([message for message in caplog.messages if not message.startswith("[")])
        seen.append([str(notice) for notice in getattr(driver, "notices", [])])
    return seen


def counted_from_the_first_line(value):
    """The line number of an error as if the statement began on the first line."""
    if isinstance(value, str):
        return re.sub(r"^LINE (\d+):", lambda found: f"LINE {int(found[1]) - 1}:", value, flags=re.MULTILINE)
    if isinstance(value, tuple | list):
        return type(value)(counted_from_the_first_line(part) for part in value)
    return value


@both_drivers
@pytest.mark.parametrize("mode", MODES)
def test_the_application_sees_no_difference(create_app, outside, caplog, driver, mode):
    """Rows, row counts, error texts, statements in errors, echo, events, notices and the transaction are the same."""
    if mode == "pipeline" and driver == "psycopg2":
        pytest.skip("psycopg2 has no pipelines")
    if mode == "pipeline" and version("psycopg").startswith("3.1."):
        pytest.skip("psycopg 3.1 raises an error of a pipeline at the next statement of it, ours included")
    echo = {"db_options": {"engine_options": {"echo": True}}}
    ours, plain = create_app(**echo), create_app(audited=False, create_all=False, **echo)
    with outside.begin() as connection:
        connection.exec_driver_sql(NOTICE)
    different = []
    for name, statement in OUTCOMES.items():
        if name == "copy" and (driver == "psycopg" or mode == "autocommit"):
            continue  # without us the connection is of no use after that
        found = []
        for app in (plain, ours):
            with outside.begin() as connection:
                connection.exec_driver_sql("TRUNCATE tags, articles RESTART IDENTITY CASCADE")
                connection.exec_driver_sql("INSERT INTO tags (name) VALUES ('1'), ('2')")
            found.append(outcome(app, statement, mode, caplog))
        if driver == "psycopg2":
            # the one difference, which is documented: the statement begins on the second line of the text
            found[1] = counted_from_the_first_line(found[1])
        if found[0] != found[1]:
            different.append((name, [pair for pair in zip(*found, strict=False) if pair[0] != pair[1]]))
    assert different == []
