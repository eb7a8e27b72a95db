"""Promise: an open list says how many changes came since it was made, and nothing that its viewer may not know."""

from __future__ import annotations

import pytest

from tests.ui.shop import ANN, BOB, CLEO, make_history, may_read

ON = {"AUDIT_UI_POLL_SECONDS": 30}


def asked(html):
    """Where a page asks."""
    return html.partition('data-audit-poll="')[2].partition('"')[0].replace("&amp;", "&")


def test_there_is_no_poll_unless_it_is_switched_on(shop):
    shop.page("/poll", 404)
    assert "data-audit-poll" not in shop.page("/")


@pytest.mark.parametrize("query", ["", "?table=products", "?period=all&actor=2", "?tx=99999", "?verb=delete&period=7d"])
def test_the_newest_page_asks_for_what_is_newer(new_shop, query):
    shop = make_history(new_shop(config=ON))
    before = len(shop.ids(f"/{query}"))
    url = asked(shop.page(f"/{query}"))
    assert shop.get(url).json == {"new": 0, "capped": False}
    shop.change(BOB, "Product", 42, stock=99)
    shop.remove(BOB, "Product", 42)
    shop.add(ANN, "Category", id=55, name="Late")
    assert shop.get(url).json == {"new": len(shop.ids(f"/{query}")) - before, "capped": False}


def test_a_transaction_that_commits_late_is_counted_as_well(new_shop):
    """Its id is smaller than that of rows which were seen already."""
    shop = make_history(new_shop(config=ON))
    first = shop.activity(table_name="products")
    shop.sql(f"UPDATE transaction SET issued_at = now() WHERE id = {first.transaction_id}")
    last = shop.activity()
    shop.sql(f"DELETE FROM activity WHERE id = {last.id - 1}")
    url = asked(shop.page("/"))
    shop.sql(
        "INSERT INTO activity (id, schema, table_name, relid, issued_at, native_transaction_id, verb, old_data,"
        " changed_data, transaction_id) OVERRIDING SYSTEM VALUE SELECT a.id - 1, a.schema, a.table_name, a.relid,"
        " a.issued_at, a.native_transaction_id, 'insert', '{}', '{}', a.transaction_id - 1"
        f" FROM activity a WHERE id = {last.id}"
    )
    assert shop.get(url).json == {"new": 1, "capped": False}


def test_only_the_newest_page_newest_first_asks(new_shop):
    shop = make_history(new_shop(config=ON))
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1000, 1100) i")
    html = shop.page("/")
    assert asked(html)
    older = html.partition('rel="next"')[0].rpartition('href="')[2].partition("#")[0].replace("&amp;", "&")
    assert "before=" in older and "data-audit-poll" not in shop.page(older)
    assert "data-audit-poll" not in shop.page("/?sort=time")
    assert "data-audit-poll" not in shop.page("/?since=nonsense", 400)


def test_many_are_counted_up_to_a_cap(new_shop):
    shop = make_history(new_shop(config=ON))
    url = asked(shop.page("/"))
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1000, 2500) i")
    assert shop.get(url).json == {"new": 1000, "capped": True}


def test_the_poll_is_as_closed_as_the_list(new_shop):
    """S3, S4, S25: scope, permission of its own, no other site."""
    actions = []

    def permission(action, target):
        actions.append(action)
        return may_read(action, target)

    shop = make_history(
        new_shop(
            config=ON,
            permission=permission,
            scope=lambda select, viewer: select.where(
                shop.application.audit_logger.activity_cls.table_name != "products"
            ),
        )
    )
    url = asked(shop.page("/"))
    shop.change(BOB, "Product", 42, stock=99)
    assert shop.get(url).json["new"] == 0
    shop.add(ANN, "Category", id=55, name="Late")
    actions.clear()
    assert shop.get(url).json["new"] == 1
    assert actions == ["poll"]
    assert shop.get(url, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert shop.get(url, user=CLEO).status_code == 403
    assert shop.get(url).headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("query", ["from=x", "seen=-1", "seen=9999", "seen=²", "since=x", "from=9999999999999999999.1"])
def test_nonsense_is_not_found(new_shop, query):
    make_history(new_shop(config=ON)).page(f"/poll?{query}", 404)


def test_who_may_not_poll_gets_no_banner(new_shop):
    shop = make_history(new_shop(config=ON, permission=lambda action, target: action != "poll"))
    assert "data-audit-poll" not in shop.page("/")


def test_polling_is_no_view_but_a_refused_attempt_is_reported(new_shop):
    events = []
    shop = make_history(new_shop(config=ON, on_view=events.append))
    shop.get(asked(shop.page("/")))
    shop.get("/poll", user=CLEO)
    assert [(event.action, event.status) for event in events] == [("list", 200), ("poll", 403)]
