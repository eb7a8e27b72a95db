"""Promise: no page reads more than so much of the log, whatever it looks for: statements, blocks and rows, not time."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy.dialects.postgresql.base import PGCompiler
from werkzeug.routing import MapAdapter

from benchmarks.page_log import declare, fill, planned
from benchmarks.pages import ask, pages
from flask_audit_logger.query import facets, feed, folds, records, rows, sightings, summaries
from flask_audit_logger.ui import AuditUI, RevertPolicy, Viewer, presenter
from tests.support.reads import explained
from tests.ui.shop import with_own_shop

#: A log of 90,000 changes is as large for steps of a tenth as one of 900,000.
CHANGES = 80_000
STEPS = (100, 4000, 20_000)
#: What a page may read at most: what it looks through and shows, and what the names of its records take. Who reads the
#: whole log is told by the rows; blocks are read again and again where an index leads to them, and differ with the day.
ROWS, BLOCKS, STATEMENTS = 18_500, 8000, 12
#: Two pages in one, and the one that adds up the rows of transactions in an index.
TWICE = ("list with breakdown", "transactions, large")
#: Files have all rows they are asked for; their statements are as many as thousands of rows.
FILES = ("export, CSV", "export, JSON")


#: Addresses that Werkzeug may build for a list: those of the filter, its chips, the searches offered, the pager and the
#: zone, and one for each kind.
ADDRESSES = 40


@with_own_shop
def test_what_a_request_makes_anew(shop, monkeypatch):
    """Statements are compiled once, addresses of rows are filled into a pattern, and rows share their transaction."""
    compiled, built, read = Counter(), Counter(), Counter()
    count(monkeypatch, compiled, PGCompiler, "visit_select")
    count(monkeypatch, built, MapAdapter, "build")
    count(monkeypatch, read, rows, "read_transaction")
    shop.sql("INSERT INTO products (id, name) SELECT i, 'Product ' || i FROM generate_series(1000, 1099) AS i")
    pages = ("/?limit=100", "/record/products/42", "/record/products/1001", "/transactions", "/actor/1")
    for page in pages:
        shop.page(page)
    for page in pages:
        compiled.clear(), built.clear(), read.clear()
        shop.page(page)
        assert not compiled, page
        assert built.total() <= ADDRESSES, (page, built)
        assert read.total() <= 25, (page, read)


def test_names_are_looked_for_where_there_can_be_some(shop, monkeypatch):
    """Not in a table that has no column for them today, unless the application names one."""
    asked, original = set(), presenter.names_of

    def names_of(log, wanted, naming_columns, key):
        asked.update(ref.table.name for ref in wanted if naming_columns(ref.table))
        return original(log, wanted, naming_columns, key)

    monkeypatch.setattr(presenter, "names_of", names_of)
    shop.page("/?period=all&limit=200")
    assert "products" in asked and "order_items" not in asked
    ui = shop.application.app.extensions["audit_logger_ui"]["audit"].ui
    monkeypatch.setitem(ui.naming_columns, "order_items", ["quantity"])
    shop.page("/?period=all&limit=200")
    assert "order_items" in asked


def count(monkeypatch, found, owner, name):
    """Count the calls of a function."""
    original = getattr(owner, name)

    def counted(*args, **kwargs):
        found[name] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.slow
@pytest.mark.parametrize("partition", [None, pytest.param("month", marks=pytest.mark.long)])
def test_no_page_reads_the_whole_log(create_app, monkeypatch, partition):
    for module in (feed, folds, summaries):
        monkeypatch.setattr(module, "STEPS", STEPS)
    monkeypatch.setattr(feed, "FEW", 300)
    monkeypatch.setattr(folds, "MATCHED_ROWS", 500)
    monkeypatch.setattr(folds, "FOLDED_ROWS", 50)
    monkeypatch.setattr(folds, "SEARCHED_ROWS", 1000)
    monkeypatch.setattr(records, "STEPS", (500, 10_000))
    monkeypatch.setattr(facets, "LOOKED_THROUGH", 1000)
    monkeypatch.setattr(facets, "MOST_READ", 500)
    monkeypatch.setattr(sightings, "LOOKED_AT", 500)
    monkeypatch.setattr(summaries, "COUNTED_ROWS", 2000)
    ui = AuditUI(permission=lambda action, target: True, viewer=lambda: Viewer("1", "Reader"), revert=RevertPolicy())
    log = planned(create_app(declare=declare, ui=ui, partition=partition), CHANGES)
    fill(log, CHANGES)
    with log.application.app.app_context():
        engine = log.application.db.engine
    ask(log.application, "/audit/")
    for name, path in pages(log).items():
        if name.startswith(FILES):
            continue
        with explained(engine) as reads:
            assert ask(log.application, path) in (200, 404), name
        # of months it asks for their bounds, the ends of a period, where a record lived, and how its names are read
        statements = STATEMENTS if partition is None else STATEMENTS + 5
        told = f"{name}: {reads.statements} statements, {reads.blocks} blocks, {reads.rows} rows"
        most = 2 if name in TWICE else 1
        assert reads.rows <= ROWS * most and reads.blocks <= BLOCKS and reads.statements <= statements * most, told
