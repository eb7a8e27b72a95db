"""Promise: the three stories of the pages work in a real browser, with and without JavaScript, on any screen."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.ui.browsing import IN_A_BROWSER, served, tab
from tests.ui.shop import ANN, make_history

pytestmark = IN_A_BROWSER


@pytest.fixture
def site(new_shop) -> Iterator[str]:
    """A shop that is served; its product page links to the history of the product."""
    shop = new_shop(config={"AUDIT_UI_HOME": ("Shop", "home")})
    app = shop.application.app
    app.add_url_rule("/", "home", lambda: app.jinja_env.from_string(PRODUCT).render())
    make_history(shop)
    shop.sql("INSERT INTO products (id, name, price) SELECT i, 'Item ' || i, i FROM generate_series(1000, 1400) i")
    shop.sql("UPDATE products SET price = price * 2 WHERE id >= 1000")
    shop.change(ANN, "Product", 42, price=Decimal("13.00"), description="A robust mug.\n" * 30)
    with served(app) as address:
        yield address


PRODUCT = "<title>Blue mug</title><a href=\"{{ audit_record_url('products', 42) }}\">History</a>"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_the_three_stories(chromium, site, script):
    page, problems = tab(chromium, java_script_enabled=script)

    # Support: who changed this price and when? From the product's page, no filter typed.
    page.goto(site)
    page.click("text=History")
    price = page.get_by_role("link", name="price", exact=True)
    current = page.locator(".audit-current tr", has=price).inner_text()
    assert "13.00" in current and "12.50" in current and "Ann Price" in current
    price.click()
    assert "(+4 %)" in page.locator("#audit-results").inner_text().replace("\u00a0", " ")

    # Compliance: all that Bob touched last quarter or lately, in one address.
    page.get_by_role("link", name="Audit log").click()
    page.select_option("#audit-actor", label="Bob Stone")
    page.select_option("#audit-period", "90d")
    page.click("text=Show changes")
    assert "actor=2" in page.url and "period=90d" in page.url
    assert page.locator("h1").inner_text() == "2 changes by Bob Stone, last 90 days"
    if script:
        assert "key=" not in page.url  # fields that are empty are not sent
        page.wait_for_selector(".audit-facets")
        assert page.locator(".audit-bar").count() >= 13  # weeks
    page.reload()
    assert page.locator("h1").inner_text() == "2 changes by Bob Stone, last 90 days"

    # Developer: what did that careless update do?
    page.click("nav >> text=Transactions")
    page.locator("summary", has_text="More filters").click()
    page.fill("#audit-min-rows", "300")
    page.click("text=Show transactions")
    page.locator("#audit-results tbody a").first.click()
    assert "401" in page.locator(".audit-plain").inner_text() and "price" in page.locator(".audit-plain").inner_text()
    assert page.locator("#audit-results tbody tr").count() == 50
    page.locator("a[rel=prev]").first.click()
    assert page.locator("#audit-results tbody tr").count() == 50
    page.locator(".audit-c-record a").first.click()
    page.click("text=Compare")
    assert "What differs" in page.content()
    assert problems == []


def test_two_versions_to_compare_are_never_the_same(chromium, site):
    page, _ = tab(chromium)
    page.goto(f"{site}/audit/record/products/42")
    chosen = page.locator('input[name="from"]:checked').input_value()
    page.locator(f'input[name="to"][value="{chosen}"]').check()
    assert page.locator('input[name="from"]:checked').input_value() != chosen


def test_print_shows_the_changes_without_colours_and_forms(chromium, site):
    page, _ = tab(chromium)
    page.goto(f"{site}/audit/")
    page.emulate_media(media="print")
    assert not page.locator(".audit-filter").is_visible() and page.locator("#audit-results").is_visible()
    assert "line-through" in page.locator("del").first.evaluate("e => getComputedStyle(e).textDecorationLine")


def test_a_stored_script_does_not_run(chromium, new_shop, site):
    """S6 with a real parser: the content policy is a second wall, not the first."""
    page, problems = tab(chromium)
    page.goto(f"{site}/audit/?table=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E")
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    assert page.locator("img").count() == 0 and problems == []
