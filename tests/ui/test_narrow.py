"""Promise: on a phone of 320 px nothing is cut off, and what stood above a column stands before each value."""

from __future__ import annotations

import pytest

from flask_audit_logger.ui import RevertPolicy
from tests.ui.browsing import IN_A_BROWSER, opened, served, tab
from tests.ui.previews import change_of, path_of
from tests.ui.shop import make_history

#: As inside an application's frame, with a rule of its own about times.
OF_THE_APPLICATION = ".audit-standalone { padding: 32px } .audit-body time { white-space: nowrap }"
#: Texts that end beyond the page, unless they are in a part of it that scrolls.
CUT = """() => {
  const end = document.querySelector("main").getBoundingClientRect().right + 1;
  return [...document.querySelectorAll("main *")]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .filter(e => !e.closest(".audit-scroll, .audit-sr, .audit-print, .audit-text, pre, script, option, svg"))
    .filter(e => e.getBoundingClientRect().right > end)
    .map(e => e.textContent.trim().slice(0, 60));
}"""
HEADS = """() => [...document.querySelectorAll(".audit-rows thead th")].map(
  e => parseFloat(getComputedStyle(e.querySelector("a") || e).fontSize))"""


@pytest.fixture
def shop(new_shop):
    return make_history(new_shop(revert=RevertPolicy(), permission=lambda action, target: True))


def pages_of(shop):
    change = change_of(shop, "price")
    return (
        "/audit/", "/audit/record/products/42", "/audit/record/products/42/at", "/audit/record/products/42/compare",
        path_of(change), f"/audit/transaction/{change.transaction_id}", "/audit/transactions", "/audit/actor/2",
        f"/audit/activity/{change.transaction_id}.{change.id}", "/audit/help", "/audit/export", "/audit/?key=1&addr=x",
    )  # fmt: skip


@pytest.mark.browser
@IN_A_BROWSER[1]
def test_nothing_is_cut_off_on_a_phone(shop, chromium):
    with served(shop.application.app) as address:
        page, _ = tab(chromium, viewport={"width": 320, "height": 700}, bypass_csp=True)
        for path in pages_of(shop):
            opened(page, address + path)
            page.add_style_tag(content=OF_THE_APPLICATION)
            assert page.evaluate(CUT) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
        page.close()


@pytest.mark.browser
@IN_A_BROWSER[1]
def test_the_heads_of_a_table_are_of_one_size(shop, chromium):
    with served(shop.application.app) as address:
        page, _ = tab(chromium, viewport={"width": 1280, "height": 900})
        for path in ("/audit/", "/audit/record/products/42"):
            page.goto(address + path)
            assert len(set(page.evaluate(HEADS))) == 1, path
        page.close()


def test_values_have_the_names_of_their_columns(shop):
    """Where the head of the table isn't shown, each value says which side it is."""
    assert 'data-label="Now"' in (preview := shop.page(path_of(change_of(shop, "price"))))
    assert 'data-label="Will become"' in preview and 'data-label="Before"' not in preview
    compared = shop.page("/record/products/42/compare")
    assert 'data-label="From"' in compared and 'data-label="To"' in compared and 'data-label="After"' not in compared


#: How much wider a field would have to be to show its whole date and time.
LACKING = """() => [...document.querySelectorAll('input[type="datetime-local"]')].map(field => {
  const has = field.offsetWidth;
  field.style.width = "auto";
  const wants = field.offsetWidth;
  field.style.width = "";
  return wants - has;
})"""


@pytest.mark.browser
@IN_A_BROWSER[1]
def test_dates_and_times_are_not_cut_off(shop, chromium):
    with served(shop.application.app) as address:
        page, _ = tab(chromium, bypass_csp=True)
        opened(page, address + "/audit/?since=2026-01-02T03:04&until=2026-12-28T22:58")
        page.get_by_text("More filters").click()
        for width in (1280, 1024, 320):
            page.set_viewport_size({"width": width, "height": 900})
            lacking = page.evaluate(LACKING)
            assert len(lacking) == 2 and max(lacking) <= 0, (width, lacking)
