"""Promise: the history of a number has a line that is true, and a renamed record leads on to its new key."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.ui.shop import ANN, make_history, text_of


def line(html):
    """The points of the chart."""
    found = re.search(r'<polyline points="([^"]*)"', html)
    return [tuple(map(float, point.split(","))) for point in found[1].split()] if found else []


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


def test_a_line_survives_every_number(shop):
    shop.sql("ALTER TABLE products ALTER price TYPE numeric")
    for price in ("NaN", "Infinity", "NULL", "1e300", "-1e300", "9" * 5000, "0.000000000000000000000000000001"):
        value = price if price == "NULL" else f"'{price}'"
        shop.sql(f"UPDATE products SET price = {value} WHERE id = 42")
    html = shop.page("/record/products/42?col=price")
    points = line(html)
    assert len(points) == 2 * 6 and all(0 <= y <= 80 and 0 <= x <= 600 for x, y in points)
    assert len(html.partition("<figcaption")[2].partition("</figcaption>")[0]) < 500


def test_a_deleted_record_has_no_value_any_longer(shop):
    shop.change(ANN, "Product", 42, price=Decimal("8.00"))
    shop.remove(ANN, "Product", 42)
    assert len(line(shop.page("/record/products/42?col=price"))) == 6


def test_masked_numbers_have_no_line(new_shop):
    shop = make_history(new_shop(mask=["products.price"]))
    assert "<polyline" not in shop.page("/record/products/42?col=price", 400)


def test_the_old_key_leads_to_the_new_one(shop):
    shop.sql("UPDATE products SET id = 4200 WHERE id = 42")
    html = shop.page("/record/products/42")
    assert re.search(r"Since 2\S+ \S+ this record has key 4200", text_of(html))
    assert 'href="/audit/record/products/4200"' in html
