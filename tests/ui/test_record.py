"""Promise: the page of a record says who set each value and when, draws a number truly, and leads on to a new key."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.ui.shop import ANN, links, make_history, text_of, with_own_shop


def line(html):
    """The points of the chart."""
    found = re.search(r'<polyline points="([^"]*)"', html)
    return [tuple(map(float, point.split(","))) for point in found[1].split()] if found else []


@with_own_shop
def test_a_number_has_a_line_and_the_same_in_words(shop):
    shop.change(ANN, "Product", 42, price=Decimal("8.00"))
    html = shop.page("/record/products/42?col=price")
    points = line(html)
    heights = [y for _, y in points]
    # 10.00, then steps to 12.50 and to 8.00, which holds until now
    assert len(points) == 6
    assert (
        heights[1] == heights[0]
        and heights[2] == heights[3] == min(heights)
        and heights[4] == heights[5] == max(heights)
    )
    assert [x for x, _ in points] == sorted(x for x, _ in points) and points[-1][0] == 600
    text = text_of(html.partition("<figcaption")[2].partition("</figcaption>")[0])
    assert re.search(r"price from 10\.00 \(2\S+ \S+\) to 8\.00 \(2\S+ \S+\); lowest 8\.00, highest 12\.50$", text)
    assert " style=" not in html and 'role="img" aria-labelledby="audit-course"' in html


@pytest.mark.parametrize(
    "query", ["", "?col=name", "?col=category_id", "?col=id", "?col=price&col=stock", "?col=tags", "?col=price&since=x"]
)
def test_nothing_else_has_one(shop, query):
    assert "<polyline" not in shop.get(f"/record/products/42{query}").text


def test_a_single_value_has_none(shop):
    assert "<polyline" not in shop.page("/record/products/43?col=price")


@with_own_shop
def test_a_line_survives_every_number(shop):
    shop.sql("ALTER TABLE products ALTER price TYPE numeric")
    for price in ("NaN", "Infinity", "NULL", "1e300", "-1e300", "9" * 5000, "0.000000000000000000000000000001"):
        value = price if price == "NULL" else f"'{price}'"
        shop.sql(f"UPDATE products SET price = {value} WHERE id = 42")
    html = shop.page("/record/products/42?col=price")
    points = line(html)
    assert len(points) == 2 * 6 and all(0 <= y <= 80 and 0 <= x <= 600 for x, y in points)
    assert len(html.partition("<figcaption")[2].partition("</figcaption>")[0]) < 500


@with_own_shop
def test_a_deleted_record_has_no_value_any_longer(shop):
    shop.change(ANN, "Product", 42, price=Decimal("8.00"))
    shop.remove(ANN, "Product", 42)
    assert len(line(shop.page("/record/products/42?col=price"))) == 6


def test_masked_numbers_have_no_line(new_shop):
    shop = make_history(new_shop(mask=["products.price"]))
    assert "<polyline" not in shop.page("/record/products/42?col=price", 400)


@with_own_shop
def test_the_old_key_leads_to_the_new_one(shop):
    shop.sql("UPDATE products SET id = 4200 WHERE id = 42")
    html = shop.page("/record/products/42")
    assert re.search(r"Since 2\S+ \S+ this record has key 4200", text_of(html))
    assert 'href="/audit/record/products/4200"' in html


def test_a_record_says_who_set_each_value(shop):
    html = shop.page("/record/products/42")
    current = text_of(html.partition("Current values")[2].partition("</table>")[0])
    assert re.search(r"price 12\.50 was 10\.00 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d Bob Stone", current)
    assert "active false was true" in current and "category_id Maps #2 was Mugs #1" in current
    never = text_of(html.partition("columns never changed")[2].partition("</table>")[0])
    assert "launched 2026-08-01" in never and "id 42" in never
    assert "<h1>Blue mug, large</h1>" in html and "5 changes" in html


def test_the_history_of_one_column(shop):
    assert len(shop.ids("/record/products/42?col=price")) == 2
    assert len(shop.ids("/record/products/42?col=price&verb=update")) == 1
    assert len(shop.ids("/record/products/42?actor=2")) == 2


def test_a_deleted_record_keeps_its_name(shop):
    html = shop.page("/record/products/43")
    assert "<h1>Red mug</h1>" in html and "Deleted 20" in html and "by Ann Price" in html


def test_composite_and_odd_keys_have_pages(shop):
    href = next(link for link in links(shop.page("/?table=order_items&verb=update")) if "/record/" in link)
    assert href == "/audit/record/order_items/7,a~2Fb~2C+~7E~2E"
    assert "quantity 1 → 2 (+100 %)" in text_of(shop.page(href))


KEYS = [
    "a/b",
    "..",
    ".",
    "",
    " ",
    "~",
    "%2F",
    "a b",
    "ü",
    "🙂",
    '["a", "b"]',
    "a,b",
    "#x",
    "?y",
    "a\nb",
    "'\"<>&",
    "\\",
]


@pytest.mark.slow
@with_own_shop
def test_every_key_has_a_page(shop):
    for number, key in enumerate(KEYS):
        shop.add(ANN, "Item", order_id=number, code=key, quantity=1)
        href = next(link for link in links(shop.page("/?table=order_items")) if "/record/" in link)
        assert "Created" in shop.page(href), key
        with shop.application.app.test_request_context():
            item = shop.db.session.get(shop.models.Item, (number, key))
            assert shop.application.app.jinja_env.globals["audit_record_url"](item) == href


@with_own_shop
def test_a_key_that_changed_leads_to_the_new_one(shop):
    shop.sql("UPDATE categories SET id = 20 WHERE id = 1; ")
    html = shop.page("/record/categories/1")
    assert 'href="/audit/record/categories/20"' in html and "auditing was off" not in html
