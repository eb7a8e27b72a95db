"""Promise: the three stories of the pages work in a real browser, with and without JavaScript, on any screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from flask_audit_logger.ui import RevertPolicy
from tests.ui.browsing import IN_A_BROWSER, follow, served, tab
from tests.ui.shop import ANN, Shop, make_history

pytestmark = IN_A_BROWSER


PRODUCT = "<title>Blue mug</title><a href=\"{{ audit_record_url('products', 42) }}\">History</a>"
BULK = 1200
with_and_without_script = pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])


@pytest.fixture
def shop(new_shop) -> Shop:
    """A shop whose product page links to the history of the product; Bob's changes were made last quarter."""
    shop = new_shop(config={"AUDIT_UI_HOME": ("Shop", "home")}, revert=RevertPolicy())
    app = shop.application.app
    app.add_url_rule("/", "home", lambda: app.jinja_env.from_string(PRODUCT).render())
    make_history(shop)
    begin = "date_trunc('quarter', timezone('UTC', now())) - interval '2 months' + interval '1 hour' * id"
    shop.sql(f"UPDATE transaction SET issued_at = timezone('UTC', {begin}) WHERE actor_id = 2")
    shop.sql(f"INSERT INTO products (id, name, stock) SELECT i, 'Item ' || i, 1 FROM generate_series(1, {BULK}) i "
             "WHERE i NOT IN (42, 43)")  # fmt: skip
    shop.sql("UPDATE products SET stock = 9 WHERE id IN (100, 200)")
    shop.sql("UPDATE products SET stock = 2 WHERE id NOT IN (42, 43)")
    shop.change(ANN, "Product", 42, price=Decimal("13.00"), description="A robust mug.\n" * 30)
    return shop


@pytest.fixture
def site(shop) -> Iterator[str]:
    """The shop, served."""
    with served(shop.application.app) as address:
        yield address


def said(page, selector):
    """What a part of a page says, on one line."""
    return " ".join(page.locator(selector).first.inner_text().split())


@with_and_without_script
def test_support_finds_who_changed_a_price_and_puts_it_back(chromium, shop, site, script):
    """From the product's own page in three clicks; nothing but the reason is typed."""
    page, problems = tab(chromium, java_script_enabled=script)
    page.goto(site)
    follow(page, page.locator("text=History").first)  # the first click
    assert said(page, "h2") == "Current values"
    price = page.locator(".audit-current tr", has=page.get_by_role("link", name="price", exact=True))
    row = " ".join(price.inner_text().split())
    newest = shop.activity(record_key="42")
    assert row.startswith("price 13.00") and "12.50" in row and "Ann Price" in row
    assert f"{newest.issued_at:%Y-%m-%d %H:%M:%S}" in row
    follow(page, price.get_by_text("Put back"))  # the second
    assert "price 13.00 12.50" in said(page, ".audit-diff tbody").replace("Now: ", "").replace("Will become: ", "")
    page.fill("#audit-reason", "A slip of the pen")
    follow(page, page.get_by_role("button", name="Put back"))  # the third
    assert shop.sql("SELECT price, description LIKE 'A robust%' FROM products WHERE id = 42") == [
        (Decimal("12.50"), True)
    ]
    assert "price is 12.50 again." in page.get_by_role("status").first.inner_text()
    assert f"Put back from change {newest.id}: A slip of the pen" in said(page, "main")
    assert problems == []


@with_and_without_script
def test_compliance_lists_all_that_somebody_did_last_quarter(chromium, shop, site, script):
    """One address reproduces it; the file names filter, viewer and time, and says that it is complete."""
    page, problems = tab(chromium, java_script_enabled=script)
    asked = []
    page.on("request", lambda request: asked.append(request.url.partition("?")[0].rpartition("/")[2]))
    page.goto(f"{site}/audit/")
    page.select_option("#audit-actor", label="Bob Stone")
    page.select_option("#audit-period", label="Last quarter")
    follow(page, page.locator("text=Show changes").first)
    heading = "2 changes by Bob Stone, last quarter"
    assert said(page, "h1") == heading
    assert "actor=2" in page.url and "period=last-quarter" in page.url
    if script:
        assert "key=" not in page.url  # fields that are empty are not sent
        page.wait_for_selector(".audit-chart")
        assert page.locator(".audit-bar").count() >= 13  # weeks
        assert "facets" not in asked  # nobody looks at them yet
        page.click("text=By table, kind of change and actor")
        page.wait_for_selector(".audit-facets")
    again, _ = tab(chromium, java_script_enabled=script)
    again.goto(page.url)
    assert said(again, "h1") == heading and again.locator("#audit-results tbody tr").count() == 2
    if not script:
        follow(page, page.locator("text=Show breakdown").first)
    assert "Products 2" in said(page, ".audit-facets")
    follow(page, page.locator("text=Export these changes").first)
    assert heading in said(page, "main")
    file = page.request.get(site + page.get_by_role("link", name="JSON").get_attribute("href"))
    assert "attachment" in file.headers["content-disposition"]
    *lines, last = [json.loads(line) for line in file.text().splitlines()]
    meta = last["_meta"]
    assert [line["actor"] for line in lines] == ["Bob Stone"] * 2 and (meta["rows"], meta["complete"]) == (2, True)
    assert meta["filter"]["actor"] == ["2"] and meta["filter"]["period"] == ["last-quarter"]
    assert meta["viewer"]["label"] == "Ann Price" and meta["generated_at"] and meta["since"] and meta["until"]
    assert problems == []


@with_and_without_script
def test_a_developer_sees_what_a_careless_update_did(chromium, shop, site, script):
    """From the list of large transactions to the rows before and after; no page shows them all."""
    page, problems = tab(chromium, java_script_enabled=script)
    page.goto(f"{site}/audit/transactions?period=24h&min_rows=1000")
    assert page.locator("#audit-results tbody tr").count() == 2 and "1,000+" in said(page, "#audit-results tbody")
    follow(page, page.locator("#audit-results tbody a").first)
    summary = said(page, "main")
    assert "Products Updated 1,198 stock" in summary
    assert "1,196" in summary and "stock 1 → 2" in summary and "stock 9 → 2" in summary
    assert page.locator("#audit-results tbody tr").count() == 50
    follow(page, page.locator("a[rel=prev], a[rel=next]").first)
    assert page.locator("#audit-results tbody tr").count() == 50
    follow(page, page.locator(".audit-c-record a").first)
    follow(page, page.get_by_role("button", name="Compare"))
    assert "What differs" in said(page, "main") and "stock 1 2" in said(page, ".audit-diff tbody")
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
