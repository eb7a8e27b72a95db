"""Promise: long German words fit a small screen, and what the script adds is German, too."""

from __future__ import annotations

import pytest

from tests.ui.browsing import IN_A_BROWSER, served, tab
from tests.ui.shop import make_history

pytestmark = IN_A_BROWSER
PATHS = (
    "/?period=all",
    "/?addr=x",
    "/record/products/42",
    "/activity/{change}",
    "/transactions",
    "/actor/1",
    "/export",
    "/help",
)


@pytest.fixture
def address(new_shop):
    babel = pytest.importorskip("flask_babel", reason="Flask-Babel is not installed")
    shop = make_history(new_shop())
    app = shop.application.app
    babel.Babel(app, locale_selector=lambda: "de")
    with served(app) as address:
        yield lambda path: f"{address}/audit{path.format(change=shop.address(7))}"


def test_german_pages_fit_a_small_screen(address, chromium):
    page, problems = tab(chromium, viewport={"width": 320, "height": 640})
    for path in PATHS:
        page.goto(address(path))
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == 320, (path, width)
        assert page.evaluate("document.documentElement.lang") == "de"
    assert [problem for problem in problems if "400" not in problem] == []
    page.context.close()


def test_the_script_speaks_german(address, chromium):
    page, problems = tab(chromium)
    page.clock.install()
    page.goto(address("/activity/{change}"))
    page.clock.run_for(3 * 3600 * 1000)
    assert page.locator("time[data-audit-ago] + *").first.inner_text() == "vor 3 Stunden"
    page.route("**/breakdown/**", lambda route: route.abort())
    page.goto(address("/?period=all"))
    page.get_by_text("Die Aufschlüsselung konnte nicht geladen werden.").wait_for()
    assert [problem for problem in problems if "ERR_FAILED" not in problem] == []
    page.context.close()
