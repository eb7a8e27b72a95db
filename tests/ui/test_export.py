"""Promise: an export holds what the list shows, says whether it is complete, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import gc
import io
import json
import re
from collections import Counter
from decimal import Decimal

import pytest

from flask_audit_logger.history.files import cell
from flask_audit_logger.query.feed import BATCH
from flask_audit_logger.query.records import Names
from flask_audit_logger.query.rows import ActivityRow, TransactionRow
from flask_audit_logger.ui.options import Label
from flask_audit_logger.ui.visit import Sight
from tests.support.leaks import only_new_objects
from tests.support.server import both_drivers
from tests.ui.shop import ANN, make_history, text_of, with_own_shop


def rows_of(response):
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


def objects_of(response):
    return [json.loads(line, parse_float=Decimal) for line in response.text.splitlines()]


@both_drivers
def test_a_file_holds_what_the_list_shows(shop):
    for query in ("period=all", "table=products&verb=update", "actor=2&sort=time", "field=price&became=12.5"):
        ids = shop.ids(f"/?{query}")
        assert [int(row["id"]) for row in rows_of(shop.get(f"/export.csv?{query}"))] == ids, query
        lines = objects_of(shop.get(f"/export.jsonl?{query}"))
        assert [line["id"] for line in lines[:-1]] == ids, query
        meta = lines[-1]["_meta"]
        assert (meta["rows"], meta["complete"]) == (len(ids), True)
        assert meta["viewer"] == {"id": "1", "label": "Ann Price"} and "generated_at" in meta


def test_json_lines_are_as_logged(shop):
    line = next(o for o in objects_of(shop.get("/export.jsonl?table=products&actor=2")) if "price" in o["changed_data"])
    assert line["changed_data"] == {"price": Decimal("12.50")} and line["old_data"]["price"] == Decimal("10.00")
    assert line["old_data"]["tags"] == ["kitchen", "blue"]
    assert (line["key"], line["label"], line["actor"], line["address"]) == (
        ["42"],
        "Blue mug, large",
        "Bob Stone",
        "192.0.2.1",
    )


def test_a_line_for_each_changed_column(shop):
    rows = [r for r in rows_of(shop.get("/export.csv?shape=field&table=products&key=42")) if r["column"] == "price"]
    assert [(r["old"], r["old_state"], r["new"], r["new_state"]) for r in rows] == [
        ("10.00", "value", "12.50", "value"),
        ("", "absent", "10.00", "value"),
    ]
    secret = [r for r in rows_of(shop.get("/export.csv?shape=field&table=products")) if r["column"] == "secret"]
    assert {(r["old"], r["new"]) for r in secret} == {("", "")} and "masked" in {r["new_state"] for r in secret}


def test_headers_of_a_file(shop):
    response = shop.get("/export.csv?bom=1&table=products&since=2026-01-01&until=2027-01-31&tz=UTC")
    assert response.text.startswith("\ufeffid,") and response.text.endswith("\r\n")
    assert response.content_type == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="audit-products-20260101-20270201.csv"'
    assert (
        response.headers["X-Content-Type-Options"] == "nosniff"
        and response.headers["Cache-Control"] == "private, no-store"
    )
    name = shop.get('/export.jsonl?table=a"b%0d%0aü').headers.get("Content-Disposition", "")
    assert re.fullmatch(r"[ -~]*", name)


def test_a_cut_file_says_so(new_shop):
    shop = make_history(new_shop(config={"AUDIT_UI_EXPORT_MAX_ROWS": 5}))
    response = shop.get("/export.jsonl?period=all")
    meta = objects_of(response)[-1]["_meta"]
    assert (meta["rows"], meta["complete"]) == (5, False)
    assert response.headers["X-Audit-Truncated"] == "1"
    assert "-first-5.jsonl" in response.headers["Content-Disposition"]
    assert "Only the first 5 rows are exported." in shop.page("/export?period=all")


def test_large_exports_go_through_keyset_pages(new_shop):
    """And only the rows of one of them are held at once, be they parts of lines or names."""
    shop = new_shop()
    shop.sql("INSERT INTO products (id, name) SELECT i, 'Product ' || i FROM generate_series(1, 2500) i")
    for order in ("", "&sort=time"):
        ids = [int(row["id"]) for row in rows_of(shop.get(f"/export.csv?table=products{order}"))]
        assert len(ids) == len(set(ids)) == 2500 and ids == sorted(ids, reverse=not order)
    headers = {"X-Test-User": "1"}
    gc.collect()
    for ending in ("csv", "jsonl"):
        path = f"/audit/export.{ending}?table=products"
        client = shop.application.app.test_client()
        with only_new_objects(), client.get(path, headers=headers, buffered=False) as response:
            held = [Counter(type(thing) for thing in gc.get_objects()) for _ in response.response]
        assert len(held) > 3
        for kind in (ActivityRow, TransactionRow, Names, Label):
            assert 0 < max(found[kind] for found in held) <= BATCH or kind is Label, (ending, kind)


def test_the_options_page_says_what_will_be_exported(shop):
    html = shop.page("/export?table=products&actor=2&verb=update")
    assert "2 updates to Products by Bob Stone, last 30 days" in text_of(html)
    assert '<input type="hidden" name="table" value="products">' in html
    assert 'href="/audit/export?table=products' in shop.page("/?table=products")


def test_bad_filters_and_other_sites_get_no_file(shop):
    for ending in ("", ".csv", ".jsonl"):
        response = shop.get(f"/export{ending}?since=soon")
        assert response.status_code == 400 and "There is a problem" in response.text
        response = shop.get(f"/export{ending}", headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status_code == 403, ending
    assert shop.get("/export.csv?shape=all").status_code == 400


def test_an_export_needs_its_permission(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: action != "export"))
    for ending in ("", ".csv", ".jsonl"):
        assert shop.get(f"/export{ending}").status_code == 403
    assert "/audit/export" not in shop.page("/")


def test_hidden_columns_and_facts_are_not_exported(new_shop):
    shop = make_history(
        new_shop(
            can_see_column=lambda table, column, viewer: column not in ("price", "client_addr"), mask=["products.name"]
        )
    )
    for path in ("/export.csv", "/export.csv?shape=field", "/export.jsonl"):
        text = shop.get(path).text
        assert "12.5" not in text and "192.0.2" not in text and "Blue mug" not in text and "s3cret" not in text, path


def test_the_connection_is_given_back(shop):
    """Also if nobody reads the body."""
    with shop.application.app.app_context():
        pool = shop.db.engine.pool
    shop.get("/export.csv")
    shop.application.app.test_client().head("/audit/export.csv", headers={"X-Test-User": "1"})
    shop.application.app.test_client().get("/audit/export.jsonl", headers={"X-Test-User": "1"}, buffered=False).close()
    shop.get("/export.csv?since=x")
    assert pool.checkedout() == 0


@pytest.mark.parametrize(
    ("text", "written"),
    [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1+1", "'-1+1"), ("@x", "'@x"), ("\t=1", "'\t=1"),
     ("\uff1d1", "'\uff1d1"), ("\uff0b1", "'\uff0b1"), ("\uff0d1", "'\uff0d1"), ("\uff201", "'\uff201"), ("-5", "-5"),
     ("-5.25", "-5.25"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"), ("a=1", "a=1"), ("", ""), (None, ""), ("-", "'-"),
     ("-1e5", "'-1e5"), ("-5\n", "'-5\n"), ("-\u0665", "'-\u0665")],
)  # fmt: skip
def test_s09_no_cell_is_a_formula(text, written):
    assert cell(text) == written


@with_own_shop
def test_s09_hostile_values_in_a_file(shop, monkeypatch):
    shop.change(ANN, "Product", 42, name='=HYPERLINK("http://evil","x")\r\n"', stock=-5)
    shop.sql("UPDATE transaction SET actor_label = '+cmd', context = context || '{\"reason\"\\: \"@x\"}'")
    for shape in ("field", "activity"):
        text = shop.get(f"/export.csv?shape={shape}&table=products&key=42").text
        assert "'+cmd" in text and ",+cmd" not in text and "'@x" in text
    rows = rows_of(shop.get("/export.csv?shape=field&table=products&key=42"))
    assert next(r for r in rows if r["column"] == "name")["new"] == '\'=HYPERLINK("http://evil","x")\r\n"'
    assert next(r for r in rows if r["column"] == "stock")["new"] == "-5"
    assert all(row["label"].startswith("'=") for row in rows)
    paths = ("/export.csv?period=all", "/export.csv?period=all&shape=field", "/export.jsonl?period=all")
    passed = [_without_meta(shop.get(path).text) for path in paths]
    # the same where each value is read, as for a viewer from whom some are hidden
    monkeypatch.setattr(Sight, "can_see_all", lambda self, table: False)
    assert [_without_meta(shop.get(path).text) for path in paths] == passed


def _without_meta(text):
    return [line for line in text.splitlines() if not line.startswith('{"_meta"')]
