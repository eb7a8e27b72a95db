"""Promise: an application says how things are called, what points where, and adds columns; no answer breaks a page."""

from __future__ import annotations

import csv
import io
import json

import pytest

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.query.refs import RecordRef
from flask_audit_logger.schema.names import TableName
from flask_audit_logger.ui import AuditUI, Column, Label, Preset
from tests.ui.everywhere import addresses
from tests.ui.previews import change_of
from tests.ui.shop import ANN, make_history, row_of, text_of

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


def test_hooks_give_names(new_shop):
    calls = []

    def record_labels(refs):
        calls.append(set(refs))
        return {ref: Label(f"Item {ref.key}", url=f"/shop/{ref.key}") for ref in refs if ref.table.name == "products"}

    shop = make_history(
        new_shop(
            record_labels=record_labels,
            actor_labels=lambda ids: {"1": Label("Ann (boss)", url="/staff/1", deleted=True)},
            table_label=lambda table: {"products": "Goods"}.get(table),
            column_label=lambda table, column: {"price": "Price in €"}.get(column),
            formatters={("products", "active"): lambda value: "on sale" if value else "withdrawn"},
            describe=lambda activity: (
                "A new price" if "price" in activity.changed_data and activity.verb == "update" else None
            ),
            presets=[Preset("Prices", {"table": "products", "col": ["price"]})],
            important_columns={"products": ["stock"]},
            naming_columns={"categories": ["id"]},
            config={"AUDIT_UI_HOME": ("Shop", "home")},
        )
    )
    shop.application.app.add_url_rule("/home", "home", lambda: "home")
    text = text_of(shop.page("/"))
    assert (
        "Item 42 Goods #42" in text and "Ann (boss) deleted" in text and "A new price Price in € 10.00 → 12.50" in text
    )
    assert "active on sale true → withdrawn false" in text
    assert len(calls) == 1
    assert 'href="/audit/?table=products&amp;col=price"' in shop.page("/")
    assert 'href="/shop/42"' in shop.page("/record/products/42")
    assert '<a href="/home">Shop</a>' in shop.page("/") and "– Audit – Shop</title>" in shop.page("/")
    insert = shop.application.activities(table_name="products")[0]
    assert row_of(shop.page("/"), insert.id).partition("Created")[2].startswith(" stock 5")


def test_a_hook_that_fails_leaves_keys(new_shop, caplog):
    def broken(*args):
        raise RuntimeError("no names today")

    names = ("record_labels", "actor_labels", "describe", "suggest_actors", "table_label", "column_label")
    hooks = dict.fromkeys(names, broken)
    shop = make_history(new_shop(**hooks, formatters={("products", "price"): broken}))
    text = text_of(shop.page("/"))
    assert "10.00 → 12.50" in text and "Ann Price" in text and "Products" in text
    assert "no names today" in caplog.text
    assert {name for name in names if f"the hook {name} failed" in caplog.text} == set(names)
    assert "the hook formatters of products.price failed" in caplog.text


@pytest.mark.parametrize("answer", [None, 5, "x", {None: 3}, [("a", "b")]])
def test_a_hook_that_answers_nonsense_leaves_keys(new_shop, answer):
    hooks = dict.fromkeys(("record_labels", "actor_labels", "table_label", "column_label"), lambda *_: answer)
    shop = make_history(new_shop(**hooks, suggest_actors=lambda: answer, related_records=lambda _: answer))
    for path in ("/", "/record/products/42", "/transactions", f"/actor/{ANN}"):
        shop.page(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("PAGE_SIZE", 7), ("DEFAULT_PERIOD", "1y"), ("TIMEZONE", "Mars"), ("STATEMENT_TIMEOUT_MS", 0), ("THEME", "pink"),
     ("COUNT_CAP", "1"), ("QUARTER_START_MONTH", 13), ("SET_CSP", 1), ("HOME", ("a",)), ("BREAKDOWN_TIMEOUT_MS", True)],
)  # fmt: skip
def test_a_bad_setting_is_refused_at_the_start(new_shop, key, value):
    with pytest.raises(ConfigurationError, match=f"AUDIT_UI_{key} is"):
        new_shop(config={f"AUDIT_UI_{key}": value})


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"permission": True}, "permission is True; give a function"),
        ({"scope": "tenant"}, "scope is 'tenant'; give a function"),
        ({"on_view": []}, "on_view is"),
        ({"revert": True}, "revert is True; give RevertPolicy"),
        ({"mask": "users.phone"}, "mask is 'users.phone'; give a list"),
        ({"mask": ["phone"]}, "give a list of names such as 'users.phone'"),
    ],
)
def test_an_option_that_can_not_work_is_refused_at_the_start(option, said):
    with pytest.raises(ConfigurationError, match=said):
        AuditUI(**option)


FACTS = (("transaction", "client_addr"), ("transaction", "user_agent"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "hiding",
    [
        {"can_see_column": lambda table, column, viewer: (table, column) not in FACTS},
        {"mask": [".".join(fact) for fact in FACTS]},
    ],
    ids=["rule", "mask"],
)
def test_s29_addresses_and_user_agents_need_to_be_allowed(new_shop, hiding):
    shop = make_history(new_shop(**hiding))
    change = change_of(shop, "price")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
    for path in (*addresses(shop, **values), "/?breakdown=1&period=all", "/export.csv?shape=field"):
        text = shop.get(path).text
        text = text.replace("192.0.2.7", "").replace("192.0.2.0/24", "")  # what the form gives as an example
        assert not any(fact in text for fact in ("192.0.2", "2001:db8", "Tests/1")), path
    html = shop.page("/?addr=192.0.2.1&period=all", 400)
    assert 'id="audit-results"' not in html
    for path in ("/transactions?addr=192.0.2.1", "/export.csv?addr=192.0.2.1"):
        assert shop.get(path).status_code == 400
    assert "Addresses" not in shop.page("/breakdown/facets?period=all")
