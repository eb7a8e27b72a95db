"""Promise: a page costs a fixed number of statements and few bytes, whatever it shows."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

import flask_audit_logger
from flask_audit_logger.exceptions import LogUnavailable
from flask_audit_logger.query import reader
from flask_audit_logger.query.reader import AuditReader
from tests.support.apps import logged_in_as
from tests.support.server import both_drivers
from tests.support.work import at_most
from tests.ui.everywhere import addresses, answer, skips, statements
from tests.ui.shop import ANN, BOB, make_history, with_own_shop

STATIC = Path(flask_audit_logger.__file__).parent / "static"


@contextmanager
def counted(shop) -> Iterator[list[str]]:
    """The statements of the pages; those that find out who is logged in are the application's own."""
    seen: list[str] = []

    def note(conn, cursor, statement, parameters, context, executemany):
        if "FROM users" not in statement:
            seen.append(statement)

    with shop.application.app.app_context():
        engine = shop.db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def busy(new_shop):
    """More rows than fit on a page, so that everything has to be counted, with names and a live row to read."""
    shop = make_history(new_shop())
    for number in range(60):
        shop.sql(f"UPDATE products SET stock = 100 + {number}, category_id = 1 + {number % 2} WHERE id = 42")
    with shop.acting(1) as session:
        session.add_all([shop.models.Product(id=n, name=f"Item {n}", category_id=1) for n in range(200, 300)])
    with shop.acting(1) as session:
        session.execute(sa.text("UPDATE products SET stock = 7, price = price + 1 WHERE id >= 200"))
    return shop


#: Two large transactions on a page: each is skipped, and one statement says what they are.
FOLDED = 3


@both_drivers
def test_statements_of_each_page(busy):
    big = busy.activity(table_name="products", record_key="250", verb="update").transaction_id
    last = busy.activity(table_name="products", record_key="42").id
    budgets = {
        "/?fold=0": 4,
        "/?period=all&fold=0": 4,
        "/": 4 + FOLDED,
        "/?table=products&verb=update&fold=0": 6,
        "/?actor=1&period=90d&sort=time&fold=0": 6,
        "/?verb=delete": 6,
        "/?actor=99": 6,
        f"/activity/{last}": 5,
        f"/activity/{last - 20}": 5,
        "/record/products/42": 6,
        "/record/products/42?col=stock&period=30d": 8,
        "/record/products/43": 6,
        "/record/products/42/at": 4,
        "/record/products/42/at?time=2001-01-01": 5,
        "/record/products/42/compare": 4,
        "/record/products/42/compare?to=now": 4,
        f"/record/products/42/compare?from={last - 9}&to={last}": 4,
        f"/transaction/{big}": 6,
        f"/transaction/{last}": 6,
        "/transactions": 5,
        "/actor/1?fold=0": 9,
        "/transactions?sort=size": 6,
        "/actor/~none?period=30d": 9,
        "/breakdown/facets?period=30d": 2 + 4,
        "/breakdown/histogram?period=30d": 2 + 2,
    }
    busy.page("/help")
    busy.page("/")  # the actors that the filter offers are looked up once a minute
    for path, most in budgets.items():
        with counted(busy) as seen:
            busy.get(path)
        assert len(seen) <= most, (path, len(seen), "\n".join(seen))
        assert not any(skips(statement) for statement in seen), path


def test_nothing_is_read_but_in_read_only_transactions(busy):
    with counted(busy) as seen:
        busy.page("/")
    assert all(statement.lstrip().upper().startswith(("SELECT", "WITH")) for statement in seen)


def test_weight_of_a_list_page(busy):
    html = busy.page("/?period=all")
    assert html.count('<tr role="row">') >= 51
    raw = html.encode()
    assert len(raw) <= 60_000
    assert len(gzip.compress(raw, 6)) <= 10_000


@pytest.mark.parametrize(("name", "most"), [("audit.css", 20_000), ("audit.js", 12_000)])
def test_weight_of_style_and_script(name, most):
    assert (STATIC / name).stat().st_size <= most


def count_statements(shop, path):
    seen = []
    with shop.application.app.app_context():
        engine = shop.db.engine

    def note(conn, cursor, statement, *rest):
        # the user of the request is loaded by the application, not by us
        if "FROM users" not in statement:
            seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        shop.page(path)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return seen


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/?period=all", 4),
        ("/", 5),
        ("/activity/5", 5),
        ("/record/products/42", 6),
        ("/transaction/5", 6),
        ("/actor/1?period=all", 9),
    ],
)
@with_own_shop
def test_pages_ask_the_database_little(shop, path, most):
    """The budget of a page; no page skips rows or counts all of them."""
    shop.page("/")  # the list of actors is kept for a minute
    statements = count_statements(shop, path)
    assert len(statements) <= most, "\n".join(statements)
    assert not any(skips(statement) for statement in statements)


@with_own_shop
def test_reading_the_log_is_not_stamped(shop):
    """Who reads changes nothing: no actor is looked up and nothing is sent for the connection that reads."""
    setting = sa.text("SELECT current_setting('flask_audit_logger.context', true)")
    with shop.acting(BOB) as session:
        with AuditReader(shop.db.engine, shop.application.audit_logger.models).reading() as log:
            assert log.connection.scalar(setting) in (None, "")
        session.execute(sa.text("UPDATE products SET stock = 1 WHERE id = 42"))
        assert "Bob Stone" in session.scalar(setting)


def test_a_full_page_is_light(new_shop):
    """Budget: 50 rows in at most 64 kB raw and 10 kB compressed."""
    shop = make_history(new_shop())
    shop.sql("INSERT INTO products (id, name, price) SELECT i, 'Item ' || i, i FROM generate_series(100, 160) i")
    shop.sql("UPDATE products SET price = price * 1.1, stock = 1, active = true WHERE id >= 100")
    html = shop.page("/").encode()
    assert len(html) < 64_000 and len(gzip.compress(html)) < 10_000


def sleep():
    """Sleep in the database, if that is told to end a statement after three seconds."""
    limit = sa.func.current_setting("statement_timeout")
    return sa.case((limit == "3s", sa.func.pg_sleep(20).is_not(None)), else_=sa.true())


def test_s19_a_search_that_takes_too_long_is_stopped(new_shop):
    """By the database, and the connection can be used afterwards."""
    shop = make_history(new_shop(scope=lambda select, viewer: select.where(sleep())))
    response = answer(shop, "/?period=all")
    assert response.status_code == 503 and response.headers["Retry-After"] == "5"
    assert "took longer than 3 s" in response.text and "Only the last 24 hours" in response.text
    with shop.application.app.app_context():
        assert shop.db.session.scalar(sa.text("SELECT 1")) == 1
        assert shop.db.session.scalar(sa.text("SHOW statement_timeout")) == "0"


@pytest.mark.slow
def test_s19_nothing_is_skipped_or_searched_as_text(tenants):
    change = tenants.activity(record_key="42")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
    for path in (*addresses(tenants, **values), "/?breakdown=1", "/?before=9.9", "/?after=0.0"):
        for statement in statements(tenants, path):
            assert not re.search(r"\bI?LIKE '%|\bILIKE\b", statement), (path, statement)


@pytest.mark.slow
def test_s19_a_download_that_is_left_alone_holds_no_connection(new_shop, monkeypatch):
    monkeypatch.setattr(reader, "IDLE_TIMEOUT_MS", 100)
    shop = make_history(new_shop())
    shop.sql("INSERT INTO products (id) SELECT generate_series(1000, 4000)")
    sending = shop.application.app.test_client().get("/audit/export.csv", headers=logged_in_as(ANN), buffered=False)
    lines = iter(sending.response)
    next(lines)
    left = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE state = 'idle in transaction' AND datname = current_database() AND query LIKE '%activity%'"
    )
    for _ in range(200):
        if shop.sql(left) == [(0,)]:
            break
        time.sleep(0.05)
    assert shop.sql(left) == [(0,)]
    with pytest.raises(LogUnavailable):
        list(lines)
    sending.close()
    monkeypatch.undo()
    assert shop.page("/export.csv?period=all").count("\n") > 3000


#: What pins a worker for a minute and more if texts are compared the obvious way.
SLOW_TEXTS = {
    "repetitive": ("a " * 1000, "b a " * 1000),
    "prose": (" ".join(f"word{n}" for n in range(4000)), " ".join(f"word{n + (n % 20 == 0)}" for n in range(4000))),
    "lines": ("a\n\n" * 20_000, "b\na\n" * 20_000),
    "one word": ("x" * 90_000, "y" + "x" * 90_000),
    "brackets": ("[" * 50_000, "]" * 50_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_TEXTS)
@with_own_shop
def test_s20_hostile_texts_are_compared_with_little_work(shop, name):
    before, after = SLOW_TEXTS[name]
    shop.change(ANN, "Product", 42, description=before)
    shop.change(ANN, "Product", 42, description=after)
    change = shop.activity(record_key="42")
    for path in (f"/activity/{change.id}", "/record/products/42", "/", "/record/products/42/compare"):
        with at_most(calls=2_000_000):
            html = shop.page(path)
        assert len(html) < 1_500_000, path


@pytest.mark.slow
@with_own_shop
def test_s20_hostile_json_and_very_many_columns(shop):
    deep = "[" * 3000 + "]" * 3000
    wide = "(SELECT jsonb_object_agg('c' || i, i) FROM generate_series(1, 1500) i)"
    change = shop.activity(table_name="products", verb="update")
    nested = (f"jsonb_build_object('attributes', {value})" for value in (f"'{deep}'::jsonb", wide))
    for data in (*nested, wide):
        shop.sql(f"UPDATE activity SET changed_data = {data} WHERE id = {change.id}")
        for path in (f"/activity/{change.id}", "/record/products/42", "/?period=all"):
            with at_most(calls=1_250_000):
                html = shop.page(path)
            assert len(html) < 1_500_000, path


@pytest.mark.slow
@with_own_shop
def test_s20_many_similar_items_and_long_texts(shop):
    """Three changes of 8,000 objects kept a list busy for 39 seconds; two texts made a page of 1.1 MB."""
    for number in range(3):
        items = f"(SELECT jsonb_agg(jsonb_build_object('id', i, 'n', {number})) FROM generate_series(1, 8000) i)"
        shop.sql(f"UPDATE products SET attributes = {items}, description = repeat('{number} ', 250000) WHERE id = 42")
    change = shop.activity(record_key="42")
    paths = ("/?period=all", "/record/products/42", f"/activity/{change.id}", "/record/products/42/compare",
             "/record/products/42/at", f"/transaction/{change.transaction_id}")  # fmt: skip
    for path in paths:
        with at_most(calls=3_000_000):
            html = shop.page(path)
        assert len(html) < 600_000, path
    page = shop.page(f"/activity/{change.id}")
    for side, number in (("old", 1), ("new", 2)):
        assert f'href="/audit/activity/{shop.address(change.id)}/value/description?side={side}" download' in page
        whole = shop.get(f"/activity/{change.id}/value/description?side={side}").text
        assert whole == f"{number} " * 250_000
    assert f'href="/audit/activity/{shop.address(change.id)}/value/attributes?side=new" download' in page
    assert "too large to be compared here" in shop.page("/?period=all")
