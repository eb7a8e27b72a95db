"""The audit pages inside the shop: in its layout, with its roles, and the way back to an old price."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import select

from example_app.models import Product, StockLevel
from tests.example_app.shops import browser, log_in, rows

PRODUCT = {"name": "Ink", "sku": "INK-1", "price": "9.80", "attributes": "{}"}


@pytest.fixture
def ink(shop):
    """Path of a product whose price Ann raised."""
    admin = browser(shop, "admin")
    path = admin.submit("/products/new", **PRODUCT)
    admin.submit(f"{path}/edit", price="11.00", reason="dearer ink")
    return path


def history(client, path):
    """The page that the product's History button leads to."""
    button = re.search(r'href="(/audit/record/[^"]+)"', client.get(path).text)
    assert button is not None
    return client.get(button[1])


def test_the_pages_are_in_the_layout_of_the_shop(shop, ink):
    page = history(log_in(shop, "admin"), ink)
    assert '<a class="brand"' in page.text and '<div class="audit"' in page.text
    assert page.text.count("<main") == 1
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert "no-store" in page.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("username", "sees"), [("admin", True), ("auditor", True), ("support", True), ("clerk", False)]
)
def test_a_product_shows_its_last_changes_to_who_may_see_them(username, sees, shop, ink):
    text = log_in(shop, username).get(ink).text
    assert ("Last changes" in text, "dearer ink" in text) == (sees, sees)


def test_support_puts_a_price_back_and_says_why(shop, ink):
    support = browser(shop, "support")
    support.log_in()
    way_back = re.search(r'href="(/audit/record/[^"]+/revert\?[^"]+)"', history(support.client, ink).text)
    assert way_back is not None
    answer = support.send(unescape(way_back[1]), "audit-revert", reason="the customer was promised the old price")
    assert answer.status_code == 303
    [price] = rows(shop, select(Product.price))
    assert str(price[0]) == "9.80"
    shown = history(support.client, ink).text
    assert "Sam Okafor" in shown and "the customer was promised the old price" in shown


@pytest.mark.parametrize("username", ["auditor", "clerk"])
def test_who_may_not_edit_may_not_put_back(username, shop, ink):
    way_back = re.search(r'href="(/audit/record/[^"]+/revert\?[^"]+)"', history(log_in(shop, "admin"), ink).text)
    assert way_back is not None
    client = log_in(shop, username)
    assert client.get(unescape(way_back[1])).status_code == 403
    assert client.post(unescape(way_back[1]), data={"column": "price"}).status_code == 403


def test_support_puts_back_only_what_it_may_edit(shop, ink):
    """The names of tables and of the shop's pages differ; the right to edit is that of the page."""
    admin = browser(shop, "admin")
    shelf = admin.submit("/stock/new", product_id=ink.rpartition("/")[2], location="Shelf 1", quantity=3)
    admin.submit(f"{shelf}/edit", quantity=4)
    assert "/revert?" in history(admin.client, shelf).text
    assert "/revert?" not in history(log_in(shop, "support"), shelf).text
    assert rows(shop, select(StockLevel.quantity)) == [(4,)]
