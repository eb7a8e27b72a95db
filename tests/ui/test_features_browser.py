"""Promise: what the script adds works in a real browser and breaks nothing of the pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

from tests.ui.shop import BOB, make_history
from tests.ui.test_browser import CHROMIUM, chromium, tab  # noqa: F401 - a fixture

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]


@contextmanager
def served(shop) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, shop.application.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_open_list_says_what_is_new_and_moves_no_rows(chromium, new_shop):  # noqa: F811
    shop = make_history(new_shop(config={"AUDIT_UI_POLL_SECONDS": 1}))
    page, problems = tab(chromium)
    with served(shop) as address:
        page.goto(f"{address}/audit/?table=products#audit-results")
        rows = page.locator("#audit-results tbody tr").count()
        assert page.locator("[role=status]").inner_text() == ""
        shop.change(BOB, "Product", 42, stock=98)
        page.wait_for_selector("text=1 new change – show")
        shop.change(BOB, "Product", 42, stock=99)
        page.wait_for_selector("text=2 new changes – show")
        assert page.locator("#audit-results tbody tr").count() == rows
        page.click("text=2 new changes – show")
        page.wait_for_function(f"document.querySelectorAll('#audit-results tbody tr').length === {rows + 2}")
    assert problems == []
