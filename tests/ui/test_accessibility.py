"""Promise: every page and every state can be used by everybody: on a phone, in the dark, by keyboard, by ear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_audit_logger.ui import Preset, RevertPolicy
from tests.ui.browsing import IN_A_BROWSER, opened, served, tab
from tests.ui.shop import ANN, BOB, CLEO, Shop, make_history

pytestmark = IN_A_BROWSER
#: What axe-core checks: WCAG 2.2 at level AA and what is good practice besides.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: What it checks once more in the dark: the rules that look at colours; the others look at what a theme doesn't change.
OF_COLOURS = ["color-contrast", "link-in-text-block"]
#: Most of a long list: rows that look like those above them, each of which costs as much.
MORE_OF_THE_SAME = "#audit-results tbody tr:nth-child(n + 8)"
#: Where the colours of what only narrow pages show are looked at, too, in both themes: a width changes no colour.
COLOURS_AND_NARROW = ("list", "record", "activity, long", "transaction", "export")
THEMES, WIDTHS = {"light": {"type": "tag", "values": TAGS}, "dark": {"type": "rule", "values": OF_COLOURS}}, (1280, 320)
LONG = " ".join(f"word{n}" for n in range(400)) + "\n" + "Donaudampfschifffahrtsgesellschaft" * 8 + "\n" * 3


@dataclass
class Site:
    """A served shop with a long history, and switches for the states that are rare."""

    shop: Shop
    address: str = ""
    closed: bool = False
    slow: bool = False
    ids: dict[str, int] = field(default_factory=dict)

    def path(self, name: str) -> str:
        return f"/activity/{self.shop.address(self.ids[name])}"


@pytest.fixture
def site(new_shop: Callable[..., Shop]) -> Iterator[Site]:
    def permission(action: str, target: Any) -> bool:
        return not site.closed

    def scope(select: Any, viewer: Any) -> Any:
        return select.where(sa.func.pg_sleep(5).is_not(None)) if site.slow else select

    settings = {"HOME": ("Shop", "home"), "STATEMENT_TIMEOUT_MS": 700}
    site = Site(
        new_shop(
            permission=permission,
            scope=scope,
            revert=RevertPolicy(),
            presets=[Preset("Prices", {"table": "products", "col": "price"})],
            describe=lambda activity: "A bargain" if activity.changed_data.get("stock") == 1 else None,
            config={f"AUDIT_UI_{name}": value for name, value in settings.items()},
        )
    )
    site.shop.application.app.add_url_rule("/", "home", lambda: "<title>Shop</title>")
    fill(site)
    with served(site.shop.application.app) as site.address:
        yield site


def fill(site: Site) -> None:
    """What makes pages long, wide and rich in states."""
    shop = make_history(site.shop)
    shop.sql("INSERT INTO products (id, name, price) SELECT i, 'Item ' || i, i FROM generate_series(1000, 1029) i")
    shop.sql("UPDATE products SET price = 1, stock = 2 WHERE id >= 1000")
    site.ids["same"] = shop.activity(verb="update").transaction_id
    shop.change(ANN, "Product", 42, description=LONG, attributes={"a": {"b": list(range(9))}, "w" * 90: "x" * 200})
    attributes = {"a": {"b": list(range(1, 10)), "c": None}, "o": [{"id": 1}]}
    shop.change(BOB, "Product", 42, description=LONG.replace("word7", "term"), name="", stock=None,
                attributes=attributes, tags=["red", "\u202ebad", " "], price=Decimal("99.99"),
                checked_at=sa.func.now(), picture=b"\x00" * 99)  # fmt: skip
    site.ids["long"] = shop.activity(record_key="42").id
    with shop.acting(CLEO, reason="Because " * 30, impersonator=shop.models.User(id=BOB, name="Bob Stone")) as session:
        session.get(shop.models.Product, 42).stock = 1
    site.ids["newest"] = shop.activity(record_key="42").id
    site.ids["deletion"] = shop.activity(table_name="products", verb="delete").id
    site.ids["truncate"] = shop.activity(verb="truncate").id


#: State, address, status.
STATES = (
    ("list", "/", 200),
    ("list, each change", "/?fold=0", 200),
    ("list with breakdown", "/?breakdown=1&period=all", 200),
    (
        "list, filtered",
        "/?table=products&actor=2&verb=update&col=price&field=price&became=99.99&addr=192.0.2.0/24",
        200,
    ),
    ("list, errors", "/?key=4&since=zz&addr=nowhere&col=nothing", 400),
    ("list, unknown parameter", "/?actr=1&limit=25", 200),
    ("list, nothing matches", "/?actor=4711", 200),
    ("activity", "/activity/7", 200),
    ("activity, long", "{long}", 200),
    ("activity, just made", "{newest}?done=1", 200),
    ("activity, delete", "{deletion}", 200),
    ("activity, truncate", "{truncate}", 200),
    ("record", "/record/products/42", 200),
    ("record, one column", "/record/products/42?col=price", 200),
    ("record, deleted", "/record/products/43", 200),
    ("record, composite key", "/record/order_items/7,a~2Fb~2C+~7E~2E", 200),
    ("at", "/record/products/42/at?time=2100-01-01T00:00", 200),
    ("at, before", "/record/products/42/at?time=2000-01-01T00:00", 200),
    ("at, error", "/record/products/42/at?time=soon", 400),
    ("compare", "/record/products/42/compare?from=first&to=now", 200),
    ("compare, all", "/record/products/42/compare?from=first&to=last&all=1", 200),
    ("compare, equal", "/record/products/42/compare?from=last&to=last", 200),
    ("revert", "/record/products/42/revert?to={long_id}&side=before", 200),
    ("restore", "/record/products/43/revert?to={deletion_id}&side=before", 200),
    ("revert, nothing to do", "/record/products/42/revert?to={newest_id}&side=after", 200),
    ("transactions", "/transactions", 200),
    ("transactions, errors", "/transactions?min_rows=x", 400),
    ("transaction", "/transaction/7", 200),
    ("transaction, the same change", "/transaction/{same_id}", 200),
    ("take back", "/transaction/{same_id}/take-back", 200),
    ("actor", "/actor/1?period=all", 200),
    ("actor, not recorded", "/actor/~none", 200),
    ("export", "/export", 200),
    ("export, errors", "/export?since=zz", 400),
    ("help", "/help", 200),
    ("not found", "/activity/99999", 404),
)


def address_of(site: Site, template: str) -> str:
    names = {name: site.path(name) for name in site.ids} | {f"{name}_id": n for name, n in site.ids.items()}
    return site.address + site.shop.addressed(f"/audit{template.format(**names)}")


class Judge:
    """Looks at the page that is open, in both themes and widths."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.faults: list[str] = []

    def look(self, state: str) -> None:
        """Note what is wrong with a page."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 800})
            for box in self.page.query_selector_all("details:not([open])"):
                box.evaluate("box => { box.open = true }")
            self.note_scrolling(f"{state} at {width}")
            with_colours = width == max(WIDTHS) or state in COLOURS_AND_NARROW
            for theme, rules in THEMES.items():
                if theme == "light" or with_colours:
                    self.note_findings(f"{state}, {theme}, {width}", theme, rules, with_colours)
        self.page.set_viewport_size({"width": max(WIDTHS) // 2, "height": 800})
        self.page.evaluate("document.documentElement.style.setProperty('font-size', '200%')")
        self.note_scrolling(f"{state} with texts twice as large")

    def note_scrolling(self, state: str) -> None:
        if not self.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"):
            self.faults.append(f"{state} scrolls sideways")

    def note_findings(self, state: str, theme: str, rules: dict[str, Any], with_colours: bool) -> None:
        self.page.emulate_media(color_scheme=theme)
        left_out = {} if with_colours else {rule: {"enabled": False} for rule in OF_COLOURS}
        found = self.page.evaluate(
            """([runOnly, rules, rest]) =>
               axe.run({exclude: [rest]}, {runOnly, rules, resultTypes: ['violations']})""",
            [rules, left_out, MORE_OF_THE_SAME],
        )
        self.faults += [
            f"{state}: {v['id']}: {node['html'][:150]} {node['failureSummary'][:300]}"
            for v in found["violations"]
            for node in v["nodes"][:1]
        ]


def visit_every_state(site: Site, page: Any, judge: Judge) -> int:
    """Open every page and state; gives their number."""
    for name, template, status in STATES:
        response = opened(page, address_of(site, template))
        assert response.status == status, (name, response.status)
        judge.look(name)
    revert = address_of(site, "/record/products/42/revert?to={long_id}&side=before&col=name")
    page.goto(revert)
    page.eval_on_selector("#audit-reason", "field => field.required = false")
    send(page, 422)
    judge.look("revert, no reason")
    page.goto(revert)
    page.fill("#audit-reason", "A slip")
    site.shop.sql("UPDATE products SET stock = 77 WHERE id = 42")
    send(page, 409)
    judge.look("revert, conflict")
    for switch, status in (("closed", 403), ("slow", 503)):
        setattr(site, switch, True)
        assert page.goto(f"{site.address}/audit/?period=all").status == status
        judge.look(str(status))
        setattr(site, switch, False)
    site.shop.sql("DELETE FROM activity")
    assert page.goto(f"{site.address}/audit/").status == 200
    judge.look("nothing recorded")
    return len(STATES) + 5


def send(page: Any, status: int) -> None:
    with page.expect_response(lambda response: response.request.method == "POST") as sent:
        page.click("form[method=post] button[type=submit]")
    assert sent.value.status == status
    page.wait_for_load_state()


@pytest.mark.slow
def test_every_state_in_both_themes_and_widths(chromium, site):
    """Axe-core finds nothing, and nothing scrolls sideways or is cut off: not on a phone (WCAG 1.4.10) nor with texts
    twice as large (1.4.4), with the longest words and everything that can be opened open. The browser says nothing."""
    module = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page, problems = tab(chromium)
    page.add_init_script(path=Path(module.__file__).parent / "axe.min.js")
    judge = Judge(page)
    assert visit_every_state(site, page, judge) >= 35
    assert judge.faults == [], "\n".join(judge.faults)
    assert [problem for problem in problems if "the server responded with a status of" not in problem] == []


#: The element that has the focus: what it is, whether the focus is seen, and whether something lies over it.
FOCUS = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
  const x = Math.min(Math.max(box.left + Math.min(box.width / 2, 20), 1), innerWidth - 2);
  const y = Math.min(Math.max(box.top + Math.min(box.height / 2, 12), 1), innerHeight - 2);
  const top = document.elementFromPoint(x, y);
  return {
    tag: e.tagName, id: e.id, name: e.className, text: (e.textContent || "").trim().slice(0, 40),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    inside: box.bottom > 0 && box.top < innerHeight && box.width > 0,
    covered: !(top && (e.contains(top) || top.contains(e))),
    in_results: !!e.closest("#audit-results"), in_filter: !!e.closest("form[role=search]"),
    pager: !!e.closest(".audit-pager"),
  };
}"""


def focused(page: Any) -> Any:
    return page.evaluate(FOCUS)


def test_the_tab_key_reaches_everything_in_order_and_is_seen(chromium, site):
    page, problems = tab(chromium, viewport={"width": 1280, "height": 500})
    opened(page, f"{site.address}/audit/?limit=25&fold=0")
    stops = []
    for _ in range(220):
        page.keyboard.press("Tab")
        stop = focused(page)
        if stop["tag"] == "BODY":
            break
        stops.append(stop)
        # a browser outlines the parts of a time itself
        assert stop["outlined"] or stop["id"] in ("audit-since", "audit-until"), stop
        assert stop["inside"] and not stop["covered"], stop
    assert (stops[0]["text"], stops[0]["tag"]) == ("Skip to the content", "A")
    first = {
        kind: next(i for i, stop in enumerate(stops) if stop[kind]) for kind in ("in_filter", "pager", "in_results")
    }
    assert first["in_filter"] < first["pager"] < first["in_results"]
    assert stops[first["in_results"]]["id"] == "audit-results"
    assert sum(stop["in_results"] for stop in stops) > 50
    assert problems == []


def test_the_skip_link_leads_to_the_content(chromium, site):
    page, _ = tab(chromium)
    page.goto(f"{site.address}/audit/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#audit-content")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('#audit-content')")


#: The row of the results that has the focus.
ROW = """() => Array.from(document.querySelectorAll("#audit-results tbody tr"))
  .indexOf(document.activeElement.closest("tr"))"""


def test_the_keys_of_the_results(chromium, site):
    """j and k move, Enter opens; r, t and a lead to record, transaction and actor."""
    page, problems = tab(chromium)

    def start(*keys: str) -> None:
        opened(page, f"{site.address}/audit/?actor=2&period=all")
        page.focus("#audit-results")
        for key in keys:
            page.keyboard.press(key)

    def row() -> int:
        return page.evaluate(ROW)

    start("j")
    assert row() == 0 and focused(page)["outlined"]
    start("j", "j", "j", "k")
    assert row() == 1
    start("k")
    assert row() == 0
    start("j")
    page.locator("#audit-results tbody tr:nth-child(2) a").last.focus()  # as by the Tab key
    page.keyboard.press("j")
    assert row() == 2
    for key, pattern in (
        ("Enter", "**/audit/activity/*"), ("r", "**/audit/record/products/42"), ("t", "**/audit/transaction/*"),
        ("a", "**/audit/actor/2*"),
    ):  # fmt: skip
        start("j", key)
        page.wait_for_url(pattern)
    start("j")
    address = page.url
    for key in ("Control+r", "q", "Shift+T"):
        if key != "Control+r":  # which the browser answers
            page.keyboard.press(key)
    page.focus("#audit-table")
    page.keyboard.press("t")
    assert page.url == address and problems == []


def test_a_version_is_picked_by_key(chromium, site):
    page, _ = tab(chromium)
    page.goto(f"{site.address}/audit/record/products/42")
    page.focus("#audit-results")
    for key in ("j", "j", "j", "x"):
        page.keyboard.press(key)
    picked = page.locator('input[name="from"]:checked, input[name="to"]:checked').evaluate_all(
        "all => all.map(e => e.value)"
    )
    third = page.locator('#audit-results tbody tr:nth-child(3) input[name="from"]').input_value()
    assert third in picked and len(set(picked)) == 2


def test_the_focus_is_at_the_results_after_paging(chromium, site):
    """WCAG 2.4.3: who went on need not walk through the filters again; also without a mouse."""
    page, _ = tab(chromium)
    page.goto(f"{site.address}/audit/?limit=25&period=all&fold=0")
    for relation in ("next", "next", "prev"):
        page.locator(f".audit-pager a[rel={relation}]").first.focus()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "audit-results", relation
        assert page.evaluate("document.activeElement.getBoundingClientRect().top >= 0")


def test_an_error_is_read_with_its_field(chromium, site):
    """WCAG 3.3.1: the summary is announced and leads to the field, which names its error."""
    page, _ = tab(chromium)
    page.goto(f"{site.address}/audit/?since=zz")
    summary = page.get_by_role("alert")
    assert "There is a problem" in summary.inner_text()
    summary.get_by_role("link").first.click()
    described = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText"
    )
    assert page.evaluate("document.activeElement.id") == "audit-since" and described


def test_reading_by_ear(chromium, site):
    """Tables stay tables on a phone, and what was removed is told from what was added without seeing it."""
    page, _ = tab(chromium, viewport={"width": 320, "height": 800})
    page.goto(f"{site.address}/audit/?period=all")
    for role, least in (("table", 1), ("row", 20), ("rowheader", 20), ("columnheader", 6), ("cell", 100)):
        assert page.get_by_role(role, include_hidden=True).count() >= least, role
    assert page.get_by_role("search", name="Filter changes", include_hidden=True).count() == 1
    assert page.locator("h1").count() == 1 and page.get_by_role("main").count() == 1
    page.goto(address_of(site, "{long}"))
    text = page.locator(".audit-text").first.text_content()
    assert "removed: " in text and "added: " in text
