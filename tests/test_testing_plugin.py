"""Promise: a test can say which change it expects, and what it gets is what is recorded, committed or not."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import unittest
from contextlib import contextmanager
from decimal import Decimal
from importlib.metadata import entry_points
from types import SimpleNamespace
from unittest.mock import ANY

import flask
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from flask_audit_logger import AuditLogger, ConfigurationError
from flask_audit_logger.history.changes import UNKNOWN
from flask_audit_logger.testing import assert_audited, captured_changes, no_audit
from tests.history.conftest import NOON, THING, Color, declare
from tests.support.apps import make_app
from tests.support.models import AUDITED


@pytest.fixture(scope="module")
def place(server):
    """An application in whose database each test leaves what it was."""
    with server.database() as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema("store"))
        engine.dispose()
        application = make_app(url, declare=declare, mask=["*token*"])

        @application.app.post("/price/<price>")
        def change(price):
            thing = application.db.session.get(application.models.Thing, THING)
            thing.cost = Decimal(price)
            application.db.session.commit()
            return ""

        yield SimpleNamespace(
            app=application.app, db=application.db, log=application.audit_logger, **vars(application.models)
        )
        application.dispose()


@pytest.fixture
def shop(place):
    """What a test writes is rolled back: every session runs in one transaction of the test, as is common."""
    with place.app.app_context(), rolled_back(place.db):
        add(place)
        yield place


def add(shop):
    shop.db.session.add(shop.Manager(id=1, name="Ann", budget=Decimal(5)))
    shop.db.session.add(shop.Thing(id=THING, cost=Decimal("10.00"), color=Color.RED, pin="1", at=NOON))
    shop.db.session.commit()


@contextmanager
def rolled_back(db):
    engine = db.engines[None]
    connection = engine.connect()
    transaction = connection.begin()
    db.engines[None] = connection
    options = db.session.session_factory.kw
    options["join_transaction_mode"] = "create_savepoint"
    try:
        yield
    finally:
        db.session.remove()
        transaction.rollback()
        connection.close()
        db.engines[None] = engine
        del options["join_transaction_mode"]


def thing_of(shop):
    return shop.db.session.get(shop.Thing, THING)


def test_what_a_request_committed_is_found_although_the_test_rolls_it_back(shop):
    thing, ann = thing_of(shop), shop.db.session.get(shop.User, 1)
    with captured_changes() as changes:
        assert not changes
        with shop.log.context(actor=ann):
            shop.app.test_client().post("/price/12.5")
        assert len(changes) == 1, "also inside the block"
    assert_audited(thing, verb="update", changed={"cost": ("10.00", "12.50")}, by=ann)
    assert_audited((shop.Thing, THING), changed={"cost": (Decimal(10), 12.5)}, by="1")
    assert changes[0].diff == {"cost": (Decimal("10.00"), Decimal("12.50"))}
    thing.cost = Decimal(99)
    shop.db.session.commit()
    assert len(changes) == 1, "what comes after the block is not of it"
    shop.db.session.delete(thing)
    assert_audited(thing, verb="delete", changed={"cost": ("99", None)}, by=None)


def test_what_was_rolled_back_to_a_savepoint_is_not_recorded(shop):
    with captured_changes() as changes:
        with shop.db.session.begin_nested() as savepoint:
            thing_of(shop).cost = 11
            shop.db.session.flush()
            savepoint.rollback()
        thing_of(shop).cost = 12
    assert [change.diff["cost"].after for change in changes] == [12]


def test_values_are_compared_as_the_column_has_them(shop):
    thing = thing_of(shop)
    thing.color, thing.at, thing.pin, thing.data = Color.BLUE, NOON + dt.timedelta(days=1), "2", {"a": [1]}
    expected = {
        "color": [("RED", "BLUE"), (Color.RED, Color.BLUE)],
        "at": [("2026-03-01 12:00Z", "2026-03-02 13:00+01:00"), (ANY, NOON + dt.timedelta(days=1))],
        "pin": [(UNKNOWN, UNKNOWN)],
        "data": [(None, {"a": [1]})],
    }
    for name, pairs in expected.items():
        for pair in pairs:
            assert_audited(thing, verb="update", changed={name: pair})
    for name, pair in {"color": ("RED", "GREEN"), "at": (NOON, NOON), "pin": ("1", "2"), "cost": (10, 10)}.items():
        with pytest.raises(AssertionError):
            assert_audited(thing, verb="update", changed={name: pair})


def test_a_failure_shows_expected_and_recorded_side_by_side(shop):
    thing = thing_of(shop)
    with shop.log.context(actor=shop.db.session.get(shop.User, 1)):
        thing.cost, thing.color = Decimal("12.5"), Color.BLUE
        shop.db.session.flush()
    with pytest.raises(AssertionError) as failure:
        assert_audited(thing, verb="update", changed={"cost": ("10.00", "12.00"), "color": ("RED", "BLUE")}, by=None)
    lines = str(failure.value).splitlines()
    assert lines[0] == f"No change of Thing {THING} is as expected. The nearest:"
    assert [" ".join(line.split()) for line in lines[2:6]] == [
        "verb update update",
        "≠ by nobody 1 (Ann)",
        "≠ cost '10.00' → '12.00' Decimal('10.00') → Decimal('12.50')",
        f"color 'RED' → 'BLUE' {Color.RED!r} → {Color.BLUE!r}",
    ]
    column = lines[1].index("recorded as")
    assert [line[column:].split("(")[0] for line in lines[2:5]] == ["update", "1 ", "Decimal"], "in one column"
    assert lines[6] == "Also recorded:"
    assert "insert store.things" in lines[7] and "by nobody" in lines[7]


def test_long_values_are_shown_from_where_they_differ(shop):
    ann = shop.db.session.get(shop.Manager, 1)
    ann.name = "x" * 300 + "old"
    with pytest.raises(AssertionError) as failure:
        assert_audited(ann, changed={"name": ("Ann", "x" * 300 + "new")})
    (line,) = [line for line in str(failure.value).splitlines() if line.startswith("≠ name")]
    assert "xnew'" in line and "xold'" in line and len(line) < 130


def test_the_rows_of_one_object_in_two_tables_are_one_change(shop):
    ann = shop.db.session.get(shop.Manager, 1)
    ann.name, ann.budget = "Anna", Decimal(7)
    assert_audited(ann, verb="update", changed={"name": ("Ann", "Anna"), "budget": (5, 7)})
    with pytest.raises(AssertionError):
        assert_audited(ann, verb="update", changed={"name": ("Ann", "Anna"), "budget": (5, 8)})


def test_nothing_recorded_says_what_was_expected(shop):
    with no_audit():
        shop.db.session.add(shop.User(id=5, name="Eve"))
    with pytest.raises(
        AssertionError, match=r"Nothing is recorded of User 5\.\nexpected: insert, by 1, name None → 'Eve'"
    ):
        assert_audited((shop.User, 5), verb="insert", by=1, changed={"name": (None, "Eve")})


def test_without_audit_what_was_pending_is_recorded_and_what_is_added_inside_is_not(shop):
    with captured_changes() as changes:
        shop.db.session.add(shop.User(id=5, name="Eve"))
        with no_audit():
            shop.db.session.add(shop.User(id=6, name="Joe"))
        shop.db.session.add(shop.User(id=7, name="Kim"))
    assert [change.key for change in changes] == ["5", "7"]


def test_events_are_among_what_is_captured(shop):
    thing = thing_of(shop)
    with captured_changes() as changes:
        shop.log.record("thing.sold", target=thing, price=12, token="s3cret")
    assert [(change.verb, change.event.name, change.event.data["price"]) for change in changes] == [
        ("event", "thing.sold", 12)
    ]
    assert_audited(thing, verb="event")
    assert "event store.things" in repr(changes) and "thing.sold" in repr(changes) and "s3cret" not in repr(changes)


def test_an_actor_of_another_class_is_told_apart(shop):
    thing = thing_of(shop)
    other = shop.Part(id=1)
    with no_audit():
        shop.db.session.add(other)
    with shop.log.context(actor=other):
        thing.cost = 3
        shop.db.session.flush()
    assert_audited(thing, verb="update", by=other)
    for somebody in (1, None):
        with pytest.raises(AssertionError, match=r"≠ by +(1|nobody) +Part 1"):
            assert_audited(thing, verb="update", by=somebody)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"verb": "change"}, "no kind of change"),
        ({"changed": {"prize": (1, 2)}}, "Thing has no column 'prize'"),
        ({"changed": {"note": (1, 2)}}, "'note' is excluded"),
        ({"changed": {"cost": 12}}, "what it was and what it became"),
    ],
)
def test_what_can_never_be_recorded_is_an_error_of_the_test(shop, arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        assert_audited(thing_of(shop), **arguments)


def test_what_is_no_record_is_an_error(shop):
    for subject, said in ((3, "neither a mapped"), (shop.Thing, "takes an object"), ((shop.Note, 1), "not audited")):
        with pytest.raises(ConfigurationError, match=said):
            assert_audited(subject)


def test_reading_leaves_the_transaction_as_it_was(shop):
    thing = thing_of(shop)
    session = shop.db.session()
    session.execute(sa.text("SET LOCAL TimeZone = 'Asia/Tokyo'"))
    with captured_changes():
        assert_audited(thing)
    assert session.scalar(sa.text("SHOW TimeZone")) == "Asia/Tokyo"
    with shop.log.context(reason="after"):
        thing.cost = 4
        shop.db.session.flush()
    with captured_changes() as changes, shop.log.context(reason="later"):
        session.execute(sa.text("UPDATE store.things SET price = 5"))
    assert [change.transaction.reason for change in changes] == ["later"]


def test_a_test_that_commits_has_no_open_transaction_after_it(place, request):
    with pytest.raises(ConfigurationError, match="No AuditLogger is found"), captured_changes():
        pass
    with captured_changes(place.app) as changes:
        assert not flask.has_app_context()
        with place.app.app_context():
            add(place)
            thing = thing_of(place)
            thing.cost = 7
            assert_audited(thing, verb="update", changed={"cost": (10, 7)})  # not committed
            place.db.session.rollback()
            assert_audited(thing, verb="insert")
            assert not place.db.session().in_transaction()
            place.db.session.delete(thing)
            place.db.session.execute(sa.text("DELETE FROM managers"))
            place.db.session.execute(sa.text("DELETE FROM users"))
            place.db.session.commit()
    assert [change.verb for change in changes] == ["insert"] * 3 + ["delete"] * 3
    with no_audit(place.app), place.app.app_context():
        place.db.session.add(place.Thing(id=THING))
        place.db.session.commit()
        place.db.session.execute(sa.text("TRUNCATE store.things"))
        place.db.session.commit()
    with captured_changes(place.app) as changes:
        pass
    assert list(changes) == []


def test_sessions_without_flask_on_the_connection_of_a_test(database_url):
    """The recipe of SQLAlchemy's documentation, with an engine instead of a database object."""

    class Model(DeclarativeBase):
        pass

    class Order(Model):
        __tablename__ = "orders"
        __table_args__ = (AUDITED,)
        id: Mapped[int] = mapped_column(primary_key=True)
        place: Mapped[str]

    engine = sa.create_engine(database_url)
    sessions = sessionmaker(join_transaction_mode="create_savepoint")
    logger = AuditLogger(engine=engine, metadata=Model.metadata, session=sessions)
    Model.metadata.create_all(engine)
    with engine.connect() as connection, connection.begin() as transaction:
        sessions.configure(bind=connection)
        with captured_changes(logger) as changes, sessions() as session:
            order = Order(id=1, place="Rome")
            session.add(order)
            session.commit()
            order.place = "Oslo"
            session.commit()
            assert_audited(order, verb="update", changed={"place": ("Rome", "Oslo")}, by=None)
        assert [change.verb for change in changes] == ["insert", "update"]
        transaction.rollback()
    sessions.configure(bind=engine)
    with captured_changes(logger) as changes, no_audit(logger), sessions.begin() as session:
        session.add(Order(id=2, place="Rome"))
    assert not changes
    logger.detach()
    engine.dispose()


def test_a_database_that_captures_nothing_skips_the_test(tmp_path):
    """An assertion must not pass there, and one that fails would forbid tests on SQLite."""
    application = make_app(sa.make_url(f"sqlite:///{tmp_path}/some.db"))
    with application.app.app_context():
        user = application.models.User(id=1, name="Ann")
        application.db.session.add(user)
        for asked in (lambda: assert_audited(user), lambda: captured_changes().__enter__()):
            with pytest.raises(unittest.SkipTest, match="this database is sqlite, so its changes are not logged"):
                asked()
        with no_audit():
            application.db.session.commit()
        assert user.id == 1
    application.dispose()


def test_several_databases(create_app, server, database_url):
    def two(db):
        class Here(db.Model):
            __tablename__ = "here"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)

        class There(db.Model):
            __tablename__ = "there"
            __bind_key__ = "other"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)

        return SimpleNamespace(Here=Here, There=There)

    with server.database() as other:
        application = make_app(database_url, declare=two, config={"SQLALCHEMY_BINDS": {"other": other}})
        with application.app.app_context(), captured_changes() as changes:
            there = application.models.There(id=2)
            application.db.session.add_all([application.models.Here(id=1), there])
            assert_audited(there, verb="insert")
            assert [(change.table, change.key) for change in changes] == [("here", "1"), ("there", "2")]
        application.dispose()


PROJECT = """
import os

import flask
import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger

db = SQLAlchemy()


class Order(db.Model):
    __table_args__ = ({"info": {"audit_logged": True}},)
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(params=["DATABASE_URL", "SQLITE"])
def app(request):
    app = flask.Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ[request.param]
    db.init_app(app)
    AuditLogger(db).init_app(app)
    with app.app_context():
        db.drop_all()
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()


def buy(app, id):
    with app.app_context():
        db.session.add(Order(id=id))
        db.session.commit()


def test_passes(app, assert_audited, captured_changes):
    with captured_changes() as changes:
        buy(app, 3)
    assert [change.key for change in changes] == ["3"]
    assert_audited((Order, 3), verb="insert")


def test_fails(app, assert_audited):
    buy(app, 4)
    assert_audited((Order, 4), verb="delete")


@pytest.mark.usefixtures("no_audit")
def test_nothing(app, captured_changes):
    with captured_changes() as changes:
        buy(app, 5)
    assert not changes
"""


def test_the_fixtures_in_a_project(database_url, tmp_path, monkeypatch):
    """The application of the fixture ``app`` is meant; on SQLite tests are skipped, with the reason."""
    (tmp_path / "test_shop.py").write_text(PROJECT)
    monkeypatch.setenv("DATABASE_URL", database_url.render_as_string(hide_password=False))
    monkeypatch.setenv("SQLITE", f"sqlite:///{tmp_path}/some.db")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing those of others takes as long as the tests
    options = ["-p", "pytest_flask_audit_logger", "-p", "no:cacheprovider", "-q", "-rs", "--tb=short"]
    command = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 2 passed, 3 skipped" in done.stdout, done.stdout + done.stderr
    assert "nothing is captured: an audit log needs PostgreSQL" in done.stdout
    assert "≠ verb  delete    insert" in done.stdout
    assert "_check(" not in done.stdout, "the traceback ends in the test"


def test_the_plugin_costs_no_other_project_anything():
    """pytest imports it in each run of an environment."""
    assert [point.value for point in entry_points(group="pytest11", name="flask_audit_logger")] == [
        "pytest_flask_audit_logger"
    ]
    code = (
        "import sys, pytest_flask_audit_logger as p; sys.exit(bool({'flask', 'flask_audit_logger'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
