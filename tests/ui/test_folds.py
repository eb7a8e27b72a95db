"""Promise: of a bulk change a list shows one row, which says how many, what and by how much, and opens."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from flask_audit_logger.query import folds
from tests.ui.shop import ANN, BOB, links, make_history, text_of


@pytest.fixture
def bulk(new_shop):
    """Thirty products, whose prices Bob raised by two or four percent."""
    shop = make_history(new_shop())
    shop.sql("INSERT INTO products (id, name, price, stock) SELECT n, 'p', 100, 1 FROM generate_series(101, 130) n")
    with shop.acting(BOB, reason="Spring list", job="price list") as session:
        session.execute(sa.text("UPDATE products SET price = price + 2 + 2 * (id % 2), secret = 'x' WHERE id > 100"))
    return shop


def row_of_fold(html):
    rows = html.partition("<tbody")[2].split("<tr ")
    return next(row.partition(">")[2] for row in rows if "30 changes" in row)


def test_a_bulk_change_is_one_row_that_says_what_and_opens(bulk):
    html = bulk.page("/?verb=update")
    row = row_of_fold(html)
    assert "30 changes Updated Products: price (+2 to +4 %), secret" in text_of(row)
    assert "Bob Stone job price list 192.0.2.1" in text_of(row)
    assert "“" not in text_of(row) and "Spring list" in text_of(row)
    (href,) = set(re.findall(r'href="([^"]*tx=[^"]*)"', row))
    opened = href.replace("&amp;", "&").partition("#")[0]
    assert len(bulk.ids(opened)) == 30 and "verb=update" in opened


def test_each_change_is_shown_if_wanted_and_the_filters_keep_it(bulk):
    href = next(href for href in links(bulk.page("/?verb=update")) if "fold=0" in href)
    html = bulk.page(href)
    assert len(bulk.ids(href)) >= 30 and "30 changes" not in html
    assert '<input type="hidden" name="fold" value="0">' in html
    assert "fold=0" in next(href for href in links(html) if "sort=time" in href)
    back = next(href for href in links(html) if href.endswith("/audit/?verb=update#audit-results"))
    assert "30 changes" in bulk.page(back)


def test_the_heading_counts_changes_not_rows(bulk):
    whole = bulk.sql("SELECT count(*) FROM activity WHERE verb = 'update'")[0][0]
    assert f"<h1>{whole} updates</h1>" in bulk.page("/?verb=update&period=all")


def test_a_page_about_somebody_folds_too(bulk):
    row = row_of_fold(bulk.page(f"/actor/{BOB}"))
    assert "price (+2 to +4 %)" in text_of(row)
    opened = re.search(r'href="(/audit/actor/2\?[^"]*tx=[^"]*)"', row)[1].replace("&amp;", "&")
    assert len(bulk.ids(opened.partition("#")[0])) == 30


def test_how_many_changes_are_one_row_is_a_setting(new_shop):
    shop = new_shop(config={"AUDIT_UI_FOLD_OVER": 2})
    shop.sql("INSERT INTO categories (id) VALUES (1), (2)")
    shop.sql("INSERT INTO categories (id) VALUES (3), (4), (5)")
    text = text_of(shop.page("/"))
    assert "3 changes Created Categories" in text and "2 changes Created" not in text
    never = new_shop(config={"AUDIT_UI_FOLD_OVER": 0})
    never.sql("INSERT INTO categories (id) SELECT generate_series(101, 140)")
    html = never.page("/")
    assert len(never.ids("/")) >= 40 and "Show each change" not in html


def test_different_changes_of_a_transaction_are_told_one_by_one(new_shop):
    shop = new_shop()
    with shop.acting(ANN) as session:
        session.execute(sa.text("INSERT INTO products (id, price) SELECT n, 0 FROM generate_series(1, 25) n"))
        session.execute(sa.text("UPDATE products SET price = 5 WHERE id < 4"))
        session.execute(sa.text("INSERT INTO categories (id) VALUES (1)"))
    html = shop.page("/")
    row = html.partition("29 changes")[2].partition("</tr>")[0]
    assert "Products Created 25 Products: price Updated 3 Categories Created 1" in text_of(row)
    hrefs = [href for href in links(html) if "tx=" in href and "verb=" in href]
    assert [len(shop.ids(href.partition("#")[0])) for href in hrefs] == [25, 3, 1]


def test_what_a_viewer_may_not_see_is_not_told_by_how_much_it_grew(new_shop):
    shop = make_history(new_shop(can_see_column=lambda table, column, viewer: column != "price"))
    shop.sql("INSERT INTO products (id, price) SELECT n, 100 FROM generate_series(101, 130) n")
    shop.sql("UPDATE products SET price = price * 1.1 WHERE id > 100")
    text = text_of(row_of_fold(shop.page("/?verb=update")))
    assert "Products: price" in text and "%" not in text


def test_numbers_without_end_and_none_are_not_told(new_shop):
    shop = new_shop()
    shop.sql("INSERT INTO products (id, price, stock) SELECT n, nullif(n, 7), n - 5 FROM generate_series(1, 30) n")
    shop.sql("UPDATE products SET price = coalesce(price, 1) * 2, stock = stock * 3")
    text = text_of(row_of_fold(shop.page("/?verb=update")))
    assert "Products: price, stock" in text and "%" not in text


def test_the_sum_of_the_kinds_of_change_is_of_so_many_rows_at_most(bulk, monkeypatch):
    monkeypatch.setattr(folds, "FOLDED_ROWS", 10)
    monkeypatch.setattr(folds, "MATCHED_ROWS", 12)
    text = text_of(row_of_fold(bulk.page("/?period=all")))
    assert "Products: price (+2 to +4 %), secret Based on the first 10 changes." in text
    monkeypatch.setattr(folds, "COUNTED_ROWS", 14)
    assert "More than 14 changes" in bulk.page("/?period=all")


def test_the_page_of_a_transaction_says_by_how_much_numbers_grew(bulk):
    text = text_of(bulk.page(f"/transaction/{bulk.activity(verb='update').transaction_id}"))
    assert "Products Updated 30 price (+2 to +4 %), secret" in text
