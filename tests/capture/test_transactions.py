"""Promise P2 inside one database transaction: several actors, several logs, and a gap that ends where it should."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.capture.shop import lines
from tests.capture.tables import run
from tests.support.models import Models
from tests.support.server import plain_engine


def who(application):
    return [a.transaction.actor_label for a in application.activities()]


def declare(*names):
    """Audited tables of one column."""

    def models(db):
        for name in names:
            sa.Table(name, db.metadata, sa.Column("id", sa.Text, primary_key=True), info={"audit_logged": True})
        return Models()

    return models


def test_two_logs_in_one_transaction(outside, create_app):
    """Each log has its own row for each actor, also where the other one was written to in between."""
    one = create_app(declare=declare("p"), schema="one")
    two = create_app(declare=declare("q"), schema="two")
    with outside.begin() as connection:
        for actor, tables in (("X", "pq"), ("Y", "q"), ("Z", "pq")):
            context = f'{{"actor_label": "{actor}"}}'
            connection.execute(sa.text("SELECT set_config('flask_audit_logger.context', :c, true)"), {"c": context})
            for table in tables:
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ('by {actor}')")
    assert (who(one), who(two)) == (["X", "Z"], ["X", "Y", "Z"])


def test_a_query_does_not_run_under_the_name_of_another(shop):
    """The text of a query doesn't tell that its view writes. In a transaction that has an actor it is told, too."""
    engine = plain_engine(shop.app.config["SQLALCHEMY_DATABASE_URI"])
    run(
        engine,
        "CREATE FUNCTION touched() RETURNS int LANGUAGE sql AS "
        "$$ INSERT INTO loose VALUES (1, 'touched') RETURNING 1 $$; CREATE VIEW touching AS SELECT touched() AS n",
    )
    try:
        with shop.app.app_context():
            session, logger = shop.db.session, shop.audit_logger
            with logger.context(actor=1):
                session.execute(sa.text("INSERT INTO loose VALUES (1, 'a')"))
            with logger.context(actor=2):
                session.execute(sa.text("SELECT * FROM touching")).all()
            session.execute(sa.text("SELECT * FROM touching")).all()
            session.commit()
        assert [a.transaction.actor_id for a in shop.activities()] == [1, 2, None]
    finally:
        run(engine, "DROP VIEW touching; DROP FUNCTION touched")


@pytest.mark.parametrize("nested", [False, True])
def test_disable_ends_with_its_block(shop, nested):
    """Also for what SQLAlchemy doesn't see: a raw cursor in the same transaction."""
    logger = shop.audit_logger
    with shop.app.app_context(), shop.db.engine.connect() as connection, logger.context(actor=1):
        off, on = sa.text("INSERT INTO loose VALUES (1, 'off')"), "INSERT INTO loose VALUES (2, 'on')"
        with logger.disable():
            if nested:
                with logger.disable():
                    connection.execute(off)
                with connection.connection.cursor() as cursor:
                    cursor.execute("INSERT INTO loose VALUES (1, 'still off')")
            else:
                connection.execute(off)
        with connection.connection.cursor() as cursor:
            cursor.execute(on)
        connection.commit()
    (activity,) = shop.activities()
    assert (activity.changed_data, activity.transaction.actor_id) == ({"a": 2, "b": "on"}, 1)


def test_a_deferred_trigger_after_disable_is_logged(shop):
    """What a write before the block does at the commit is not of the block."""
    engine = plain_engine(shop.app.config["SQLALCHEMY_DATABASE_URI"])
    run(
        engine,
        "CREATE TABLE source (id int); "
        "CREATE FUNCTION deferred() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO loose VALUES (9, 'deferred'); RETURN NULL; END $$; "
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON source DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION deferred()",
    )
    try:
        with shop.app.app_context():
            session = shop.db.session
            session.execute(sa.text("INSERT INTO source VALUES (1)"))
            with shop.audit_logger.disable(session):
                session.execute(sa.text("INSERT INTO loose VALUES (1, 'off')"))
            session.commit()
        assert lines(shop.activities()) == ["insert loose: a=9 b=deferred"]
    finally:
        run(engine, "DROP TABLE source; DROP FUNCTION deferred")


def test_a_block_that_ends_with_a_broken_transaction_hides_no_error(shop):
    with (
        shop.app.app_context(),
        pytest.raises(sa.exc.ProgrammingError, match="missing"),
        shop.audit_logger.disable(shop.db.session),
    ):
        shop.db.session.execute(sa.text("INSERT INTO loose VALUES (1, 'off')"))
        shop.db.session.execute(sa.text("SELECT * FROM missing"))
    assert shop.activities() == []


def test_backslashes_of_old_times(shop):
    """One database transaction has one row, also while a backslash in a text is an escape."""
    with shop.app.app_context(), shop.audit_logger.context(actor=7, reason="a \\ and \N{SNOWMAN}"):
        session = shop.db.session
        session.execute(sa.text("SET LOCAL standard_conforming_strings = off"))
        for name in "xy":
            session.execute(sa.text("INSERT INTO loose VALUES (1, :name)"), {"name": name})
        session.commit()
    (transaction,) = shop.transactions()
    assert (transaction.actor_id, transaction.context["reason"]) == (7, "a \\ and \N{SNOWMAN}")
    assert len(shop.activities()) == 2


def test_an_error_in_a_pipeline_in_autocommit_leaves_no_transaction(shop):
    """psycopg sends a pipeline at once, so that nobody could end a transaction that was begun for its statements."""
    psycopg = pytest.importorskip("psycopg")
    statement = "INSERT INTO loose VALUES (1, '%s')"
    with shop.app.app_context(), shop.audit_logger.context(actor=7):
        connection = shop.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        driver = connection.connection.dbapi_connection
        if not isinstance(driver, psycopg.Connection):
            connection.close()
            pytest.skip("psycopg2 has no pipelines")
        with connection:
            with pytest.raises((psycopg.Error, sa.exc.DBAPIError)), driver.pipeline():  # wrapped or not, as it arrives
                connection.exec_driver_sql("INSERT INTO loose VALUES ('x')")
            with driver.pipeline() as pipeline:
                connection.exec_driver_sql(statement % "a")
                pipeline.sync()
                with shop.audit_logger.context(actor=8):
                    connection.exec_driver_sql(statement % "b")
                connection.exec_driver_sql(statement % "c")
            connection.exec_driver_sql(statement % "d")
    assert [a.transaction.actor_id for a in shop.activities()] == [7, 8, 7, 7]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@pytest.mark.parametrize("client", [None, "utf8"])
def test_a_database_that_lacks_a_character(server, driver, encoding, client):
    """What the database can't hold is replaced in the log; the actor stays, and the write goes on."""
    from tests.capture.shop import declare_shop
    from tests.support.apps import make_app

    if encoding == "SQL_ASCII":
        driver = "psycopg2"  # psycopg 3 gives bytes there, with which SQLAlchemy can't connect
    name = server.unique_name("db")
    server.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        options = {"connect_args": {"client_encoding": client}} if client else {}
        app = make_app(server.url(name, driver), declare=declare_shop, db_options={"engine_options": options})
        with app.app.test_request_context("/日本", headers={"User-Agent": "日本"}):
            with app.audit_logger.context(actor=7, reason="prix en €, 日本, a\\u65e5"):
                app.db.session.execute(sa.text("INSERT INTO loose VALUES (1, 'a')"))
            app.db.session.commit()
        (activity,) = app.activities()
        assert activity.transaction.actor_id == 7
        assert activity.transaction.context["reason"] == "prix en ?, ??, a\\u65e5"
        app.dispose()
    finally:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
