"""Promise: every link leads somewhere, wherever the pages are; an address that no link has is answered by 404."""

from __future__ import annotations

import re
from collections import deque

import pytest
import sqlalchemy as sa

from tests.ui.shop import links, make_history, make_shop


@pytest.mark.slow
def test_every_link_leads_somewhere(shop):
    """Follow every link from the list; no page is missing and none fails."""
    seen: set[str] = set()
    waiting = deque(["/audit/?period=all"])
    while waiting and len(seen) < 400:
        path = waiting.popleft().partition("#")[0]
        if not path.startswith("/audit") or path in seen:
            continue
        seen.add(path)
        response = shop.get(path)
        assert response.status_code == 200, path
        if path.count("&") + path.count("?") <= 1 and "text/html" in response.content_type:
            waiting.extend(links(response.text))
        response.close()
    kinds = {path.split("/")[2].partition("?")[0] for path in seen}
    assert {"", "activity", "record", "transaction", "actor"} <= kinds


NOWHERE = [
        "/activity/99999999999999999999", "/activity/0", "/transaction/99999999999999999999", "/record/products/4711",
        "/record/products/", "/record/products/~0", "/record/products/4%00", "/record/a.b.c/1", "/record/products/~41",
        "/record/products/~ED~A0~80", "/record/products/a,,b", "/record/pro%2Fducts/1", "/actor/~zz", "/activity/-1",
        "/activity/1/value/name", "/activity/1/value/nothing?side=new", "/activity/1/value/name?side=both",
    ]  # fmt: skip


def test_addresses_that_mean_nothing_give_404(shop):
    for path in NOWHERE:
        assert shop.get(path).status_code == 404, path


def test_the_pages_can_be_anywhere(new_shop):
    """Another prefix, another name of the blueprint, an application that is mounted below a path."""
    shop = make_history(new_shop(url_prefix="/back/log", name="history"))
    shop.prefix = "/back/log"
    below = {"environ_overrides": {"SCRIPT_NAME": "/shop"}}
    for path in ("/", "/record/products/42", "/activity/4", "/transactions", "/export", "/?since=x"):
        with shop.get(path, **below) as response:
            found = re.findall(r'(?:href|src|action|data-audit-breakdown)="([^"#]+)', response.text)
        assert found and all(address.startswith("/shop/back/log/") for address in found), path
    assert shop.application.app.test_client().get("/audit/").status_code == 404


def test_a_default_schema_that_is_not_public(create_app, database_url):
    """Tables of the connection's own schema have no schema in their addresses."""
    engine = sa.create_engine(database_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA tenant"))
        connection.execute(sa.text(f'ALTER DATABASE "{database_url.database}" SET search_path = tenant'))
    shop = make_history(make_shop(create_app))
    assert "<h1>Blue mug, large</h1>" in shop.page("/record/products/42")
    assert "/record/products/42" in shop.page("/") and "tenant" not in shop.page("/")
    assert shop.ids("/?table=products") == shop.ids("/?table=tenant.products") != []
