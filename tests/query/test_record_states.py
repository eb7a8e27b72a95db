"""Promise: a record is told as it was after a change, with the changes of the same life that gave it its values."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

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
