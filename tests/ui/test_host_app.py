"""Promise: the pages stay whole inside an application with a layout, a style sheet and rules of its own.

The application is mounted below a path, puts the pages at a prefix, switches autoescaping off and ``trim_blocks`` on,
protects every form with Flask-WTF, allows only styles and scripts that have a nonce of Flask-Talisman, and uses
Bootstrap and a style sheet that restyles every element.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import jinja2
import pytest
from flask import Blueprint, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_audit_logger.ui import RevertPolicy
from tests.ui.browsing import IN_A_BROWSER, opened, served, tab
from tests.ui.shop import ANN, Shop, make_history

pytestmark = IN_A_BROWSER
HOST = Path(__file__).parent / "host"
PREFIX = "/app/admin/history"
MARKUP = "<b>bold</b><img src=x onerror=alert(1)><script>alert(1)</script>"
#: Nothing is allowed that has no nonce, not even files of the application itself.
POLICY = {
    "default-src": "'none'", "script-src": "", "style-src": "", "img-src": "'self' data:", "connect-src": "'self'",
    "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
}  # fmt: skip


@dataclass
class Host:
    """The application as it is served."""

    shop: Shop
    address: str
    #: Style sheets of the application: endpoint and file.
    sheets: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def host(new_shop) -> Iterator[Host]:
    bootstrap = pytest.importorskip("flask_bootstrap", reason="Bootstrap-Flask is not installed")
    talisman = pytest.importorskip("flask_talisman", reason="Flask-Talisman is not installed")
    csrf = pytest.importorskip("flask_wtf.csrf", reason="Flask-WTF is not installed")
    shop = new_shop(
        url_prefix="/admin/history",
        revert=RevertPolicy(),
        csp_nonce=lambda: request.csp_nonce,
        config={"AUDIT_UI_HOME": ("The host", "home")},
    )
    app = shop.application.app
    app.jinja_loader = jinja2.FileSystemLoader(HOST / "templates")
    app.jinja_env.autoescape = False
    app.jinja_env.trim_blocks = True
    app.register_blueprint(Blueprint("host", __name__, static_folder=str(HOST / "static"), static_url_path="/host"))
    app.add_url_rule("/", "home", lambda: app.jinja_env.get_template("base.html").render())
    bootstrap.Bootstrap5(app)
    csrf.CSRFProtect(app)
    talisman.Talisman(
        app,
        force_https=False,
        session_cookie_secure=False,
        content_security_policy=POLICY,
        content_security_policy_nonce_in=["script-src", "style-src"],
    )
    make_history(shop)
    shop.change(ANN, "Product", 42, name=MARKUP, description=f"{MARKUP}\n" * 30, price=Decimal("13.00"))
    with served(DispatcherMiddleware(NotFound(), {"/app": app})) as address:
        host = Host(shop, address)
        app.jinja_env.globals["style_sheets"] = lambda: [
            url_for(*sheet[:1], filename=sheet[1]) for sheet in host.sheets
        ]
        host.sheets = [("bootstrap.static", "css/bootstrap.min.css"), ("host.static", "host.css")]
        yield host


def paths(shop: Shop) -> list[str]:
    change = shop.activity(record_key="42")
    address = shop.address(change.id)
    revert = f"/record/products/42/revert?to={address}&side=before"
    return [
        "/", "/?breakdown=1&table=products", "/?since=zz", f"/activity/{address}", "/record/products/42",
        "/record/products/42/at", "/record/products/42/compare?from=first&to=last", revert, "/transactions",
        f"/transaction/{change.transaction_id}", "/actor/1", "/export", "/help", "/activity/99999.99999",
    ]  # fmt: skip


def test_the_pages_are_whole_in_the_host(chromium, host):
    """No complaint of the browser, no foreign link, no sideways scrolling, nothing run that was stored."""
    page, problems = tab(chromium, viewport={"width": 320, "height": 800})
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(f"{host.address}/app/")
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), "the host itself"
    for path in paths(host.shop):
        response = opened(page, f"{host.address}{PREFIX}{path}")
        assert "'nonce-" in response.headers["content-security-policy"] and response.status in (200, 400, 404), path
        assert page.locator(".audit script, .audit img, .audit bdi b").count() == 0, path
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), path
        links = page.eval_on_selector_all(".audit a[href], .audit form", LINKS)
        foreign = [link for link in links if not link.startswith(f"{host.address}/app/")]
        assert links and foreign == [], path
        assert page.eval_on_selector_all("main, [role=main]", "all => all.length") == 1, path
        found = [problem for problem in problems if not re.search(r"status of (400|404)", problem)]
        assert found == [], path


#: Where links and forms lead; those of charts are relative as they are read.
LINKS = """all => all.map(e => new URL(e.getAttribute("href") ?? e.getAttribute("action"), document.baseURI).href)"""
#: What makes a part of a page look as it does; sizes of boxes depend on the room there is.
PROPERTIES = """
    display position float color background-color font-size font-family font-weight font-style line-height
    text-transform text-align letter-spacing text-decoration-line white-space padding-top padding-right padding-bottom
    padding-left margin-top margin-bottom margin-left border-top-width border-bottom-width border-bottom-color
    border-radius box-sizing list-style-type border-collapse border-spacing table-layout column-count visibility
    overflow-x fill
""".split()
#: The elements of ours outside of charts, the style sheets of the host, and what is drawn in another way without these.
DIFFERENCES = """properties => {
  const elements = Array.from(document.querySelectorAll(".audit, .audit :not(svg, svg *)"));
  const sheets = Array.from(document.styleSheets).filter(sheet => !sheet.href.includes("audit.css"));
  const drawn = () => elements.map(element => {
    const style = getComputedStyle(element);
    return properties.map(property => style.getPropertyValue(property));
  });
  const hosted = drawn();
  sheets.forEach(sheet => { sheet.disabled = true; });
  const alone = drawn();
  sheets.forEach(sheet => { sheet.disabled = false; });
  const differences = elements.flatMap((element, i) => properties.flatMap((property, j) =>
    hosted[i][j] === alone[i][j] ? [] :
      [`${property} of ${element.tagName}.${element.className} is ${hosted[i][j]}, not ${alone[i][j]}`]));
  return [elements.length, sheets.length, differences];
}"""


@pytest.mark.slow
def test_no_style_of_the_host_reaches_them(chromium, host):
    """Each element looks as it does without the style sheets of the host, on a phone and on a screen."""
    page, _ = tab(chromium)
    for path in paths(host.shop):
        opened(page, f"{host.address}{PREFIX}{path}")
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            elements, sheets, differences = page.evaluate(DIFFERENCES, PROPERTIES)
            assert elements > 10 and sheets == len(host.sheets), path
            counted = Counter(differences)
            assert not counted, (path, width, "\n".join(text for text, _ in counted.most_common(30)))


def test_the_focus_is_visible_in_the_host(chromium, host):
    """An application that takes the outline away takes it only from its own elements."""
    page, _ = tab(chromium)
    page.goto(f"{host.address}{PREFIX}/")
    for selector in (".audit-rows a", ".audit select", ".audit button", ".audit summary", "#audit-results"):
        page.keyboard.press("Tab")
        page.locator(selector).first.focus()
        outline = page.evaluate("(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))")
        assert outline == ["solid", "3px"], selector


def test_a_value_is_put_back_in_the_host(chromium, host):
    """Through the path of the mount, both CSRF tokens and the policy for forms."""
    page, problems = tab(chromium)
    page.goto(f"{host.address}{PREFIX}/record/products/42")
    page.locator(".audit-current tr", has=page.get_by_role("link", name="price", exact=True)).locator(
        "text=Put back"
    ).click()
    page.fill("#audit-reason", "A slip")
    page.click("button:has-text('Put back')")
    page.wait_for_url("**/activity/*")
    assert page.url.startswith(f"{host.address}{PREFIX}/activity/") and problems == []
    assert host.shop.sql("SELECT price FROM products WHERE id = 42") == [(Decimal("12.50"),)]


def test_the_pages_without_their_own_style_sheet_would_be_spoilt(chromium, host):
    """The test of the tests: the style sheet of this host is one that can be seen."""
    page, _ = tab(chromium)
    page.route("**/audit.css*", lambda route: route.abort())
    page.goto(f"{host.address}{PREFIX}/")
    assert page.evaluate("getComputedStyle(document.querySelector('.audit h1')).textTransform") == "uppercase"
