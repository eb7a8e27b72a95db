"""Promise: an application says what points where and what belongs together, and adds columns; no page breaks."""

from __future__ import annotations

import csv
import io
import json

import pytest

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.query.refs import RecordRef
from flask_audit_logger.schema.names import TableName
from flask_audit_logger.ui import Column, Label
from tests.ui.shop import ANN, make_history, text_of

EVIL = "<img src=x onerror=alert(1)>\u202e"


def category_cell(shop):
    return shop.page("/record/products/42?col=category_id").partition('id="audit-results"')[2]


def test_references_come_from_the_models_by_default(shop):
    assert "Mugs" in category_cell(shop) and "Maps" in category_cell(shop)


def test_a_mapping_names_all_references(new_shop):
    shop = make_history(new_shop(foreign_keys={("products", "stock"): "users"}))
    shop.change(ANN, "Product", 42, stock=2)
    assert "Mugs" not in category_cell(shop)
    html = shop.page("/record/products/42?col=stock").partition('id="audit-results"')[2]
    assert "Bob Stone" in html
    activity = shop.activity(table_name="products", record_key="42")
    assert 'href="/audit/record/users/2"' in shop.page(f"/activity/{activity.id}")


def test_a_mapping_may_speak_of_tables_that_only_the_log_knows(new_shop):
    shop = make_history(new_shop(foreign_keys={("gone", "user_id"): "users", ("products", "category_id"): "nowhere"}))
    shop.sql(
        "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, old_data,"
        " changed_data, record_key, transaction_id) SELECT 'public', 'gone', 0, now(), 1, 'insert', '{}',"
        " '{\"user_id\": 2}', '1', max(id) FROM transaction"
    )
    assert "Bob Stone" in shop.page("/?table=gone").partition('id="audit-results"')[2]
    assert "Mugs" not in category_cell(shop)


def test_other_values_of_foreign_keys_are_refused(new_shop):
    with pytest.raises(ConfigurationError, match="foreign_keys is 'none'; it must be 'auto' or a mapping"):
        new_shop(foreign_keys="none")


def test_related_records_are_linked_on_the_page_of_a_record(new_shop):
    asked = []

    def related(ref):
        asked.append(ref)
        return [Label("Orders of this mug", "/orders?product=42"), Label(EVIL, "javascript:alert(1)")]

    shop = make_history(new_shop(related_records=related))
    html = shop.page("/record/products/42")
    assert asked == [RecordRef(TableName("public", "products"), "42")]
    assert '<a href="/orders?product=42"><bdi>Orders of this mug</bdi></a>' in html
    assert "javascript:" not in html and "<img" not in html and "U+202E" in html


def test_a_hook_that_fails_takes_no_page_with_it(new_shop):
    def fails(_):
        raise RuntimeError("no")

    shop = make_history(
        new_shop(related_records=fails, extra_columns=[Column("plan", "Plan", cell=fails, export=fails)])
    )
    assert "Related" not in shop.page("/record/products/42")
    assert "Plan" in shop.page("/") and shop.ids("/")
    assert "plan" in shop.page("/export.csv?period=all").splitlines()[0]


@pytest.fixture
def planned(new_shop):
    def plan(activity):
        return {"products": "=1+1" + EVIL, "users": None}.get(activity.table.name, activity.verb)

    columns = [Column("plan", "Plan <b>", cell=plan, export=plan), Column("listed", "Only listed", cell=lambda a: a.id)]
    return make_history(new_shop(extra_columns=[*columns, Column("=sum", "", export=lambda a: a.transaction_id)]))


def test_extra_columns_are_text_on_the_list(planned):
    html = planned.page("/?period=all")
    assert "<img" not in html and "<b>Plan" not in html and "Plan &lt;b&gt;</th>" in html
    rows = html.partition("<tbody")[2]
    assert "U+202E" in rows and ">delete<" not in rows and "Only listed" in html
    assert html.count('class="audit-c-extra"') == 2 * len(planned.ids("/?period=all"))
    assert "Plan" not in text_of(planned.page("/record/products/42"))


def test_extra_columns_are_in_exports(planned):
    lines = list(csv.DictReader(io.StringIO(planned.page("/export.csv?period=all&shape=field"))))
    by_table = {line["table"]: line["plan"] for line in lines}
    assert by_table == {
        "users": "",
        "products": "'=1+1" + EVIL,
        "categories": "insert",
        "order_items": by_table["order_items"],
    }
    assert {line["'=sum"] for line in lines} == {line["transaction"] for line in lines} and "listed" not in lines[0]
    first = json.loads(planned.page("/export.jsonl?period=all").splitlines()[0])
    assert first["extra"]["=sum"] == str(first["transaction"])
