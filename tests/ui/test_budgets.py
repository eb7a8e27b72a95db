"""Promise: a page costs a fixed number of statements and few bytes, whatever it shows."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

import flask_audit_logger
from flask_audit_logger.query.reader import AuditReader
from tests.support.server import both_drivers
from tests.ui.shop import BOB, make_history

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


@both_drivers
def test_statements_of_each_page(busy):
    big = busy.activity(table_name="products", record_key="250", verb="update").transaction_id
    last = busy.activity(table_name="products", record_key="42").id
    budgets = {
        "/": 4,
        "/?period=all": 4,
        "/?table=products&verb=update": 4,
        "/?actor=1&period=90d&sort=time": 4,
        "/?verb=delete": 4,
        "/?actor=99": 4,
        f"/activity/{last}": 5,
        f"/activity/{last - 20}": 5,
        "/record/products/42": 6,
        "/record/products/42?col=stock&period=30d": 6,
        "/record/products/43": 6,
        "/record/products/42/at": 4,
        "/record/products/42/at?time=2001-01-01": 4,
        "/record/products/42/compare": 4,
        "/record/products/42/compare?to=now": 4,
        f"/record/products/42/compare?from={last - 9}&to={last}": 4,
        f"/transaction/{big}": 6,
        f"/transaction/{last}": 6,
        "/transactions": 5,
        "/actor/1": 7,
        "/actor/~none?period=30d": 7,
        "/breakdown/facets?period=30d": 2 + 4,
        "/breakdown/histogram?period=30d": 2 + 2,
    }
    busy.page("/help")
    busy.page("/")  # the actors that the filter offers are looked up once a minute
    for path, most in budgets.items():
        with counted(busy) as seen:
            busy.get(path)
        assert len(seen) <= most, (path, len(seen), "\n".join(seen))
        # the one OFFSET is the 0 that keeps the planner from a bad index
        assert all("min(" in statement for statement in seen if "OFFSET" in statement), path


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
        ("/actor/1?period=all", 8),
    ],
)
def test_pages_ask_the_database_little(shop, path, most):
    """The budget of a page; no page skips rows or counts all of them."""
    shop.page("/")  # the list of actors is kept for a minute
    statements = count_statements(shop, path)
    assert len(statements) <= most, "\n".join(statements)
    assert not any("OFFSET" in s.upper() and "ISSUED_AT" not in s.upper() for s in statements)


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
