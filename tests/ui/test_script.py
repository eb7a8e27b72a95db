"""Promise: what the script adds works in a real browser and breaks nothing of the pages."""

from __future__ import annotations

import pytest

from tests.ui.browsing import IN_A_BROWSER, follow, served, tab
from tests.ui.shop import BOB, make_history

pytestmark = IN_A_BROWSER


def test_what_can_be_copied_has_a_button(chromium, new_shop):
    shop = make_history(new_shop())
    with shop.acting(BOB, request_id="r-4711") as session:
        session.get(shop.models.Product, 42).stock = 98
    change = shop.activity(table_name="products", record_key="42")
    page, problems = tab(chromium, permissions=["clipboard-read", "clipboard-write"])
    with served(shop.application.app) as address:
        page.goto(f"{address}/audit/activity/{shop.address(change.id)}?done=1")
        page.get_by_role("button", name="Copy Request id").click()
        page.wait_for_selector("text=Copied")
        assert page.evaluate("navigator.clipboard.readText()") == "r-4711"
        page.get_by_role("button", name="Copy link").click()
        assert page.evaluate("navigator.clipboard.readText()") == f"{address}/audit/activity/{shop.address(change.id)}"
        page.wait_for_selector("text=Copied", state="detached")
        assert page.get_by_role("button", name="Copy Request id").is_visible()
        silent, _ = tab(chromium, java_script_enabled=False)
        silent.goto(f"{address}/audit/activity/{shop.address(change.id)}")
        assert silent.locator("button").count() and not silent.locator("button:visible").count()
    assert problems == []


def test_relative_times_stay_true(chromium, new_shop):
    shop = make_history(new_shop())
    page, problems = tab(chromium)
    page.clock.install()
    with served(shop.application.app) as address:
        page.goto(f"{address}/audit/activity/{shop.address(shop.activity().id)}")
        ago = page.locator("time[data-audit-ago] + .audit-small").first
        page.clock.fast_forward(3 * 3600 * 1000)
        assert ago.inner_text() == "3 hours ago"
    assert problems == []


def test_keys_for_everywhere_are_off_until_they_are_ticked(chromium, new_shop):
    shop = make_history(new_shop())
    for first in range(1000, 1100, 20):  # of more in one transaction a list shows one row
        shop.sql(f"INSERT INTO products (id) SELECT {first} + i FROM generate_series(1, 20) i")
    page, problems = tab(chromium)
    with served(shop.application.app) as address:
        page.goto(f"{address}/audit/")
        for key in ("]", "/", "?"):
            page.keyboard.press(key)
        assert page.url == f"{address}/audit/" and page.evaluate("document.activeElement.tagName") == "BODY"

        page.goto(f"{address}/audit/help")
        assert "Go to the first filter." in page.content()
        page.get_by_label("Turn on these keys in this browser").check()
        page.goto(f"{address}/audit/")
        page.keyboard.press("Control+]")
        page.keyboard.press("Alt+]")
        assert "before=" not in page.url
        page.keyboard.press("]")
        page.wait_for_url("**before=*")
        page.keyboard.press("[")
        page.wait_for_url("**after=*")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.closest('[data-audit-filter]') !== null")
        here = page.url
        page.get_by_text("More filters").click()
        page.focus("#audit-key")
        page.keyboard.type("?/[]")
        assert page.url == here and page.input_value("#audit-key") == "?/[]"
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("?")
        page.wait_for_url("**/audit/help")
        page.get_by_label("Turn on these keys in this browser").uncheck()
        page.goto(f"{address}/audit/")
        page.keyboard.press("]")
        assert page.url == f"{address}/audit/"
    assert problems == []


def test_the_zone_of_the_browser_is_offered(chromium, new_shop):
    """Besides those that are offered without the script."""
    shop = make_history(new_shop())
    shop.sql("UPDATE activity SET issued_at = '2026-01-01 00:00+00'")
    silent, _ = tab(
        chromium, java_script_enabled=False, timezone_id="Asia/Tokyo", viewport={"width": 320, "height": 700}
    )
    page, problems = tab(chromium, timezone_id="Asia/Tokyo", viewport={"width": 320, "height": 700})
    with served(shop.application.app) as address:
        for opened, zones in ((silent, ["UTC"]), (page, ["UTC", "Asia/Tokyo"])):
            opened.goto(f"{address}/audit/record/products/42?limit=25")
            opened.get_by_text("Times in UTC").first.click()
            assert opened.locator(".audit-zones a").all_inner_texts() == zones
            assert opened.evaluate("document.documentElement.scrollWidth") <= 320
        follow(page, page.get_by_role("link", name="Asia/Tokyo"))
        assert page.url == f"{address}/audit/record/products/42?limit=25&tz=Asia%2FTokyo"
        page.goto(f"{address}/audit/activity/{shop.address(1)}")
        assert page.locator(".audit-zones summary").inner_text() == "Times in Asia/Tokyo"
        assert "2026-01-01 09:00:00" in page.locator(".audit-lead").inner_text()
        assert page.evaluate("document.cookie") == "", "no script needs to read what was chosen"
    assert problems == []


def test_a_copy_button_shows_when_it_is_wanted(chromium, new_shop):
    """While the pointer is on its line, or by keyboard; the link to the page always."""
    shop = make_history(new_shop())
    page, problems = tab(chromium)
    with served(shop.application.app) as address:
        page.goto(f"{address}/audit/activity/{shop.address(shop.activity(record_key='42').id)}")
        button = page.locator(".audit-facts .audit-copy").first
        shown = "e => getComputedStyle(e).opacity"
        assert button.evaluate(shown) == "0"
        button.locator("xpath=ancestor::div[1]").hover()
        assert button.evaluate(shown) == "1"
        page.mouse.move(0, 0)
        assert button.evaluate(shown) == "0"
        button.focus()
        assert button.evaluate(shown) == "1"
        assert page.get_by_role("button", name="Copy link").evaluate(shown) == "1"
    assert problems == []


@pytest.mark.parametrize("width", [1280, 320])
def test_the_versions_to_compare_are_picked_beside_the_time_and_compared_from_anywhere(chromium, new_shop, width):
    """The button stays in sight while the rows are, and hides none that has the focus."""
    shop = make_history(new_shop())
    for number in range(40):
        shop.sql(f"UPDATE products SET stock = {number} WHERE id = 42")
    page, problems = tab(chromium, viewport={"width": width, "height": 700})
    with served(shop.application.app) as address:
        page.goto(f"{address}/audit/record/products/42")
        if width == 320:
            assert page.locator("#audit-compare").bounding_box()["y"] > 700, "not before its rows are in sight"
        rows, button = page.locator(".audit-rows tbody tr"), page.get_by_role("button", name="Compare")
        assert rows.first.locator("> *").evaluate_all("all => all.slice(0, 3).map(e => e.className)") == [
            "audit-c-time", "audit-c-pick", "audit-c-pick",
        ]  # fmt: skip
        for place in range(40):
            radio = rows.nth(place).locator("input[name=from]")
            radio.focus()
            box, bar = radio.bounding_box(), page.locator("#audit-compare").bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= bar["y"] < bar["y"] + bar["height"] <= 700, place
        radio.check()
        follow(page, button)
        assert page.locator("h1").inner_text().startswith("Blue mug")
    assert problems == []


@pytest.mark.parametrize("width", [1280, 320])
def test_dates_stand_after_the_period_and_have_room(chromium, new_shop, width):
    """For the time of a day in 24 hours with its seconds, or in 12 with AM and PM."""
    shop = make_history(new_shop())
    page, problems = tab(chromium, viewport={"width": width, "height": 700}, java_script_enabled=False)
    with served(shop.application.app) as address:
        page.goto(f"{address}/audit/?since=2026-01-01T20:00:01&until=2026-12-31T21:59:59")
        page.get_by_text("More filters").click()
        fields = [page.get_by_label(name, exact=True) for name in ("Or from", "Until")]
        for field in fields:
            assert field.input_value().startswith("2026-") and field.bounding_box()["width"] >= 240
        others = page.locator(".audit-morefilters :is(input, select)")
        assert [others.nth(n).get_attribute("name") for n in (0, 1)] == ["since", "until"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []
