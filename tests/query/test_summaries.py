"""Promise: what a transaction changed is summed up as SQL sums it up, and lists of transactions leave none out."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_audit_logger.query import feed, summaries
from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import Count, Search
from flask_audit_logger.query.paging import Cursor, Paging
from flask_audit_logger.query.summaries import (
    TransactionCriteria,
    count_transactions,
    find_transactions,
    largest_transactions,
    list_transactions,
    same_changes,
    summarized,
    tally_tables,
)
from flask_audit_logger.schema.names import TableName
from tests.query.reads import CATEGORIES, JOINED, PRODUCTS, next_page, only, reading
from tests.ui.shop import ANN, BOB, with_own_shop


def fill(shop):
    """Small transactions of two people, and one that changed much in several ways."""
    shop.sql("INSERT INTO products (id, name, stock) SELECT n, 'a', n % 2 FROM generate_series(1, 20) n")
    for number in range(8):
        with shop.acting((ANN, BOB)[number % 2], path=("/edit", "/import/7")[number // 4]) as session:
            session.execute(sa.text(f"UPDATE products SET price = {number} WHERE id <= {number}"))
            session.add(shop.models.Category(id=number, name="a"))
    with shop.acting(ANN) as session:
        for statement in (
            "INSERT INTO products (id, name) SELECT n, 'x' FROM generate_series(31, 35) n",
            "INSERT INTO products (id) VALUES (36)",
            "UPDATE products SET stock = 5 WHERE id <= 20",
            "UPDATE products SET stock = 6, name = 'b' WHERE id <= 3",
            "UPDATE products SET description = 'of this one only' WHERE id = 20",
            "UPDATE categories SET name = 'b' WHERE id < 3",
            "DELETE FROM categories WHERE id > 5",
            "TRUNCATE order_items",
        ):
            session.execute(sa.text(statement))


def newest(shop):
    return shop.sql("SELECT max(id) FROM transaction")[0][0]


def test_a_summary_adds_up_what_sql_counts(shop):
    columns = "CASE verb WHEN 'update' THEN (SELECT string_agg(k, ',') FROM jsonb_object_keys(changed_data) k) END"
    rows = shop.sql(
        f"SELECT table_name, verb, {columns}, count(*) FROM activity WHERE transaction_id = {newest(shop)}"
        " GROUP BY 1, 2, 3"
    )
    with reading(shop) as log:
        transaction, summary = summarized(log, newest(shop))
        assert (transaction.id, transaction.actor_id) == (newest(shop), str(ANN))
        found = [(t.table.name, t.verb, ",".join(sorted(t.columns)) or None, t.number) for t in summary.tallies]
        expected = [(table, verb, names and ",".join(sorted(names.split(","))), n) for table, verb, names, n in rows]
        assert sorted(found, key=repr) == sorted(expected, key=repr)
        assert [t.number for t in summary.tallies] == sorted((t.number for t in summary.tallies), reverse=True)
        assert summary.rows == Count(sum(row[-1] for row in rows)) and summary.untold == 0
        _, first = summarized(log, newest(shop), cap=6)
        assert first.rows == summary.rows and first.is_cut and not summary.is_cut
        assert [(tally.verb, tally.number) for tally in first.tallies] == [("insert", 6)]
        assert summarized(log, newest(shop) + 1)[0] is None


def test_a_summary_says_how_many_rows_it_does_not_tell(shop, monkeypatch):
    with reading(shop) as log:
        _, whole = summarized(log, newest(shop))
    monkeypatch.setattr(summaries, "SUMMARY_LINES", 2)
    with reading(shop) as log:
        _, summary = summarized(log, newest(shop))
    assert summary.tallies == whole.tallies[:2] and summary.rows == whole.rows
    assert summary.untold == sum(tally.number for tally in whole.tallies[2:])


@with_own_shop
def test_new_rows_are_added_up_whatever_columns_the_table_had_then(shop):
    shop.sql(
        "INSERT INTO categories (id) VALUES (21); ALTER TABLE categories ADD COLUMN colour text;"
        " INSERT INTO categories (id) VALUES (22)"
    )
    with reading(shop) as log:
        _, summary = summarized(log, newest(shop))
    assert [(tally.table, tally.verb, tally.number) for tally in summary.tallies] == [(CATEGORIES, "insert", 2)]


def test_a_reader_with_a_scope_gets_the_sum_of_what_they_see(shop):
    with reading(shop, only(CATEGORIES)) as log:
        _, summary = summarized(log, newest(shop))
        assert {(tally.table, tally.verb, tally.number) for tally in summary.tallies} == {
            (CATEGORIES, "update", 3),
            (CATEGORIES, "delete", 2),
        }
        assert summary.rows == Count(5)
        assert [change.sample.table for change in same_changes(log, newest(shop))] == [CATEGORIES]
    with reading(shop, only(TableName("public", "users"))) as log:
        assert summarized(log, newest(shop))[0] is None


def test_same_changes_are_those_from_the_same_to_the_same(shop):
    with reading(shop) as log:
        found = same_changes(log, newest(shop))
        told = [(s.sample.table.name, s.sample.old_data, s.sample.changed_data, s.number) for s in found]
        assert sorted(told, key=repr) == sorted(
            [
                ("products", {"stock": 1}, {"stock": 5}, 10),
                ("products", {"stock": 0}, {"stock": 5}, 10),
                ("products", {"name": "a", "stock": 5}, {"name": "b", "stock": 6}, 3),
                ("categories", {"name": "a"}, {"name": "b"}, 3),
            ],
            key=repr,
        )
        assert [number for *_, number in told] == [10, 10, 3, 3]
        assert [s.number for s in same_changes(log, newest(shop), limit=2)] == [10, 10]


def test_rows_by_table_are_those_of_sql(shop):
    ids = [row[0] for row in shop.sql("SELECT id FROM transaction")]
    rows = shop.sql("SELECT transaction_id, table_name, count(*) FROM activity GROUP BY 1, 2")
    with reading(shop) as log:
        found = tally_tables(log, ids)
        assert {(i, t.name, n) for i, some in found.items() for t, n in some} == set(map(tuple, rows))
        assert tally_tables(log, ids[:2]).keys() == set(ids[:2])
        assert tally_tables(log, [newest(shop)], cap=3)[newest(shop)] == [(PRODUCTS, 4)], "one more tells of others"
        assert tally_tables(log, []) == {}


UPDATED = Criteria(tables=(PRODUCTS,), verbs=("update",), columns=("price",))
LISTS = {
    "all": (TransactionCriteria(Criteria()), "true"),
    "an actor's": (TransactionCriteria(Criteria(actors=(str(BOB),))), "t.actor_id = 2"),
    "with such a change": (
        TransactionCriteria(UPDATED),
        "EXISTS (SELECT FROM activity a WHERE a.transaction_id = t.id AND table_name = 'products'"
        " AND verb = 'update' AND jsonb_exists(changed_data, 'price'))",
    ),
    "path": (TransactionCriteria(Criteria(), path="/import"), "t.context ->> 'path' LIKE '/import%'"),
    "large": (TransactionCriteria(Criteria(), minimum=5), "{number} >= 5"),
    "large of an actor": (
        TransactionCriteria(Criteria(actors=(str(ANN),)), minimum=5),
        "t.actor_id = 1 AND {number} >= 5",
    ),
    "large with such a change": (
        TransactionCriteria(UPDATED, minimum=6),
        "{number} >= 6 AND EXISTS (SELECT FROM activity a WHERE a.transaction_id = t.id AND table_name = 'products'"
        " AND verb = 'update' AND jsonb_exists(changed_data, 'price'))",
    ),
}


def in_steps(log, wanted, oldest_first):
    """The list as the page finds it."""
    found, paging = [], Paging(limit=2, oldest_first=oldest_first)
    while paging is not None:
        page, _ = find_transactions(log, wanted, paging)
        found += [row.id for row in page.rows]
        at = page.reached or (Cursor(found[-1], 0) if found else None)
        paging = next_page(page, paging, at, newer=oldest_first)
    return found


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_of_transactions_are_the_list_of_sql(shop, monkeypatch, oldest_first):
    """Also if each looks through few transactions only."""
    number = "(SELECT count(*) FROM activity a WHERE a.transaction_id = t.id)"
    for name, (wanted, condition) in LISTS.items():
        rows = shop.sql(
            f"SELECT id FROM transaction t WHERE {condition.format(number=number)}"
            f" ORDER BY id {'' if oldest_first else 'DESC'}"
        )
        expected = [row[0] for row in rows]
        assert len(expected) > 0, name
        for module in (feed, summaries):
            monkeypatch.setattr(module, "STEPS", (2, 4, 8))
        monkeypatch.setattr(feed, "FEW", 0)
        with reading(shop) as log:
            search = Search.prepare(log, wanted.criteria)
            found, paging = [], Paging(limit=2, oldest_first=oldest_first)
            while paging is not None:
                page = list_transactions(log, search, wanted, paging)
                found += [row.id for row in page.rows]
                paging = next_page(page, paging, Cursor(found[-1], 0), newer=oldest_first)
            assert found == expected, name
            assert in_steps(log, wanted, oldest_first) == expected, name
            counted = count_transactions(log, search, wanted, 100)
            assert (
                counted is None
                or counted == Count(len(expected), is_capped=False)
                or (counted.is_capped and counted.number < len(expected))
            ), (name, counted)
            monkeypatch.undo()
            assert count_transactions(log, search, wanted, 100) == Count(len(expected)), name
            assert count_transactions(log, search, wanted, 1) == Count(1, is_capped=len(expected) > 1), name


@pytest.mark.parametrize("limit", [3, 50])
def test_the_largest_transactions_are_those_of_sql(shop, limit):
    number = "(SELECT count(*) FROM activity a WHERE a.transaction_id = t.id)"
    for name, (wanted, condition) in LISTS.items():
        rows = shop.sql(
            f"SELECT id, {number} FROM transaction t WHERE {condition.format(number=number)} AND {number} > 0"
            " ORDER BY 2 DESC, 1 DESC"
        )
        with reading(shop) as log:
            found, _ = largest_transactions(log, wanted, Paging(limit=limit))
        assert [(row.id, found.rows[row.id]) for row in found.transactions] == [
            (number, Count(size)) for number, size in rows[:limit]
        ], name
        assert (found.is_cut, found.reached) == (len(rows) > limit, None), name


def test_only_so_many_changes_are_added_up_for_the_largest(shop, monkeypatch):
    """What is not added up whole is told so, once, and none is left out by whoever looks further."""
    monkeypatch.setattr(summaries, "STEPS", (5, 10, 40))
    total = "SELECT count(*) FROM activity WHERE transaction_id = t.id"
    sizes = dict(shop.sql(f"SELECT id, ({total}) FROM transaction t WHERE EXISTS ({total.replace('count(*)', '')})"))
    found, paging = {}, Paging(limit=50)
    with reading(shop) as log:
        first, _ = largest_transactions(log, TransactionCriteria(Criteria()), paging)
        assert (first.rows, first.reached) == ({newest(shop): Count(sizes[newest(shop)])}, Cursor(newest(shop), 0))
        with monkeypatch.context() as few:
            few.setattr(summaries, "COUNTED_ROWS", 12)
            first, _ = largest_transactions(log, TransactionCriteria(Criteria()), paging)
            assert first.rows == {newest(shop): Count(12, is_capped=True)}
        for _ in sizes:
            page, _ = largest_transactions(log, TransactionCriteria(Criteria()), paging, deeper=True)
            assert not set(found) & set(page.rows)
            found |= page.rows
            whole = [count.number for count in page.rows.values()]
            assert whole == sorted(whole, reverse=True)
            if page.reached is None:
                break
            paging = Paging(limit=50, before=page.reached)
    assert found == {number: Count(size) for number, size in sizes.items()}


def test_a_viewer_of_a_part_has_the_largest_of_that_part(shop, monkeypatch):
    """What is not seen can't be counted without reading it, so the last one that was looked at may have more."""
    rows = shop.sql(
        f"SELECT t.id, count(*) FROM {JOINED} WHERE table_name = 'products' GROUP BY 1 ORDER BY 2 DESC, 1 DESC"
    )
    with reading(shop, only(PRODUCTS)) as log:
        every, _ = largest_transactions(log, TransactionCriteria(Criteria()), Paging())
        monkeypatch.setattr(summaries, "STEPS", (5, 10, 40))
        first, _ = largest_transactions(log, TransactionCriteria(Criteria()), Paging())
    assert every.rows == {number: Count(size) for number, size in rows}
    (seen,) = first.rows.values()
    assert list(first.rows) == [newest(shop)] and seen.is_capped and 0 < seen.number <= 10


def test_transactions_of_which_nothing_is_seen_are_not_listed(shop):
    rows = shop.sql(f"SELECT DISTINCT t.id FROM {JOINED} WHERE table_name = 'categories' ORDER BY 1 DESC")
    with reading(shop, only(CATEGORIES)) as log:
        page = list_transactions(log, Search(Criteria()), TransactionCriteria(Criteria()), Paging())
    assert [row.id for row in page.rows] == [row[0] for row in rows]
