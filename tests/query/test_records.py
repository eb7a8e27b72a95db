"""Promise: the changes of a record are those of its key, in order; its name is the last one of the life it is about."""

from __future__ import annotations

import pytest

from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import Count
from flask_audit_logger.query.paging import Cursor, Paging
from flask_audit_logger.query.records import (
    Named,
    count_versions,
    last_version,
    names_of,
    renamed_from,
    renamed_to,
    versions,
)
from tests.query.reads import CATEGORIES, ITEMS, PRODUCTS, next_page, only, reading, record_of
from tests.ui.shop import ANN, BOB, with_own_shop

KEYS = {PRODUCTS: ("id",), CATEGORIES: ("id",), ITEMS: ("order_id", "code")}
ODD = 'a, "b" ü'


def fill(shop):
    """Two tables with the same keys, and a key of two columns that needs quoting."""
    shop.sql("INSERT INTO products (id, name, stock) SELECT n, 'p' || n, 0 FROM generate_series(1, 3) n")
    shop.sql("INSERT INTO categories (id, name) SELECT n, 'c' || n FROM generate_series(1, 3) n")
    for number in range(7):
        shop.change(ANN if number % 2 else BOB, "Product", 2, stock=number + 1)
        shop.sql("UPDATE products SET stock = stock - 1 WHERE id <> 2")
    with shop.acting(ANN) as session:
        session.add(shop.models.Item(order_id=7, code=ODD, quantity=1))
    shop.change(BOB, "Item", (7, ODD), quantity=2)


def own(shop, table, key, where="true"):
    rows = shop.sql(
        f"SELECT a.id FROM activity a LEFT JOIN transaction t ON t.id = a.transaction_id WHERE table_name = '{table}'"
        f" AND (old_data || changed_data) ->> 'id' = '{key}' AND {where} ORDER BY a.id DESC"
    )
    return [row[0] for row in rows]


@pytest.mark.parametrize("oldest_first", [False, True])
def test_the_pages_of_a_record_are_its_changes(shop, oldest_first):
    wanted = own(shop, "products", 2)
    assert len(wanted) == 8
    paging, found = Paging(limit=3, oldest_first=oldest_first), []
    with reading(shop) as log:
        while paging is not None:
            page = versions(log, record_of(PRODUCTS, 2), paging)
            found += [row.id for row in page.rows]
            paging = next_page(page, paging, page.rows[-1].cursor, newer=oldest_first)
        assert last_version(log, record_of(PRODUCTS, 2)).id == wanted[0]
        assert last_version(log, record_of(PRODUCTS, 9)) is None
    assert found == (wanted[::-1] if oldest_first else wanted)


def test_criteria_narrow_the_changes_but_not_the_record(shop):
    criteria = Criteria(actors=(str(ANN),), tables=(CATEGORIES,), record_key="1")
    wanted = own(shop, "products", 2, f"actor_id = {ANN}")
    with reading(shop) as log:
        page = versions(log, record_of(PRODUCTS, 2), Paging(), criteria)
        assert [row.id for row in page.rows] == wanted
        assert count_versions(log, record_of(PRODUCTS, 2), criteria, 100) == Count(len(wanted))
        assert count_versions(log, record_of(PRODUCTS, 2), Criteria(), 4) == Count(4, is_capped=True)


def test_a_key_of_two_columns_is_found_as_it_is_written(shop):
    with reading(shop) as log:
        page = versions(log, record_of(ITEMS, 7, ODD), Paging(), whole=True)
        assert [row.verb for row in page.rows] == ["update", "insert"]
        assert page.rows[0].record.components == ("7", ODD)
        assert page.rows[0].old_data == {"order_id": 7, "code": ODD, "quantity": 1}


def test_an_update_on_a_list_brings_the_old_values_of_what_changed(shop):
    with reading(shop) as log:
        row = versions(log, record_of(PRODUCTS, 2), Paging(limit=1)).rows[0]
        assert (row.old_data, row.changed_data) == ({"stock": 6}, {"stock": 7})
        assert last_version(log, record_of(PRODUCTS, 2)).old_data["name"] == "p2"


@with_own_shop
def test_a_new_key_leads_there_and_back(shop):
    shop.sql(f"UPDATE order_items SET order_id = 8 WHERE code = '{ODD}'")
    shop.sql("UPDATE products SET id = 30 WHERE id = 3")
    for table, old, new in ((ITEMS, (7, ODD), (8, ODD)), (PRODUCTS, (3,), (30,))):
        with reading(shop) as log:
            change = last_version(log, record_of(table, *old))
            assert renamed_to(change, KEYS[table]) == tuple(map(str, new))
            assert renamed_from(log, record_of(table, *new), KEYS[table]).id == change.id
            assert renamed_from(log, record_of(table, *new), KEYS[table], after=change.id) is None
            assert renamed_from(log, record_of(table, *old), KEYS[table]) is None
            first = versions(log, record_of(table, *old), Paging(oldest_first=True)).rows[0]
            assert renamed_to(first, KEYS[table]) is None


def names(log, records):
    return names_of(log, records, lambda table: ("name",) if table != ITEMS else (), KEYS.__getitem__)


@with_own_shop
def test_a_record_has_the_name_it_had_last(shop):
    shop.sql("UPDATE products SET name = 'new' WHERE id = 2")
    shop.sql("UPDATE products SET stock = 9 WHERE id = 2")
    shop.sql("UPDATE products SET name = NULL WHERE id = 1")
    shop.sql("DELETE FROM products WHERE id = 3")
    shop.sql("TRUNCATE categories CASCADE")
    expected = {
        record_of(PRODUCTS, 1): Named(None, is_deleted=True),
        record_of(PRODUCTS, 2): Named("new", is_deleted=True),
        record_of(PRODUCTS, 3): Named("p3", is_deleted=True),
        record_of(CATEGORIES, 1): Named("c1", is_deleted=True),
    }
    asked = dict.fromkeys([*expected, record_of(PRODUCTS, 9), record_of(ITEMS, 7, ODD)])
    with reading(shop) as log:
        assert {record: entry.newest for record, entry in names(log, asked).items()} == expected
    with reading(shop, only(CATEGORIES)) as log:
        assert set(names(log, asked)) == {record_of(CATEGORIES, 1)}, "of others nothing is told"


@with_own_shop
def test_a_name_is_the_first_of_the_columns_that_has_one(shop):
    """A text or a number; what is neither, such as an object, names nothing."""
    shop.sql("UPDATE products SET price = 7.50, attributes = '{\"a\"\\: 1}' WHERE id = 1")
    record = record_of(PRODUCTS, 1)
    for columns, name in ((("description", "name"), "p1"), (("price", "name"), "7.50"), (("attributes",), None)):
        with reading(shop) as log:
            found = names_of(log, {record: None}, lambda table, columns=columns: columns, KEYS.__getitem__)
        assert found[record].newest.name == name


@with_own_shop
def test_a_key_that_was_taken_from_another_record_does_not_bring_the_name_of_an_earlier_life(shop):
    """Its table was emptied right after the one change of that life."""
    record = record_of(CATEGORIES, 5)
    shop.sql("INSERT INTO categories (id, name) VALUES (5, 'emptied')")
    shop.sql("TRUNCATE categories CASCADE")
    shop.sql("INSERT INTO categories (id, name) VALUES (6, 'present')")
    shop.sql("UPDATE categories SET id = 5 WHERE id = 6")
    shop.sql("UPDATE categories SET name = 'present' || '!' WHERE id = 5")
    first = own(shop, "categories", 5)[-1]
    emptied = shop.sql("SELECT id FROM activity WHERE table_name = 'categories' AND verb = 'truncate'")[0][0]
    for change in (first, emptied):  # the entry that ended a life is about this life
        with reading(shop) as log:
            found = names(log, {record: Cursor(0, change)})[record]
        assert (found.newest.name, found.before(change).name) == ("present!", "emptied")


@with_own_shop
def test_each_life_of_a_key_has_its_own_name(shop):
    """Lives end by a deletion, by emptying the table, and unseen before an insert."""
    lives, record = {}, record_of(CATEGORIES, 5)

    def live(name, end):
        shop.sql(f"INSERT INTO categories (id, name) VALUES (5, '{name}')")
        lives[name] = own(shop, "categories", 5)[0]
        shop.sql(end)

    live("deleted", "DELETE FROM categories WHERE id = 5")
    live("emptied", "TRUNCATE categories CASCADE")
    live("renamed", "UPDATE categories SET id = 6 WHERE id = 5")
    live("unseen", "SET LOCAL session_replication_role = replica; DELETE FROM categories WHERE id = 5")
    live("present", "SELECT 1")
    with reading(shop) as log:
        found = names(log, {record: Cursor(0, min(lives.values()))})[record]
    assert found.newest == Named("present", is_deleted=False)
    told = {name: found.before(change) or found.newest for name, change in lives.items()}
    assert {name: named.name for name, named in told.items()} == {name: name for name in lives}
    assert found.before(lives["deleted"]).is_deleted
    (end,) = own(shop, "categories", 5, "verb = 'delete'")
    with reading(shop) as log:  # the change that ended a life is about this life
        assert names(log, {record: Cursor(0, end)})[record].before(end) == Named("deleted", is_deleted=True)


def test_a_page_of_a_record_starts_at_any_position(shop):
    wanted = own(shop, "products", 2)
    with reading(shop) as log:
        cursor = Cursor(1, wanted[3])  # the id of the activity counts
        before = versions(log, record_of(PRODUCTS, 2), Paging(before=cursor))
        after = versions(log, record_of(PRODUCTS, 2), Paging(after=cursor))
    assert [row.id for row in before.rows] == wanted[4:]
    assert [row.id for row in after.rows] == wanted[:3]
