"""Promise: the list of transactions finds units of work by who, when and where; one of them is summed up."""

from __future__ import annotations

import re
from html import unescape

import pytest
import sqlalchemy as sa

from flask_audit_logger.query import summaries
from tests.support.server import both_drivers
from tests.ui.shop import ANN, CLEO, make_history, text_of, with_own_shop

FILTERS = (
    ("", "true"),
    ("actor=1", "t.actor_id = 1"),
    ("actor=~none", "t.actor_id IS NULL"),
    ("kind=none", "t.actor_id IS NULL"),
    ("addr=2001:db8::/32", "t.client_addr <<= '2001:db8::/32'"),
    ("path=/import", "t.context ->> 'path' LIKE '/import%'"),
    ("path=%25", "false"),
    ("req=r-1", "t.context ->> 'request_id' = 'r-1'"),
    ("impersonated=1", "false"),
    ("table=products", "EXISTS (SELECT FROM activity a WHERE a.transaction_id = t.id AND a.table_name = 'products')"),
    ("table=products&verb=delete&actor=1",
     "t.actor_id = 1 AND EXISTS "
     "(SELECT FROM activity a WHERE a.transaction_id = t.id AND a.table_name = 'products' AND a.verb = 'delete')"),
    ("min_rows=2&actor=1", "t.actor_id = 1 AND (SELECT count(*) FROM activity a WHERE a.transaction_id = t.id) >= 2"),
    ("min_rows=2&kind=user", "t.actor_id IS NOT NULL "
     "AND (SELECT count(*) FROM activity a WHERE a.transaction_id = t.id) >= 2"),
    ("min_rows=2", "(SELECT count(*) FROM activity a WHERE a.transaction_id = t.id) >= 2"),
    ("min_rows=2&table=products", "(SELECT count(*) FROM activity a WHERE a.transaction_id = t.id) >= 2 "
     "AND EXISTS (SELECT FROM activity a WHERE a.transaction_id = t.id AND a.table_name = 'products')"),
)  # fmt: skip


@with_own_shop
def test_the_job_or_command_of_an_actor_stands_beside_the_name(shop):
    with shop.acting(ANN, job="shelf mover") as session:
        session.execute(sa.text("UPDATE products SET stock = stock + 7"))
    with shop.acting(ANN, command="import <prices>") as session:
        session.execute(sa.text("UPDATE products SET stock = stock + 7 WHERE id = 42"))
    (number,) = shop.sql("SELECT max(id) FROM transaction")[0]
    for path in ("/", "/transactions", f"/transaction/{number - 1}", f"/actor/{ANN}", "/record/products/42"):
        assert re.search(r"</bdi>(</a>)? <small>job shelf mover</small>", shop.page(path)), path
    assert "<small>command import &lt;prices&gt;</small>" in shop.page("/transactions")


@with_own_shop
def test_marks_are_shown_and_no_context_passes_for_one(shop):
    marked = """
        INSERT INTO transaction (native_transaction_id, issued_at, context, marks) VALUES
            (1, now(), '{}', '{"capture_off": ["public.products"], "unreadable": "x"}'),
            (1, now(), '{"rows_unread": ["public.products"]}', '{}')
        RETURNING id
    """
    (true,), (forged,) = shop.sql(marked)
    shown = text_of(shop.page(f"/transaction/{true}"))
    assert "Auditing switched off for public.products" in shown and "unreadable x" in shown
    shown = text_of(shop.page(f"/transaction/{forged}"))
    assert "Single rows not recorded for" not in shown and 'rows_unread ["public.products"]' in shown


@pytest.fixture
def busy(own_shop):
    with own_shop.acting(ANN, path="/import/1", request_id="r-1") as session:
        session.add_all([own_shop.models.Product(id=n, name=f"Product {n}") for n in range(100, 130)])
        session.add(own_shop.models.Category(id=9, name="New"))
    return own_shop


def listed(html):
    return [
        int(n) for n in re.findall(r'rowheader" scope="row" class="audit-c-tx"><a href="[^"]*/transaction/(\d+)"', html)
    ]


@both_drivers
def test_every_filter_equals_plain_sql(busy):
    for query, condition in FILTERS:
        rows = busy.sql(
            f"SELECT t.id FROM transaction t WHERE {condition.replace(':', chr(92) + ':')} ORDER BY t.id DESC"
        )
        assert listed(busy.page(f"/transactions?period=all&{query}")) == [row[0] for row in rows], query


def test_a_row_says_what_a_transaction_did(busy):
    text = text_of(busy.page("/transactions").partition("<tbody")[2].partition("</tr>")[0])
    assert "Ann Price Products 30 , Categories 1 31 rows POST /import/1 192.0.2.1" in text


def test_what_was_done_to_many_rows_alike(busy):
    """The developer's story: a careless update, seen at a glance."""
    busy.sql("UPDATE products SET stock = CASE WHEN id < 105 THEN 1 ELSE 2 END, active = true WHERE id >= 100")
    text = text_of(busy.page(f"/transaction/{busy.activity(verb='update').transaction_id}"))
    part = text.partition("The same change in many rows")[2].partition("Filter")[0]
    assert "25 Products stock null → 2 active null → true change" in part
    assert "5 Products stock null → 1 active null → true change" in part
    single = text_of(busy.page(f"/transaction/{busy.activity(record_key='42').transaction_id}"))
    assert "The same change" not in single


@with_own_shop
def test_many_kinds_of_changes_are_not_all_told_but_all_counted(shop):
    change = shop.activity(verb="update")
    columns = "schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, record_key, transaction_id"
    shop.sql(
        f"INSERT INTO activity ({columns}, changed_data) SELECT {columns}, jsonb_build_object('c' || n, 1)"
        f" FROM activity, generate_series(1, 250) AS n WHERE id = {change.id}"
    )
    text = text_of(shop.page(f"/transaction/{change.transaction_id}"))
    assert f"Transaction {change.transaction_id} (251 rows)" in text
    assert "51 more rows changed in other columns." in text


def test_rows_are_not_compared_by_values_a_viewer_may_not_see(new_shop):
    shop = make_history(new_shop(mask=["products.stock"]))
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(100, 120) i")
    shop.sql("UPDATE products SET stock = 5 WHERE id >= 100")
    shop.sql("UPDATE products SET secret = 'x' WHERE id >= 100")
    for activity in shop.application.activities(verb="update", record_key="110"):
        assert "Rows with the same change" not in shop.page(f"/transaction/{activity.transaction_id}")


def test_large_transactions_are_counted_up_to_a_cap(busy):
    busy.sql("INSERT INTO products (id) SELECT i FROM generate_series(1000, 2600) i")
    text = text_of(busy.page("/transactions").partition("<tbody")[2].partition("</tr>")[0])
    assert "1,000+" in text and "1,601" not in text


def test_a_bad_filter_gives_no_rows(busy):
    for query in ["min_rows=0", "min_rows=x", "min_rows=-1", "period=x", "path=%00", "verb=x"]:
        html = busy.page(f"/transactions?{query}", 400)
        assert "There is a problem" in html and not listed(html), query


def test_filters_of_single_changes_are_noted_as_unknown(busy):
    assert "Unknown filters, ignored: col, key" in busy.page("/transactions?col=price&key=4")


def test_paging_visits_each_transaction_once(new_shop):
    shop = new_shop()
    for number in range(60):
        shop.sql(f"INSERT INTO categories (id) VALUES ({number})")
    path, seen = "/transactions?limit=25", []
    while path:
        html = shop.page(path)
        seen += listed(html)
        link = next((part for part in html.split("<a ") if 'rel="next"' in part.partition(">")[0]), "")
        path = link.partition('href="')[2].partition('"')[0].replace("&amp;", "&").partition("#")[0]
    assert seen == sorted(seen, reverse=True) and len(seen) == len(set(seen)) == 61


def test_paging_visits_each_large_transaction_once(new_shop):
    shop = new_shop()
    for number in range(90):
        shop.sql(
            f"INSERT INTO categories (id) SELECT i FROM generate_series({number * 10}, {number * 10 + number % 3}) i"
        )
    large = [row[0] for row in shop.sql(
        "SELECT transaction_id FROM activity GROUP BY 1 HAVING count(*) >= 3 ORDER BY 1 DESC")]  # fmt: skip
    for order in ("", "&sort=time"):
        path, seen = f"/transactions?limit=25&min_rows=3&period=7d{order}", []
        while path:
            html = shop.page(path)
            seen += listed(html)
            link = next((part for part in html.split("<a ") if 'rel="next"' in part.partition(">")[0]), "")
            path = link.partition('href="')[2].partition('"')[0].replace("&amp;", "&").partition("#")[0]
        assert seen == (large[::-1] if order else large) and len(seen) == 31


def test_the_scope_hides_transactions_and_rows(new_shop):
    shop = make_history(new_shop(scope=lambda select, viewer: select.where(table_column(shop) == "categories")))
    with shop.acting(CLEO) as session:
        session.add(shop.models.Category(id=5, name="Both"))
        session.add(shop.models.Product(id=5, name="Both"))
    html = shop.page("/transactions")
    assert len(listed(html)) == 3
    rows = text_of(html.partition("<tbody")[2])
    assert "Categories 1 1 row " in rows and "Products" not in rows
    shown = text_of(shop.page(f"/transaction/{listed(html)[0]}"))
    assert "1 row changed by" in shown and "Products" not in shown.partition("Summary")[2].partition("All tables")[0]


def table_column(shop):
    return shop.application.audit_logger.activity_cls.table_name


def test_links_to_pages_a_viewer_may_not_open_are_not_there(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: action in ("list", "activity", "record", "help")))
    for path in ("/", "/record/products/42", "/activity/4", "/help"):
        html = shop.page(path)
        assert "/transaction" not in html and "/audit/actor" not in html, path
    assert "Bob Stone" in shop.page("/")


def test_the_help_page_says_what_is_recorded(shop):
    text = text_of(shop.page("/help"))
    assert "Products values of secret not recorded" in text and "Categories every column" in text


@with_own_shop
def test_a_transaction_sums_up_what_it_did(shop):
    shop.sql(
        "WITH p AS (INSERT INTO products (id, price) SELECT i, i FROM generate_series(1000, 1119) i RETURNING id) "
        "INSERT INTO categories (id) SELECT 3"
    )
    shop.sql("UPDATE products SET price = price + 1, stock = 0 WHERE id >= 1000")
    update = shop.activity(verb="update")
    html = shop.page(f"/transaction/{update.transaction_id}?limit=25")
    text = text_of(html)
    assert "120 rows changed by" in text and "Products Updated 120 price (+0.1 %), stock" in text
    ids = shop.ids(f"/transaction/{update.transaction_id}?limit=200")
    assert ids == sorted(ids) and len(ids) == 120
    both = text_of(shop.page(f"/transaction/{shop.activity(table_name='categories').transaction_id}"))
    assert "Products Created 120 all" in both and "Categories Created 1 all" in both


def test_the_largest_come_first_with_all_their_rows(own_shop, monkeypatch):
    """From the head of the column; the filters keep the order, and it ends where any search does."""
    own_shop.sql("INSERT INTO products (id) SELECT generate_series(1000, 2233)")
    own_shop.sql("INSERT INTO categories SELECT generate_series(100, 126)")
    for number in range(30):
        own_shop.sql(f"UPDATE products SET stock = {number} WHERE id = 42")
    html = own_shop.page("/transactions")
    assert "1,000+" in html and listed(html) == sorted(listed(html), reverse=True)
    path = unescape(re.search(r'href="([^"]*)">Rows<', html)[1]).removeprefix("/audit")
    html = own_shop.page(path)
    numbers = [int(n.replace(",", "")) for n in re.findall(r'class="audit-num">([\d,+]+)<', html)]
    assert numbers[:3] == [1234, 27, 3] and numbers == sorted(numbers, reverse=True)
    assert "Searched back" not in html and "largest are shown" not in html
    assert '<input type="hidden" name="sort" value="size">' in html
    assert re.search(r'href="/audit/transactions#[^"]*">Time</a>', html), "back to the order of time"
    html = own_shop.page("/transactions?sort=size&limit=25&table=products")
    assert "Only the 25 largest are shown." in text_of(html) and len(listed(html)) == 25
    assert "1,234" in html and 'class="audit-num">27<' not in html
    monkeypatch.setattr(summaries, "STEPS", (10, 100, 1000))
    html = own_shop.page("/transactions?sort=size&period=all")
    further = unescape(re.search(r'href="([^"]*)">Search further<', html)[1]).removeprefix("/audit")
    assert "Searched back to" in html and "Products <small>1,234</small>" in html and "before" not in further
    assert "deeper=1" in further and numbers[0] == 1234
    further = unescape(re.search(r'href="([^"]*)">Search further<', own_shop.page(further))[1]).removeprefix("/audit")
    html = own_shop.page(further)
    assert "before=" in further and "Search further" not in html and "1,234" not in html and len(listed(html)) > 5
