"""Promise: a relative period can be turned into the exact times that it means now, and everything else stays."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ui.shop import ANN, links, make_history, with_own_shop


def pin(html):
    """Where the link leads."""
    found = re.search(r'<a class="audit-clear" href="([^"]*)">Pin these dates', html)
    return found[1].replace("&amp;", "&") if found else None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?period=7d&table=products",
        "/?period=today&actor=1",
        "/transactions?period=24h",
        "/record/products/42?period=90d",
        "/actor/1?period=this-year&sort=time",
    ],
)
@with_own_shop
def test_pinned_dates_show_the_same(shop, path):
    href = pin(shop.page(path))
    given = parse_qs(urlsplit(href).query)
    assert "period" not in given and given["tz"] == ["UTC"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", given["since"][0])
    assert shop.ids(href) == shop.ids(path)
    shop.sql("UPDATE transaction SET issued_at = issued_at + interval '1 hour' WHERE actor_id = 2")
    assert set(shop.ids(href)) <= set(shop.ids(path.replace("period=today&", "")))
    assert pin(shop.page(href)) is None


def test_what_is_not_relative_is_not_pinned(shop):
    for path in ("/?period=all", "/?since=2026-01-01", "/?tx=3", "/actor/1"):
        assert pin(shop.page(path)) is None, path
    assert pin(shop.page("/?period=7d&since=2026-01-01", 400)) is None


def test_a_period_of_the_past_keeps_its_exact_ends(new_shop):
    shop = make_history(new_shop(config={"AUDIT_UI_TIMEZONE": "Europe/Berlin"}))
    given = parse_qs(urlsplit(pin(shop.page("/?period=yesterday"))).query)
    assert given["since"][0].endswith("T00:00:00") and given["until"][0].endswith("T00:00:00")
    assert given["tz"] == ["Europe/Berlin"]


def test_pages_of_a_pinned_search_are_all_there(new_shop):
    shop = new_shop()
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1, 60) i")
    shop.add(ANN, "Category", id=1, name="x")
    html = shop.page(pin(shop.page("/?limit=25&fold=0")))
    oldest = next(href for href in links(html) if "after=0.0" in href)
    assert "since=" in oldest and shop.ids(oldest) == shop.ids("/?limit=200&period=all&fold=0")[-25:]
    newest = next(href for href in links(shop.page(oldest)) if href.endswith("#audit-results") and "after=" not in href
                  and "before=" not in href and "since=" in href)  # fmt: skip
    assert shop.ids(newest) == shop.ids("/?limit=25&fold=0")
