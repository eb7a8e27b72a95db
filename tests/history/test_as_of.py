"""Promise: as_of gives objects of the application's classes as they were, and says what it can't know."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlalchemy.orm.exc import DetachedInstanceError

from flask_audit_logger import AuditLogger, ConfigurationError
from flask_audit_logger.exceptions import BadValue, UnknownPast
from tests.history.conftest import NOON, THING, Color

FAR = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)


def test_a_record_is_as_it_was_with_the_types_of_its_columns(told):
    before, after = (told.log.as_of(told.Thing, THING, when) for when in told.times[:2])
    assert (before.cost, before.color, before.tags, before.at) == (Decimal("10.00"), Color.RED, [1, 2], NOON)
    assert before.data == {"audit_logger": [1.5]}
    assert (after.cost, after.color, after.owner_id) == (Decimal("12.50"), Color.BLUE, 1)
    assert told.log.as_of(told.Thing, THING, told.times[3]) is None
    assert told.log.as_of(told.Thing, uuid.UUID(int=1), told.times[3]).cost == Decimal("1.00")


def test_what_is_not_logged_is_not_loaded_and_named(told):
    found = told.log.as_of(told.Thing, THING, told.times[0])
    assert told.log.unknown(found) == {"pin": "masked", "note": "not logged"}
    for name in ("pin", "note"):
        with pytest.raises(DetachedInstanceError):
            getattr(found, name)
    with pytest.raises((DetachedInstanceError, sa.exc.InvalidRequestError)):
        found.owner  # noqa: B018
    assert sa.inspect(found).detached


def test_a_select_is_answered_by_the_rows_of_then(told):
    dear = sa.select(told.Thing).where(told.Thing.cost > 5).order_by(told.Thing.cost.desc()).limit(5)
    assert [[thing.id for thing in told.log.as_of(dear, when)] for when in told.times] == [[THING]] * 3 + [[]]
    cheap = sa.select(told.Thing).order_by(told.Thing.cost).offset(1)
    assert [thing.id for thing in told.log.as_of(cheap, when=told.times[0])] == [THING]


def test_joined_inheritance_is_read_from_both_tables(told):
    budgets = [told.log.as_of(told.Manager, 1, when).budget for when in told.times]
    assert budgets == [Decimal("5.00"), Decimal("5.00"), Decimal("7.00"), Decimal("7.00")]
    (found,) = told.log.as_of(sa.select(told.Manager).where(told.Manager.name == "Ann"), told.times[0])
    assert isinstance(found, told.Manager)
    (found,) = told.log.as_of(sa.select(told.User), told.times[0])
    assert isinstance(found, told.Manager)


def test_a_time_must_be_one_that_the_log_knows(told):
    with pytest.raises(ConfigurationError, match="without a time zone"):
        told.log.as_of(told.Thing, THING, dt.datetime(2026, 1, 1))
    with pytest.raises(ConfigurationError, match="give a datetime"):
        told.log.as_of(told.Thing, THING, "yesterday")
    with pytest.raises(ConfigurationError, match="to come"):
        told.log.as_of(told.Thing, THING, FAR)
    early = NOON - dt.timedelta(days=900)
    with pytest.raises(UnknownPast, match="begins at") as error:
        told.log.as_of(told.Thing, THING, early)
    assert error.value.when == early
    assert f"begins at {error.value.since};" in str(error.value)


@pytest.mark.parametrize("key", ["abc", 10**12, "a\0b", "\ud800"], ids=ascii)
def test_a_key_that_its_column_cannot_have_is_named(told, key):
    with pytest.raises(BadValue) as error:
        told.log.as_of(told.Manager, key, told.times[0])
    assert str(error.value) == f"{key!r} can't be a key of Manager: its column 'id' is INTEGER"
    if key == "abc":
        with pytest.raises(BadValue, match=r"'abc' can't be a key of Thing: its column 'id' is UUID"):
            told.log.as_of(told.Thing, key, told.times[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda told: sa.select(told.Thing.cost), "one mapped class"),
        (lambda told: sa.select(aliased(told.Thing)), "one mapped class"),
        (lambda told: sa.select(told.Thing).join(told.User), r"no join\(\)"),
        (lambda told: sa.select(told.Thing).distinct(), r"no distinct\(\)"),
        (lambda told: sa.select(told.Thing).group_by(told.Thing.id), r"no group_by\(\)"),
        (lambda told: sa.select(told.Thing).where(told.Thing.owner.has()), "subqueries"),
        (lambda told: sa.select(told.Thing).where(sa.text("price > 1")), "SQL as text"),
        (lambda told: sa.select(told.Thing).where(sa.func.abs(told.Thing.cost) > 1), "knows no functions"),
        (lambda told: sa.union(sa.select(told.Thing), sa.select(told.Thing)), "a select and a time"),
        (lambda told: told.Thing(), "a select and a time"),
        (lambda told: sa.select(told.Thing).where(told.User.id == 1), "only columns of Thing"),
        (lambda told: sa.select(told.Thing).where(told.Thing.pin == "1"), "pin of store.things is not logged"),
        (lambda told: sa.select(told.Thing).order_by(told.Thing.note), "note of store.things is not logged"),
        (lambda told: sa.select(told.Note), "is not audited"),
        (lambda told: sa.select(told.Part), "old_data"),
    ],
)
def test_any_other_select_is_an_error_that_says_so(told, make, message):
    with pytest.raises(ConfigurationError, match=message):
        told.log.as_of(make(told), told.times[0])


def test_keys_must_be_those_of_the_class(told):
    with pytest.raises(ConfigurationError, match="The key of Thing is id"):
        told.log.as_of(told.Thing, (1, 2), told.times[0])
    with pytest.raises(ConfigurationError, match="a mapped class, a key and a time"):
        told.log.as_of(told.Thing, None, told.times[0])
    assert told.log.as_of(told.Manager, {"id": 1}, told.times[0]).name == "Ann"


def test_another_database_is_an_error_that_says_so(app_of_sqlite):
    app, db, cls = app_of_sqlite
    with app.app_context(), pytest.raises(Exception, match="PostgreSQL"):
        AuditLogger(db).as_of(cls, 1, NOON)


@pytest.fixture
def app_of_sqlite():
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("lite")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)

    class Thing(db.Model):
        __table_args__ = ({"info": {"audit_logged": True}},)
        id = sa.Column(sa.Integer, primary_key=True)

    yield app, db, Thing
    with app.app_context():
        db.engine.dispose()
