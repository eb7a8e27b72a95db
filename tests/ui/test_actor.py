"""Promise: the page of an actor counts what they did, says at which hours, and what they did under other names."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from tests.ui.everywhere import DOCS
from tests.ui.shop import ANN, BOB, CLEO, links, make_history, text_of, with_own_shop
from tests.ui.test_export import objects_of


def grid(html):
    """Numbers by day and hour."""
    part = html.partition("audit-hours")[2].partition("</table>")[0]
    rows = re.findall(r'scope="row">(.*?)</th>(.*?)</tr>', part, re.DOTALL)
    found = {day: re.findall(r'audit-num">(.*?)</td>', cells) for day, cells in rows}
    assert all(len(cells) == 24 for cells in found.values())
    return {(day, hour): int(text) for day, cells in found.items() for hour, text in enumerate(cells) if text}


@pytest.mark.parametrize(("zone", "cell"), [("UTC", ("Sunday", 23)), ("Asia/Tokyo", ("Monday", 8))])
def test_hours_and_days_are_those_of_the_viewer(new_shop, zone, cell):
    shop = make_history(new_shop(config={"AUDIT_UI_TIMEZONE": zone}))
    shop.sql("UPDATE transaction SET issued_at = '2026-11-22 23:30+00' WHERE actor_id = 1")
    html = shop.page("/actor/1")
    assert grid(html) == {cell: len(shop.ids("/actor/1?limit=200"))}
    assert '<th role="columnheader" scope="col" class="audit-num">23</th>' in html
    assert list(dict.fromkeys(re.findall(r">(\w+day)<", html.partition("audit-hours")[2]))) == [
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"
    ]  # fmt: skip


def test_the_grid_counts_what_the_filter_finds(shop):
    assert sum(grid(shop.page("/actor/1?table=products")).values()) == len(shop.ids("/actor/1?table=products"))
    assert not grid(shop.page("/actor/1?table=nothing"))


@with_own_shop
def test_what_somebody_did_under_other_names_is_one_link_away(shop):
    with shop.acting(ANN, impersonator=shop.models.User(id=CLEO, name="Cleo D’Angelo")) as session:
        session.add(shop.models.Category(id=77, name="As Ann"))
    made = shop.activity(table_name="categories", record_key="77")
    html = shop.page(f"/actor/{CLEO}")
    href = next(link for link in links(html) if "impersonator=" in link)
    assert "Impersonated by this user</a>" in html
    assert shop.ids(href) == [made.id]
    assert "Impersonated by:</span> <bdi>Cleo D’Angelo" in shop.page(href)
    assert "Impersonated by this user" not in shop.page("/actor/~none")


@with_own_shop
def test_somebody_of_another_class_has_a_name_and_is_nobody_of_the_actor_class(shop):
    carl = shop.models.Category(id=ANN, name="Carl the customer")
    with shop.acting(BOB, actor=carl) as session:
        session.add(shop.models.Category(id=78, name="x"))
    made = shop.activity(table_name="categories", record_key="78")
    for path in (f"/activity/{made.id}", "/?table=categories", f"/transaction/{made.transaction_id}"):
        html = shop.page(path)
        assert "<bdi>Carl the customer</bdi>" in html and f"<small>Category {ANN}</small>" in html
        assert "&#34;class&#34;" not in html
    assert made.id not in shop.ids(f"/actor/{ANN}") and made.id in shop.ids("/actor/~none")
    assert "<h1>Actor not recorded</h1>" in shop.page("/actor/~none")
    assert "Carl the customer" in shop.get("/export.csv?table=categories").text


def test_who_only_acted_under_other_names_has_a_page(new_shop):
    shop = new_shop(scope=lambda statement, viewer: statement.where(sa.literal(viewer.id == str(ANN))))
    with shop.acting(ANN, impersonator=shop.models.User(id=CLEO, name="Cleo D’Angelo")) as session:
        session.add(shop.models.Category(id=77, name="As Ann"))
    html = shop.page(f"/actor/{CLEO}")
    assert "<h1>Cleo D’Angelo</h1>" in html and "No change has been recorded under this name." in html
    made = shop.activity(table_name="categories", record_key="77")
    assert shop.ids(next(link for link in links(html) if "impersonator=" in link)) == [made.id]
    shop.page("/actor/99", 404)
    shop.page(f"/actor/{CLEO}", 404, user=BOB)


def test_the_own_record_is_linked_only_if_accounts_are_audited(shop):
    html = shop.page("/actor/2")
    assert "Changes to this user&#39;s own record" in html and "/audit/record/users/2" in links(html)
    assert "/audit/record/users" not in shop.page("/actor/~none").partition("audit-results")[0]


def test_an_actor_page_counts_by_table_and_kind(shop):
    html = shop.page("/actor/1")
    text = text_of(html)
    assert "<h1>Ann Price</h1>" in html
    assert "Table Created Deleted Categories 2 – Products 2 1" in text
    assert "192.0.2.1" in text
    assert shop.ids("/actor/1") == [
        a.id for a in reversed(shop.application.activities()) if a.transaction.actor_id == ANN
    ]
    assert "Actor not recorded" in shop.page("/actor/~none")
    for unknown in ("ann", "99999999999999999999", "~41"):
        shop.page(f"/actor/{unknown}", 404)


@with_own_shop
def test_who_did_nothing_has_an_empty_page(shop):
    with shop.acting(BOB) as session:
        session.add(shop.models.User(id=44, name="Dora"))
    for actor, name in (("44", "Dora"), ("4711", "#4711")):
        html = shop.page(f"/actor/{actor}")
        assert f"<h1>{name}</h1>" in html and "No change has been recorded under this name." in html


def test_an_actor_recorded_by_the_key_alone_has_todays_name(new_shop):
    """As from a token; the name is marked, as it may have been another one, and is gone with the row."""
    shop = make_history(new_shop())
    with shop.acting(BOB, actor=CLEO) as session:
        session.add(shop.models.Category(id=77, name="By key"))
    made = shop.activity(table_name="categories", record_key="77")
    assert made.transaction.actor_label is None
    shop.sql("UPDATE users SET name = 'Cleo Today' WHERE id = 3")
    paths = (
        "/?table=categories",
        f"/activity/{made.transaction_id}.{made.id}",
        "/transactions",
        "/record/categories/77",
    )
    for path in (*paths, f"/transaction/{made.transaction_id}"):
        assert re.search(r"<bdi>Cleo Today</bdi>(</a>)? <small>today&#39;s name</small>", shop.page(path)), path
    assert "“today's name” beside a user: only the id was recorded" in text_of(shop.page("/help"))
    shop.sql("DELETE FROM users WHERE id = 3")
    assert "Cleo Today" not in shop.page(paths[0]) and "<bdi>#3</bdi>" in shop.page(paths[0])
    hidden = new_shop(can_see_column=lambda table, column, viewer: (table, column) != ("users", "name"))
    with hidden.acting(BOB, actor=ANN) as session:
        session.add(hidden.models.Category(id=78, name="By key"))
    assert "<bdi>#1</bdi>" in hidden.page("/?table=categories")


@with_own_shop
def test_an_actor_who_is_gone_keeps_a_name(shop):
    with shop.acting(BOB) as session:
        session.delete(session.get(shop.models.User, CLEO))
    assert "<h1>Cleo D’Angelo</h1>" in shop.page("/actor/3").replace("&#39;", "'")


@with_own_shop
def test_who_left_long_ago_has_a_page_with_changes(shop):
    """The page of an actor starts with all time."""
    shop.sql("UPDATE transaction SET issued_at = issued_at - interval '3 years'")
    html = shop.page(f"/actor/{CLEO}")
    assert "Order items" in text_of(html.partition('id="audit-results"')[2])
    assert "No changes match" in shop.page(f"/actor/{CLEO}?period=30d")


@with_own_shop
def test_s24_the_address_is_the_recorded_one_and_the_help_says_on_what_it_depends(shop):
    shop.change(ANN, "Product", 42, addr="198.51.100.9", stock=3)
    change = shop.activity(record_key="42")
    spoofed = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=203.0.113.1"}
    html = shop.page(f"/activity/{change.id}", headers=spoofed)
    assert "198.51.100.9" in html and "203.0.113.1" not in html
    assert "behind a proxy it depends on the application" in text_of(shop.page("/help"))
    assert "ProxyFix" in (DOCS / "security.md").read_text(encoding="utf-8")


@with_own_shop
def test_s28_both_names_and_the_real_address_are_shown_filtered_and_exported(shop):
    with shop.acting(ANN, addr="203.0.113.5", impersonator=shop.models.User(id=2, name="Bob Stone")) as session:
        session.get(shop.models.Product, 42).stock = 1
    change = shop.activity(record_key="42")
    for path in ("/?impersonated=1", "/record/products/42", f"/activity/{change.id}",
                 f"/transaction/{change.transaction_id}", "/transactions?impersonated=1"):  # fmt: skip
        text = text_of(shop.page(path))
        assert "Bob Stone" in text and "Ann Price" in text, path
    assert "Bob Stone as Ann Price" in text_of(shop.page("/"))
    assert "203.0.113.5" in shop.page(f"/activity/{change.id}")
    assert shop.ids("/?impersonated=1") == [change.id] and change.id not in shop.ids("/?impersonated=0")
    line = objects_of(shop.get("/export.jsonl?impersonated=1"))[0]
    assert "Bob Stone" in str(line) and line["actor"] == "Ann Price" and line["address"] == "203.0.113.5"
    assert "Bob Stone" in shop.get("/export.csv?impersonated=1").text
