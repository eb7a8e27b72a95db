"""Promise: a filter shows exactly what a plain SQL statement finds; a bad one shows nothing."""

from __future__ import annotations

import itertools
import random
import re
from html import unescape
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.server import both_drivers
from tests.ui.shop import ANN, listed, make_history, text_of, with_own_shop

#: A filter and what it means, on activity a and transaction t.
FILTERS = (
    ("table=products", "a.table_name = 'products'"),
    ("table=products&table=categories", "a.table_name IN ('products', 'categories')"),
    ("table=public.products", "a.table_name = 'products'"),
    ("table=other.products", "false"),
    ("table=nothing", "false"),
    ("table=products&key=42", "a.table_name = 'products' AND a.record_key = '42'"),
    ("table=order_items&key=7,a~2Fb~2C%2B~7E~2E",
     "a.table_name = 'order_items' AND a.record_key = '[\"7\", \"a/b, ~.\"]'"),
    ("verb=update", "a.verb = 'update'"),
    ("verb=insert&verb=delete", "a.verb IN ('insert', 'delete')"),
    ("verb=truncate", "a.verb = 'truncate'"),
    ("col=price", "a.changed_data ? 'price' OR (a.verb = 'delete' AND a.old_data ? 'price')"),
    ("col=price&col=stock",
     "a.changed_data ?| '{price,stock}' OR (a.verb = 'delete' AND a.old_data ?| '{price,stock}')"),
    ("table=products&col=name&verb=update",
     "a.table_name = 'products' AND a.verb = 'update' AND a.changed_data ? 'name'"),
    ("field=price&became=12.5", "a.changed_data @> '{\"price\": 12.50}'"),
    ("field=price&was=10", "a.old_data @> '{\"price\": 10}' AND (a.verb <> 'update' OR a.changed_data ? 'price')"),
    ("field=active&became=false", "a.changed_data @> '{\"active\": false}'"),
    ("field=name&became=Red+mug", "a.changed_data @> '{\"name\": \"Red mug\"}'"),
    ("field=name&became=%22Red+mug%22", "a.changed_data @> '{\"name\": \"Red mug\"}'"),
    ("field=stock&became=null", "a.changed_data @> '{\"stock\": null}'"),
    ("field=price&was=10&became=12.5", "a.old_data @> '{\"price\": 10}' AND a.changed_data @> '{\"price\": 12.5}'"),
    ("actor=1", "t.actor_id = 1"),
    ("actor=1&actor=3", "t.actor_id IN (1, 3)"),
    ("actor=~none", "t.actor_id IS NULL"),
    ("actor=~none&actor=2", "t.actor_id IS NULL OR t.actor_id = 2"),
    ("actor=4711", "false"),
    ("kind=user", "t.actor_id IS NOT NULL"),
    ("kind=none", "t.actor_id IS NULL AND NOT t.context ?| '{job,command}'"),
    ("kind=outside", "t.actor_id IS NULL AND NOT t.context ?| '{job,command,method}'"),
    ("kind=service&kind=system", "t.actor_id IS NULL AND t.context ?| '{job,command}'"),
    ("impersonated=1", "t.context ? 'impersonator'"),
    ("impersonated=0", "NOT t.context ? 'impersonator'"),
    ("impersonator=3&impersonator=7", "t.context -> 'impersonator' ->> 'id' IN ('3', '7')"),
    ("addr=192.0.2.1", "t.client_addr = '192.0.2.1'"),
    ("addr=192.0.2.99/24", "t.client_addr <<= '192.0.2.0/24'"),
    ("addr=2001:db8::/32&addr=198.51.100.7", "t.client_addr <<= '2001:db8::/32' OR t.client_addr = '198.51.100.7'"),
    ("tx=3", "t.id = 3"),
    ("req=r-1", "t.context ->> 'request_id' = 'r-1'"),
    ("since=2026-01-01&until=2026-01-31&tz=Europe/Oslo",
     "t.issued_at >= '2025-12-31 23:00+00' AND t.issued_at < '2026-01-31 23:00+00'"),
    ("since=2026-02-01T12:00&tz=UTC", "t.issued_at >= '2026-02-01 12:00+00'"),
    ("until=2026-02-01T12:00%2B02:00", "t.issued_at < '2026-02-01 10:00+00'"),
)  # fmt: skip


@pytest.fixture
def aged(own_shop):
    """A log whose transactions lie days apart, one of them out of order."""
    with own_shop.acting(ANN, job="import"):
        pass
    with own_shop.acting(None, job="import") as session:
        session.add(own_shop.models.Category(id=9, name="From a job"))
    with own_shop.acting(None) as session:
        session.add(own_shop.models.Category(id=10, name="Without a sign-in"))
    with own_shop.acting(
        ANN, impersonator=own_shop.models.User(id=3, name="Cleo D’Angelo"), request_id="r-1"
    ) as session:
        session.get(own_shop.models.Category, 9).name = "By Cleo"
    own_shop.sql("UPDATE transaction SET issued_at = timestamptz '2026-01-01 00:00+00' + id * interval '4 days'")
    own_shop.sql("UPDATE transaction SET issued_at = timestamptz '2026-01-03 00:00+00' WHERE id = 9")
    return own_shop


def expected(shop, condition):
    rows = shop.sql(
        "SELECT a.id FROM activity a JOIN transaction t ON t.id = a.transaction_id "
        f"WHERE {condition} ORDER BY a.transaction_id DESC, a.id DESC".replace(":", r"\:")
    )
    return [row[0] for row in rows]


@both_drivers
def test_every_filter_equals_plain_sql(aged):
    for query, condition in FILTERS:
        path = f"/?{query}" + ("" if "since" in query or "until" in query else "&period=all")
        assert aged.ids(path) == expected(aged, condition), query


def test_a_period_has_its_first_instant_and_not_its_last(aged):
    """Also where the ids are not in the order of time, and by the microsecond."""
    times = {1: "12:00", 2: "13:00", 3: "12:59:59.999999", 4: "11:59:59.999999", 5: "13:00:00.000001", 6: "12:30"}
    aged.sql("UPDATE transaction SET issued_at = timestamptz '2020-01-01 00:00+00'")
    for number, time in times.items():
        aged.sql(
            f"UPDATE transaction SET issued_at = timestamptz '2020-02-03 {time}+00' WHERE id = {number}".replace(
                ":", r"\:"
            )
        )
    period = "since=2020-02-03T12:00Z&until=2020-02-03T13:00Z"
    assert aged.ids(f"/?{period}") == expected(aged, "t.id IN (1, 3, 6)")
    assert aged.ids("/?since=2020-02-03T13:00Z") == expected(aged, "t.id IN (2, 5)")
    assert aged.ids("/?since=2020-02-03&until=2020-02-03") == expected(aged, "t.id <= 6"), "the last day is whole"
    shown = re.findall(r'href="[^"]*/transaction/(\d+)"', aged.page(f"/transactions?{period}").partition("<tbody")[2])
    assert set(shown) == {"1", "3", "6"}


@with_own_shop
def test_a_column_is_searched_for_a_number_and_its_text(shop):
    """Nobody who types 12 knows whether the column holds numbers or texts; quotes say that it is a text."""
    shop.sql("INSERT INTO products (id, name, stock) VALUES (51, '12', 1), (52, 'x', 12)")
    named, stocked = (shop.activity(record_key=key).id for key in ("51", "52"))
    assert shop.ids("/?period=all&field=name&became=12") == [named]
    assert shop.ids("/?period=all&field=stock&became=12") == [stocked]
    assert shop.ids("/?period=all&field=stock&became=%2212%22") == []


@with_own_shop
def test_what_a_column_was_is_asked_of_its_own_changes(shop):
    """A row that had the value while another column changed is no answer; one that lost it by deletion is."""
    shop.sql("INSERT INTO products (id, name, price, stock) VALUES (50, 'Teapot', 31, 1)")
    shop.sql("UPDATE products SET stock = 2 WHERE id = 50")
    assert shop.ids("/?period=all&field=price&was=31") == []
    shop.sql("UPDATE products SET price = 32 WHERE id = 50")
    priced = shop.activity(record_key="50").id
    shop.sql("DELETE FROM products WHERE id = 50")
    assert shop.ids("/?period=all&field=price&was=31") == [priced]
    assert shop.ids("/?period=all&field=price&was=32") == [shop.activity(record_key="50").id]


@pytest.mark.slow
def test_filters_combine_by_and(aged):
    """Random pairs and triples, so that no two filters get in each other's way."""
    choices = random.Random(20261124)
    plain = [f for f in FILTERS if "=~" not in f[0]]
    tried = 0
    while tried < 60:
        picked = choices.sample(plain, choices.choice((2, 3)))
        names = [part.partition("=")[0] for query, _ in picked for part in set(query.split("&"))]
        if len({*names}) < len(names):
            continue
        query = "&".join(query for query, _ in picked)
        timed = "since" in query or "until" in query
        condition = " AND ".join(f"({condition})" for _, condition in picked)
        path = f"/?{query}{'' if timed else '&period=all'}"
        if aged.get(path).status_code == 400:  # a column that the chosen table does not have
            assert "table=" in query and ("col=" in query or "field=" in query), query
            continue
        tried += 1
        assert aged.ids(path) == expected(aged, condition), query


def test_the_default_period_is_a_chip_that_can_be_removed(aged):
    html = aged.page("/")
    assert "Last 30 days" in html
    assert aged.ids("/") != aged.ids("/?period=all")
    everything = html.partition('aria-label="Active filters"')[2].partition('href="')[2].partition('"')[0]
    assert "period=all" in everything


BAD = [
        "period=never", "since=yesterday", "since=2026-13-01", "until=2026-02-30", "since=2026-02-02&until=2026-02-01",
        "period=7d&since=2026-01-01", "tz=Mars/Olympus", "verb=upsert", "kind=robot", "impersonated=2", "addr=nowhere",
        "addr=192.0.2.1/33", "actor=ann", "actor=99999999999", "actor=1.5", "key=42", "key=42&table=a&table=b",
        "col=nothing", "field=price", "was=1", "field=price&was=[1]", "field=nothing&was=1", "tx=abc",
        "tx=99999999999999999999",
        "before=1", "before=1.2.3", "before=1.99999999999999999999", "before=1.1&after=1.1", "limit=7", "sort=name",
        "table=" + "x" * 201, "&".join(f"actor={n}" for n in range(21)), "key=a%00b&table=products", "col=%1B",
        "actor=%ED%A0%80%00", "since=0000-01-01", "since=9999-12-31T23:59&tz=America/New_York&until=9999-12-31",
        "until=9999-12-31",
        "addr=" + "1" * 300, "req=" + "%C2%85",
    ]  # fmt: skip


def test_a_bad_filter_gives_400_and_no_rows(shop):
    """S21 and rule 2: it never widens the result."""
    for query in BAD:
        html = shop.page(f"/?{query}", 400)
        assert "There is a problem" in html, query
        assert 'id="audit-results"' not in html and "Blue mug" not in html, query


TYPED = [
        ("categories", "a,b", "a,b"), ("categories", "a b", "a b"), ("categories", "a~b", "a~7Eb"),
        ("categories", "a/b", "a/b"),
        ("order_items", '["7", "x"]', "7,x"), ("order_items", '["7", "a,b"]', "7,a~2Cb"), ("nothing", "9", "9"),
    ]  # fmt: skip


@with_own_shop
def test_a_key_can_be_typed(shop):
    for table, stored, typed in TYPED:
        shop.sql(f"UPDATE activity SET table_name = '{table}', record_key = '{stored}' WHERE id = 4")
        assert shop.ids(f"/?period=all&table={table}&key={quote(typed)}") == [4], typed


def test_an_error_is_told_at_its_field(shop):
    html = shop.page("/?key=42", 400)
    assert 'href="#audit-key"' in html
    assert 'aria-invalid="true" aria-describedby="audit-key-error"' in html
    assert "Choose one table to search by key." in html


def test_an_unknown_parameter_is_noted_and_changes_nothing(shop):
    html = shop.page("/?period=all&actr=1&utm=x")
    assert "Unknown filters, ignored: actr, utm" in text_of(html)
    assert shop.ids("/?period=all&actr=1") == shop.ids("/?period=all")


def test_a_chip_removes_only_its_filter(shop):
    html = shop.page("/?table=products&table=categories&verb=update&actor=2&limit=25&before=999.999")
    chips = html.partition('aria-label="Active filters"')[2].partition("</ul>")[0]
    hrefs = [part.partition('"')[0].replace("&amp;", "&") for part in chips.split('href="')[1:]]
    without_verb = next(h for h in hrefs if "table=products&table=categories" in h and "verb" not in h)
    assert "actor=2" in without_verb and "limit=25" in without_verb and "before" not in without_verb
    assert hrefs[-1] == "/audit/"


def test_the_heading_says_what_is_filtered(shop):
    html = shop.page("/?table=products&verb=update&actor=2&period=all")
    assert "<h1>2 updates to Products by Bob Stone</h1>" in html
    assert "<title>2 updates to Products by Bob Stone – Audit</title>" in html


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "drives"),
    list(itertools.product(("", "&sort=time"), ("", "&actor=1&actor=~none", "&since=2020-01-01", "&table=products"))),
)
def test_paging_visits_each_row_once_in_both_directions(new_shop, query, drives):
    """Forward and back over pages of 25 while new rows are being added."""
    shop = new_shop()
    shop.sql("INSERT INTO products (id, name) SELECT i, 'p' || i FROM generate_series(1, 30) i")
    for number in range(100, 140):
        shop.add(ANN, "Product", id=number, name=f"n{number}")
    period = "" if "since" in drives else "&period=all"
    path = f"/?limit=25&fold=0{period}{query}{drives}"
    wanted = shop.ids(path.replace("limit=25", "limit=200"))
    assert len(wanted) >= 70
    forward, html = walk(
        shop, path, "newer" if query else "older", every=lambda n: shop.add(ANN, "Category", id=n, name="x")
    )
    late = set(forward) - set(wanted)
    assert [n for n in forward if n not in late] == wanted
    assert not late or query
    back, _ = walk(shop, html, "older" if query else "newer")
    assert sorted(set(back)) == sorted(back)
    assert set(wanted) <= set(back)


NEW_KEYS = itertools.count(500_000)


@pytest.fixture
def crowded(aged):
    """So many rows that most searches have several pages."""
    aged.sql("INSERT INTO products (id, name, price) SELECT i, 'p' || i, 10 FROM generate_series(2000, 2039) i")
    aged.sql("UPDATE products SET price = 12.5, stock = NULL WHERE id >= 2000")
    with aged.acting(ANN) as session:
        session.execute(sa.text("UPDATE products SET price = 10, active = false WHERE id >= 2000"))
    return aged


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(picked=st.lists(st.sampled_from(FILTERS), max_size=3), oldest_first=st.booleans())
def test_any_search_visits_each_row_of_plain_sql_once_while_rows_come_in(crowded, picked, oldest_first):
    """Forwards and back: what SQL found before, in its order, and of what came later nothing twice."""
    names = [part.partition("=")[0] for query, _ in picked for part in set(query.split("&"))]
    assume(len(set(names)) == len(names) or len(picked) == 1)
    crowded.sql("DELETE FROM activity WHERE length(record_key) = 6")  # what came late in the last example
    query = "&".join(query for query, _ in picked)
    path = f"/?limit=25&fold=0&{query}" + ("" if "since" in query or "until" in query else "&period=all")
    path += "&sort=time" if oldest_first else ""
    first = crowded.get(path)
    assume(first.status_code == 200)  # a column that the chosen table does not have
    wanted = expected(crowded, " AND ".join(f"({condition})" for _, condition in picked) or "true")
    wanted = wanted[::-1] if oldest_first else wanted

    def insert(number):
        key = next(NEW_KEYS)
        crowded.sql(
            f"INSERT INTO products (id, name) VALUES ({key}, 'late'); UPDATE products SET price = 10 WHERE id = {key}"
        )

    forward, end = walk(crowded, path, "newer" if oldest_first else "older", every=insert)
    assert [n for n in forward if n in set(wanted)] == wanted and len(forward) == len(set(forward))
    back, _ = walk(crowded, end, "older" if oldest_first else "newer", every=insert)
    assert len(back) == len(set(back)) and set(wanted) <= set(back)


def walk(shop, start, direction, every=None):
    """Follow the pager; gives the rows in the order they were visited and the address of the last page.

    :param direction: ``older`` or ``newer``.
    """
    path, found = start, []
    for page in range(20):
        html = shop.page(path)
        found += listed(html)
        if every:
            every(1000 + page)
        text = "Next" if (direction == "newer") == ("sort=time" in start) else "Previous"
        link = next((part for part in html.split("<a ") if f">{text}</a>" in part), None)
        if link is None:
            return found, path
        path = link.partition('href="')[2].partition('"')[0].replace("&amp;", "&").partition("#")[0]
    raise AssertionError("the pager never ends")


def test_oldest_and_newest_are_the_ends(new_shop):
    shop = new_shop()
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1, 60) i")
    everything = shop.ids("/?limit=200&period=all&fold=0")
    assert shop.ids("/?limit=25&period=all&fold=0&after=0.0") == everything[-25:]
    html = shop.page("/?limit=25&period=all&fold=0&after=0.0")
    assert 'rel="next"' not in html and 'rel="prev"' in html


def test_a_list_that_fills_its_page_has_no_next_one(new_shop):
    shop = new_shop()
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1, 25) i")
    assert 'rel="next"' not in shop.page("/?limit=25&period=all&table=products&fold=0")
    shop.sql("INSERT INTO products (id) VALUES (26)")
    assert 'rel="next"' in shop.page("/?limit=25&period=all&table=products&fold=0")


def test_a_count_stops_at_its_cap(new_shop):
    shop = new_shop(config={"AUDIT_UI_COUNT_CAP": 100})
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1, 101) i")
    assert "More than 100 changes" in shop.page("/?period=all&table=products")
    shop.sql("DELETE FROM activity WHERE record_key = '101'")
    html = shop.page("/?period=all&table=products")
    assert "100 changes" in html and "More than" not in html


@with_own_shop
def test_an_activity_without_transaction_is_listed(shop):
    """Rule 3: no row is hidden, not even when the transaction's row is gone."""
    newest = shop.ids("/?period=all")[0]
    shop.sql("DELETE FROM transaction WHERE id = (SELECT max(id) FROM transaction)")
    assert shop.ids("/?period=all")[0] == newest
    assert "its row is gone from the log" in shop.page(f"/activity/{newest}")


def test_states_without_rows(new_shop):
    shop = new_shop()
    shop.sql("DELETE FROM activity")
    assert "No changes have been recorded yet." in shop.page("/")
    make_history(shop)
    html = shop.page("/?actor=~none&verb=delete")
    assert "No changes match." in html and "Search all time" in html and "Clear all filters" in html


def place(html):
    """Which rows of how many a page says that it has, above and below them."""
    found = re.findall(r'class="audit-pager"[^>]*>\s*(?:<small>([^<]*)</small>)?', html)
    assert len(found) == 2 and found[0] == found[1]
    return found[0]


def step(html, text):
    """Where a link of the pager leads, if there is one."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{text}</a>', html)
    return unescape(found[1]).removeprefix("/audit").partition("#")[0] if found else None


_OF_CATEGORIES = "FROM activity WHERE table_name = 'categories'"
#: Lists, and how many rows they have by plain SQL.
COUNTED = {
    "/?table=categories": f"SELECT count(*) {_OF_CATEGORIES}",
    "/?table=categories&sort=time": f"SELECT count(*) {_OF_CATEGORIES}",
    "/record/categories/1?col=name": f"SELECT count(*) {_OF_CATEGORIES} AND record_key = '1'",
    "/transactions?table=categories": f"SELECT count(DISTINCT transaction_id) {_OF_CATEGORIES}",
    "/transactions?sort=time": "SELECT count(*) FROM transaction",
    "/actor/~none?verb=update": "SELECT count(*) FROM activity JOIN transaction AS t ON t.id = transaction_id"
    " WHERE verb = 'update' AND actor_id IS NULL",
    "/transaction/{last}?limit=25": "SELECT 61",
}


def test_a_page_says_which_rows_of_how_many_it_has(own_shop):
    """Forwards, backwards, and at the ends; an address is believed only where the log does not know better."""
    for number in range(70):
        own_shop.sql(f"UPDATE categories SET name = 'n{number}' WHERE id = 1")
    own_shop.sql("INSERT INTO products (id) SELECT generate_series(100, 160)")
    last = own_shop.activity().transaction_id
    for path, query in COUNTED.items():
        total = own_shop.sql(query)[0][0]
        wanted = [f"{n}–{min(n + 24, total)} of {total}" for n in range(1, total + 1, 25)]
        here, seen = path.format(last=last) + f"{'&' if '?' in path else '?'}limit=25", []
        while here:
            html, before = own_shop.page(here), here
            seen.append(place(html))
            here = step(html, "Next")
        assert seen == wanted, path
        here = step(own_shop.page(before), "Previous")
        assert [place(own_shop.page(here)), step(own_shop.page(here), "Next")] == [wanted[-2], before], path
        start, end = ("Oldest", "Newest") if "sort=time" in path or "/transaction/" in path else ("Newest", "Oldest")
        assert place(own_shop.page(step(own_shop.page(before), start))) == wanted[0], path
        html = own_shop.page(step(own_shop.page(before.partition("&after")[0].partition("&before")[0]), end))
        assert place(html) == f"{total - 24}–{total} of {total}", path
    middle = step(own_shop.page("/?table=categories&limit=25"), "Next").partition("&at=")[0]
    for wrong in ("0", "-1", "x", "99", "1.5", "²", "9" * 30, ""):
        assert place(own_shop.page(f"{middle}&at={wrong}")) == "72", wrong


def test_a_page_of_very_many_rows_says_what_it_knows(new_shop):
    shop = make_history(new_shop(config={"AUDIT_UI_FOLD_OVER": 0}))
    shop.sql("INSERT INTO products (id) SELECT generate_series(100, 1200)")
    html = shop.page("/")
    assert place(html) == "1–50 of more than 1,000"
    second = shop.page(step(html, "Next"))
    assert place(second) == "51–100 of more than 1,000"
    assert place(shop.page(step(second, "Previous"))) == "1–50 of more than 1,000"
    assert place(shop.page(step(html, "Oldest"))) == "more than 1,000"


@pytest.mark.parametrize("order", ["", "&sort=time"])
def test_a_large_transaction_that_is_one_row_counts_with_all_its_changes(own_shop, order):
    for number in range(70):
        own_shop.sql(f"UPDATE categories SET name = 'n{number}' WHERE id = 1")
        if number == 30:
            own_shop.sql("INSERT INTO categories SELECT generate_series(1000, 1399)")
    path, seen = f"/?table=categories&limit=25{order}", []
    while path:
        html = own_shop.page(path)
        seen.append((place(html), path))
        path = step(html, "Next")
    total = own_shop.sql(COUNTED["/?table=categories"])[0][0]
    pages = [tuple(int(n) for n in re.findall(r"\d+", found)) for found, _ in seen]
    assert [page[0] for page in pages] == [1, *(page[1] + 1 for page in pages[:-1])]
    assert pages[-1][1] == total and {page[2] for page in pages} == {total}
    assert any(last - first > 400 for first, last, _ in pages)
    for (text, _), (_, path) in itertools.pairwise(seen):
        assert place(own_shop.page(step(own_shop.page(path), "Previous"))) == text
