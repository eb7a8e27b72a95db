"""Promise: ``as_of`` gives the rows of a table as they were at every instant, and ``revert`` returns one to it."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from flask_audit_logger.exceptions import Refused
from tests.history.test_revert import EXAMPLES
from tests.support.models import Models

NUMBERS = st.integers(1, 4)
NAMES = st.sampled_from(["a", "b", None, "", "ä'\"\\"])
PRICES = st.sampled_from([Decimal("1.50"), Decimal("1.500"), Decimal("-0.01"), None])
#: One step of a history; several are one transaction, and several of one statement's time one batch.
STEPS = st.one_of(
    st.tuples(st.just("insert"), NUMBERS, NUMBERS, NAMES, PRICES),
    st.tuples(st.just("update"), NUMBERS, NUMBERS, NAMES, PRICES),
    st.tuples(st.just("delete"), NUMBERS, NUMBERS),
    st.tuples(st.just("move"), NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("shift"), NUMBERS, st.sampled_from([1, -1])),
    st.tuples(st.just("swap"), NUMBERS),
    st.tuples(st.just("secret"), NUMBERS, NUMBERS),
    st.just(("blink",)),
    st.just(("truncate",)),
)
HISTORIES = st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=8)


def declare(db):
    class Item(db.Model):
        __tablename__ = "items"
        __table_args__ = (
            sa.PrimaryKeyConstraint("shelf", "place", deferrable=True),
            {"info": {"audit_logged": {"exclude": ["note"], "mask": ["secret"]}}},
        )
        shelf = sa.Column(sa.Integer)
        position = sa.Column("place", sa.Integer)
        name = sa.Column(sa.Text)
        price = sa.Column(sa.Numeric)
        note = sa.Column(sa.Text)
        secret = sa.Column(sa.Text)

    return Models(Item=Item)


#: A row that comes and goes at one time, and nothing is left of it.
ONE_TIME = """DO $$
BEGIN
    INSERT INTO items (shelf, place) VALUES (1, 7);
    DELETE FROM items WHERE shelf = 1 AND place = 7;
END $$"""


def statement_of(step):
    verb, *rest = step
    values = dict(zip(("shelf", "place", "name", "price"), rest, strict=False))
    where = "WHERE shelf = :shelf AND place = :place"
    if verb == "insert":
        names = "INSERT INTO items (shelf, place, name, price, note, secret)"
        row = "SELECT CAST(:shelf AS int), CAST(:place AS int), CAST(:name AS text), CAST(:price AS numeric), 'n', 's'"
        return f"{names} {row} WHERE NOT EXISTS (SELECT FROM items {where})", values
    if verb == "update":
        return f"UPDATE items SET name = :name, price = :price, note = 'x' {where}", values
    if verb == "delete":
        return f"DELETE FROM items {where}", values
    if verb == "move":
        return f"UPDATE items SET place = :to {where}", {"shelf": rest[0], "place": rest[1], "to": rest[2]}
    if verb == "shift":
        return "UPDATE items SET place = place + :by WHERE shelf = :shelf", {"shelf": rest[0], "by": rest[1]}
    if verb == "swap":
        return "UPDATE items SET place = 3 - place WHERE shelf = :shelf AND place IN (1, 2)", {"shelf": rest[0]}
    if verb == "secret":
        return f"UPDATE items SET secret = secret || 'x', note = 'y' {where}", values
    return ONE_TIME if verb == "blink" else "TRUNCATE items", {}


def rows_now(connection):
    return sorted(map(tuple, connection.execute(sa.text("SELECT shelf, place, name, price FROM items"))), key=repr)


def as_row(item):
    return (item.shelf, item.position, item.name, item.price)


def replay(engine, history):
    """Run a history; gives a time right after each transaction, the rows that were there, and its steps."""
    past = []
    for steps in history:
        try:
            with engine.begin() as connection:
                for step in steps:
                    connection.execute(*map_text(statement_of(step)))
        except sa.exc.IntegrityError:
            continue  # two rows at one place: nothing happened
        with engine.connect() as connection:
            past.append((connection.scalar(sa.text("SELECT clock_timestamp()")), rows_now(connection), steps))
    return past


def map_text(statement):
    return sa.text(statement[0]), statement[1]


@pytest.fixture(scope="module", params=[None, "month"])
def shelves(request, server, copied):
    with server.database() as url:
        application = copied.make_app(url, declare=declare, partition=request.param)
        yield application
        application.dispose()


#: Keys that move along in one statement, are given again, and rows that TRUNCATE takes.
MOVES = [
    [("insert", 1, 1, "a", Decimal("1.50")), ("insert", 1, 2, "b", None)],
    [("shift", 1, 1)],
    [("swap", 1), ("blink",)],
    [("move", 1, 2, 1), ("move", 1, 1, 2)],
    [("delete", 1, 3)],
    [("insert", 1, 1, "c", None)],
    [("swap", 1)],
    [("shift", 1, -1)],
    [("truncate",)],
    [("insert", 1, 2, "c", None)],
    [("secret", 1, 2)],
]


#: Steps after which a key may be another record's, and those of which the log has all that taking back needs.
KEYS_CHANGE, PLAIN = {"move", "shift", "swap", "blink"}, {"insert", "update", "delete"}

#: Everything of these histories can be taken back.
LIVES = [
    [("insert", 1, 1, "a", Decimal("1.50"))],
    [("update", 1, 1, "b", None), ("insert", 1, 2, "c", None)],
    [("delete", 1, 1)],
    [("insert", 1, 1, "", Decimal("1.500"))],
    [("delete", 1, 2), ("update", 1, 1, "a", Decimal("-0.01"))],
]


@pytest.mark.slow
@settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    derandomize=EXAMPLES is None,
    max_examples=int(EXAMPLES or 8),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(history=MOVES)
@example(history=LIVES)
@given(history=HISTORIES)
def test_as_of_is_the_past_at_every_instant(shelves, history):
    with shelves.app.app_context():
        check(shelves, history)


def check(shelves, history):
    item, audit_logger = shelves.models.Item, shelves.audit_logger
    with shelves.db.engine.begin() as connection:
        connection.execute(sa.text("TRUNCATE items"))
    past = replay(shelves.db.engine, history)
    for when, rows, _ in past:
        found = audit_logger.as_of(sa.select(item), when)
        assert sorted(map(as_row, found), key=repr) == rows
        assert all(audit_logger.unknown(each) == {"note": "not logged", "secret": "masked"} for each in found)
        cheap = sa.select(item).where(item.position <= 2, item.name != "b").order_by(item.shelf, item.position).limit(3)
        expected = sorted((row for row in rows if row[1] <= 2 and row[2] not in (None, "b")), key=lambda r: r[:2])
        assert [as_row(each) for each in audit_logger.as_of(cheap, when)] == expected[:3]
    for when, rows, _ in past if history in (MOVES, LIVES) else past[-3:-1]:
        there = {row[:2]: row for row in rows}
        for key in [(1, 0), (1, 1), (1, 2)]:
            found = audit_logger.as_of(item, key, when)
            assert (None if found is None else as_row(found)) == there.get(key)
    kinds = [{step[0] for step in steps} for *_, steps in past]
    for place in range(len(past) - 1)[-len(past) if history in (MOVES, LIVES) else -2 :]:
        since, ever = (set().union(*kinds[start:]) for start in (place + 1, 0))
        for key in [(1, 1), (1, 2)]:
            check_revert(shelves, key, *past[place][:2], since, ever)


def check_revert(shelves, key, when, then, since, ever):
    """Taking back what happened to a record: it is as it was, nothing else has changed, or the preview says why not.

    :param since: the kinds of steps since then.
    :param ever: those of the whole history.
    """
    revert = shelves.audit_logger.revert((shelves.models.Item, key), to=when)
    try:
        preview = revert.preview()
    except Refused:  # what had the key has another one, and what got the key no index tells
        assert ever & KEYS_CHANGE
        return
    if preview.conflicts or preview.impossible:
        assert since - PLAIN
        return
    session = shelves.db.session
    before = rows_now(session.connection())
    if preview.number:
        revert.apply(session=session())
    after = rows_now(session.connection())
    session.rollback()
    gone, come = [row for row in before if row not in after], [row for row in after if row not in before]
    assert all(row[:2] == key for row in gone)
    assert len(come) <= 1
    assert all(row in then for row in come)
    if not since & KEYS_CHANGE:
        assert [row for row in after if row[:2] == key] == [row for row in then if row[:2] == key]
