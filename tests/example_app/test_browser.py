"""The main story in a real browser: change a price, follow the link to the history, and see who did it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.example_app.shops import browser
from tests.ui.browsing import IN_A_BROWSER, follow, running_chromium, served

pytestmark = [*IN_A_BROWSER, pytest.mark.slow]


@pytest.fixture
def address(shop: Flask) -> Iterator[str]:
    """Where the shop is served."""
    with served(shop) as address:
        yield address


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """A page of Chromium, at the login; what it complains about on its console is an error."""
    with running_chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
    assert complaints == []


def log_in(page: Any, url: str) -> None:
    """Open a page of the shop, by way of the login."""
    page.goto(url)
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("demo")
    follow(page, page.get_by_role("button", name="Log in"))


def test_a_price_is_changed_and_found_in_the_history(shop, address, page):
    path = browser(shop, "admin").submit("/products/new", name="Blue ink", sku="INK-1", price="9.80")
    log_in(page, f"{address}{path}")
    follow(page, page.get_by_role("link", name="Edit", exact=True))
    page.get_by_label("Price in euro").fill("10.50")
    page.get_by_label("Reason for this change").fill("Supplier raised the price")
    follow(page, page.get_by_role("button", name="Save"))
    assert "was saved" in page.get_by_role("status").inner_text()

    follow(page, page.get_by_role("link", name="History").first)
    assert "/audit/record/products/" in page.url
    newest = page.locator("table").last.locator("tbody tr").first.inner_text()
    for word in ("price", "9.80", "10.50", "Ann Price", "127.0.0.1"):
        assert word in newest

    page.goto(f"{address}/")
    follow(page, page.get_by_role("button", name="Log out"))
    page.goto(f"{address}/audit/")
    assert "/login" in page.url


def test_the_first_screen_has_eight_changes(shop, address, page):
    """And a change of one value needs at most 64 pixels."""
    admin = browser(shop, "admin")
    path = admin.submit("/products/new", name="Blue ink", sku="INK-1", price="9.80")
    for number in range(10):
        admin.submit(f"{path}/edit", price=f"10.{number}0", reason="Supplier raised the price" if number % 2 else "")
    log_in(page, f"{address}/audit/")
    page.wait_for_selector(".audit-chart")
    boxes = [row.bounding_box() for row in page.locator(".audit-rows tbody tr").all()]
    assert len([box for box in boxes if box["y"] + box["height"] <= 900]) >= 8
    assert all(box["height"] <= 64 for box in boxes[:10])


def test_narrow_screens_need_no_sideways_scrolling(address, page):
    page.set_viewport_size({"width": 320, "height": 700})
    log_in(page, f"{address}/")
    for path in ("/", "/products/", "/products/new", "/orders/", "/supplier-prices/adjust", "/users/", "/users/1"):
        page.goto(f"{address}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
