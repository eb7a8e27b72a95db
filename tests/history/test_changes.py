"""Promise: a history is composed lazily, read in batches, and gives values of the mapped columns."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import sqlalchemy as sa

from flask_audit_logger import ConfigurationError
from flask_audit_logger.history import changes
from flask_audit_logger.history.changes import UNKNOWN
from tests.history.conftest import NOON, THING, Color
from tests.support.models import AUDITED, Models


def test_a_change_has_the_values_of_the_mapped_columns(told):
    change = told.log.history(told.Thing, THING).touching("cost").verb("update").first()
    assert change.diff == {
        "cost": (Decimal("10.00"), Decimal("12.50")),
        "color": (Color.RED, Color.BLUE),
        "owner_id": (None, 1),
    }
    assert (change.before["at"], change.after["tags"], change.before["id"]) == (NOON, [1, 2], THING)
    assert (change.verb, change.table, change.actor) == ("update", "store.things", ("1", "Ann"))
    assert change.transaction.reason == "sale"
    assert {each.table for each in change.transaction.changes} == {"store.things"}


def test_a_masked_value_is_unknown_and_never_none(told):
    change = next(iter(told.log.history(told.Thing, THING).touching("pin").verb("update")))
    assert change.diff["pin"] == (UNKNOWN, UNKNOWN)
    assert not UNKNOWN
    assert change.diff["data"] == ({"audit_logger": [1.5]}, None)


def test_histories_are_composed_and_are_newest_first(told):
    whole = told.log.history(told.Thing, THING)
    assert [change.verb for change in whole] == ["delete", "update", "update", "insert"]
    assert [change.verb for change in whole.by("1")] == ["update", "update"]
    assert [change.verb for change in whole.by(None)] == ["delete", "insert"]
    first, second = told.times[:2]
    assert [change.diff["cost"].after for change in whole.between(first, second)] == [Decimal("12.50")]
    assert whole.first().after is None
    assert whole.first().diff["color"] == (Color.BLUE, None)
    assert [change.before for change in whole][-1] is None


def test_a_history_of_a_class_and_the_feed_go_over_all_records(told):
    assert len(list(told.log.history(told.Thing))) == 5
    assert {change.table for change in told.log.feed()} == {"store.things", "users", "managers"}
    assert {change.table for change in told.log.history(told.Manager, 1)} == {"users", "managers"}


def test_pages_and_batches_meet_without_a_gap(told, monkeypatch):
    feed = told.log.feed()
    ids = [change.id for change in feed]
    monkeypatch.setattr(changes, "BATCH", 2)
    assert [change.id for change in feed] == ids
    page, seen = feed.page(limit=3), []
    while True:
        seen += [change.id for change in page.changes]
        if page.next is None:
            break
        page = feed.page(page.next, limit=3)
    assert seen == ids
    with pytest.raises(ValueError, match="not a position"):
        feed.page("x")


def test_blame_names_the_change_that_set_each_value(told):
    blame = told.log.blame(told.Manager, 1)
    assert (blame["name"].verb, blame["budget"].verb, blame["budget"].actor.id) == ("insert", "update", "1")


def test_a_transaction_is_found_by_its_id(told):
    change = told.log.history(told.Thing, THING).first()
    transaction = told.log.transaction(change.transaction.id)
    assert [each.id for each in transaction.changes] == [change.id]
    assert told.log.transaction(2**40) is None


def test_what_was_read_can_be_taken_back(told):
    change = told.log.history(told.Thing, THING).first()
    assert told.log.revert(change).preview().digest == told.log.revert(change.cursor).preview().digest
    transaction = change.transaction
    assert told.log.revert(transaction).preview().digest == told.log.revert(transaction.id).preview().digest


def test_an_object_is_its_record(told):
    db = told.application.db
    ann = db.session.get(told.Manager, 1)
    assert len(list(told.log.history(ann))) == 3
    assert [change.verb for change in told.log.history(told.Thing).by(ann)] == ["update", "update"]
    db.session.rollback()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda told: told.log.history(told.Note), "is not audited"),
        (lambda told: told.log.history(told.Thing()), "no key yet"),
        (lambda told: told.log.history(42), "neither a mapped class"),
        (lambda told: told.log.history(told.Thing).touching("nothing"), "no column 'nothing'"),
        (lambda told: told.log.history(told.Thing).verb("updated"), "no kind of change"),
        (lambda told: told.log.history(told.Thing).between(dt.datetime(2026, 1, 1)), "no time zone"),
        (lambda told: told.log.blame(told.Thing), "a class and a key"),
    ],
)
def test_what_can_mean_nothing_is_an_error(told, ask, message):
    with pytest.raises(ConfigurationError, match=message):
        ask(told)


def test_elements_of_a_json_array_are_values(create_app):
    """The log has them as texts, ``json[]`` has no other; also in objects of then, and written back."""
    values = [{"a": [1, None]}, None, "x", '{"b": 1}']

    def declare_bag(db):
        class Bag(db.Model):
            __tablename__ = "bags"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)
            parts = sa.Column("bits", sa.ARRAY(sa.JSON(none_as_null=True)))

        return Models(Bag=Bag, User=Bag)

    application = create_app(declare=declare_bag)
    bag, log, session = application.models.Bag, application.audit_logger, application.db.session
    with application.app.app_context():
        session.add(bag(id=1, parts=values))
        session.commit()
        made = session.scalar(sa.select(sa.func.clock_timestamp()))
        session.execute(sa.update(bag).values(parts=None))
        session.commit()
        (emptied, first) = log.history(bag, 1)
        assert (first.after["parts"], emptied.diff["parts"]) == (values, (values, None))
        assert log.as_of(bag, 1, made).parts == values
        log.revert(emptied.transaction).apply()
        assert session.get(bag, 1).parts == values
