"""A real Chromium for the tests: pages to open, and applications that are served to it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.support.apps import USER_HEADER
from tests.ui.shop import ANN

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Marks of a module whose tests drive Chromium.
IN_A_BROWSER = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Start Chromium; a module shares one."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve a WSGI application; gives its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tab(chromium: Any, **options: Any) -> tuple[Any, list[str]]:
    """Open a tab in which Ann is signed in; what the browser complains about is collected."""
    context = chromium.new_context(extra_http_headers={USER_HEADER: str(ANN)}, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if _is_problem(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return page, problems


def opened(page: Any, address: str) -> Any:
    """Open a page and wait for what its script loads after it; gives the answer."""
    response = page.goto(address)
    page.locator("[aria-busy]").first.wait_for(state="detached")
    return response


def follow(page: Any, target: Any) -> None:
    """Click what leads to another page and wait for that page: counts and addresses do not wait by themselves."""
    with page.expect_navigation():
        target.click()


def _is_problem(message: Any) -> bool:
    return message.type == "error" and "favicon" not in message.location["url"]
