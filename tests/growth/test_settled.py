"""Promise: who reads the log by the settled cursor skips no transaction and reads none twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.growth.settled import Settled, next_step
from flask_audit_logger.models import make_models
from tests.capture.tables import audited, run
from tests.growth.conftest import make_item
from tests.support.cluster import Cluster
from tests.support.server import plain_engine

WRITERS = 4
TRANSACTION = make_models(sa.MetaData(), None).transaction


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """A server of its own: a transaction in any database of a server is one that may still be open."""
    with Cluster(settings={"autovacuum": "off"}) as cluster:
        engine = plain_engine(cluster.url())
        make_item(engine)
        yield engine
        engine.dispose()


class Writer:
    """A connection that writes, and does what it is told if that makes sense now."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._pooled = engine.raw_connection()
        self.connection: Any = self._pooled.driver_connection
        self.name = f"settled_{number}"
        self.is_open = self.is_prepared = False

    def act(self, action: str) -> None:
        if action == "write" and not self.is_prepared:
            self._execute("INSERT INTO item (name) VALUES ('x')")
            self.is_open = True
        elif action == "write undone" and not self.is_prepared:
            self._execute(
                "SAVEPOINT s; INSERT INTO item (name) VALUES ('x'); ROLLBACK TO s; INSERT INTO item (name) VALUES ('x')"
            )
            self.is_open = True
        elif action == "draw" and not self.is_prepared:
            # an id of PostgreSQL long before the first row
            self._execute("SELECT pg_current_xact_id()")
            self.is_open = True
        elif action == "prepare" and self.is_open:
            self._execute(f"PREPARE TRANSACTION '{self.name}'")
            self.connection.rollback()
            self.is_open, self.is_prepared = False, True
        elif action in ("commit", "rollback"):
            if self.is_prepared:
                self.connection.autocommit = True
                self._execute(f"{action.upper()} PREPARED '{self.name}'")
                self.connection.autocommit = False
            else:
                getattr(self.connection, action)()
            self.is_open = self.is_prepared = False

    def close(self) -> None:
        self._pooled.close()

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)


class Reader:
    """Reads what has settled, and keeps what it read together with how far that was."""

    def __init__(self, engine: Engine, actions: Iterator[tuple[Writer, str]]) -> None:
        self.engine = engine
        self.read: list[int] = []
        self.settled = Settled()
        self._actions = actions
        self._is_looking = False

    def look(self, *, is_killed: bool = False) -> None:
        with self.engine.connect() as connection:
            event.listen(connection, "before_cursor_execute", self._let_others_act)
            step, settled = next_step(connection, TRANSACTION, self.settled)
            found = list(connection.scalars(sa.select(TRANSACTION.c.id).where(step.condition(TRANSACTION))))
            event.remove(connection, "before_cursor_execute", self._let_others_act)
        if not is_killed:
            self.read += found
            self.settled = Settled.from_json(settled.to_json())

    def _let_others_act(self, *args: Any) -> None:
        for writer, action in islice(self._actions, 2):
            writer.act(action)


STEPS = st.lists(
    st.tuples(
        st.integers(0, WRITERS - 1),
        st.sampled_from(
            [
                "write",
                "write",
                "write undone",
                "draw",
                "prepare",
                "commit",
                "commit",
                "rollback",
                "look",
                "look",
                "killed",
            ]
        ),
    ),
    min_size=20,
    max_size=60,
)


@settings(
    phases=[Phase.generate], max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_every_transaction_is_read_once(engine: Engine, steps: list[tuple[int, str]]) -> None:
    """Late commits, savepoints, prepared transactions, also between the statements of a look; killed readers."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM activity")
        connection.exec_driver_sql("DELETE FROM transaction")
    writers = [Writer(engine, number) for number in range(WRITERS)]
    remaining = iter(steps)
    reader = Reader(engine, ((writers[n], action) for n, action in remaining if action not in ("look", "killed")))
    try:
        for number, action in remaining:
            if action in ("look", "killed"):
                reader.look(is_killed=action == "killed")
            else:
                writers[number].act(action)
        for writer in writers:
            writer.act("commit")
        reader.look()
        reader.look()
        with engine.connect() as connection:
            assert sorted(reader.read) == sorted(connection.scalars(sa.select(TRANSACTION.c.id)))
    finally:
        for writer in writers:
            writer.act("rollback")
            writer.close()


@pytest.mark.parametrize("moment", range(5))
def test_a_transaction_that_begins_during_a_look(engine: Engine, moment: int) -> None:
    """It writes before one of the statements, is still open at the next look, and commits: no id bounds it away."""
    writer, others = Writer(engine, 0), Writer(engine, 1)
    nothing = (writer, "none")
    actions = [nothing, nothing] * moment + [(writer, "write"), nothing]
    reader = Reader(engine, iter(actions))
    try:
        reader.look()
        others.act("write")
        others.act("commit")
        reader.look()
        writer.act("commit")
        reader.look()
        with engine.connect() as connection:
            assert sorted(reader.read) == sorted(connection.scalars(sa.select(TRANSACTION.c.id)))
    finally:
        writer.close()
        others.close()


def test_what_bounds_the_reading_moves_on(engine: Engine) -> None:
    """A step looks at what is new, not at the whole log; and few looks are kept."""
    reader = Reader(engine, iter(()))
    for _ in range(6):
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO item (name) VALUES ('x')")
        reader.look()
    newest = max(reader.read)
    with engine.connect() as connection:
        step, settled = next_step(connection, TRANSACTION, reader.settled)
    assert newest - 2 <= step.after_id <= newest
    assert len(settled.looks) <= 3


def test_another_server_is_refused(engine: Engine) -> None:
    """After a restore, transaction ids are those of a server that is gone."""
    with engine.connect() as connection, pytest.raises(ConfigurationError, match="another PostgreSQL server"):
        next_step(connection, TRANSACTION, Settled(5, (), 42))


def test_a_schema_of_its_own(engine: Engine) -> None:
    """The log may be in any schema."""
    run(engine, "CREATE TABLE apart (id bigint PRIMARY KEY)")
    audited(engine, "apart", audit_schema='audit: "logs"')
    elsewhere = make_models(sa.MetaData(), 'audit: "logs"').transaction
    run(engine, "INSERT INTO apart VALUES (1)")
    with engine.connect() as connection:
        step, _ = next_step(connection, elsewhere, Settled())
        found = connection.scalars(sa.select(elsewhere.c.id).where(step.condition(elsewhere))).all()
    assert len(found) == 1
