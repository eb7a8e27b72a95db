"""Promise: the breakdown counts what the list shows, within its own time limit."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from tests.support.server import both_drivers
from tests.ui.shop import ANN, BOB, links, make_history, text_of, with_own_shop


def facets(html):
    """Values and numbers by the name of their facet."""
    found = {}
    for section in html.split("<section>")[1:]:
        items = re.findall(r"<li>(.*?)<small>([\d,]+)</small></li>", section, re.DOTALL)
        found[re.search("<h2>(.*?)</h2>", section)[1]] = {text_of(text): int(n.replace(",", "")) for text, n in items}
    return found


def bars(html):
    return [
        (label, int(n.replace(",", ""))) for label, n in re.findall(r'aria-label="([^"]*): ([\d,]+) changes?"', html)
    ]


@both_drivers
def test_facets_count_what_matches(shop):
    found = facets(shop.page("/breakdown/facets?period=all"))
    assert found["Tables"] == {"Products": 7, "Order items": 3, "Categories": 2, "Users": 3}
    kinds = found["Kinds of change"]
    assert (kinds["Deleted"], kinds["Emptied"], sum(kinds.values())) == (1, 1, len(shop.ids("/?period=all")))
    assert found["Who"]["Bob Stone"] == len(shop.ids("/?actor=2"))
    assert found["Addresses"]["198.51.100.7"] == 1


@with_own_shop
def test_an_actor_has_the_name_that_the_newest_change_says(shop):
    shop.sql("UPDATE users SET name = 'Abe Newname' WHERE id = 2")
    shop.change(BOB, "Product", 42, stock=77)
    found = facets(shop.page("/breakdown/facets?period=all"))["Who"]
    assert found["Abe Newname"] == len(shop.ids("/?actor=2")) and "Bob Stone" not in found


def test_the_name_of_an_actor_is_of_what_the_viewer_may_see(new_shop):
    def scope(select, viewer):
        return select.where(shop.application.audit_logger.activity_cls.table_name == "products")

    shop = make_history(new_shop(scope=scope))
    shop.sql("UPDATE users SET name = 'Abe Newname' WHERE id = 2")
    shop.change(BOB, "Category", 1, name="Cups")
    assert facets(shop.page("/breakdown/facets?period=all"))["Who"]["Bob Stone"] == len(shop.ids("/?actor=2"))


def test_a_facet_is_computed_without_its_own_filter(shop):
    found = facets(shop.page("/breakdown/facets?period=all&table=products&verb=update"))
    assert len(found["Tables"]) > 1 and len(found["Kinds of change"]) > 1
    assert sum(found["Who"].values()) == len(shop.ids("/?table=products&verb=update"))


def test_a_facet_links_to_more_and_to_fewer(shop):
    html = shop.page("/breakdown/facets?table=products")
    assert '<a href="/audit/?table=products&amp;verb=update#audit-results">' in html
    assert re.search(r'href="/audit/[^?]*#audit-results" aria-current="true"><bdi>Products', html)
    for href in links(html):
        assert shop.get(href).status_code == 200


@pytest.mark.parametrize(
    ("query", "unit", "most"),
    [
        ("since=2026-01-01T00:00&until=2026-01-01T01:00", "minute", 60),
        ("since=2026-01-01&until=2026-01-02", "hour", 48),
        ("since=2026-03-01&until=2026-04-10&tz=Europe/Berlin", "day", 41),
        ("since=2025-01-01&until=2026-01-01", "week", 53),
        ("since=2022-01-01&until=2026-01-01", "month", 49),
        ("since=1990-01-01&until=2026-01-01", "year", 37),
    ],
)
@with_own_shop
def test_the_chart_has_every_interval_and_every_change(shop, query, unit, most):
    """Empty intervals are kept, also where clocks are changed; the bars add up to the list."""
    shop.sql(
        "UPDATE transaction SET issued_at = timestamptz '2026-01-01 00:30+00' - (id - 1) * id * interval '7 days' "
        "WHERE id < 6"
    )
    shop.sql(
        "UPDATE transaction SET issued_at = timestamptz '2026-03-29 00:30+00' + id * interval '20 min' WHERE id >= 6"
    )
    html = shop.page(f"/breakdown/histogram?{query}")
    found = bars(html.partition("</svg>")[0])
    assert len(found) == most and f"Changes by {unit}" in html
    assert len({label for label, _ in found}) == len(found) or unit == "hour"
    assert sum(n for _, n in found) == len(shop.ids(f"/?limit=200&{query}"))
    assert " style=" not in html


@pytest.mark.parametrize(
    "query", ["since=2020-01-01&until=9999-12-31T23:30:00%2B00:00", "since=0001-01-01T00:30:00%2B00:00&tz=America/Lima"]
)
def test_a_chart_ends_with_the_calendar(shop, query):
    found = bars(shop.page(f"/breakdown/histogram?{query}").partition("</svg>")[0])
    assert sum(n for _, n in found) == len(shop.ids(f"/?limit=200&{query}")) > 0


def test_a_bar_leads_to_its_interval(shop):
    html = shop.page("/breakdown/histogram?period=24h")
    for label, n in bars(html.partition("</svg>")[0]):
        if n:
            href = (
                html.partition(f'aria-label="{label}: ')[0]
                .rpartition('href="')[2]
                .partition('"')[0]
                .replace("&amp;", "&")
            )
            assert len(shop.ids(href.replace("#", "&limit=200#"))) == n
            return
    raise AssertionError("no bar")


def test_without_script_the_page_can_hold_the_breakdown(shop):
    html = shop.page("/?table=products")
    assert "Show breakdown</a>" in html and 'data-audit-breakdown="/audit/breakdown/histogram?table=products"' in html
    html = shop.page("/?table=products&breakdown=1")
    assert "<svg" in html and "Kinds of change" in html and "data-audit-breakdown" not in html


def test_a_slow_part_spoils_only_itself(new_shop):
    def scope(select, viewer):
        return select.where(sa.func.pg_sleep(0.05).is_not(None))

    shop = make_history(new_shop(scope=scope, config={"AUDIT_UI_BREAKDOWN_TIMEOUT_MS": 100}))
    assert "Took too long" in shop.page("/breakdown/facets")
    assert "took too long" in shop.page("/breakdown/histogram")


def test_breakdowns_are_as_closed_as_the_list(new_shop):
    """S4, S5, S25."""
    shop = make_history(
        new_shop(
            scope=lambda select, viewer: select.where(
                shop.application.audit_logger.activity_cls.table_name != "products"
            ),
            can_see_column=lambda table, column, viewer: column != "client_addr",
        )
    )
    html = shop.page("/breakdown/facets?period=all")
    assert "Products" not in html and "192.0.2" not in html and "Addresses" not in html
    assert sum(facets(html)["Who"].values()) == len(shop.ids("/?period=all"))
    for path in ("/breakdown/facets", "/breakdown/histogram"):
        assert shop.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert shop.get(f"{path}?since=x").status_code == 404
        assert shop.get(path, user=3).status_code == 403
    shop.page("/breakdown/other", 404)
    shop.add(ANN, "Category", id=77, name="<img src=x>")
    assert "<img" not in shop.page("/breakdown/facets?table=%3Cimg%20src=x%3E")
