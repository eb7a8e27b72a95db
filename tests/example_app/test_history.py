"""The demo's history is what it promises to be, and a change made now appears on top of it with the right name."""

from __future__ import annotations

import datetime as dt
import html
import re
from decimal import Decimal

import pytest
from sqlalchemy import DateTime, cast, func, select

from example_app.extensions import db
from example_app.models import Product, Seeding, SupplierPrice, User
from example_app.seed import ensure_history
from tests.example_app.shops import ADDRESS, browser, log_in, rows

pytestmark = pytest.mark.slow


@pytest.fixture
def log(seeded):
    return seeded.extensions["audit_logger"]


@pytest.fixture
def activity(log):
    return log.activity_cls


@pytest.fixture
def transaction(log):
    return log.transaction_cls


def text_of(page: str) -> str:
    """What one reads on a page, blanks made one."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def test_a_price_changed_now_is_on_top_of_the_products_history(seeded, activity, transaction):
    admin = browser(seeded, "admin")
    path = f"/products/{rows(seeded, select(func.min(Product.id)))[0][0]}"
    [(old,)] = rows(seeded, select(Product.price).where(Product.id == int(path.rpartition("/")[2])))
    before = dt.datetime.now(dt.UTC)
    admin.submit(f"{path}/edit", price="123.45", reason="Test of the history")

    newest = (
        select(transaction, activity.old_data, activity.changed_data)
        .join(activity, activity.transaction_id == transaction.id)
        .order_by(activity.id.desc())
        .limit(1)
    )
    [entry] = rows(seeded, newest)
    assert (entry.actor_label, str(entry.client_addr).partition("/")[0]) == ("Ann Price", ADDRESS)
    assert before - dt.timedelta(seconds=1) < entry.issued_at < before + dt.timedelta(minutes=1)
    assert (Decimal(str(entry.old_data["price"])), str(entry.changed_data["price"])) == (old, "123.45")

    link = re.search(r'href="(/audit/record/[^"]+)"', admin.client.get(path).text)
    assert link is not None
    page = text_of(admin.client.get(html.unescape(link[1])).text)
    top = page[page.index("newest first") :].partition("Updated")
    assert entry.issued_at.strftime("%Y-%m-%d %H:%M:%S") in top[0]
    assert re.match(rf" price {old} → 123\.45 .*Ann Price {re.escape(ADDRESS)} ", top[2])


@pytest.mark.parametrize(
    ("username", "page", "status"),
    [
        ("admin", "list", 200),
        ("auditor", "list", 200),
        ("support", "list", 200),
        ("support", "record", 200),
        ("support", "help", 200),
        ("support", "transaction", 403),
        ("support", "actor", 403),
        ("clerk", "list", 403),
        ("clerk", "record", 403),
        ("clerk", "activity", 403),
    ],
)
def test_roles_decide_who_may_read_the_log(username, page, status, seeded, activity):
    [(activity_id, transaction_id)] = rows(seeded, select(func.min(activity.id), func.min(activity.transaction_id)))
    path = {
        "list": "/audit/",
        "record": "/audit/record/products/1",
        "activity": f"/audit/activity/{transaction_id}.{activity_id}",
        "transaction": f"/audit/transaction/{transaction_id}",
        "actor": "/audit/actor/1",
        "help": "/audit/help",
    }[page]
    assert log_in(seeded, username).get(path).status_code == status


def test_strangers_are_sent_to_the_login(seeded):
    answer = seeded.test_client().get("/audit/")
    assert answer.status_code == 302
    assert answer.location.startswith("/login")


@pytest.mark.parametrize(
    ("table", "verb", "least"),
    [
        ("products", "insert", 38),
        ("products", "update", 75),
        ("products", "delete", 1),
        ("categories", "insert", 8),
        ("product_categories", "insert", 38),
        ("customers", "insert", 40),
        ("customers", "update", 15),
        ("customers", "delete", 1),
        ("orders", "insert", 44),
        ("orders", "update", 150),
        ("order_items", "insert", 70),
        ("order_items", "update", 5),
        ("users", "insert", 5),
        ("users", "delete", 1),
        ("stock_levels", "update", 60),
        ("supplier_prices", "insert", 20_000),
        ("supplier_prices", "update", 20_000),
    ],
)
def test_the_history_has_what_is_promised(table, verb, least, seeded, activity):
    count = select(func.count()).where(activity.table_name == table, activity.verb == verb)
    assert rows(seeded, count)[0][0] >= least


def test_hundreds_of_edits_were_made_by_the_three_accounts(seeded, transaction):
    counts = dict(
        rows(seeded, select(transaction.actor_label, func.count()).group_by(transaction.actor_label))  # type: ignore
    )
    assert counts["Ann Price"] >= 100
    assert counts["Sam Okafor"] >= 300
    assert counts["Iris Lindqvist"] >= 10
    addresses = select(func.count(transaction.client_addr.distinct()))
    assert rows(seeded, addresses)[0][0] >= 5


def test_who_left_is_still_named(seeded, transaction, activity):
    assert rows(seeded, select(User.id).where(User.username == "tom")) == []
    careless = (
        select(transaction.actor_label, func.count())
        .join(activity, activity.transaction_id == transaction.id)
        .where(activity.table_name == "supplier_prices", activity.verb == "update")
        .group_by(transaction.id)
    )
    assert rows(seeded, careless) == [("Tom Marsh", 20_000)]


def test_commands_and_consoles_are_told_apart(seeded, transaction):
    command = transaction.context["command"].as_string()
    commands = {name for (name,) in rows(seeded, select(command).where(command.is_not(None)).distinct())}
    assert {name.rpartition(" ")[2] for name in commands} == {"create-accounts", "import-prices", "restock"}
    [console] = rows(seeded, select(transaction).where(transaction.application_name == "psql"))
    assert (console.actor_id, console.actor_label, console.client_addr) == (None, None, None)


def test_times_are_spread_in_the_order_of_the_ids(seeded, activity, transaction):
    times = [time for (time,) in rows(seeded, select(transaction.issued_at).order_by(transaction.id))]
    assert times == sorted(times)
    assert dt.timedelta(days=80) < times[-1] - times[0] < dt.timedelta(days=91)
    inside = (
        select(transaction.issued_at, func.min(activity.issued_at), func.max(activity.issued_at))
        .join(activity, activity.transaction_id == transaction.id)
        .group_by(transaction.id)
    )
    for begun, first, last in rows(seeded, inside):
        assert begun == first or first > times[-2]
        assert last - first < dt.timedelta(seconds=3)


def test_records_and_log_tell_the_same_times(seeded, activity):
    created = cast(activity.changed_data["created_at"].as_string(), DateTime(timezone=True))
    inserted = select(created, activity.issued_at).where(activity.table_name == "customers", activity.verb == "insert")
    for stored, logged in rows(seeded, inserted):
        assert abs(stored - logged) < dt.timedelta(minutes=1)


def test_a_second_start_leaves_everything_as_it_is(seeded, transaction):
    newest = select(func.max(transaction.id), func.count())
    before = rows(seeded, newest)
    said: list[str] = []
    assert ensure_history(seeded, said.append) is False
    assert (rows(seeded, newest), said) == (before, [])


def test_an_interrupted_history_is_made_again(empty_shop, monkeypatch):
    app = empty_shop
    log = app.extensions["audit_logger"]

    def plan(app, now):
        from example_app.seed.plan import plan_events

        return sorted(plan_events(app, now), key=lambda event: event.moment)[:12]

    def interrupted(app, now):
        events = plan(app, now)

        def interrupt():
            raise KeyboardInterrupt

        return [*events[:5], type(events[5])(events[5].moment, interrupt)]

    with pytest.raises(KeyboardInterrupt):
        ensure_history(app, lambda text: None, interrupted)
    assert rows(app, select(Seeding.finished_at)) == [(None,)]
    said: list[str] = []
    assert ensure_history(app, said.append, plan) is True
    assert "interrupted" in said[0]
    [(first, count)] = rows(app, select(func.min(log.transaction_cls.id), func.count(log.transaction_cls.id)))
    assert (first, count) == (1, 12)
    assert ensure_history(app, said.append, plan) is False


def test_a_database_that_is_in_use_gets_no_history(shop):
    assert ensure_history(shop, lambda text: None) is False
    assert rows(shop, select(func.count()).select_from(SupplierPrice)) == [(0,)]
    assert rows(shop, db.select(Seeding)) == []
