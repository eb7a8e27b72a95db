"""Promise: what an application records beside changes is logged as a change would be, and is no state of a record."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import enum
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from flask_audit_logger import AuditLogger, ConfigurationError
from flask_audit_logger.query.records import last_version
from flask_audit_logger.query.refs import RecordRef, TableName
from flask_audit_logger.ui import AuditUI
from tests.growth.test_months import cli
from tests.support.apps import make_app
from tests.support.documents import named
from tests.support.models import Models
from tests.ui.shop import Shop, declare_shop, may_read, text_of

SECRET = "correct horse"


@pytest.fixture(scope="module")
def app(server):
    """A shop with a product that was made and changed, and two lines of an order."""
    with server.database("psycopg2") as url:
        application = make_app(
            url, declare=declare_shop, ui=AuditUI(permission=may_read), mask=["*token*"], exclude=["pin"]
        )
        shop = Shop(application)
        shop.sql("INSERT INTO users (id, name) VALUES (1, 'Ann'), (2, 'Bob')")
        shop.add(1, "Product", id=1, name="Chair", price=10)
        shop.change(1, "Product", 1, price=12)
        yield application
        application.dispose()


@pytest.fixture
def shop(app):
    """The same without the events of other tests."""
    shop = Shop(app)
    shop.sql("DELETE FROM activity WHERE verb = 'event'")
    return shop


def events(shop: Shop, **columns: Any) -> list[Any]:
    return shop.application.activities(verb="event", **columns)


def test_an_event_is_in_the_transaction_of_the_changes_and_by_the_same_actor(shop):
    record = shop.application.audit_logger.record
    with shop.acting(2, addr="192.0.2.7", reason="month end") as session:
        product = session.get(shop.models.Product, 1)
        product.stock = 5
        record("product.exported", target=product, format="pdf", copies=2, name="a name")
    (event,) = events(shop)
    assert (event.schema, event.table_name, event.record_key, event.verb) == ("public", "products", "1", "event")
    assert event.relid == shop.sql("SELECT 'products'::regclass::oid")[0][0]
    assert event.old_data == {}
    assert event.changed_data == {
        "name": "product.exported",
        "outcome": "success",
        "data": {"format": "pdf", "copies": 2, "name": "a name"},
    }
    (change,) = shop.application.activities(transaction_id=event.transaction_id, verb="update")
    assert change.id < event.id
    made = event.transaction
    assert (made.actor_id, str(made.client_addr), made.context["reason"]) == (2, "192.0.2.7", "month end")


def test_an_event_goes_with_its_transaction(shop):
    record = shop.application.audit_logger.record
    with shop.acting(1) as session:
        record("kept")
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            record("savepoint")
            raise ZeroDivisionError
        session.commit()
        record("lost")
        session.rollback()
    assert [event.changed_data["name"] for event in events(shop)] == ["kept"]


def test_an_event_without_a_target_is_of_no_table(shop):
    with shop.acting(1):
        shop.application.audit_logger.record("report.failed", outcome="failure")
    (event,) = events(shop)
    assert (event.schema, event.table_name, event.record_key, event.relid) == ("", "event", None, 0)
    assert event.changed_data == {"name": "report.failed", "outcome": "failure", "data": {}}


def test_outside_a_request_on_a_connection_and_while_capture_is_off(shop):
    logger = shop.application.audit_logger
    with shop.application.app.app_context():
        with shop.db.engine.begin() as connection, logger.context(actor="cron", job="nightly"):
            logger.record("on.connection", session=connection)
        with logger.disable():
            logger.record("in.disable")
            shop.db.session.commit()
        assert {e.changed_data["name"]: e.transaction.context.get("job") for e in events(shop)} == {
            "on.connection": "nightly",
            "in.disable": None,
        }


def test_a_new_target_gets_its_key_first(shop):
    with shop.acting(1) as session:
        user = shop.models.User(id=50, name="New")
        session.add(user)
        shop.application.audit_logger.record("user.invited", target=user)
        key = str(user.id)
    (event,) = events(shop)
    (insert,) = shop.application.activities(transaction_id=event.transaction_id, verb="insert")
    assert event.record_key == insert.record_key == key
    assert insert.id < event.id


def test_the_key_of_several_columns_is_written_as_that_of_a_change(shop):
    with shop.acting(1) as session:
        line = shop.models.Item(order_id=7, code="a")
        session.add(line)
        shop.application.audit_logger.record("item.packed", target=line)
    (event,) = events(shop)
    (insert,) = shop.application.activities(transaction_id=event.transaction_id, verb="insert")
    assert event.record_key == insert.record_key == '["7", "a"]'


class Size(enum.Enum):
    SMALL = "S"


def test_values_that_json_has_not_are_text(shop):
    number = uuid.UUID(int=5)
    with shop.acting(1):
        shop.application.audit_logger.record(
            "x", day=dt.date(2026, 1, 2), price=decimal.Decimal("1.50"), of=number, size=Size.SMALL, typed="a\0b\ud800",
            deep={"list": (1, None, True, 1.5)},
        )  # fmt: skip
    assert events(shop)[0].changed_data["data"] == {
        "day": "2026-01-02",
        "price": "1.50",
        "of": str(number),
        "size": "S",
        "typed": "a\ufffdb?",
        "deep": {"list": [1, None, True, 1.5]},
    }


DEEP: Any = []
for _ in range(25):
    DEEP = [DEEP]

NONSENSE = {
    "no name": ("", {}, "is no name of an event"),
    "spaces": ("two words", {}, "is no name of an event"),
    "no text": (5, {}, "is no name of an event"),
    "outcome": ("x", {"outcome": "fine"}, "choose from success, failure, unknown"),
    "nan": ("x", {"a": float("nan")}, "nan, which JSON can't hold"),
    "bytes": ("x", {"a": b"x"}, "is of type bytes"),
    "object": ("x", {"a": {"b": [object()]}}, r"x\.a\.b is of type object"),
    "keys": ("x", {"a": {1: 2}}, "keys that are no texts"),
    "mark": ("x", {"audit_logger": 2}, "'audit_logger'"),
    "huge": ("x", {"a": "x" * 100_001}, "more than 100000 characters"),
    "digits": ("x", {"a": 10**5000}, "more digits than Python writes"),
    "deep": ("x", {"a": DEEP}, "more than 20 levels"),
    "target": ("x", {"target": 5}, "is a mapped object, not 5"),
    "session": ("x", {"session": 5}, "takes a session or a connection, not 5"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_before_anything_is_written(shop, case):
    name, options, message = NONSENSE[case]
    with shop.acting(1) as session:
        with pytest.raises(ConfigurationError, match=message):
            shop.application.audit_logger.record(name, **options)
        session.execute(sa.text("SELECT 1"))  # the transaction goes on
    assert events(shop) == []


def test_a_target_needs_a_key_and_an_audited_table(shop):
    logger = shop.application.audit_logger
    with shop.acting(1), pytest.raises(ConfigurationError, match="has no key yet"):
        logger.record("x", target=shop.models.User(name="not added"))
    unaudited = make_unaudited()
    with shop.acting(1), pytest.raises(ConfigurationError, match="plain is not audited"):
        logger.record("x", target=unaudited)


def make_unaudited() -> Any:
    base = sa.orm.declarative_base()

    class Plain(base):  # type: ignore[valid-type,misc]
        __tablename__ = "plain"
        id = sa.Column(sa.Integer, primary_key=True)

    return Plain(id=1)


def test_masked_and_excluded_names_are_not_recorded(shop):
    with shop.acting(1) as session:
        product = session.get(shop.models.Product, 1)
        shop.application.audit_logger.record(
            "x", target=product, secret=SECRET, api_token=SECRET, pin=SECRET, deep=[{"token": SECRET, "pin": SECRET}]
        )
    (event,) = events(shop)
    masked = {"audit_logger": "masked"}
    assert event.changed_data["data"] == {"secret": masked, "api_token": masked, "deep": [{"token": masked}]}
    assert SECRET not in shop.page("/audit/?period=all&verb=event")


def test_a_masked_column_is_masked_under_the_name_of_its_attribute(create_app):
    def declare(db):
        class Person(db.Model):
            __tablename__ = "people"
            __table_args__ = ({"info": {"audit_logged": {"mask": ["password_hash"], "exclude": ["portrait"]}}},)
            id = sa.Column(sa.Integer, primary_key=True)
            password = sa.Column("password_hash", sa.Text)
            picture = sa.Column("portrait", sa.Text)

        return Models(Person=Person)

    application = create_app(declare=declare)
    with application.app.app_context():
        application.db.session.add(person := application.models.Person(id=1))
        names = ("password", "password_hash", "picture", "portrait")
        application.audit_logger.record("x", target=person, **dict.fromkeys(names, SECRET))
        application.db.session.commit()
        (event,) = application.activities(verb="event")
    masked = {"audit_logger": "masked"}
    assert event.changed_data["data"] == {"password": masked, "password_hash": masked}


def test_an_event_is_no_state_of_its_record(shop):
    """The pages of the record are what they were, with the event in its history; nothing can be put back from it."""
    record = RecordRef(TableName("public", "products"), "1")
    shop.change(1, "Product", 1, price=13)
    with shop.acting(2) as session:
        product = session.get(shop.models.Product, 1)
        shop.application.audit_logger.record("price.printed", target=product, copies=3, stock="many")
    (event,) = events(shop)
    address = f"{event.transaction_id}.{event.id}"
    page = shop.page("/audit/record/products/1")
    text = text_of(page)
    assert "price.printed · stock: many · copies: 3" in text
    assert "Exists. Last change" in text and "by Ann" in text
    assert f'value="{address}"' not in page  # it can't be compared with
    assert page.count(" checked>") == 2
    state = text_of(shop.page("/audit/record/products/1/at"))
    assert "13.00" in state and "price.printed" not in state and "many" not in state
    shop.page("/audit/record/products/1/compare")
    shop.page(f"/audit/record/products/1/compare?from={address}&to=last", status=404)
    own = shop.page(f"/audit/activity/{address}")
    assert "price.printed · stock: many · copies: 3" in text_of(own)
    assert "Put back" not in own and "State after this change" not in own
    assert "price.printed" not in text_of(shop.page("/audit/?period=all&col=name"))
    assert "price.printed" in text_of(shop.page("/audit/?period=all&verb=event"))
    for path in ("/", "/transactions", f"/transaction/{event.transaction_id}", "/actor/2", "/export.csv",
                 "/export.jsonl", "/breakdown/facets"):  # fmt: skip
        assert shop.get(f"{path}?period=all").status_code == 200, path
    assert '"name": "price.printed"' in shop.get("/export.jsonl?period=all&verb=event").text
    with shop.application.app.app_context():
        from flask_audit_logger.query.reader import AuditReader

        logger = shop.application.audit_logger
        with AuditReader(logger.engine, logger.models, 5000).reading() as log:
            assert last_version(log, record).verb == "update"


def test_the_pages_show_events_without_a_target(shop):
    with shop.acting(1):
        shop.application.audit_logger.record("backup.made", outcome="unknown", size=5)
    assert "backup.made, outcome unknown · size: 5" in text_of(shop.page("/audit/?period=all"))
    (event,) = events(shop)
    page = text_of(shop.page(f"/audit/activity/{event.transaction_id}.{event.id}"))
    assert "Event backup.made by Ann" in page
    assert "Event ()" not in page


def test_an_event_without_a_target_is_called_by_its_name(shop):
    with shop.acting(1):
        shop.application.audit_logger.record("backup.made")
    (event,) = events(shop)
    page = shop.page(f"/audit/activity/{event.transaction_id}.{event.id}")
    assert "<h1>backup.made</h1>" in page
    found = shop.page("/audit/?period=all&table=.event")
    assert '<option value=".event" selected>Event</option>' in found
    for address in ("/?period=all", "/?period=all&table=.event", "/breakdown/facets?period=all",
                    f"/transaction/{event.transaction_id}", "/actor/1?period=all"):  # fmt: skip
        found = shop.page(f"/audit{address}")
        assert "Event" in text_of(found), address
        assert "Event (" not in found, address
        assert ">.event<" not in found, address
    listed = cli(shop.application, "log", "--verb", "event")[1].splitlines()
    assert listed[0].endswith("event backup.made, Ann (1)")
    assert listed[1] == "    data {}, outcome success"
    shown = cli(shop.application, "show", f"{event.transaction_id}.{event.id}")[1]
    assert shown.startswith("event backup.made\n")


def test_a_column_that_a_viewer_may_not_see_is_hidden_in_events_too(create_app):
    shop = Shop(create_app(declare=declare_shop, ui=AuditUI(permission=may_read, mask=["products.stock"])))
    shop.sql("INSERT INTO users (id, name) VALUES (1, 'Ann')")
    shop.add(None, "Product", id=1, name="Chair", stock=5)
    with shop.acting(None) as session:
        shop.application.audit_logger.record("counted", target=session.get(shop.models.Product, 1), stock=SECRET)
    (event,) = events(shop)
    for path in ("/?period=all", f"/activity/{event.transaction_id}.{event.id}", "/export.csv?period=all",
                 "/export.jsonl?period=all", "/record/products/1"):  # fmt: skip
        found = shop.get(path)
        assert "counted" in found.text or "csv" in path, path
        assert SECRET not in found.text, path


def test_the_role_of_the_application_records_events_and_nothing_else(shop):
    """The function checks for itself; whoever is not meant to call it loses the right, and keeps it lost."""
    url = sa.make_url(shop.application.app.config["SQLALCHEMY_DATABASE_URI"])
    call = "SELECT audit_logger_record_event({})"
    good = """NULL, NULL, NULL, '{"name": "x", "outcome": "success", "data": {}}'"""
    shop.sql("DROP ROLE IF EXISTS event_app; CREATE ROLE event_app")
    try:

        def as_app(arguments: str) -> None:
            shop.sql(f"SET LOCAL ROLE event_app; {call.format(arguments)}")

        as_app(good)
        (event,) = events(shop)
        assert (event.verb, event.table_name, event.changed_data["name"]) == ("event", "event", "x")
        for arguments in (
            "NULL, NULL, NULL, NULL",
            "NULL, NULL, NULL, '[]'",
            """NULL, NULL, NULL, '{"name": "x", "outcome": "success", "data": 5}'""",
            """NULL, NULL, NULL, '{"name": "x", "outcome": "other", "data": {}}'""",
            """NULL, NULL, NULL, '{"name": "x", "outcome": "success", "data": {}, "more": 1}'""",
            """NULL, 'users', NULL, '{"name": "x", "outcome": "success", "data": {}}'""",
            """NULL, NULL, '1', '{"name": "x", "outcome": "success", "data": {}}'""",
        ):
            with pytest.raises(sa.exc.DBAPIError, match="this is no event"):
                as_app(arguments)
        with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
            shop.sql("SET LOCAL ROLE event_app; INSERT INTO transaction (native_transaction_id) VALUES (1)")
        documented = named(Path(__file__).parents[2] / "docs" / "security.md")["grant_events"]
        shop.sql(documented.replace("shop_app", "event_app"))
        as_app(good)
        shop.sql("REVOKE EXECUTE ON FUNCTION audit_logger_record_event FROM event_app")
        with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
            as_app(good)
        code, output = cli(shop.application, "status")
        assert code == 0, output
    finally:
        shop.sql("GRANT EXECUTE ON FUNCTION audit_logger_record_event TO PUBLIC; DROP ROLE event_app")
    assert url.database


def test_status_says_that_the_function_is_missing(create_app):
    shop = Shop(create_app(declare=declare_shop))
    shop.sql("DROP FUNCTION audit_logger_record_event")
    code, output = cli(shop.application, "status")
    assert code == 1 and "its functions are outdated" in output


def test_events_are_kept_and_erased_like_changes(create_app):
    """Only those of the person lose their values, and those whose time is over go."""
    shop = Shop(create_app(declare=declare_people, keep={"event": "1y", "people": "1y"}))
    record, person = shop.application.audit_logger.record, shop.models.Person
    with shop.acting(None) as session:
        session.add_all([person(id=1, email="one@example.org"), person(id=2, email="two@example.org")])
        for key in (1, 2):
            record("mailed", target=session.get(person, key), email=f"{key}@example.org", subject="Hello")
        record("old", email="three@example.org")
    with shop.application.app.app_context():
        erased = shop.application.audit_logger.erase(shop.db.session.get(person, 1), reason="asked")
    assert erased.changes == {"people": 2}
    assert [event.changed_data["data"] for event in events(shop, table_name="people")] == [
        {"email": {"audit_logger": "erased"}, "subject": "Hello"},
        {"email": "2@example.org", "subject": "Hello"},
    ]
    shop.sql("UPDATE transaction SET issued_at = issued_at - interval '2 years'")
    assert cli(shop.application, "maintain")[0] == 0
    assert events(shop) == []
    assert {a.table_name: a.changed_data["changes"] for a in shop.application.activities(verb="pruned")} == {
        "event": 1,
        "people": 4,
    }


def declare_people(db: SQLAlchemy) -> Any:
    models = declare_shop(db)

    class Person(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "people"
        __table_args__ = ({"info": {"audit_logged": {"personal": ["email"]}}},)
        id = sa.Column(sa.Integer, primary_key=True)
        email = sa.Column(sa.Text)

    models.Person = Person
    return models


def test_an_event_does_not_stand_for_a_row_in_a_baseline(create_app):
    shop = Shop(create_app(declare=declare_shop))
    shop.sql("SET flask_audit_logger.enable_versioning = 'false'; INSERT INTO users (id, name) VALUES (1, 'Ann')")
    with shop.acting(None) as session:
        shop.application.audit_logger.record("seen", target=session.get(shop.models.User, 1))
    assert cli(shop.application, "baseline", "users")[0] == 0
    assert [a.record_key for a in shop.application.activities(verb="snapshot")] == ["1"]


@pytest.mark.parametrize("async_driver", ["asyncpg", "psycopg"])
def test_async_sessions_await_it(database_url, async_driver):
    if async_driver == "asyncpg":
        pytest.importorskip("asyncpg")
    metadata = sa.MetaData()
    table = sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True), info={"audit_logged": True})
    engine = sa.create_engine(database_url)
    logger = AuditLogger(engine=engine, metadata=metadata)
    metadata.create_all(engine)

    async def work() -> None:
        own = create_async_engine(database_url.set(drivername=f"postgresql+{async_driver}"))
        logger.watch(own)
        async with AsyncSession(own) as session:
            with logger.context(actor="Ann"):
                await session.execute(table.insert())
                await logger.record("noted", session=session)
                await session.commit()
                await logger.record("lost", session=session)
                await session.rollback()
        async with own.begin() as connection:
            await logger.record("on.connection", session=connection)
        await own.dispose()

    asyncio.run(work())
    logger.record("by.itself")  # nobody's session: a transaction of its own
    activity = logger.activity_cls
    with sa.orm.Session(engine) as session:
        found = session.scalars(sa.select(activity).order_by(activity.id)).all()
        assert [(a.verb, a.changed_data.get("name"), a.transaction.actor_id) for a in found] == [
            ("insert", None, "Ann"),
            ("event", "noted", "Ann"),
            ("event", "on.connection", None),
            ("event", "by.itself", None),
        ]
    engine.dispose()


def test_on_another_database_nothing_happens(tmp_path):
    application = make_app(sa.make_url(f"sqlite:///{tmp_path}/x.db"), declare=declare_people_alone)
    with application.app.app_context():
        person = application.models.Person(id=1)
        application.db.session.add(person)
        application.audit_logger.record("x", target=person)
        application.db.session.commit()
        assert application.db.session.get(application.models.Person, 1) is person
    application.dispose()


def declare_people_alone(db: SQLAlchemy) -> Any:
    from types import SimpleNamespace

    class Person(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "people"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id = sa.Column(sa.Integer, primary_key=True)

    return SimpleNamespace(Person=Person)
