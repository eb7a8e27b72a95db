"""A connection that is broken raises what it would have raised without us, and the application recovers alike."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.support.apps import logged_in_as
from tests.support.server import both_drivers

INSERT = sa.text("INSERT INTO tags (name) VALUES (:name)")


def kill(outside, pid):
    """Let the server close a connection, and wait until it has."""
    with outside.connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 10000)")


def flush(app, killed):
    session = app.db.session
    killed(session.connection())
    session.add(app.models.Tag(name="x"))
    session.flush()


def flush_after_a_write(app, killed):
    session = app.db.session
    session.add(app.models.Tag(name="x"))
    session.flush()
    killed(session.connection())
    session.add(app.models.Tag(name="y"))
    session.commit()


def orm_statement(app, killed):
    killed(app.db.session.connection())
    app.db.session.execute(sa.insert(app.models.Tag), [{"name": "x"}, {"name": "y"}])


def engine(app, killed):
    with app.db.engine.begin() as connection:
        killed(connection)
        connection.execute(INSERT, {"name": "x"})


def many(app, killed):
    with app.db.engine.begin() as connection:
        killed(connection)
        connection.execute(INSERT, [{"name": "x"}, {"name": "y"}])


def autocommit(app, killed):
    with app.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        killed(connection)
        connection.execute(INSERT, {"name": "x"})


def read_after_a_write(app, killed):
    with app.db.engine.begin() as connection:
        connection.execute(INSERT, {"name": "x"})
        killed(connection)
        connection.execute(sa.text("SELECT 1"))


def aborted_transaction(app, killed):
    with app.db.engine.begin() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT * FROM missing"))
        connection.execute(INSERT, {"name": "x"})


def commit(app, killed):
    with app.db.engine.begin() as connection:
        connection.execute(INSERT, {"name": "x"})
        killed(connection)


WAYS = [
    flush, flush_after_a_write, orm_statement, engine, many, autocommit, read_after_a_write,
    aborted_transaction, commit,
]  # fmt: skip


def what_happens(app, outside, way):
    """The error of a way to write, what its connection is told to be, and whether the next write works."""

    def killed(connection):
        kill(outside, connection.connection.dbapi_connection.info.backend_pid)

    with app.app.test_request_context("/", method="POST", headers=logged_in_as(1)):
        with pytest.raises(sa.exc.DBAPIError) as raised:
            way(app, killed)
        app.db.session.rollback()
        app.db.session.add(app.models.Tag(name="after"))
        app.db.session.commit()
    error = raised.value
    return type(error), type(error.orig), error.connection_invalidated


@both_drivers
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_error_is_the_same_as_without_us(create_app, outside, way):
    """Type, the driver's own error and the state of the connection are those of an application without auditing."""
    outer, inner, is_disconnect = what_happens(create_app(audited=False), outside, way)
    audited = create_app()
    found = what_happens(audited, outside, way)
    assert (found[0], found[2]) == (outer, is_disconnect)
    # A pipeline of psycopg says only that the server is gone: its executemany(), and ours. A stamp apart says why.
    assert issubclass(found[1], inner) or (issubclass(inner, found[1]) and found[1].__module__ == "psycopg")
    assert audited.activities(table_name="tags")[-1].changed_data["name"] == "after"
