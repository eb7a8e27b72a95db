"""Promise: on a list a transaction with very many changes is one row, whatever is searched, and nothing is left out."""

from __future__ import annotations

from unittest import mock

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_audit_logger.query import folds
from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import Count
from flask_audit_logger.query.folds import Fold, find_folded
from flask_audit_logger.query.paging import ORIGIN, Paging
from tests.query.reads import CATEGORIES, PRODUCTS, only, reading
from tests.ui.shop import ANN, BOB

#: Changes of each transaction to products, and to categories.
SIZES = ((1, 0), (4, 0), (5, 2), (0, 3), (9, 0), (6, 6), (1, 1), (30, 0), (2, 0), (0, 7), (3, 3), (12, 1), (1, 0))


def fill(shop):
    """Transactions of many sizes, of two people."""
    for number, (products, categories) in enumerate(SIZES):
        with shop.acting((ANN, BOB)[number % 2]) as session:
            first = number * 100
            session.execute(
                sa.text(f"INSERT INTO products (id, price) SELECT {first} + n, n FROM generate_series(1, {products}) n")
            )
            session.execute(
                sa.text(f"INSERT INTO categories (id) SELECT {first} + n FROM generate_series(1, {categories}) n")
            )


SEARCHES = {
    "all": (Criteria(), "true"),
    "products": (Criteria(tables=(PRODUCTS,)), "table_name = 'products'"),
    "Ann's": (Criteria(actors=(str(ANN),)), f"actor_id = {ANN}"),
    "Bob's categories": (
        Criteria(actors=(str(BOB),), tables=(CATEGORIES,)),
        f"actor_id = {BOB} AND table_name = 'categories'",
    ),
}


def expected(shop, condition, over):
    """What a list has to show: single changes by id, and large transactions with their number of changes."""
    rows = shop.sql(
        "SELECT a.transaction_id, a.id, count(*) OVER (PARTITION BY a.transaction_id)"
        f" FROM activity a JOIN transaction t ON t.id = a.transaction_id WHERE {condition} ORDER BY 1, 2"
    )
    shown = [(tx, number) if number > over else (tx, None, id_) for tx, id_, number in rows]
    return list(dict.fromkeys(shown))


def shown_as(row):
    if isinstance(row, Fold):
        return row.first.transaction_id, row.summary.rows.number
    return row.transaction_id, None, row.id


def pages(log, criteria, paging, over, down):
    """All pages from one end of the list to the other, by the positions of their last rows."""
    while True:
        page, _ = find_folded(log, criteria, paging, over)
        yield page
        last_first = down == (not paging.oldest_first)
        if not (page.has_older if down else page.has_newer):
            return
        last = page.rows[-1] if last_first else page.rows[0]
        end = last.end(down=down) if isinstance(last, Fold) else last.cursor
        paging = Paging(limit=paging.limit, oldest_first=paging.oldest_first, **{"before" if down else "after": end})


@pytest.mark.parametrize("search", SEARCHES)
@given(
    limit=st.integers(1, 12),
    over=st.integers(1, 15),
    oldest_first=st.booleans(),
    only_products=st.booleans(),
    reads=st.sampled_from((1, 2, folds.READS)),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # it takes no writes
def test_from_page_to_page_each_change_is_shown_once_or_in_its_transaction(
    shop, search, limit, over, oldest_first, only_products, reads
):
    """However often a page may go on behind what it folds: with fewer reads it only has fewer rows."""
    criteria, condition = SEARCHES[search]
    scope = (only(PRODUCTS),) if only_products else ()
    condition = f"{condition} AND table_name = 'products'" if only_products else condition
    found = []
    with reading(shop, *scope) as log, mock.patch.object(folds, "READS", reads):
        for page in pages(log, criteria, Paging(limit=limit, oldest_first=oldest_first), over, not oldest_first):
            assert len(page.rows) <= limit
            found += [shown_as(row) for row in page.rows]
    wanted = expected(shop, condition, over)
    assert found == (wanted if oldest_first else wanted[::-1])


@pytest.mark.parametrize("over", [2, 5])
def test_the_way_back_shows_the_same_rows(shop, over):
    """From the oldest page upwards, in either order on the page."""
    with reading(shop) as log:
        for oldest_first in (False, True):
            start = Paging(limit=4, oldest_first=oldest_first, after=None)
            start = start if oldest_first else Paging(limit=4, after=ORIGIN)
            found = []
            for page in pages(log, Criteria(), start, over, False):
                rows = [shown_as(row) for row in page.rows]
                found += rows if oldest_first else rows[::-1]
            assert found == expected(shop, "true", over)


def test_a_fold_says_how_many_and_what(shop):
    with reading(shop) as log:
        page, _ = find_folded(log, Criteria(), Paging(limit=50), 11)
        found = [row for row in page.rows if isinstance(row, Fold)]
        assert [fold.summary.rows for fold in found] == [Count(13), Count(30), Count(12)]
        tallies = [(t.table.name, t.verb, t.number) for t in found[0].summary.tallies]
        assert tallies == [("products", "insert", 12), ("categories", "insert", 1)]
        page, _ = find_folded(log, Criteria(tables=(PRODUCTS,)), Paging(limit=50), 11)
        found = [row for row in page.rows if isinstance(row, Fold)]
        assert [fold.summary.rows for fold in found] == [Count(12), Count(30)]
        assert [[t.number for t in fold.summary.tallies] for fold in found] == [[12], [30]]
