"""Promise: a record is told as it was after a change, with the changes of the same life that gave it its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_audit_logger.query import record_states as states_module
from flask_audit_logger.query.paging import Cursor, Paging
from flask_audit_logger.query.record_states import (
    NEWEST,
    OLDEST,
    ChangePoint,
    begun_by,
    exactly,
    first_after,
    record_states,
)
from flask_audit_logger.query.records import versions
from flask_audit_logger.schema.names import TableName
from tests.query.reads import only, reading, record_of
from tests.support.server import plain_engine
from tests.ui.shop import declare_shop, make_shop

TABLES = [TableName("public", name) for name in ("whole", "partial")]
KEY = ("id",)


def declare(db):
    """The same table twice: of one whole rows are logged, of the other what changed."""
    models = declare_shop(db)
    for table in TABLES:
        options = {"old_data": "changed"} if table.name == "partial" else {}
        sa.Table(
            table.name,
            db.metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.Text),
            sa.Column("price", sa.Numeric),
            sa.Column("parts", sa.JSON),
            info={"audit_logged": options or True},
        )
    return models


@pytest.fixture
def shop(create_app):
    return make_shop(create_app, declare=declare)


@pytest.fixture
def lived(shop):
    """Two lives of one key, and the times between the changes."""
    times = []
    for step in (
        "INSERT INTO partial (id, name, price) VALUES (1, 'a', 1)",
        "UPDATE partial SET name = 'b' WHERE id = 1",
        "DELETE FROM partial WHERE id = 1",
        "INSERT INTO partial (id, name, price) VALUES (1, 'c', 2)",
        "UPDATE partial SET price = 3 WHERE id = 1",
    ):
        shop.sql(step)
        times.append(shop.sql("SELECT clock_timestamp()")[0][0])
    return shop, times


def test_a_point_is_a_change_a_time_or_an_end(lived):
    shop, times = lived
    record = record_of(TABLES[1], 1)
    with reading(shop) as log:
        changes = versions(log, record, Paging(oldest_first=True)).rows
        at = [row.cursor for row in changes]
        points = [exactly(log, cursor) for cursor in at]
        assert [state.version.id for state in record_states(log, record, *points, key=KEY)] == [c.id for c in changes]
        found = record_states(log, record, *(begun_by(log, time) for time in times), key=KEY)
        assert [state.version.cursor for state in found] == at
        assert [(state.older, state.newer) for state in found] == list(
            zip([None, *at[:-1]], [*at[1:], None], strict=True)
        )
        assert [first_after(log, record, time) for time in (None, *times)] == [*at, None]
        oldest, newest = record_states(log, record, OLDEST, NEWEST, key=KEY)
        assert (oldest.version.cursor, newest.version.cursor) == (at[0], at[-1])
        other = Cursor(at[0].transaction_id, at[1].activity_id)
        missing = [exactly(log, other), begun_by(log, changes[0].issued_at.replace(year=2000))]
        assert record_states(log, record, *missing, key=KEY) == [None, None]
    with reading(shop, only(TABLES[0])) as log:
        assert record_states(log, record, NEWEST, OLDEST, key=KEY) == [None, None]


def test_nobody_is_named_for_a_value_that_nobody_logged(shop):
    record = record_of(TABLES[0], 1)
    shop.sql("INSERT INTO whole (id, name, price) VALUES (1, 'a', 1)")
    shop.sql("SET LOCAL session_replication_role = replica; UPDATE whole SET price = 9 WHERE id = 1")
    shop.sql("UPDATE whole SET name = 'b' WHERE id = 1")
    with reading(shop) as log:
        (state,) = record_states(log, record, NEWEST, key=KEY)
    assert state.setter("price") is None and state.is_changed("price") and state.row["price"] == 9
    assert state.setter("name").id == state.version.id


def test_a_value_was_set_by_a_change_of_its_own_life(lived):
    shop, _ = lived
    record = record_of(TABLES[1], 1)
    with reading(shop) as log:
        ids = [row.id for row in versions(log, record, Paging(oldest_first=True)).rows]
        states = record_states(log, record, *(ChangePoint((log.models.activity.c.id <= n,)) for n in ids), key=KEY)
        setters = [[state.setter(name).id for name in ("name", "price")] for state in (*states[:2], *states[3:])]
        assert setters == [[ids[0]] * 2, [ids[1], ids[0]], [ids[3]] * 2, [ids[3], ids[4]]]
        assert [state.since for state in states] == [0, 0, 0, ids[2], ids[2]]
        assert [state.is_changed("price") for state in states[3:]] == [False, True]
        assert not any(state.is_incomplete for state in states)
    # a change nobody logged: who set the value is not known
    shop.sql("SET LOCAL session_replication_role = replica; UPDATE partial SET price = 9 WHERE id = 1")
    shop.sql("UPDATE partial SET price = 10, name = 'd' WHERE id = 1")
    shop.sql("SET LOCAL session_replication_role = replica; DELETE FROM activity WHERE id <= " + str(ids[4]))
    with reading(shop) as log:
        (state,) = record_states(log, record, NEWEST, key=KEY)
        assert state.is_incomplete and state.row == {"price": 10, "name": "d"}


@dataclass
class Change:
    """One logged change of a row, as the model knows it."""

    verb: str
    key: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    #: The number of the log.
    id: int = 0

    @property
    def told(self) -> set[str]:
        """The columns that the change gave a value."""
        after, before = self.after or {}, self.before or {}
        return {name for name in after if self.verb == "insert" or after[name] != before[name]}

    @property
    def is_end(self) -> bool:
        """Whether nothing has the key of the record afterwards."""
        return self.verb == "delete" or ("id" in self.told and self.verb == "update")


def lived_through(connection, table, steps):
    """Do what is possible of some steps in a table; gives the changes that the log should have."""
    rows: dict[int, dict[str, Any]] = {}
    changes = []

    def change(sql, verb, key, after):
        changes.append(Change(verb, key, rows.get(key), after))
        connection.exec_driver_sql(sql)
        rows.pop(key, None)
        if after is not None:
            rows[after["id"]] = after

    for number, (step, key) in enumerate(steps):
        other, old = 3 - key, rows.get(key)
        if step == "truncate":
            change(f"TRUNCATE {table}", "truncate", None, None)
            rows.clear()
        elif old is None:
            row = {"id": key, "name": f"n{number}", "price": number, "parts": None}
            change(f"INSERT INTO {table} VALUES ({key}, 'n{number}', {number})", "insert", key, row)
        elif step == "delete":
            change(f"DELETE FROM {table} WHERE id = {key}", "delete", key, None)
        elif step == "rename" and other not in rows:
            change(f"UPDATE {table} SET id = {other} WHERE id = {key}", "update", key, {**old, "id": other})
        elif step == "name":
            row = {**old, "name": f"n{number}"}
            change(f"UPDATE {table} SET name = 'n{number}' WHERE id = {key}", "update", key, row)
        else:
            row = {**old, "name": f"n{number}", "price": number}
            change(f"UPDATE {table} SET name = 'n{number}', price = {number} WHERE id = {key}", "update", key, row)
    return changes


def of_record(changes, key):
    """The changes of a record: its own, and that its table was emptied if it was there then."""
    found = []
    for change in changes:
        if change.key == key or (change.verb == "truncate" and found and not _is_gone(found[-1])):
            found.append(change)
    return found


def _is_gone(change):
    return change.is_end or change.verb == "truncate"


def expected(changes, key, version, *, is_whole):
    """What is to be told of a record right after one of its changes: since when, its row, and who set each value."""
    own = [change for change in changes if change.key == key]
    ends = [change.id for change in changes if change.verb == "truncate" or (change.key == key and change.is_end)]
    since = max((n for n in ends if n < version.id), default=0)
    until = min((n for n in ends if n >= version.id), default=changes[-1].id)
    life = [change for change in own if since < change.id <= version.id]
    if version.after is None:
        return since, None, {}
    setters = {name: change.id for change in life for name in change.told}
    known = {*version.after} if is_whole else {*setters}
    for change in own:
        if version.id < change.id <= until:
            known |= {*change.before} if change.verb == "delete" else change.told
    return since, {name: version.after[name] for name in known}, setters


STEPS = st.tuples(st.sampled_from(["name", "price", "name", "price", "delete", "rename", "rename", "truncate"]),
                  st.sampled_from([1, 2]))  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=14), table=st.sampled_from(TABLES), key=st.sampled_from([1, 2]))
@example([("name", 2), ("rename", 2), ("rename", 1), ("name", 1), ("name", 1)], TABLES[1], 1)
@example([("name", 2), ("rename", 2), ("name", 1), ("price", 1), ("price", 1), ("delete", 1)], TABLES[1], 1)
@example([("name", 1), ("truncate", 1), ("truncate", 1), ("name", 1)], TABLES[0], 1)
def test_any_lives_are_told_as_a_model_tells_them(shop, steps, table, key):
    """Keys that are used again, given to another record and emptied away; whole rows logged or what changed."""
    engine = plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        changes = lived_through(connection, table.name, steps)
        ids = connection.exec_driver_sql(f"SELECT id FROM activity WHERE table_name = '{table.name}' ORDER BY id")
        for change, number in zip(changes, ids.scalars(), strict=True):
            change.id = number
        line, record = of_record(changes, key), record_of(table, key)
        with reading(shop) as log:
            a = log.models.activity.c
            points = [ChangePoint((a.id <= change.id,)) for change in line]
            states = record_states(log, record, *points, NEWEST, key=KEY)
        assert states.pop() == (states[-1] if states else None)
        numbers = [change.id for change in line]
        assert [state.version.id for state in states] == numbers
        assert [state.older and state.older.activity_id for state in states] == [None, *numbers[:-1]][: len(line)]
        assert [state.newer and state.newer.activity_id for state in states] == [*numbers[1:], None][: len(line)]
        for state, version in zip(states, line, strict=True):
            since, row, setters = expected(changes, key, version, is_whole=table.name == "whole")
            found = {name: change.id for name in version.after or () if (change := state.setter(name))}
            assert (state.since, state.row, found) == (since, row, setters), version
        connection.exec_driver_sql(f"TRUNCATE {table.name}")
        connection.exec_driver_sql("DELETE FROM activity; DELETE FROM transaction")


def test_of_a_long_life_the_nearest_changes_are_read_and_it_says_so(shop, monkeypatch):
    monkeypatch.setattr(states_module, "NEAREST", 3)
    shop.sql("INSERT INTO whole (id, name, price) VALUES (1, 'a', 1)")
    for number in range(2, 5):
        shop.sql(f"UPDATE whole SET price = {number} WHERE id = 1")
    with reading(shop) as log:
        (cut,) = record_states(log, record_of(TABLES[0], 1), NEWEST, key=KEY)
        assert cut.is_cut and cut.touched.keys() == {"price"} and cut.is_older("name")
        assert cut.setter("name") is None and not cut.is_older("price")
        assert record_states(log, record_of(TABLES[0], 1), OLDEST, key=KEY)[0].is_cut is False
    shop.sql("DELETE FROM whole WHERE id = 1; INSERT INTO whole (id, name) VALUES (1, 'b')")
    with reading(shop) as log:
        (again,) = record_states(log, record_of(TABLES[0], 1), NEWEST, key=KEY)
    assert not again.is_cut and again.setter("name").verb == "insert", "its life is short, whatever was before"
