"""Promise: a page of activities reads about a page's worth of rows, however many of them a transaction has."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import FEW, STEPS, Reach, Search, find_activities, list_activities
from flask_audit_logger.query.paging import Cursor, Paging
from flask_audit_logger.query.reader import AuditReader
from flask_audit_logger.query.sightings import LOOKED_AT, work
from flask_audit_logger.schema.names import TableName
from tests.support.reads import explained
from tests.ui.shop import ANN, BOB

BULK, SMALL = 20_000, 400
PRODUCTS, CATEGORIES = TableName("public", "products"), TableName("public", "categories")


def analyze(shop):
    shop.sql("ANALYZE activity")
    shop.sql("ANALYZE transaction")


def fill(shop):
    """Many small transactions of Bob, which the planner knows, then a bulk of Ann, which it doesn't."""
    with shop.acting(BOB) as session:
        session.execute(sa.text("INSERT INTO products (id, name) SELECT n, 'a' FROM generate_series(1, 9) n"))
        session.execute(sa.text("INSERT INTO categories (id, name) VALUES (1, 'a')"))
    for number in range(4):
        shop.change(BOB, "Category", 1, name=str(number))
    shop.sql(
        "INSERT INTO transaction (native_transaction_id, issued_at, actor_id, client_addr, context)"
        f" SELECT 1, now() + n * interval '1 ms', {BOB}, '198.51.100.7', '{{}}' FROM generate_series(1, {SMALL}) n"
    )
    shop.sql(
        "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, old_data,"
        " changed_data, transaction_id, record_key)"
        """ SELECT 'public', 'products', 0, now(), 1, 'update', '{}', '{"name": "b"}', id, '1'"""
        f" FROM transaction, generate_series(1, 3) WHERE id > (SELECT max(id) - {SMALL} FROM transaction)"
    )
    analyze(shop)
    with shop.acting(ANN, addr="192.0.2.77") as session:
        session.execute(
            sa.text(f"INSERT INTO products (id, name) SELECT n + 100, 'x' FROM generate_series(1, {BULK}) n")
        )


def rows_read(log, statement, parameters):
    """How many rows of the log's tables a statement reads, by table; the lookup of a period is not counted."""
    (plan,) = log.connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
    found = {"activity": 0, "transaction": 0}

    def add(node):
        if node.get("Subplan Name") == "CTE span":
            return
        removed = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
        name = node.get("Relation Name")
        if name in found:
            found[name] += round((node["Actual Rows"] + removed) * node["Actual Loops"])
        for child in node.get("Plans", ()):
            add(child)

    add(plan["Plan"])
    return found


def read(shop, ask):
    """What is answered, and what the statements read for it.

    :param ask: gets the open log.
    """
    seen = []
    with shop.application.app.app_context():
        reader = AuditReader(shop.db.engine, shop.application.audit_logger.models)
        with reader.reading() as log:

            def note(connection, cursor, statement, parameters, context, executemany):
                seen.append((statement, parameters))

            sa.event.listen(log.connection, "before_cursor_execute", note)
            answer = ask(log)
            sa.event.remove(log.connection, "before_cursor_execute", note)
            read = [rows_read(log, *sent) for sent in seen]
            return answer, {name: sum(rows[name] for rows in read) for name in read[0]}


def read_page(shop, criteria, paging):
    """A page, and what its statements read."""
    return read(shop, lambda log: find_activities(log, criteria, paging)[0])


HOUR = {"since": dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)}
SEARCHES = {
    "all": {},
    "period": HOUR,
    "table": {"tables": (PRODUCTS,)},
    "period and table": {**HOUR, "tables": (PRODUCTS,)},
    "verb": {**HOUR, "verbs": ("insert",)},
    "actor": {"actors": (str(ANN),)},
    "actor and period": {**HOUR, "actors": (str(ANN),)},
    "actor, table and period": {**HOUR, "actors": (str(ANN),), "tables": (PRODUCTS,)},
    "kind": {**HOUR, "kinds": ("user",)},
    "address": {**HOUR, "addresses": ("192.0.2.77/32",)},
}


@pytest.mark.parametrize("analyzed", [False, True], ids=["new", "analyzed"])
def test_a_page_reads_a_page(shop, analyzed):
    """Right after the bulk as well as later; the first pages from both ends, and pages within the bulk."""
    if analyzed:
        analyze(shop)
    (last,) = shop.sql("SELECT transaction_id, max(id) FROM activity GROUP BY 1 ORDER BY 1 DESC LIMIT 1")
    middle = Cursor(last[0], last[1] - BULK // 2)
    pages = (
        Paging(), Paging(oldest_first=True), Paging(before=middle), Paging(after=middle),
        Paging(before=middle, oldest_first=True), Paging(after=middle, oldest_first=True),
    )  # fmt: skip
    for name, fields in SEARCHES.items():
        for paging in pages:
            page, rows = read_page(shop, Criteria(**fields), paging)
            assert len(page.rows) == 50, (name, paging)
            # a verb has no index: what the small transactions hold may be read on the way to the bulk, by a second step
            asked_first = FEW + 1 + STEPS[0] if not Criteria(**fields).is_plain else 0
            asked_first += STEPS[1] if name == "verb" else 0
            assert rows["activity"] <= asked_first + 3 * SMALL + 4 * 51, (name, paging, rows)
            assert rows["transaction"] <= 3 * SMALL + 4 * 51, (name, paging, rows)


def test_a_rare_table_is_read_by_its_index(shop):
    analyze(shop)
    for fields, number in (({}, 5), (HOUR, 5), ({"actors": (str(BOB),)}, 5), ({**HOUR, "actors": (str(ANN),)}, 0)):
        page, rows = read_page(shop, Criteria(**fields, tables=(CATEGORIES,)), Paging())
        assert len(page.rows) == number, fields
        assert rows["activity"] <= 100, (fields, rows)


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_search_within_a_transaction_reads_no_further_than_it_may(shop, oldest_first):
    """An index that is asked for less than a position goes on to the end of the transaction."""
    analyze(shop)
    ((bulk, first, last),) = shop.sql(
        "SELECT transaction_id, min(id), max(id) FROM activity GROUP BY 1 ORDER BY 1 DESC LIMIT 1"
    )
    edge = Cursor(bulk, first + 100 if oldest_first else last - 100)
    search = Search(Criteria(transactions=(bulk,), verbs=("update",)))
    with shop.application.app.app_context():
        engine = shop.db.engine
        with (
            explained(engine) as reads,
            AuditReader(engine, shop.application.audit_logger.models).reading() as log,
        ):
            page = list_activities(log, search, Paging(oldest_first=oldest_first), reach=Reach(edge))
    assert page.rows == () and page.reached == edge
    assert reads.blocks < 30, reads.plans  # its part of the index has more than fifty


def test_the_sums_of_an_actor_look_at_so_many_rows_and_no_more(shop):
    analyze(shop)
    for fields in ({}, HOUR):
        search = Search(Criteria(actors=(str(ANN),), **fields))
        found, rows = read(shop, lambda log, search=search: work(log, search, "UTC"))
        assert found.is_cut and sum(found.hours.values()) == LOOKED_AT < BULK
        assert rows["activity"] <= LOOKED_AT + 51, rows


def test_the_pages_together_are_the_feed(shop):
    """In either direction and with each way of reading, every activity comes once and in its place."""
    order = [row[0] for row in shop.sql("SELECT id FROM activity ORDER BY transaction_id DESC, id DESC")]
    by_bob = [row[0] for row in shop.sql(
        f"SELECT a.id FROM activity a JOIN transaction t ON t.id = a.transaction_id WHERE actor_id = {BOB}"
        " ORDER BY t.id DESC, a.id DESC"
    )]  # fmt: skip
    for fields, expected in (({}, order), (HOUR, order), ({"actors": (str(BOB),)}, by_bob)):
        for oldest_first in (False, True):
            found, paging = [], Paging(limit=5000, oldest_first=oldest_first)
            while True:
                page, _ = read_page(shop, Criteria(**fields), paging)
                found += [row.id for row in page.rows]
                if not (page.has_newer if oldest_first else page.has_older):
                    break
                end = page.rows[-1].cursor
                paging = Paging(limit=5000, oldest_first=oldest_first, **{"after" if oldest_first else "before": end})
            assert (found[::-1] if oldest_first else found) == expected, fields
