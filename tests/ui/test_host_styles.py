"""Promise: a page keeps the size of its text whatever the style sheet of the application makes of ``rem``."""

from __future__ import annotations

from flask import render_template_string

from tests.ui.browsing import CHROMIUM, IN_A_BROWSER, SWITCHES, opened, served, tab
from tests.ui.shop import with_own_shop

pytestmark = IN_A_BROWSER

#: What Bootstrap 3 says of every page: one rem is 10 px, and text has 14.
SMALL_REM = "html { font-size: 62.5%; font-size: 10px; } body { font-size: 14px; line-height: 1.42857143; }"
PATHS = ("/audit/", "/audit/record/products/42", "/audit/help", "/audit/transactions")
#: The size of everything on a page that has text of its own, in px.
SIZES = """() => [...document.querySelectorAll(".audit *")]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  .filter(e => !e.closest(".audit-sr, .audit-print, script, option, svg"))
  .map(e => [
    `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 30)}`,
    parseFloat(getComputedStyle(e).fontSize),
  ])"""


def test_text_keeps_its_size(shop, chromium):
    """Every text has the size that it has without the application's style sheet, and none is tiny."""
    with served(shop.application.app) as address:
        page, _ = tab(chromium, viewport={"width": 1280, "height": 900}, bypass_csp=True)
        for path in PATHS:
            opened(page, address + path)
            own = page.evaluate(SIZES)
            page.add_style_tag(content=SMALL_REM)
            assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "10px"
            hosted = page.evaluate(SIZES)
            assert hosted == own and len(own) > 20, path
            assert min(size for _, size in own) >= 11, (path, [text for text in own if text[1] < 11])
        page.close()


@with_own_shop
def test_recent_changes_on_a_page_of_the_application_too(shop, chromium):
    app = shop.application.app

    @app.get("/product")
    def product():
        return render_template_string(
            f"<!doctype html><style>{SMALL_REM}</style>{{{{ audit_stylesheet() }}}}"
            "<p>ours</p>{{ audit_recent_changes('products', 42) }}"
        )

    with served(app) as address:
        page, _ = tab(chromium)
        page.goto(f"{address}/product")
        sizes = page.evaluate(SIZES)
        page.close()
    assert {size for _, size in sizes} <= {12, 13, 14, 15} and len(sizes) > 5


def test_the_text_follows_the_size_that_the_reader_asks_of_the_browser(shop, chromium):
    """Who reads with larger letters gets larger letters."""
    sizes = []
    with served(shop.application.app) as address:
        for wanted in (16, 24):
            switches = [*SWITCHES, f"--blink-settings=defaultFontSize={wanted}"]
            browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=switches)
            page, _ = tab(browser)
            page.goto(f"{address}/audit/")
            sizes.append(
                page.evaluate("parseFloat(getComputedStyle(document.querySelector('.audit-rows td')).fontSize)")
            )
            browser.close()
    assert sizes[1] == 1.5 * sizes[0] and sizes[0] >= 13
