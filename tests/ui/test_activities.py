"""Promise: the list and the page of a change say who changed what, from what to what, and in which words."""

from __future__ import annotations

import re
from html import unescape

from tests.ui.everywhere import answer
from tests.ui.shop import ANN, make_history, row_of, text_of, with_own_shop


def test_a_price_change_is_read_at_a_glance(shop):
    change = next(a for a in shop.application.activities(table_name="products") if a.changed_data.get("price") == 12.5)
    row = row_of(shop.page("/"), change.id)
    assert "Blue mug, large Products #42 Updated price 10.00 → 12.50 (+25 %) Bob Stone 192.0.2.1" in row


def test_each_kind_of_change_has_its_form(shop):
    html = shop.page("/?period=all")
    text = text_of(html)
    assert "Created name Red mug price 9.00 Ann Price" in text
    assert "Deleted name Red mug price 9.00 Ann Price" in text
    assert "Order items Emptied all rows removed Not recorded" in text
    assert "stock 4 → 17 (+325 %) Not recorded database user" in text
    assert "category_id Mugs #1 → Maps #2" in text
    assert re.search(r"<del>.*?10\.00.*?</del> → <ins>.*?12\.50.*?</ins>", html)


@with_own_shop
def test_an_empty_text_and_no_text_are_shown(shop):
    shop.change(ANN, "Product", 42, name="", description=None)
    shop.change(ANN, "Product", 42, name="Mug", description="")
    first, second = (a.id for a in shop.application.activities(record_key="42")[-2:])
    html = shop.page("/")
    assert "name Blue mug, large → empty" in row_of(html, first)
    assert "name empty → Mug description null → empty" in row_of(html, second)
    assert "Before name empty Mug" not in text_of(html)
    assert "name empty Mug" in text_of(shop.page(f"/activity/{second}"))


@with_own_shop
def test_a_table_of_another_schema_is_named_with_it(shop):
    shop.sql("UPDATE activity SET schema = 'billing' WHERE table_name = 'categories'")
    html = shop.page("/?period=all")
    assert "Categories (billing)" in html and 'href="/audit/record/billing.categories/1"' in html
    assert len(shop.ids("/record/billing.categories/1")) == 1


@with_own_shop
def test_the_mark_of_a_masked_value_is_no_name(shop):
    """A table that the models do not know any more."""
    shop.sql(
        "UPDATE activity SET table_name = 'gone', changed_data = changed_data || "
        "jsonb_build_object('name', jsonb_build_object('audit_logger', 'masked')) WHERE table_name = 'categories'"
    )
    html = shop.page("/record/gone/1")
    assert "<h1>Gone #1</h1>" in html and "audit_logger" not in html.partition("<main")[2].replace("/audit_logger", "")


@with_own_shop
def test_a_masked_value_is_changed_but_never_shown(shop):
    change = next(
        a
        for a in shop.application.activities(table_name="products")
        if "secret" in a.changed_data and a.verb == "update"
    )
    for path in (f"/activity/{change.id}", "/record/products/42", "/?period=all"):
        html = shop.page(path)
        assert "hidden" in html and "s3cret" not in html and "other" not in text_of(html).split(), path


@with_own_shop
def test_an_activity_shows_before_and_after_and_the_rest(shop):
    change = next(
        a
        for a in shop.application.activities(table_name="products")
        if "category_id" in a.changed_data and a.verb == "update"
    )
    html = shop.page(f"/activity/{change.id}")
    text = text_of(html)
    assert "Blue mug, large: updated" in text
    assert "2001:db8::9" in text and "POST /edit" in text and "Tests/1" in text
    assert "unchanged columns" in text and "tags" in text
    assert '"stock": 4' in text and '"secret": {"audit_logger": "masked"}' in text
    assert "previous change" in html and "next change" in html


@with_own_shop
def test_a_long_text_is_marked_by_words_and_folded(shop):
    record = shop.activity(table_name="products", record_key="42").old_data["description"]
    shop.change(ANN, "Product", 42, description=record.replace("sturdy", "robust").replace("330", "350"))
    html = shop.page(f"/activity/{shop.activity(record_key='42').id}")
    assert '<del><span class="audit-sr">removed: </span>sturdy</del>' in html
    assert '<ins><span class="audit-sr">added: </span>robust</ins>' in html
    assert re.search(r"<summary>\d+ lines unchanged</summary>", html)
    brief = shop.page("/record/products/42")
    assert "A <del>sturdy</del><ins>robust</ins> mug" in brief.replace("<bdi>", "").replace("</bdi>", "")


@with_own_shop
def test_nested_values_are_compared_by_path(shop):
    shop.change(
        ANN, "Product", 42, attributes={"color": "red", "size": {"height": 10}, "eco": True}, tags=["blue", "big"]
    )
    text = text_of(shop.page(f"/activity/{shop.activity(record_key='42').id}"))
    assert "color blue → red" in text and "eco + true" in text and "1 unchanged" in text
    assert "\N{MINUS SIGN} kitchen + big" in text


@with_own_shop
def test_a_list_says_why_and_with_which_program(shop):
    """What was given as reason stands beside the change; a change from outside names role and program."""
    with shop.acting(ANN, reason="the supplier's price went up") as session:
        session.get(shop.models.Product, 42).price = 13
    named = "set_config('application_name', 'night job', true) IS NOT NULL"
    shop.sql(f"UPDATE products SET stock = 3 WHERE id = 42 AND {named}")
    for page in ("/", "/record/products/42"):
        text = text_of(shop.page(page))
        assert "(+4 %) Reason: the supplier's price went up Ann Price" in text
        assert re.search(r"Not recorded database user \w+ \(night job\)", text)


def test_the_default_period_is_the_choice_that_is_shown(shop):
    """The form says which period holds; choosing nothing keeps it, and exact times are not in its way."""
    html = shop.page("/")
    select = html.partition('name="period">')[2].partition("</select>")[0]
    assert re.search(r'<option value="" selected>Last 30 days</option>', select)
    assert select.count("Last 30 days") == 1
    assert "There is a problem" not in shop.page("/?period=&since=2026-01-01")
    assert "Last 90 days" in shop.page("/?period=90d").partition(" selected>")[2][:30]


def test_s23_a_value_is_a_download_and_never_a_page(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: action != "download_binary"))
    shop.change(ANN, "Product", 42, description="<script>alert(1)</script>" * 60_000, picture=b"<html>")
    change = shop.activity(record_key="42")
    html = shop.page(f"/activity/{change.id}")
    assert f'href="/audit/activity/{shop.address(change.id)}/value/description?side=new" download' in html
    assert len(html) < 60_000
    response = answer(shop, f"/activity/{change.id}/value/description?side=new")
    assert_download(response)
    assert response.text == "<script>alert(1)</script>" * 60_000
    assert shop.get(f"/activity/{change.id}/value/picture?side=new").status_code == 404
    assert shop.get(f"/activity/{change.id}/value/secret?side=new").status_code == 404
    object.__setattr__(shop.application.audit_logger.ui, "permission", lambda action, target: True)
    response = answer(shop, f"/activity/{change.id}/value/picture?side=new")
    assert_download(response)
    assert response.data == b"<html>"


def assert_download(response):
    assert response.content_type == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_heading_names_every_filter(shop):
    """What is printed, exported or left in a tab says what it is a list of."""
    filters = {
        "key=42&table=products": "to Products #42",
        "verb=insert&verb=update": "What: Created; What: Updated",
        "kind=user": "Made by: ",
        "addr=192.0.2.0/24": ": 192.0.2.0/24",
        "table=products&field=price&was=10": "Column value: price; Was: 10",
        "impersonated=1": "on behalf of someone",
        "req=abc": ": abc",
    }
    for query, said in filters.items():
        html = shop.page(f"/?period=all&{query}")
        heading, title = (re.search(f"<{tag}>(.*?)</{tag}>", html)[1] for tag in ("h1", "title"))
        assert said in heading and said in title, (query, heading)
        assert said in shop.page(f"/export?period=all&{query}"), query
    assert "Minimum rows: 3" in shop.page("/transactions?period=all&min_rows=3")


def test_bounds_have_their_offsets(new_shop):
    shop = make_history(new_shop(config={"AUDIT_UI_TIMEZONE": "Europe/Berlin"}))
    html = shop.page("/?since=2026-03-28T12:00&until=2026-03-30T12:00")
    assert "from 2026-03-28 12:00:00 +01:00 until 2026-03-30 12:00:00 +02:00" in html


@with_own_shop
def test_a_list_that_begins_with_the_oldest_pages_in_its_own_direction(shop):
    """Next is newer there, and the order stays from the first page to the last and back."""
    shop.sql("INSERT INTO categories SELECT n, 'c' FROM generate_series(100, 160) AS n")
    oldest, seen, path = sorted(shop.ids("/?period=all&limit=200&fold=0")), [], "/?period=all&limit=25&sort=time&fold=0"
    while path:
        html = shop.page(path)
        seen += shop.ids(path)
        nav = html.partition('class="audit-pager"')[2].partition("</nav>")[0]
        assert re.findall(r">(Oldest|Previous|Next|Newest)<", nav) == ["Oldest", "Previous", "Next", "Newest"]
        assert f"<small>{len(seen) - len(shop.ids(path)) + 1}–{len(seen)} of {len(oldest)}</small>" in nav
        found = re.search(r'href="([^"]*)" rel="next">Next<', nav)
        path = found and found[1].replace("&amp;", "&").removeprefix("/audit")
    assert seen == oldest
    newest = re.search(r'href="([^"]*)">Newest<', shop.page("/?period=all&limit=25&sort=time&fold=0"))
    assert shop.ids(newest[1].replace("&amp;", "&").removeprefix("/audit")) == oldest[-25:]


@with_own_shop
def test_a_column_that_the_application_has_no_longer_says_so(shop):
    shop.sql("ALTER TABLE products ADD COLUMN colour text DEFAULT 'red'")
    shop.sql("UPDATE products SET colour = 'blue' WHERE id = 42")
    change = shop.activity(record_key="42")
    for path in (f"/activity/{change.transaction_id}.{change.id}", "/?table=products", "/record/products/42"):
        html = shop.page(path)
        assert "colour (not in the application today)" in html and "price (not" not in html, path


def test_the_searches_of_most_days_are_offered(new_shop):
    """On both lists; what the viewer may not see is not."""
    allowed = {"list", "transaction"}
    shop = make_history(new_shop(permission=lambda action, target: action in allowed))
    shop.sql("INSERT INTO categories SELECT generate_series(100, 1099)")
    shop.add(None, "Category", id=9, name="Without a sign-in")

    def offered(path):
        box = shop.page(path).partition('class="audit-presets"')[2].partition("</nav>")[0]
        return {
            text: unescape(href).removeprefix("/audit") for href, text in re.findall(r'href="([^"]*)">([^<]*)<', box)
        }

    changes, transactions = offered("/"), offered("/transactions")
    assert list(changes) == list(transactions) == ["Yesterday", "Outside the application", "1,000 rows and more"]
    assert changes["1,000 rows and more"] == transactions["1,000 rows and more"]
    assert shop.page(changes["1,000 rows and more"]).count('class="audit-c-tx"') == 1
    assert "0 changes, yesterday" in shop.page(changes["Yesterday"])
    assert "0 transactions, yesterday" in shop.page(transactions["Yesterday"])
    outside = text_of(shop.page(changes["Outside the application"]))
    assert "More than 1,000 changes, last 30 days; Made by: Outside the application" in outside
    assert "Without a sign-in" not in outside and "Without a sign-in" in text_of(shop.page("/?kind=none"))
    assert shop.page(transactions["Outside the application"]).count('class="audit-c-tx"') == 4
    allowed.remove("transaction")
    assert list(offered("/")) == ["Yesterday", "Outside the application"]


def test_json_and_arrays_have_the_room_of_both_columns(own_shop):
    """Also where there is one side only; a number stands below its own heading."""
    own_shop.change(ANN, "Product", 42, attributes={"color": "red", "size": {"height": 10}}, tags=["red"])
    own_shop.remove(ANN, "Product", 42)
    for verb, mark in (("insert", "added:"), ("update", ""), ("delete", "removed:")):
        change = own_shop.application.activities(table_name="products", record_key="42", verb=verb)[-1]
        html = own_shop.page(f"/activity/{change.id}")
        for column in ("attributes", "tags"):
            cells = html.partition(f'scope="row">{column}</th>')[2].partition("</tr>")[0]
            assert cells.count("<td") == cells.count('colspan="2"') == 1 and mark in cells, (verb, column)
        if verb != "update":
            cells = html.partition('scope="row">stock</th>')[2].partition("</tr>")[0]
            assert cells.count("<td") == 2 and "colspan" not in cells
