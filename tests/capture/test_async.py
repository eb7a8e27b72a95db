"""Promise: tasks of one event loop that share a pool never share a name, whatever ends their transactions."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import g
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from flask_audit_logger import AuditLogger, ConfigurationError
from tests.support.apps import logged_in_as
from tests.support.server import plain_engine

pytest.importorskip("asyncpg", reason="asyncpg is not installed")

DRIVERS = ("asyncpg", "psycopg")


class Notes:
    """Notes that say who wrote them, in a database with a log that knows nothing of Flask."""

    def __init__(self, url: sa.URL, driver: str) -> None:
        self.url = url.set(drivername=f"postgresql+{driver}")
        self.metadata = sa.MetaData()
        self.table = sa.Table(
            "notes",
            self.metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("writer", sa.Text, unique=False),
            sa.Column("text", sa.Text, sa.CheckConstraint("text <> ''", name="has_text")),
            info={"audit_logged": True},
        )
        self.outside = plain_engine(url)
        self.audit_logger = AuditLogger(engine=self.outside, metadata=self.metadata)

    def engine(self, *, watched: bool = True, **options: Any) -> Any:
        """A new pool for one event loop."""
        engine = create_async_engine(self.url, **options)
        if watched:
            self.audit_logger.watch(engine)
        return engine

    def by(self, name: str) -> Any:
        """Whatever is written inside is by somebody."""
        return self.audit_logger.context(actor=name)

    def add(self, writer: str | None, text: str = "x") -> Any:
        """A statement that adds a note."""
        return sa.insert(self.table).values(writer=writer, text=text)

    def log(self) -> list[tuple[str | None, str | None]]:
        """Who is said to have written each note, and who has."""
        activity = self.audit_logger.activity_cls
        with Session(self.outside) as session:
            found = session.scalars(sa.select(activity).filter_by(table_name="notes").order_by(activity.id))
            return [(a.changed_data.get("writer"), a.transaction.actor_id) for a in found]


@pytest.fixture(scope="module", params=DRIVERS)
def made(request: pytest.FixtureRequest, server: Any) -> Iterator[Notes]:
    with server.database() as url:
        notes = Notes(url, request.param)
        notes.metadata.create_all(notes.outside)
        yield notes
        notes.audit_logger.detach()


@pytest.fixture
def notes(made: Notes) -> Notes:
    with made.outside.begin() as connection:
        connection.exec_driver_sql("TRUNCATE notes")
        connection.exec_driver_sql("TRUNCATE activity, transaction")
    return made


def run(coroutine: Any, engine: Any) -> Any:
    async def and_dispose() -> Any:
        try:
            return await coroutine
        finally:
            await engine.dispose()

    return asyncio.run(and_dispose())


def test_tasks_that_take_turns_on_two_connections(notes):
    """Commits, rollbacks and savepoints of twelve people and of nobody, each step of one between steps of others."""
    engine = notes.engine(pool_size=2, max_overflow=0)

    async def write(name: str | None) -> None:
        async with AsyncSession(engine) as session:
            for step in range(3):
                await session.execute(notes.add(name))
                await asyncio.sleep(0)
                async with session.begin_nested() as savepoint:
                    await session.execute(notes.add(name))
                    if step == 1:
                        await savepoint.rollback()
                await asyncio.sleep(0)
                await session.execute(notes.add(name))
                await (session.rollback() if step == 2 else session.commit())
                await asyncio.sleep(0)

    async def person(name: str) -> None:
        with notes.by(name):
            await write(name)

    async def everybody() -> None:
        await asyncio.gather(*(person(f"p{number}") for number in range(12)), write(None), write(None))

    run(everybody(), engine)
    log = notes.log()
    assert all(label == writer for writer, label in log), log
    assert len(log) == 14 * 5


def test_a_savepoint_takes_back_what_was_told_inside_it(notes):
    engine = notes.engine(pool_size=1, max_overflow=0)

    async def write() -> None:
        async with AsyncSession(engine) as session:
            savepoint = await session.begin_nested()
            with notes.by("ann"):
                await session.execute(notes.add("ann"))
            await savepoint.rollback()
            with notes.by("ben"):
                await session.execute(notes.add("ben"))
                async with session.begin_nested():
                    await session.execute(notes.add("ben"))
            await session.execute(notes.add(None))
            await session.commit()

    run(write(), engine)
    assert notes.log() == [("ben", "ben"), ("ben", "ben"), (None, None)]


@pytest.mark.parametrize("isolation_level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_isolation_levels(notes, isolation_level):
    engine = notes.engine(pool_size=1, max_overflow=0, isolation_level=isolation_level)

    async def write() -> None:
        for name in ("ann", None, "ben"):
            async with engine.connect() as connection:
                if name is None:
                    await connection.execute(notes.add(None))
                else:
                    with notes.by(name):
                        await connection.execute(notes.add(name))
                await connection.commit()

    run(write(), engine)
    assert notes.log() == [("ann", "ann"), (None, None), ("ben", "ben")]


def test_a_task_that_is_cancelled_leaves_nobody_its_name(notes):
    """In the middle of a statement, and before the commit; the next ones take its place in a pool of one."""
    engine = notes.engine(pool_size=1, max_overflow=0)
    found = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE query LIKE '%' || :said || '%' AND state = :state AND pid <> pg_backend_pid()"
    )

    def running(said: str) -> bool:
        """Whether a statement runs, or one that was sent last waits for the next one in its transaction."""
        state = "active" if said == "pg_sleep" else "idle in transaction"
        with notes.outside.connect() as connection:
            return bool(connection.scalar(found, {"said": said, "state": state}))

    async def cancelled(*, in_statement: bool) -> None:
        with notes.by("ann"):
            async with AsyncSession(engine) as session:
                await session.execute(notes.add("ann"))
                if in_statement:
                    await session.execute(sa.update(notes.table).values(text=sa.cast(sa.func.pg_sleep(60), sa.Text)))
                await asyncio.sleep(60)

    async def everybody() -> None:
        for in_statement in (True, False):
            task = asyncio.ensure_future(cancelled(in_statement=in_statement))
            while not running("pg_sleep" if in_statement else "INSERT INTO notes"):
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with AsyncSession(engine) as session:
                await session.execute(notes.add(None))
                await session.commit()
            with notes.by("ben"):
                async with AsyncSession(engine) as session:
                    await session.execute(notes.add("ben"))
                    await session.commit()

    run(everybody(), engine)
    assert notes.log() == [(None, None), ("ben", "ben")] * 2


def failing(notes: Notes) -> dict[str, list[Any]]:
    """Statements of one transaction, of which the last one fails."""
    return {
        "constraint": [notes.add("ann", text="")],
        "after a write": [notes.add("ann"), notes.add("ann", text="")],
        "syntax": [sa.text("INSERT INTO notes VALUS (1)")],
        "type": [sa.text("UPDATE notes SET id = :id").bindparams(id="seven")],
    }


@pytest.mark.parametrize("name", ["constraint", "after a write", "syntax", "type"])
def test_errors_are_those_of_the_statement(notes, name):
    """Type, message, statement and what the driver says are those of an engine that nobody watches."""

    async def fail(engine: Any) -> Any:
        with notes.outside.begin() as connection:
            connection.exec_driver_sql("ALTER SEQUENCE notes_id_seq RESTART")
        with notes.by("ann"):
            async with engine.connect() as connection:
                try:
                    for statement in failing(notes)[name]:
                        await connection.execute(statement)
                except sa.exc.DBAPIError as error:
                    cause = error.orig.__cause__ or error.orig
                    said = (type(error), type(cause), str(error), error.statement, getattr(cause, "sqlstate", None))
                    with pytest.raises(sa.exc.DBAPIError) as later:
                        await connection.execute(sa.text("SELECT 1"))
                    return *said, str(later.value)
                return None

    expected, found = (run(fail(e := notes.engine(watched=watched)), e) for watched in (False, True))
    assert expected is not None
    assert found == expected


def test_a_connection_that_was_killed_is_reported_as_that(notes):
    """The stamp is the first to find out; the error is that of a disconnect, and the pool goes on."""
    engine = notes.engine(pool_size=1, max_overflow=0)

    async def write() -> None:
        async with engine.connect() as connection:
            pid = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with notes.outside.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            with notes.by("ann"), pytest.raises(sa.exc.DBAPIError) as raised:
                await connection.execute(notes.add("ann"))
            assert raised.value.connection_invalidated
            assert raised.value.statement.startswith("INSERT INTO notes")
        with notes.by("ben"):
            async with engine.begin() as connection:
                await connection.execute(notes.add("ben"))

    run(write(), engine)
    assert notes.log() == [("ben", "ben")]


def test_stamp_takes_an_async_session_or_connection(notes):
    """What the connection of the driver writes after it is by who stamped; without, by nobody."""
    engine = notes.engine(pool_size=1, max_overflow=0)

    async def add_raw(connection: Any, writer: str | None) -> None:
        raw = (await connection.get_raw_connection()).driver_connection
        value = "NULL" if writer is None else f"'{writer}'"
        await raw.execute(f"INSERT INTO notes (writer, text) VALUES ({value}, 'x')")

    async def write() -> None:
        async with AsyncSession(engine) as session:
            with notes.by("ann"):
                await notes.audit_logger.stamp(session)
            await add_raw(await session.connection(), "ann")
            await session.commit()
            await session.execute(sa.text("SELECT 1"))
            await add_raw(await session.connection(), None)
            await session.commit()
        async with engine.begin() as connection:
            with notes.by("ben"):
                await notes.audit_logger.stamp(connection)
            await add_raw(connection, "ben")

    run(write(), engine)
    assert notes.log() == [("ann", "ann"), (None, None), ("ben", "ben")]


def test_capture_is_off_for_an_async_session_and_for_no_other(notes):
    engine = notes.engine(pool_size=2, max_overflow=0)

    async def write() -> None:
        async with AsyncSession(engine) as silent, AsyncSession(engine) as other:
            with notes.audit_logger.disable(silent):
                await silent.execute(notes.add("silent"))
                await other.execute(notes.add(None))
                await silent.commit()
            await other.commit()
            with notes.audit_logger.disable(silent):
                await silent.execute(notes.add("silent"))
            with notes.by("ann"):
                await silent.execute(notes.add("ann"))
            await silent.commit()

    run(write(), engine)
    assert notes.log() == [(None, None), ("ann", "ann")]


def test_an_async_session_is_flushed_by_whoever_disables_capture_for_it(notes):
    """A flush has to be awaited; what was added before would else be lost to the log without a word."""

    class Note:
        pass

    registry = sa.orm.registry()
    registry.map_imperatively(Note, notes.table)
    engine = notes.engine()

    async def write() -> None:
        async with AsyncSession(engine) as session:
            session.add(Note())
            with pytest.raises(ConfigurationError, match="await its flush"), notes.audit_logger.disable(session):
                pass
            session.expunge_all()
            with pytest.raises(ConfigurationError, match="await its flush"), notes.audit_logger.disable(session):
                session.add(Note())

    run(write(), engine)
    registry.dispose()


def test_a_transaction_is_told_once(notes):
    """One statement more than the application sends, and none in a transaction that reads."""
    if "asyncpg" not in notes.url.drivername:
        pytest.skip("psycopg does not prepare what it sends once")
    engine = notes.engine(pool_size=1, max_overflow=0)
    query = (
        "SELECT sum(generic_plans + custom_plans) FILTER (WHERE statement LIKE 'SELECT set_config(%'), "
        "sum(generic_plans + custom_plans) FILTER (WHERE statement LIKE 'INSERT%') FROM pg_prepared_statements"
    )

    async def write() -> tuple[int, int]:
        async with engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            before, _ = await raw.fetchrow(query)  # SQLAlchemy asks a new connection for its version
            await connection.execute(sa.text("SELECT 1"))
            await connection.commit()
            with notes.by("ann"):
                for _ in range(3):
                    await connection.execute(notes.add("ann"))
                await connection.execute(sa.text("SELECT 1"))
            await connection.commit()
            stamps, inserts = await raw.fetchrow(query)
            return stamps - before, inserts

    assert run(write(), engine) == (1, 3)


def test_watch_and_unwatch_are_symmetric_and_keep_nothing_alive(notes):
    engine = create_async_engine(notes.url)

    def listeners(engine: Any) -> list[int]:
        owners = (engine.sync_engine.dispatch, engine.dialect.dispatch)
        return [len(list(getattr(owner, name))) for owner in owners for name in owner._event_names]

    before = listeners(engine)
    notes.audit_logger.unwatch(engine)
    notes.audit_logger.watch(engine)
    watched = listeners(engine)
    assert sum(watched) > sum(before)
    notes.audit_logger.watch(engine)
    assert listeners(engine) == watched
    notes.audit_logger.unwatch(engine)
    notes.audit_logger.unwatch(engine)
    assert listeners(engine) == before
    notes.audit_logger.watch(engine)
    gone = weakref.ref(engine.sync_engine)
    del engine
    gc.collect()
    assert gone() is None


def test_create_all_and_migrations_run_on_an_async_connection(notes, server):
    """As in an env.py of Alembic's template async."""
    with server.database() as url:
        engine = create_async_engine(url.set(drivername=notes.url.drivername))

        def migrate(connection: sa.Connection) -> list[Any]:
            context = MigrationContext.configure(connection)
            operations = Operations(context)
            found = produce_migrations(context, notes.metadata).upgrade_ops.ops
            for operation in found:
                operations.invoke(operation)
            return found

        async def prepare() -> None:
            async with engine.begin() as connection:
                assert await connection.run_sync(migrate)
                assert not await connection.run_sync(migrate)
                await connection.run_sync(notes.metadata.drop_all)
                await connection.run_sync(notes.metadata.create_all)
                assert not await connection.run_sync(migrate)
                await connection.execute(notes.add("ann"))
                activity = notes.audit_logger.models.activity
                assert (await connection.scalars(sa.select(activity.c.verb))).all() == ["insert"]

        run(prepare(), engine)


def test_a_coroutine_of_flask_is_inside_its_request(create_app):
    """Who is logged in, what a function before it said, and a commit in the middle; afterwards nothing is said."""
    pytest.importorskip("asgiref", reason="Flask is installed without its extra async")
    application = create_app()
    app, db, audit_logger = application.app, application.db, application.audit_logger
    tag_cls = application.models.Tag

    @app.before_request
    def say() -> None:
        g.said = ExitStack()
        g.said.enter_context(audit_logger.context(ticket=4711))

    @app.teardown_request
    def be_silent(error: Any) -> None:
        g.pop("said", ExitStack()).close()

    @app.post("/tags")
    async def add() -> str:
        for number in range(2):
            db.session.add(tag_cls(name=f"{number}"))
            await asyncio.sleep(0)
            with audit_logger.context(step=number):
                db.session.commit()

        async def more() -> None:
            with audit_logger.context(reason="later"), db.engine.begin() as connection:
                connection.execute(sa.insert(tag_cls).values(name="more"))

        await asyncio.gather(more(), more())
        return "done"

    with app.app_context():
        db.session.add(application.models.User(name="Ann"))
        db.session.commit()
    assert app.test_client().post("/tags", headers=logged_in_as(1)).status_code == 200
    logged = [
        (a.transaction.actor_id, *(a.transaction.context.get(name) for name in ("ticket", "step", "reason")))
        for a in application.activities(table_name="tags")
    ]
    assert logged == [(1, 4711, 0, None), (1, 4711, 1, None), (1, 4711, None, "later"), (1, 4711, None, "later")]


def test_changes_are_taken_back_in_an_async_session(notes):
    """The log is read on the other engine; the session of the caller writes and commits."""
    engine = notes.engine()

    async def write_and_take_back() -> Any:
        with notes.by("ann"):
            async with AsyncSession(engine) as session:
                await session.execute(notes.add("ann", "kept"))
                await session.commit()
                await session.execute(sa.update(notes.table).values(text="wrong"))
                await session.commit()
        with notes.by("bob"):
            async with AsyncSession(engine) as session:
                activity = notes.audit_logger.activity_cls
                wrong = await session.scalar(sa.select(sa.func.max(activity.transaction_id)))
                revert = notes.audit_logger.revert(wrong, reason="A slip")
                done = await session.run_sync(lambda own: revert.apply(session=own))
                await session.commit()
                return wrong, done

    wrong, done = run(write_and_take_back(), engine)
    with Session(notes.outside) as session:
        assert session.scalars(sa.select(notes.table.c.text)).all() == ["kept"]
        transaction = session.get(notes.audit_logger.transaction_cls, done.transaction_id)
    assert (transaction.actor_id, transaction.context["undoes"], transaction.context["reason"]) == (
        "bob", wrong, "A slip",
    )  # fmt: skip
