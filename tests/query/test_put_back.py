"""Promise: what is put back is what was shown, exactly, or nothing is changed at all."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from decimal import Decimal

import pytest
import sqlalchemy as sa

from flask_audit_logger.exceptions import Conflict, Refused
from flask_audit_logger.query.drift import key_of
from flask_audit_logger.query.put_back import NO_ROW, plan, put_back, read_in_scope, read_live
from flask_audit_logger.query.record_states import OLDEST, record_states
from tests.query.reads import CATEGORIES, ITEMS, PRODUCTS, info_of, only, reader_of, reading, record_of
from tests.ui.shop import make_shop

PRODUCT = record_of(PRODUCTS, 42)


@pytest.fixture
def shop(create_app):
    shop = make_shop(create_app)
    shop.add(None, "Category", id=1, name="Mugs")
    shop.add(
        None, "Product", id=42, name="It's \"a\" mug", price=Decimal("10.00"), stock=5, active=True, secret="s3cret",
        attributes={"color": None, "size": {"height": 1.5}}, tags=["a,b", "", None], launched=dt.date(2026, 8, 1),
        checked_at=dt.datetime(2026, 8, 1, 12, 0, 0, 1, tzinfo=dt.UTC), picture=b"\x00\xff", category_id=1,
    )  # fmt: skip
    return shop


def row_of(shop, table="products", key=42):
    rows = shop.sql(f"SELECT to_jsonb(r)::text FROM {table} r WHERE id = {key}")
    return rows[0][0] if rows else None


@contextmanager
def proposal(shop, table=PRODUCTS, record=PRODUCT, scope=None, hidden=()):
    """What is shown to whoever may put the oldest state back; and a function that does it."""
    info = info_of(shop, table)
    mappers = shop.db.Model.registry.mappers
    with reading(shop) as log:
        (state,) = record_states(log, record, OLDEST, key=info.key)
        key = key_of(info, record, state.row)
        live = read_in_scope(log, info, record, key)
        planned = plan(info, mappers, live, state.row, hidden)
    possible = {column.name: column.logged for column in planned if column.obstacle is None}

    def put(values=possible, digest=live.digest):
        reader = reader_of(shop, scope) if scope else reader_of(shop)
        with shop.application.app.app_context():
            session = shop.db.session
            put_back(session, mappers, info, record, key, reader=reader, digest=digest, values=values)
            session.commit()

    yield planned, put


CHANGES = {
    "values": "UPDATE products SET name = '', price = 10.01, stock = NULL, active = false, launched = '2031-02-03',"
    " tags = '{}', attributes = 'null', picture = NULL, checked_at = checked_at + interval '1 us', category_id = NULL",
    "one": "UPDATE products SET stock = 6",
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_row_is_again_what_it_was(shop, change):
    before = row_of(shop)
    shop.sql(CHANGES[change])
    changed = row_of(shop)
    with proposal(shop) as (planned, put):
        expected = shop.sql(
            f"SELECT key FROM jsonb_each('{before.replace(chr(39), chr(39) * 2)}') b JOIN jsonb_each("
            f"'{changed.replace(chr(39), chr(39) * 2)}') c USING (key) WHERE b.value <> c.value ORDER BY 1".replace(
                ":", "\\:"
            )
        )
        assert sorted(column.name for column in planned) == [row[0] for row in expected]
        put()
    assert row_of(shop) == before
    assert shop.activity(table_name="products").verb == "update", "it is logged like any other change"


def test_a_deleted_row_is_made_again_without_what_is_not_in_the_log(shop):
    before = row_of(shop)
    shop.sql("DELETE FROM products")
    with proposal(shop) as (planned, put):
        assert [column.name for column in planned if column.obstacle] == ["secret"]
        put()
    assert row_of(shop) == before.replace('"s3cret"', "null")


MEANWHILE = (
    "UPDATE products SET stock = 7",
    "UPDATE products SET secret = 'other'",
    "SET LOCAL session_replication_role = replica; UPDATE products SET description = ''",
    "DELETE FROM products",
)


def test_a_row_that_changed_in_the_meantime_is_left_alone(shop):
    """Also by a column that is not put back, not shown or not logged."""
    for statement in MEANWHILE:
        shop.sql("UPDATE products SET stock = stock + 1")
        with proposal(shop) as (_, put):
            shop.sql(statement)
            now, entries = row_of(shop), len(shop.application.activities())
            with pytest.raises(Conflict):
                put()
        assert row_of(shop) == now and len(shop.application.activities()) == entries, statement


def test_a_row_that_came_in_the_meantime_is_left_alone(shop):
    shop.sql("DELETE FROM products")
    with proposal(shop) as (_, put):
        shop.sql("INSERT INTO products (id, name) VALUES (42, 'other')")
        with pytest.raises(Conflict):
            put()
    assert shop.sql("SELECT name FROM products") == [("other",)]


def test_what_the_database_refuses_names_the_constraint_and_changes_nothing(shop):
    shop.sql("UPDATE products SET stock = 6, category_id = NULL; DELETE FROM categories")
    now = row_of(shop)
    with proposal(shop) as (_, put), pytest.raises(Refused) as refused:
        put()
    assert refused.value.objection == "products_category_id_fkey"
    assert row_of(shop) == now


def test_hidden_columns_are_neither_named_nor_changed(shop):
    shop.sql("UPDATE products SET stock = 6, name = 'hidden', secret = 'new'")
    with proposal(shop, hidden={"name", "secret"}) as (planned, put):
        assert [column.name for column in planned] == ["stock"]
        put()
    assert shop.sql("SELECT stock, name, secret FROM products") == [(5, "hidden", "new")]


def test_a_row_out_of_scope_looks_like_one_that_changed(shop):
    shop.sql("UPDATE products SET stock = 6")
    with proposal(shop, scope=only(CATEGORIES)) as (_, put), pytest.raises(Conflict):
        put()
    assert shop.sql("SELECT stock FROM products") == [(6,)]
    with proposal(shop, scope=only(PRODUCTS)) as (_, put):
        put()
    assert shop.sql("SELECT stock FROM products") == [(5,)]


def test_a_table_with_a_key_of_two_columns(shop):
    shop.sql("INSERT INTO order_items VALUES (7, 'a/b', 1), (7, 'c', 1); UPDATE order_items SET quantity = 2")
    with proposal(shop, ITEMS, record_of(ITEMS, 7, "a/b")) as (_, put):
        put()
    assert shop.sql("SELECT code, quantity FROM order_items ORDER BY 1") == [("a/b", 1), ("c", 2)]


def test_one_digest_is_one_row(shop):
    """Whatever the settings of the session are; the digest of no row is that of every missing one."""
    info = info_of(shop, PRODUCTS)
    with shop.application.app.app_context():
        engine = shop.db.engine
    digests = []
    for setting in ("TimeZone = 'Asia/Tokyo'", "DateStyle = 'German'", "bytea_output = 'escape'"):
        with engine.connect() as connection:
            connection.execute(sa.text(f"SET LOCAL {setting}"))
            digests.append(read_live(connection, info, ("42",), lock=True).digest)
            assert read_live(connection, info, ("43",)) == NO_ROW
            with pytest.raises(Refused):
                read_live(connection, info, ("no number",))
    assert len(set(digests)) == 1
    shop.sql("UPDATE products SET price = 10.00, tags = tags")
    with engine.connect() as connection:
        assert read_live(connection, info, ("42",)).digest == digests[0]
        connection.execute(sa.text("UPDATE products SET attributes = jsonb_set(attributes, '{size,height}', '1.50')"))
        assert read_live(connection, info, ("42",)).digest != digests[0]
