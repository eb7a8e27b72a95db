"""Promise: pages cut the feed without gap or overlap, from wherever they start and in either direction."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_audit_logger.query import feed
from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import Search, count_nearby, find_activities, list_activities
from flask_audit_logger.query.paging import MAX_ID, ORIGIN, Cursor, Paging
from flask_audit_logger.schema.names import TableName
from tests.query.reads import JOINED, next_page, reading
from tests.ui.shop import ANN, BOB, with_own_shop

PRODUCTS = TableName("public", "products")
BEGIN = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
SEARCHES = {
    "all": (Criteria(), "true"),
    "an actor's": (Criteria(actors=(str(ANN),)), f"t.actor_id = {ANN}"),
    "inserts": (Criteria(verbs=("insert",)), "a.verb = 'insert'"),
}


def fill(shop):
    """Transactions of 1 to 7 changes, by turns of two people, some open at the same time."""
    for number in range(1, 8):
        with shop.acting(ANN if number % 2 else BOB) as session:
            values = f"SELECT n, 'x' FROM generate_series({number * 10 + 1}, {number * 11}) n"
            session.execute(sa.text(f"INSERT INTO products (id, name) {values}"))
    with shop.acting(BOB) as session:
        session.execute(sa.text("UPDATE products SET stock = 1 WHERE id = 11"))
        shop.sql("UPDATE products SET stock = 2 WHERE id = 21")  # begins and ends inside: ids of both interleave
        session.execute(sa.text("UPDATE products SET stock = 1 WHERE id = 31"))


@pytest.fixture
def positions(shop):
    """By search, the positions of all that matches, oldest first."""
    order = "ORDER BY a.transaction_id, a.id"
    return {
        name: [Cursor(*row) for row in shop.sql(f"SELECT a.transaction_id, a.id FROM {JOINED} WHERE {where} {order}")]
        for name, (_, where) in SEARCHES.items()
    }


def test_ids_alone_are_not_the_order(positions):
    """What the other tests stand on: the feed is ordered by transaction first."""
    ids = [cursor.activity_id for cursor in positions["all"]]
    assert ids != sorted(ids)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_page_is_the_rows_beside_its_cursor(shop, positions, data):
    """Also beside a cursor that is no row: between two, before all, after all."""
    name = data.draw(st.sampled_from(list(SEARCHES)))
    known = positions["all"]
    cursor = data.draw(
        st.sampled_from([ORIGIN, Cursor(MAX_ID, MAX_ID), *known])
        | st.builds(Cursor, *(st.integers(min(part), max(part)) for part in zip(*map(astuple, known), strict=True)))
        | st.none()
    )
    side = data.draw(st.sampled_from(["before", "after"]))
    limit, oldest_first = data.draw(st.integers(1, 12)), data.draw(st.booleans())
    paging = Paging(limit=limit, oldest_first=oldest_first, **{side: cursor})
    with reading(shop) as log:
        page = list_activities(log, Search(SEARCHES[name][0]), paging)
    matching = positions[name]
    if cursor is not None:
        matching = [at for at in matching if (at < cursor if side == "before" else at > cursor)]
    reads_down = side == "before" if cursor is not None else not oldest_first
    expected = matching[-limit:] if reads_down else matching[:limit]
    assert [row.cursor for row in page.rows] == (expected if oldest_first else expected[::-1])
    assert (page.has_older if reads_down else page.has_newer) == (len(matching) > limit)
    if cursor is None:
        assert not (page.has_newer if reads_down else page.has_older)


def astuple(cursor):
    return cursor.transaction_id, cursor.activity_id


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_walk_there_and_back_gives_every_row_once(shop, positions, oldest_first):
    for name, (criteria, _) in SEARCHES.items():
        for limit in (4, 5):
            paging, there = Paging(limit=limit, oldest_first=oldest_first), []
            with reading(shop) as log:
                while paging is not None:
                    page = list_activities(log, Search(criteria), paging)
                    there += [row.cursor for row in page.rows]
                    paging = next_page(page, paging, there[-1], newer=oldest_first)
                back = list(page.rows[::-1])
                edge = Paging(limit=limit, oldest_first=oldest_first)
                while paging := next_page(page, edge, back[-1].cursor, newer=not oldest_first):
                    page = list_activities(log, Search(criteria), paging)
                    if not page.rows:
                        break
                    back += page.rows[::-1]
            expected = positions[name] if oldest_first else positions[name][::-1]
            assert there == expected, (name, limit)
            assert [row.cursor for row in back] == expected[::-1], (name, limit)


STEPWISE = {
    **SEARCHES,
    "nobody's": (Criteria(actors=(None,)), "t.actor_id IS NULL"),
    "two people's inserts": (
        Criteria(actors=(str(ANN), str(BOB)), verbs=("insert",)),
        f"t.actor_id IN ({ANN}, {BOB}) AND a.verb = 'insert'",
    ),
    "a column's": (Criteria(columns=("stock",)), "a.changed_data ? 'stock'"),
    "deletions": (Criteria(verbs=("delete",)), "a.verb = 'delete'"),
    "of a table and a person": (
        Criteria(tables=(PRODUCTS,), actors=(str(ANN),), since=BEGIN),
        f"t.actor_id = {ANN} AND a.table_name = 'products'",
    ),
}


@pytest.mark.parametrize("few", [0, 1000], ids=["", "few"])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_search_that_looks_only_so_far_goes_on_where_it_ended(shop, positions, monkeypatch, oldest_first, few):
    """Every row once, whether an index leads there or not, and each step says when it is not the last one."""
    monkeypatch.setattr(feed, "FEW", few)
    monkeypatch.setattr(feed, "STEPS", (2, 4, 6))
    everything, ended = [str(at) for at in positions["all"]], 0
    for name, (criteria, where) in STEPWISE.items():
        rows = shop.sql(f"SELECT concat(a.transaction_id, '.', a.id) FROM {JOINED} WHERE {where}")
        expected = sorted((at for (at,) in rows), key=everything.index, reverse=not oldest_first)
        paging, found, steps = Paging(limit=3, oldest_first=oldest_first), [], 0
        with reading(shop) as log:
            while paging is not None:
                page, _ = find_activities(log, criteria, paging, deeper=steps % 2 == 1)
                found += [str(row.cursor) for row in page.rows]
                ended += page.reached is not None
                at = page.reached or (page.rows[-1].cursor if page.rows else None)
                paging, steps = next_page(page, paging, at, newer=oldest_first), steps + 1
                assert len(page.rows) == 3 or page.reached or paging is None, (name, page)
            assert found == expected, name
            whole, counted = len(expected), count_nearby(log, Search(criteria), 1000)
        if counted is not None:
            assert counted.number == whole or (counted.is_capped and counted.number < whole), (name, counted)
    assert ended


@with_own_shop
def test_rows_that_come_in_between_move_no_page(shop, positions):
    paging, found = Paging(limit=7), []
    while paging is not None:
        with reading(shop) as log:
            page = list_activities(log, Search(Criteria()), paging)
        found += [row.cursor for row in page.rows]
        paging = next_page(page, paging, found[-1], newer=False)
        shop.sql("UPDATE products SET stock = stock + 1 WHERE id = 11")
    assert found == positions["all"][::-1]


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1.2.3", "-1.2", "\u0661.\u0662", "1.2 ", f"{MAX_ID + 1}.1", "1" * 20 + ".1"]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="log"):
        Cursor.parse(text)


@settings(max_examples=50, deadline=None)
@given(first=st.integers(0, MAX_ID), second=st.integers(0, MAX_ID))
def test_a_position_is_read_as_it_was_written(first, second):
    assert Cursor.parse(str(Cursor(first, second))) == Cursor(first, second)
