"""Promise: the pages stay true at the edges: odd values, changed keys, hidden columns, days that begin at one."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from flask_audit_logger.ui import AuditUI, RevertPolicy
from tests.support.models import AUDITED
from tests.support.server import both_drivers
from tests.ui.previews import Browser, path_of
from tests.ui.shop import ANN, BOB, Shop, declare_shop, links, listed, make_history, may_read, text_of, with_own_shop


def declare(db):
    """The shop, and a table with the types that Python has no exact values for."""
    models = declare_shop(db)
    sa.Table(
        "odds", db.metadata,
        sa.Column("id", sa.Integer, primary_key=True), sa.Column("day", sa.Date), sa.Column("span", sa.Interval),
        sa.Column("at", sa.DateTime(timezone=True)), sa.Column("data", JSONB), sa.Column("code", sa.LargeBinary),
        sa.Column("ratio", sa.Float), sa.Column("price", sa.Numeric), sa.Column("x", sa.Integer),
        sa.Column("y", sa.Integer), sa.ForeignKeyConstraint(["x", "y"], ["parents.x", "parents.y"]), **AUDITED,
    )  # fmt: skip
    sa.Table(
        "parents", db.metadata,
        sa.Column("x", sa.Integer, primary_key=True), sa.Column("y", sa.Integer, primary_key=True), **AUDITED,
    )  # fmt: skip
    return models


def people(application):
    with application.app.app_context():
        for number, name in ((ANN, "Ann Price"), (BOB, "Bob Stone")):
            application.db.session.add(application.models.User(id=number, name=name))
        application.db.session.commit()


@pytest.fixture
def odd(create_app):
    ui = AuditUI(permission=may_read, revert=RevertPolicy())
    shop = Shop(create_app(declare=declare, ui=ui))
    people(shop.application)
    return shop


# Putting back


@both_drivers
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("day", "'infinity'"), ("day", "'0044-03-15 BC'"), ("span", "'1 mon'"), ("at", "'-infinity'"),
        ("data", """'{"a": 0.12345678901234567890123, "b": 12345678901234567890.5}'"""),
    ],
)  # fmt: skip
def test_what_can_not_be_written_back_exactly_is_refused(odd, column, value):
    """The row becomes what the preview says, or stays as it is."""
    odd.sql(f"INSERT INTO odds (id, {column}) VALUES (1, {value})")
    odd.sql(f"UPDATE odds SET {column} = NULL")
    browser, path = Browser(odd), path_of(odd.activity(table_name="odds"), "before", column)
    browser.preview(path)
    response = browser.send(path)
    assert response.status_code == 422 and "Nothing was changed" in response.text
    assert odd.sql(f"SELECT {column}::text FROM odds") == [(None,)]


@both_drivers
def test_what_can_be_written_back_is(odd):
    odd.sql(
        "INSERT INTO odds VALUES (1, '2026-02-03', '3 days 04:05', '2026-01-01 10:00+02', '{\"a\": [1.5, null]}',"
        " '\\x00ff', 'NaN', 12345678901234567890.1200)"
    )
    before = odd.sql("SELECT odds::text FROM odds")
    columns = ("day", "span", "at", "data", "code", "ratio", "price")
    odd.sql(f"UPDATE odds SET {', '.join(f'{name} = NULL' for name in columns)}")
    browser, path = Browser(odd), path_of(odd.activity(table_name="odds"))
    browser.preview(path)
    assert browser.send(path).status_code == 303
    assert odd.sql("SELECT odds::text FROM odds") == before


def test_a_record_with_another_key_is_not_made_again(odd):
    """Its old page says where it is, offers nothing to put back, and the new page leads back."""
    odd.sql("INSERT INTO odds (id, price) VALUES (41, 1)")
    odd.sql("UPDATE odds SET price = 2")
    odd.sql("UPDATE odds SET id = 42")
    change = odd.activity(table_name="odds")
    old = odd.page("/record/odds/41")
    assert "Key changed" in text_of(old) and "Exists." not in old and "/revert?" not in old
    assert "/audit/record/odds/42" in links(old)
    assert odd.get(path_of(change)).status_code == 404
    for _ in range(2):
        new = odd.page("/record/odds/42")
        assert "this record had key 41" in text_of(new) and "/audit/record/odds/41" in links(new)
        odd.sql("UPDATE odds SET price = 3")
    assert odd.get("/record/odds/43").status_code == 404


# Versions


def test_changes_of_one_statement_are_each_a_version(odd):
    odd.sql("INSERT INTO odds (id, price) VALUES (1, 0)")
    odd.sql("DO $$ BEGIN FOR i IN 1..3 LOOP UPDATE odds SET price = i; END LOOP; END $$")
    changes = odd.application.activities(table_name="odds", verb="update")
    assert len({change.issued_at for change in changes}) == 1
    for price, change in enumerate(changes, 1):
        (href,) = (href for href in links(odd.page(f"/activity/{change.id}")) if "/at?" in href)
        html = odd.page(href)
        assert re.search(rf" price {price} \d", text_of(html.partition("The row at that time")[2]))
        before = next(href for href in links(html) if "/at?" in href and "zone=" not in href)
        assert re.search(rf" price {price - 1} \d", text_of(odd.page(before).partition("The row at that time")[2]))
    assert odd.get(f"/record/odds/1/at?change={changes[0].id}&time=2026-01-01").status_code == 404
    assert odd.get("/record/odds/1/at?change=x").status_code == 404
    assert odd.get(f"/record/odds/2/at?change={changes[0].id}").status_code == 404


def test_a_value_of_a_column_that_was_a_text_once(odd):
    odd.sql("INSERT INTO odds (id, code) VALUES (1, 'x')")
    for number, text in enumerate(("\\xzz", "\\x0", "plain")):
        odd.sql(f"UPDATE odds SET code = 'new {number}'")
        change = odd.activity(table_name="odds")
        odd.sql(
            f"UPDATE activity SET old_data = old_data || jsonb_build_object('code', '{text}') WHERE id = {change.id}"
        )
        with odd.get(f"/activity/{change.id}/value/code?side=old") as response:
            assert (response.status_code, response.data) == (404, b"") or response.data == text.encode()
        assert odd.get(f"/activity/{change.id}").status_code == 200


def test_a_number_that_is_none_is_a_word(odd):
    odd.sql("INSERT INTO odds (id, ratio) VALUES (1, 1.5)")
    odd.sql("UPDATE odds SET ratio = 'NaN'")
    text = text_of(odd.page("/?table=odds"))
    assert "ratio 1.5 → NaN" in text and "type of the value" not in text


# Columns


def test_two_hidden_values_can_not_be_tried_against_each_other(new_shop):
    shop = make_history(new_shop(can_see_column=lambda table, column, viewer: column != "stock" or viewer.id != "2"))
    for stock in (100, 200, 100):
        shop.sql(f"UPDATE products SET stock = {stock}, name = 'Mug {stock}' WHERE id = 42")
    first, second, third = (a.id for a in shop.application.activities(record_key="42")[-3:])
    pages = [shop.page(f"/record/products/42/compare?from={first}&to={to}&all=1", user=BOB) for to in (second, third)]
    notes = [re.search(r"<p class=\"audit-note\">(\d columns? .*?)</p>", html)[1] for html in pages]
    assert notes[0] == notes[1] == "2 columns are not compared, as their values are hidden."  # stock and secret
    assert not any("stock" in html.partition("What differs")[2] for html in pages)
    assert "stock" in shop.page(f"/record/products/42/compare?from={first}&to={second}")


def test_hidden_columns_of_tables_that_are_audited_no_longer(new_shop):
    """A value can't be guessed where only the log knows the table; a table that may be seen can be named."""
    shop = new_shop(can_see_column=lambda table, column, viewer: table != "old_users" or viewer.id == "2")
    make_history(shop)
    shop.sql(
        "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, old_data,"
        " changed_data, transaction_id, record_key) SELECT 'public', 'old_users', 0, now(), 1, 'update',"
        " jsonb_build_object('name', 'secret'), jsonb_build_object('name', 'x'), max(id), '1' FROM transaction"
    )
    for guess in ("secret", "wrong"):
        for query in ("", "&table=products&table=old_users", "&table=old_users&table=categories"):
            assert shop.ids(f"/?period=all&field=name&was={guess}{query}", user=ANN) == []
        assert "old_users" not in shop.get(f"/breakdown/facets?period=all&field=name&was={guess}", user=ANN).text
        assert (
            "secret"
            not in shop.get(f"/export.csv?period=all&field=name&was={guess}", user=ANN).text.lower().split("\n", 1)[-1]
        )
    assert len(shop.ids("/?period=all&field=name&was=secret&table=old_users", user=BOB)) == 1


def test_a_page_shows_only_so_many_columns(create_app):
    def wide(db):
        models = declare_shop(db)
        columns = (sa.Column(f"c{number}", sa.Integer) for number in range(300))
        sa.Table("wide", db.metadata, sa.Column("id", sa.Integer, primary_key=True), *columns, **AUDITED)
        return models

    shop = Shop(create_app(declare=wide, ui=AuditUI(permission=may_read)))
    people(shop.application)
    shop.sql("INSERT INTO wide (id) VALUES (1)")
    shop.sql("UPDATE wide SET c299 = 1")
    shop.sql(f"UPDATE wide SET {', '.join(f'c{number} = 2' for number in range(250))}")
    for path in ("", "/at", "/compare", "/compare?all=1"):
        html = shop.page(f"/record/wide/1{path}")
        assert html.count('scope="row"') < 230 and "columns are not shown" in html
    assert ">c299<" in shop.page("/record/wide/1?col=c299")


# Times


@with_own_shop
def test_no_bar_is_lost_where_a_day_begins_at_one_o_clock(shop):
    """In Chile clocks go from midnight to one; each following day begins at midnight again."""
    for day in range(20):
        shop.sql(f"UPDATE products SET stock = 100 + {day} WHERE id = 42")
    newest = shop.activity(record_key="42").transaction_id
    shop.sql(
        "UPDATE transaction SET issued_at = timestamptz '2026-08-28 15:00+00'"
        f" + (id - {newest - 19}) * interval '1 day' WHERE id > {newest - 20}"
    )
    shop.sql(f"UPDATE transaction SET issued_at = '2020-01-01' WHERE id <= {newest - 20}")
    query = "since=2026-08-27&until=2026-09-20"
    for zone in ("UTC", "Europe/Berlin", "America/Santiago", "Africa/Cairo", "America/Havana"):
        html = shop.page(f"/breakdown/histogram?{query}&tz={zone}")
        numbers = [int(number) for number in re.findall(r'aria-label="[^"]*: (\d+) changes?"', html)]
        assert sum(numbers) == 20 and max(numbers) == 1, zone


@with_own_shop
def test_a_bar_leads_to_what_it_counts(shop):
    newest = shop.activity(record_key="42").transaction_id
    shop.sql(f"UPDATE transaction SET issued_at = '2026-08-28 15:00+00' WHERE id = {newest}")
    shop.sql(f"UPDATE transaction SET issued_at = '2026-08-29 15:00+00' WHERE id = {newest - 1}")
    html = shop.page("/breakdown/histogram?since=2026-08-28T16:00&until=2026-09-20&tz=UTC")
    found = re.findall(r'href="([^"]*)"[^>]*aria-label="[^"]*: (\d+) changes?"', html) or [
        (href, number)
        for href, number in zip(
            re.findall(r'href="([^"]*since[^"]*)"', html), re.findall(r": (\d+) changes?", html), strict=False
        )
    ]
    assert sum(int(number) for _, number in found) == 1
    for href, number in found[:3]:
        assert len(listed(shop.page(href.replace("&amp;", "&").partition("#")[0]))) == int(number)


def test_a_table_can_be_added_where_a_key_was_searched(shop):
    html = shop.page("/breakdown/facets?table=products&key=42&period=all")
    for href in links(html):
        assert shop.get(href.partition("#")[0]).status_code == 200


def test_links_mean_the_same_in_every_zone(new_shop):
    shop = make_history(new_shop(config={"AUDIT_UI_TIMEZONE": "Europe/Berlin"}))
    for query, says in (
        ("period=today", True), ("period=this-year", True), ("since=2026-01-01", True), ("period=7d", False),
        ("since=2026-01-01T00:00%2B02:00", False),
    ):  # fmt: skip
        found = [
            href
            for href in links(shop.page(f"/?{query}"))
            if query.partition("=")[0] + "=" in href and "/?" in href and not re.search("zone=|yesterday", href)
        ]
        assert found
        assert {"tz=Europe/Berlin" in href for href in found if "all" not in href} == {says}, query


# What the pages say besides


def test_a_change_has_its_place_in_the_transaction(odd):
    odd.sql("INSERT INTO odds (id) SELECT generate_series(1, 12)")
    third = odd.application.activities(table_name="odds")[2]
    assert f"Transaction {third.transaction_id} : 3 of 12 · previous row · next row" in text_of(
        odd.page(f"/activity/{third.id}")
    )
    odd.sql("INSERT INTO odds (id) SELECT generate_series(100, 1100)")
    assert not re.search(r"\d of [\d,]+ ·", text_of(odd.page(f"/activity/{odd.activity(table_name='odds').id}")))


def test_only_neighbours_that_exist_are_named(odd):
    odd.sql("INSERT INTO odds (id) VALUES (1)")
    odd.sql("UPDATE odds SET ratio = 1")
    first, last = odd.application.activities(table_name="odds")
    for change, says in ((first, "next change"), (last, "previous change")):
        text = text_of(
            odd.page(f"/activity/{change.id}").partition('<nav class="audit-steps"')[2].partition("</nav>")[0]
        )
        assert text.endswith(f"This record: {says} Transaction {change.transaction_id} : 1 of 1"), text
    odd.sql("DELETE FROM activity WHERE verb = 'update'")
    assert "This record: only change" in text_of(odd.page(f"/activity/{first.id}"))


def test_numbers_that_name_a_record_have_no_difference(odd):
    odd.sql("INSERT INTO parents VALUES (1, 1), (2, 2)")
    odd.sql("INSERT INTO odds (id, x, y, ratio) VALUES (1, 1, 1, 1)")
    odd.sql("UPDATE odds SET x = 2, y = 2, ratio = 2")
    text = text_of(
        odd.page(f"/activity/{odd.activity(table_name='odds').id}")
        .partition("What changed")[2]
        .partition("</table>")[0]
    )
    assert text.count("%") == 1 and "x 1 2 y 1 2" in text.replace("→ ", "")
    assert "<polyline" in odd.page("/record/odds/1?col=ratio") and "<polyline" not in odd.page("/record/odds/1?col=x")


def test_a_reference_to_what_is_gone_is_not_offered(odd):
    odd.sql("INSERT INTO categories (id, name) VALUES (5, 'c'), (6, 'd')")
    odd.sql("INSERT INTO products (id, name, category_id) VALUES (9, 'p', 5)")
    odd.sql("UPDATE products SET category_id = 6, name = 'q'")
    change = odd.activity(table_name="products")
    assert "the referenced record no longer exists" not in Browser(odd).preview(path_of(change))
    odd.sql("DELETE FROM categories WHERE id = 5")
    browser = Browser(odd)
    assert "the referenced record no longer exists" in browser.preview(path_of(change))
    assert browser.fields["column"] == ["name"]
    assert browser.send(path_of(change)).status_code == 303
    assert odd.sql("SELECT name, category_id FROM products") == [("p", 6)]
