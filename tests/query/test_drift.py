"""Promise: a row that was changed while nothing was logged is told from one that the log knows."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from flask_audit_logger.query.drift import Drift, drift, live_row
from flask_audit_logger.query.reader import Log, everything
from flask_audit_logger.query.records import last_version
from tests.query.reads import PRODUCTS, info_of, only, reading, record_of
from tests.support.server import plain_engine
from tests.ui.shop import ANN, make_shop

UNLOGGED = "SET LOCAL session_replication_role = replica; "


@pytest.fixture
def shop(create_app):
    shop = make_shop(create_app)
    shop.sql(
        "INSERT INTO products (id, name, stock, price, secret) SELECT n, 'a', 1, 1.50, 's' FROM generate_series(1, 3) n"
    )
    shop.sql("UPDATE products SET stock = 2")
    shop.sql("DELETE FROM products WHERE id = 3")
    return shop


CASES = {
    "nothing": ("SELECT 1", 1, Drift("none")),
    "logged": ("UPDATE products SET name = 'b'", 1, Drift("none")),
    "one column": (UNLOGGED + "UPDATE products SET name = 'b' WHERE id = 1", 1, Drift("columns", ("name",))),
    "in the order of the table": (
        UNLOGGED + "UPDATE products SET stock = NULL, attributes = 'null', price = 2",
        1,
        Drift("columns", ("price", "stock", "attributes")),
    ),
    "another row": (UNLOGGED + "UPDATE products SET name = 'b' WHERE id = 1", 2, Drift("none")),
    "the same number": (UNLOGGED + "UPDATE products SET price = 1.5", 1, Drift("none")),
    "a masked column": (UNLOGGED + "UPDATE products SET secret = 'b'", 1, Drift("none")),
    "removed": (UNLOGGED + "DELETE FROM products", 1, Drift("gone")),
    "deleted": ("SELECT 1", 3, Drift("none")),
    "made again": (UNLOGGED + "INSERT INTO products (id) VALUES (3)", 3, Drift("unlogged")),
    "not readable": ("ALTER TABLE products DROP COLUMN stock", 1, Drift("unknown")),
    "later logged": (
        UNLOGGED + "UPDATE products SET name = 'b'; SET LOCAL session_replication_role = origin;"
        " UPDATE products SET stock = 9",
        1,
        Drift("none"),
    ),
}


@contextmanager
def changed(shop, statement, scope=everything):
    """A read in a transaction that made a change, which is taken back."""
    models = shop.application.audit_logger.models
    with plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"]).connect() as connection:
        connection.exec_driver_sql(statement)
        yield Log(connection, models, scope)


def found(shop, log, key):
    record = record_of(PRODUCTS, key)
    return drift(log, info_of(shop, PRODUCTS), record, last_version(log, record))


def test_what_differs_is_told(shop):
    for name, (statement, key, expected) in CASES.items():
        with changed(shop, statement) as log:
            assert found(shop, log, key) == expected, name


def test_a_write_with_auditing_off_is_seen(shop):
    """Until the next change of the row is logged: the log knows the row again then."""
    with shop.acting(ANN) as session, shop.application.audit_logger.disable(session):
        session.get(shop.models.Product, 1).name = "b"
    with reading(shop) as log:
        assert found(shop, log, 1) == Drift("columns", ("name",))
        assert found(shop, log, 2) == Drift("none")
    shop.change(ANN, "Product", 1, stock=5)
    with reading(shop) as log:
        assert found(shop, log, 1) == Drift("none")


def test_what_is_not_logged_of_a_table_is_no_drift(shop):
    cases = (("gone", 1, "delete"), ("unlogged", 3, "insert"), ("columns", 1, "update"))
    statements = {expected.kind: statement for statement, _, expected in CASES.values()}
    info = info_of(shop, PRODUCTS)
    for kind, key, verb in cases:
        record = record_of(PRODUCTS, key)
        with changed(shop, statements[kind]) as log:
            newest = last_version(log, record)
            assert drift(log, replace(info, verbs=frozenset({verb})), record, newest).kind == kind
            assert drift(log, replace(info, verbs=info.verbs - {verb}), record, newest) == Drift("none"), kind


def test_to_a_reader_with_a_scope_nothing_is_told(shop):
    statement = UNLOGGED + "DELETE FROM products"
    with changed(shop, statement) as log:
        assert found(shop, log, 1) == Drift("gone")
    with changed(shop, statement, only(PRODUCTS)) as log:
        assert found(shop, log, 1) == Drift("none")


def test_the_row_of_today_is_what_the_log_would_write(shop):
    """Without the columns whose values are never logged."""
    info = info_of(shop, PRODUCTS)
    shop.sql("UPDATE products SET attributes = '{\"a\": 1.50}', tags = ARRAY['x', NULL], checked_at = now()")
    with reading(shop) as log:
        logged = last_version(log, record_of(PRODUCTS, 1)).state_after
        row = live_row(log, info, record_of(PRODUCTS, 1), logged)
        assert row.keys() == logged.keys() - {"secret"}
        assert {name: str(row[name]) for name in row} == {name: str(logged[name]) for name in row}
        assert live_row(log, info, record_of(PRODUCTS, 3), logged | {"id": 3}) is None
        with pytest.raises(LookupError):
            live_row(log, info, record_of(PRODUCTS, "no number"), {})
