"""Promise: each of thirty dangers is shut out of all pages, and a test names it.

The number after ``test_s`` is that of the list: a test fails when the protection goes away.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from html.parser import HTMLParser
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import sqlalchemy as sa

import flask_audit_logger
from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.query import reader
from flask_audit_logger.query.put_back import put_back
from flask_audit_logger.query.reader import LogUnavailable
from flask_audit_logger.query.refs import RecordRef
from flask_audit_logger.ui import AuditUI, Label, Preset, RevertPolicy
from flask_audit_logger.ui.pages import revert
from flask_audit_logger.ui.pages.export import cell
from tests.support.apps import logged_in_as, make_app
from tests.support.models import AUDITED
from tests.support.server import both_drivers
from tests.support.work import at_most
from tests.ui.previews import Browser, change_of, path_of, product
from tests.ui.shop import ANN, BOB, CLEO, declare_shop, links, listed, make_history, may_read, text_of, undated
from tests.ui.test_export import objects_of, rows_of

PACKAGE = Path(flask_audit_logger.__file__).parent
DOCS = PACKAGE.parent / "docs"


def test_each_of_the_thirty_has_a_test():
    names = [name for name in dir(sys.modules[__name__]) if name.startswith("test_s")]
    assert {name[6:8] for name in names} == {f"{number:02}" for number in range(1, 31)}


def addresses(shop, **values):
    """An address for every rule of the pages but the static files, with a query for those that need one."""
    values = {
        "activity_id": 1, "transaction_id": 1, "table": "products", "key": "42", "actor": "1", "column": "name",
        "name": "facets", **values,
    }  # fmt: skip
    values["change"] = shop.address(values["activity_id"])
    queries = {
        "value": "?side=new",
        "as_of": "?time=2100-01-01",
        "revert": f"?to={values['change']}&side=before",
    }
    adapter, found = shop.application.app.url_map.bind("localhost"), []
    for rule in shop.application.app.url_map.iter_rules():
        if rule.endpoint.startswith("audit.") and rule.endpoint != "audit.static":
            path = adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments})
            found.append(path + queries.get(rule.endpoint.partition(".")[2], ""))
    assert len(found) >= 15
    return found


# S1: closed unless it is opened


@pytest.fixture
def closed(new_shop):
    return make_history(new_shop(permission=None))


def test_s01_without_a_permission_callback_every_page_is_refused(closed):
    for path in addresses(closed):
        for user in (ANN, None):
            response = answer(closed, path, user=user)
            assert response.status_code == 403 and "Blue mug" not in response.text, path
    with closed.get("/static/audit.css", user=None) as response:
        assert response.status_code == 200


def test_s01_what_is_missing_is_said_at_the_start_and_to_developers(new_shop, caplog):
    with caplog.at_level(logging.WARNING, "flask_audit_logger.ui"):
        shop = new_shop(permission=None)
    assert "every page below /audit answers 403" in caplog.text
    assert "permission=" not in shop.page("/", 403)
    shop.application.app.debug = True
    assert "AuditUI(permission=can_read_audit)" in shop.page("/", 403)


# S2: one gate that fails closed


def test_s02_every_route_declares_an_action(shop):
    app = shop.application.app
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("audit.")}
    undeclared = {name for name in endpoints if not getattr(app.view_functions[name], "audit_action", None)}
    assert undeclared == {"audit.static"}
    assert all(shop.get(path, user=CLEO).status_code == 403 for path in addresses(shop))


def test_s02_a_view_without_action_is_refused(shop):
    # what a later version of the package could do by mistake
    shop.application.app.view_functions["audit.activity"] = lambda change: "everything"
    assert "everything" not in shop.page("/activity/1", 403)


@pytest.mark.parametrize("hook", ["permission", "viewer", "scope", "can_see_column"])
def test_s02_an_error_of_what_protects_shows_nothing(new_shop, hook):
    def broken(*args):
        raise RuntimeError("no rules today")

    shop = make_history(new_shop(**{hook: broken}))
    shop.application.app.config["PROPAGATE_EXCEPTIONS"] = False
    for path in ("/", "/record/products/42", f"/activity/{shop.activity().id}", "/export.csv", "/transactions"):
        if (hook, path) != ("can_see_column", "/transactions"):  # a page without values
            response = answer(shop, path)
            assert response.status_code == 500 and "Blue mug" not in response.text, path


# S3 and S4: two tenants in one log

HIDDEN = ("Xylophone", "777.77", "Cleo", "198.51.100.77")


@pytest.fixture
def tenants(new_shop):
    """Keys that begin with a 7 belong to Bob, all others to Ann; each sees the own ones only."""

    def scope(select, viewer):
        is_bobs = shop.application.audit_logger.activity_cls.record_key.like("7%")
        return select.where(is_bobs if viewer.id == str(BOB) else ~is_bobs)

    shop = new_shop(scope=scope, revert=RevertPolicy())
    shop.sql("DELETE FROM activity; DELETE FROM transaction")
    with shop.acting(CLEO, addr="198.51.100.77") as session:
        session.add(shop.models.Category(id=7, name="Xylophones"))
        session.flush()
        session.add(shop.models.Product(id=77, name="Xylophone", price=777.77, stock=7, category_id=7))
    shop.change(CLEO, "Product", 77, addr="198.51.100.77", name="Xylophone, large", stock=8)
    with shop.acting(ANN) as session:
        session.add(shop.models.Product(id=42, name="Blue mug", price=10, category_id=7))
        session.add(shop.models.Product(id=43, name="Red mug", price=9))
        session.add(shop.models.Product(id=78, name="Xylophone, small", price=777.77))
    shop.change(ANN, "Product", 42, price=11)
    shop.remove(ANN, "Product", 78)
    return shop


def answer(shop, path, **options):
    """A response that was read to its end, so that a file leaves nothing open if the test fails."""
    return shop.get(path, buffered=True, **options)


@pytest.mark.slow
def test_s03_what_belongs_to_another_looks_like_nothing(tenants):
    """Each address of Bob's, as Bob and as Ann; hidden and missing are one answer."""
    change = tenants.activity(record_key="77")
    other = {"activity_id": change.id, "transaction_id": change.transaction_id, "key": "77", "actor": str(CLEO)}
    nowhere = {"activity_id": 999999, "transaction_id": 999999, "key": "4711", "actor": "4711"}
    answers = zip(addresses(tenants, **other), addresses(tenants, **nowhere), strict=True)
    seen = 0
    for hidden, missing in answers:
        as_bob, as_ann = answer(tenants, hidden, user=BOB), answer(tenants, hidden)
        of_nothing = answer(tenants, missing)
        assert as_bob.status_code == 200, (hidden, as_bob.status_code)
        seen += "Xylophone" in as_bob.text
        assert not any(word in as_ann.text for word in HIDDEN), hidden
        assert as_ann.status_code == of_nothing.status_code, hidden
        if hidden != missing:
            assert as_ann.status_code == 404 and as_ann.text == of_nothing.text, hidden
            assert set(as_ann.headers) == set(of_nothing.headers)
    assert seen >= 8


@pytest.mark.slow
def test_s03_no_filter_or_version_leads_to_it(tenants):
    change, own = tenants.activity(record_key="77"), tenants.activity(record_key="42")
    for query in (
        "table=products&key=77", f"tx={change.transaction_id}", f"actor={CLEO}", "addr=198.51.100.77",
        "field=name&became=Xylophone", "field=price&became=777.77",
    ):  # fmt: skip
        for path in ("/", "/export.csv", "/export.jsonl", "/breakdown/facets", "/breakdown/histogram"):
            html = tenants.page(f"{path}?period=all&{query}")
            told = [word for word in HIDDEN if word in html and word not in query]
            assert not told, (path, query, told)
        assert tenants.ids(f"/?period=all&{query}") == [], query
    for path in (f"compare?from={change.id}", f"compare?to={change.id}", f"revert?to={change.id}&side=before"):
        tenants.page(f"/record/products/42/{path}", 404)
    for path in (f"/activity/{own.id}", "/record/products/42", "/record/products/42/at?time=2100-01-01", "/actor/1"):
        html = tenants.page(path)
        assert "Xylophone" not in html and f'.{change.id}"' not in html, path
    browser = Browser(tenants)
    response = browser.client.post(
        tenants.addressed(f"/audit/record/products/77/revert?to={change.id}"), headers=browser.headers
    )
    assert response.status_code == 404 and product(tenants, "stock", 77) == 8


def test_s03_hidden_and_missing_take_the_same_statements(tenants):
    """So the time of an answer says nothing either."""
    change = tenants.activity(record_key="77")
    for hidden, missing in (
        (f"/activity/{change.id}", "/activity/999999"),
        (f"/transaction/{change.transaction_id}", "/transaction/999999"),
        ("/record/products/77", "/record/products/4711"),
        (f"/actor/{CLEO}", "/actor/4711"),
    ):
        assert statements(tenants, hidden) == statements(tenants, missing), hidden


def statements(shop, path):
    """What a page asks the database, without the values."""
    seen = []
    with shop.application.app.app_context():
        engine = shop.db.engine

    def note(conn, cursor, statement, parameters, *rest):
        # OFFSET 0 keeps a part of a statement apart and skips nothing
        skipped = re.search(r"\bOFFSET %\((\w+)\)", statement)
        assert not skipped or parameters[skipped[1]] == 0, statement
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        answer(shop, path)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return seen


def test_s04_every_number_is_of_what_is_visible(tenants):
    visible = tenants.ids("/?period=all")
    assert len(visible) == 3 and "3 changes" in tenants.page("/?period=all")
    everything = len(tenants.application.activities())
    assert len(tenants.ids("/?period=all", user=BOB)) == everything - 3
    html = tenants.page("/breakdown/facets?period=all")
    assert {int(n) for n in re.findall(r"<small>(\d+)</small>", html)} <= {1, 2, 3} and "Categories" not in html
    bars = re.findall(r'aria-label="[^"]*: (\d+) changes?"', tenants.page("/breakdown/histogram?period=all"))
    assert sum(map(int, bars)) == 3
    both = tenants.activity(record_key="43")
    html = text_of(tenants.page(f"/transaction/{both.transaction_id}"))
    assert "2 rows changed by" in html and "3 rows" not in html
    assert "Products 2 2 rows" in text_of(tenants.page("/transactions?period=all").partition("<tbody")[2])
    actor = text_of(tenants.page(f"/actor/{ANN}?period=all"))
    assert "Products 1 2" in actor.partition("By table")[2] or "Products 2 1" in actor.partition("By table")[2]
    assert objects_of(tenants.get("/export.jsonl?period=all"))[-1]["_meta"]["rows"] == 3
    assert "3 changes" in text_of(tenants.page("/export?period=all"))
    deletion = tenants.activity(record_key="78")
    tenants.page(f"/transaction/{deletion.transaction_id}", 404)


def test_s04_the_chart_does_not_tell_when_others_were_active(tenants):
    """A time at which only others did something looks like one at which nobody did, and the first bar is one's own."""
    hidden = tenants.activity(record_key="77").transaction_id
    tenants.sql(f"UPDATE transaction SET issued_at = '2026-03-03 12:34:56+00' WHERE id <= {hidden}")
    busy, quiet = (f"since=2026-03-03T12:34:{n}&until=2026-03-03T12:34:{n + 1}" for n in (56, 57))

    def said(path):
        # all but the time that is asked for
        return re.sub(r"12(:|%3A)34(:|%3A)5\d", "", text_of(undated(tenants.page(path))))

    for path in ("/breakdown/histogram", "/breakdown/facets", "/", "/transactions", "/export"):
        answers = [said(f"{path}?{query}") for query in (busy, quiet)]
        assert answers[0] == answers[1], path
    assert "<svg" in tenants.page(f"/breakdown/histogram?{busy}", user=BOB)
    chart = tenants.page("/breakdown/histogram?period=all")
    assert "2026-03" not in chart and "Mar 2026" not in chart and "Changes by minute" in chart
    assert "Mar 2026" in tenants.page("/breakdown/histogram?period=all", user=BOB)


# S5: columns that may not be seen


@pytest.fixture
def blinded(new_shop):
    """Stock is hidden from Ann, the name of products from everybody, and so are addresses."""
    shop = new_shop(
        can_see_column=lambda table, column, viewer: (
            column != "client_addr" and ((table, column) != ("products", "stock") or viewer.id == str(BOB))
        ),
        mask=["products.name"],
        revert=RevertPolicy(),
    )
    shop = make_history(shop)
    shop.change(BOB, "Product", 42, stock=987654, price=14)
    return shop


def test_s05_a_hidden_value_is_on_no_page(blinded):
    change = blinded.activity(record_key="42")
    secrets = ("987654", "Blue mug", "Red mug", "s3cret", "192.0.2.1")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "stock"}
    more = ("/record/products/42?col=price", "/?breakdown=1&period=all", "/export.csv?shape=field&period=all",
            "/record/products/42/compare?from=first&to=now&all=1", "/record/products/43")  # fmt: skip
    for path in (*addresses(blinded, **values), *more):
        html = blinded.get(path).text
        assert not any(secret in html for secret in secrets), path
    assert blinded.get(f"/activity/{change.id}/value/stock?side=new").status_code == 404
    assert "987654" in blinded.page(f"/activity/{change.id}", user=BOB)
    unchanged = blinded.page(f"/activity/{change.id}").partition("unchanged")[2].partition("</details>")[0]
    assert "tags" in unchanged and "stock" not in unchanged and ">name" not in unchanged


def test_s05_a_hidden_column_can_not_be_searched(blinded):
    """Right guess, wrong guess and no such column are one answer."""
    for name in ("stock", "name", "secret", "nothing"):
        for query in (f"col={name}", f"field={name}&was=4", f"field={name}&became=987654"):
            for path in ("/", "/export", "/export.csv", "/export.jsonl"):
                html = blinded.page(f"{path}?table=products&{query}", 400)
                assert f"There is no searchable column &#39;{name}&#39;." in html, (path, query)
            assert blinded.get(f"/breakdown/facets?table=products&{query}").status_code == 404
        assert listed(answer(blinded, f"/record/products/42?col={name}").text) == []
    assert blinded.ids("/?table=products&field=stock&became=987654", user=BOB)
    with_others = blinded.page("/?col=name&period=all")  # other tables have a column of that name
    assert listed(with_others) and "Products" not in text_of(with_others.partition("<tbody")[2])


def test_s05_what_was_logged_before_the_table_masked_the_column_is_hidden(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy()))
    for side in ("old_data", "changed_data"):
        logged = f"{side} || jsonb_build_object('secret', 's3cret')"
        shop.sql(f"UPDATE activity SET {side} = {logged} WHERE table_name = 'products' AND {side} <> '{{}}'")
    change = shop.activity(record_key="42", verb="update")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "secret"}
    more = ("/export.csv?shape=field&period=all", "/record/products/42/compare?from=first&to=now&all=1")
    for path in (*addresses(shop, **values), *more):
        assert "s3cret" not in answer(shop, path).text, path
    assert shop.get(f"/activity/{change.id}/value/secret?side=new").status_code == 404


def test_s05_a_key_can_not_be_masked(new_shop):
    """Records are found and linked by it, so it would be shown all the same."""
    with pytest.raises(ConfigurationError, match=r"names 'order_items\.code', but 'code' is part of the key"):
        new_shop(mask=["products.name", "order_items.code"])


# S6: stored scripts

PAYLOADS = (
    "\"><img src=x onerror=alert(1)>' autofocus onfocus='alert(1)",
    "{{7*7}}",
    "</script><script>alert(1)</script><!--<i>%s %(x)s",
    "javascript:alert(1)",
)
#: What the payloads would add to a page if they were not text.
PLANTED = ("img", "x", "i", "u", "t", "c", "d", "f")


class Elements(HTMLParser):
    """Elements and attributes as a browser would find them."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        bad = [name for name, _ in attrs if name.startswith("on") or name in ("style", "autofocus")]
        if tag in PLANTED or bad or (tag == "script" and "src" not in dict(attrs)):
            self.found.append((tag, attrs))

    def handle_comment(self, data):
        self.found.append(("comment", data))


def hooks():
    """Hooks that give the worst names."""
    return {
        "actor_labels": lambda ids: {i: Label('<x>"x"</x>', url="javascript:alert(1)") for i in ids},
        "record_labels": lambda refs: {ref: Label("<i>&amp;</i>", url="//evil.example/") for ref in refs},
        "presets": [Preset("<u>", {"table": "<u>"})],
        "table_label": lambda table: f"<t>{table}",
        "column_label": lambda table, column: f"<c>{column}",
        "describe": lambda activity: "<d>",
        "formatters": {("products", "stock"): lambda value: f"<f>{value}"},
    }


@pytest.mark.parametrize("hooked", [True, False], ids=["hooks", "no hooks"])
@pytest.mark.slow
def test_s06_whatever_is_stored_is_text(new_shop, hooked):
    """Values, keys, JSON, names of actors, tables and columns, path, user agent and reason."""
    shop = make_history(new_shop(revert=RevertPolicy(), **(hooks() if hooked else {})))
    for payload in PAYLOADS:
        with shop.acting(ANN, path="/x", reason=payload, extra=payload, request_id=payload) as session:
            session.get(shop.models.Product, 42).name = payload
            session.get(shop.models.Product, 42).attributes = {payload: payload, "l": [{"id": payload}]}
            session.get(shop.models.Product, 42).tags = [payload]
            session.get(shop.models.Product, 42).stock = 100 + len(payload)
            session.add(shop.models.Item(order_id=9, code=payload, quantity=1))
        text = payload.replace("'", "''").replace(":", r"\:")
        change = shop.activity(record_key="42")
        shop.sql(
            f"UPDATE transaction SET actor_label = '{text}', "
            f"context = context || jsonb_build_object('path', '{text}', 'method', '{text}', 'user_agent', '{text}', "
            f"'impersonator', jsonb_build_object('id', 2, 'label', '{text}')) WHERE id = {change.transaction_id};"
            f"UPDATE activity SET changed_data = changed_data || jsonb_build_object('{text}', '{text}') "
            f"WHERE id = {change.id}"
        )
        shop.sql(f"UPDATE activity SET table_name = '{text}', record_key = '{text}' WHERE table_name = 'order_items'")
        values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
        named = quote(payload, safe="")
        more = (f"/?table={named}&actor={named}", f"/?period=all&table={named}&req={named}", "/?breakdown=1",
                f"/transactions?path={named}", f"/record/products/42?col={named}",
                "/record/products/42/compare?all=1")  # fmt: skip
        for path in (*addresses(shop, **values), *more):
            response = answer(shop, path)
            if response.content_type != "text/html; charset=utf-8":
                continue
            html = response.text
            assert Elements(html).found == [], path
            assert not [link for link in links(html) if not link.startswith(("/audit", "#", "?"))], path
            assert "49" not in re.findall(r"<bdi>(\d+)</bdi>", html), path


def test_s06_no_template_and_no_code_marks_text_as_safe():
    for template in (PACKAGE / "templates").rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", text), template
        # an attribute without quotes could be left by a blank
        assert not re.search(r"=\{\{|\sstyle=|\son\w+=", text.replace('="{{', "")), template
    for module in PACKAGE.rglob("*.py"):
        assert not re.search(r"Markup\(f[\"']|Markup\([^)]*%|autoescape=False", module.read_text(encoding="utf-8"))
    script = (PACKAGE / "static" / "audit.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)


# S7: characters that lie

LIARS = [0x202E, 0x2066, 0x200B, 0x200F, 0xFEFF, 0x2028, 0xAD, *range(1, 9), 0x0B, 0x1B, 0x1F, 0x7F, 0x85]


@pytest.mark.slow
def test_s07_control_and_bidi_characters_are_badges(shop):
    text = "".join(f"x{chr(code)}" for code in LIARS)
    with shop.acting(ANN, reason=text) as session:
        session.get(shop.models.Product, 42).name = text
        session.get(shop.models.Product, 42).attributes = {text: [text]}
    change = shop.activity(record_key="42")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
    for path in addresses(shop, **values):
        response = answer(shop, path)
        if response.content_type == "text/html; charset=utf-8":
            raw = [f"U+{code:04X}" for code in LIARS if chr(code) in response.text]
            assert raw == [], path
    html = shop.page(f"/activity/{change.id}")
    for code in LIARS:
        assert f'<span class="audit-control">U+{code:04X}</span>' in html
    assert "<bdi>" in html


# S8: links that come from data

URLS = {
    "/products/42": True, "https://shop.example/p/1": True, "HTTP://shop.example": True, "/": True,
    "javascript:alert(1)": False, "JaVaScRiPt:alert(1)": False, " javascript:alert(1)": False,
    "java\nscript:alert(1)": False, "data:text/html,x": False, "vbscript:x": False, "//evil.example": False,
    "/\\evil.example": False, "\\\\evil.example": False, "/\t/evil.example": False, "https:///evil": False,
    "http:evil.example": False, "products/42": False, "": False, "blob:x": False, "/a b": False,
}  # fmt: skip


@pytest.mark.slow
def test_s08_only_paths_and_web_addresses_are_linked(new_shop):
    given = {}
    shop = make_history(
        new_shop(
            record_labels=lambda refs: {ref: Label("Thing", url=given["url"]) for ref in refs},
            actor_labels=lambda ids: {actor: Label("Somebody", url=given["url"]) for actor in ids},
        )
    )
    for given["url"], good in URLS.items():
        for path in ("/record/products/42", "/actor/1", "/", "/activity/5", "/transaction/5"):
            found = [link for link in links(shop.page(path)) if not link.startswith(("/audit", "#"))]
            assert set(found) <= ({given["url"]} if good else set()), (given["url"], path)
        assert (given["url"] in links(shop.page("/record/products/42"))) is good, given["url"]


def test_s08_values_are_never_links(shop):
    shop.change(ANN, "Product", 42, name="https://evil.example/", description="see https://evil.example/ and\n" * 9)
    change = shop.activity(record_key="42")
    for path in ("/", f"/activity/{change.id}", "/record/products/42", f"/transaction/{change.transaction_id}"):
        assert not [link for link in links(shop.page(path)) if "evil" in link], path


# S9: formulas in spreadsheets


@pytest.mark.parametrize(
    ("text", "written"),
    [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1+1", "'-1+1"), ("@x", "'@x"), ("\t=1", "'\t=1"),
     ("\uff1d1", "'\uff1d1"), ("\uff0b1", "'\uff0b1"), ("\uff0d1", "'\uff0d1"), ("\uff201", "'\uff201"), ("-5", "-5"),
     ("-5.25", "-5.25"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"), ("a=1", "a=1"), ("", ""), (None, ""), ("-", "'-"),
     ("-1e5", "'-1e5"), ("-5\n", "'-5\n"), ("-\u0665", "'-\u0665")],
)  # fmt: skip
def test_s09_no_cell_is_a_formula(text, written):
    assert cell(text) == written


def test_s09_hostile_values_in_a_file(shop):
    shop.change(ANN, "Product", 42, name='=HYPERLINK("http://evil","x")\r\n"', stock=-5)
    shop.sql("UPDATE transaction SET actor_label = '+cmd', context = context || '{\"reason\"\\: \"@x\"}'")
    for shape in ("field", "activity"):
        text = shop.get(f"/export.csv?shape={shape}&table=products&key=42").text
        assert "'+cmd" in text and ",+cmd" not in text and "'@x" in text
    rows = rows_of(shop.get("/export.csv?shape=field&table=products&key=42"))
    assert next(r for r in rows if r["column"] == "name")["new"] == '\'=HYPERLINK("http://evil","x")\r\n"'
    assert next(r for r in rows if r["column"] == "stock")["new"] == "-5"
    assert all(row["label"].startswith("'=") for row in rows)


# S10 to S13: putting values back


@pytest.fixture
def revertible(new_shop):
    """Everything that can be switched on is on."""
    return make_history(new_shop(revert=RevertPolicy()))


def browser_at_the_price(shop, user=ANN):
    browser, path = Browser(shop, user), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    return browser, path


@pytest.mark.parametrize("token", [None, "", "forged", "20991231235959##0000"])
def test_s10_a_post_without_our_token_does_nothing(revertible, token):
    browser, path = browser_at_the_price(revertible)
    if token is None:
        del browser.fields["audit_token"]
    else:
        browser.fields["audit_token"] = token
    assert browser.send(path).status_code == 400
    assert str(product(revertible, "price")) == "12.50"


def test_s10_the_token_of_another_session_does_nothing(revertible):
    mine, path = browser_at_the_price(revertible)
    other, _ = browser_at_the_price(revertible, BOB)
    assert other.send(path, audit_token=mine.fields["audit_token"]).status_code == 400
    assert str(product(revertible, "price")) == "12.50"
    assert mine.send(path).status_code == 303


def test_s10_a_protection_of_the_whole_application_works_too(new_shop):
    """Flask-WTF's CSRFProtect asks for its own token, and gets it from our form."""
    from flask_wtf.csrf import CSRFProtect

    shop = new_shop(revert=RevertPolicy())
    CSRFProtect(shop.application.app)
    make_history(shop)
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    html = browser.preview(path)
    assert browser.send(path).status_code == 400 and str(product(shop, "price")) == "12.50"
    token = re.search(r'name="csrf_token" value="([^"]+)"', html)[1]
    assert browser.send(path, csrf_token=token, audit_token="").status_code == 400
    assert browser.send(path, csrf_token=token).status_code == 303 and str(product(shop, "price")) == "10.00"


def test_s11_requests_under_another_method_change_nothing(shop):
    client = shop.application.app.test_client()
    for path in addresses(shop):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            response = client.open(path, method=method, headers=logged_in_as(ANN))
            # putting values back is the only thing that can be posted, and this shop has no policy for it
            may_post = method == "POST" and "/revert" in path
            assert response.status_code == (404 if may_post else 405), (method, path)


@pytest.mark.slow
def test_s11_reading_writes_nothing(revertible):
    def everything():
        tables = ("activity", "transaction", "products", "categories", "order_items", "users")
        return [revertible.sql(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {t} t") for t in tables]

    before, client = everything(), revertible.application.app.test_client()
    change = change_of(revertible, "price")
    for path in addresses(revertible, activity_id=change.id, transaction_id=change.transaction_id):
        for method in ("GET", "HEAD", "OPTIONS"):
            with client.open(path, method=method, headers=logged_in_as(ANN)) as response:
                assert response.status_code == 200, (method, path)
    assert everything() == before


def test_s12_a_row_that_changed_since_the_preview_is_a_conflict(revertible):
    browser, path = browser_at_the_price(revertible)
    revertible.change(BOB, "Product", 42, stock=1)
    response = browser.send(path)
    assert response.status_code == 409 and "has changed since" in response.text
    assert str(product(revertible, "price")) == "12.50" and "stock" in response.text
    assert browser.client.get(path, headers=browser.headers).status_code == 200


@pytest.mark.parametrize("row", ["", "0" * 64, "é\ud800", None])
def test_s12_a_forged_state_of_the_row_does_nothing(revertible, row):
    browser, path = browser_at_the_price(revertible)
    browser.fields.pop("row")
    sent = {} if row is None else {"row": row.encode("utf-8", "replace")}
    assert browser.send(path, **sent).status_code == 409
    assert str(product(revertible, "price")) == "12.50"


def test_s12_a_change_between_the_check_and_the_write_is_a_conflict(revertible, monkeypatch):
    """The row is locked and looked at again in the transaction that writes."""
    browser, path = browser_at_the_price(revertible)

    def put_back_late(*args, **options):
        revertible.sql("UPDATE products SET stock = 3 WHERE id = 42")
        return put_back(*args, **options)

    monkeypatch.setattr(revert, "put_back", put_back_late)
    assert browser.send(path).status_code == 409
    assert str(product(revertible, "price")) == "12.50" and product(revertible, "stock") == 3


@pytest.mark.parametrize(
    "columns", [["secret"], ["id"], ["price", "id"], ["nothing"], [], ["name; DROP TABLE products"]]
)
def test_s13_columns_that_can_not_be_put_back_are_refused(revertible, columns):
    """Ticking more than the page offers does nothing at all."""
    browser, path = browser_at_the_price(revertible)
    assert browser.send(path, column=columns).status_code == 422
    assert str(product(revertible, "price")) == "12.50" and product(revertible, "secret") == "other"


def test_s13_a_hidden_column_is_refused(blinded):
    browser, path = Browser(blinded), path_of(blinded.activity(record_key="42"))
    browser.preview(path)
    for columns in (["stock"], ["price", "stock"], ["name"]):
        assert browser.send(path, column=columns).status_code == 422
    assert product(blinded, "stock") == 987654


def test_s13_the_permission_is_the_servers(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy(), permission=lambda action, target: action != "revert"))
    path = path_of(change_of(shop, "price"))
    for method in ("get", "post"):
        assert getattr(shop.application.app.test_client(), method)(path, headers=logged_in_as(ANN)).status_code == 403
    assert str(product(shop, "price")) == "12.50"


# S14: redirects


@pytest.mark.slow
def test_s14_no_parameter_leads_to_another_site(revertible):
    evil = ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)")
    change = change_of(revertible, "price")
    for path in addresses(revertible, activity_id=change.id, transaction_id=change.transaction_id):
        # what no page reads all at once; what some pages read, and refuse, by itself
        together = "next url back return redirect target continue r".split()
        for names, url in (*((together, url) for url in evil), (["to"], evil[0]), (["from"], evil[0])):
            query = urlencode(dict.fromkeys(names, url))
            with revertible.get(f"{path}{'&' if '?' in path else '?'}{query}") as response:
                assert response.status_code not in range(301, 400), (path, query)
                assert "evil" not in response.headers.get("Refresh", "")
                if "text/html" in response.content_type:
                    found = [link for link in links(response.text) if not link.startswith(("/audit", "#"))]
                    assert found == [], (path, query)


def test_s14_the_only_redirect_goes_to_our_own_page(revertible):
    browser, path = browser_at_the_price(revertible)
    response = browser.client.post(
        f"{path}&next=//evil.example",
        data={**browser.fields, "next": "//evil.example"},
        headers={**browser.headers, "Host": "evil.example", "Referer": "https://evil.example/"},
    )
    # another host has no session cookie, so not even that works
    assert response.status_code == 400
    response = browser.send(f"{path}&next=//evil.example", next="//evil.example")
    assert response.status_code == 303 and re.fullmatch(
        r"/audit/activity/\d+\.\d+\?done=1", response.headers["Location"]
    )
    for module in (PACKAGE / "ui").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"request\.(referrer|host_url|url_root)|args(\.get\(|\[)\"(next|back|url)\"", text), module


# S15 to S17: headers

EVERYWHERE = (("/", 200), ("/?since=x", 400), ("/activity/99999", 404), ("/record/products/42", 200),
              ("/activity/4", 200), ("/transactions", 200), ("/actor/1", 200), ("/export.csv", 200),
              ("/breakdown/facets", 200), ("/help", 200))  # fmt: skip


def test_s15_a_page_has_a_strict_policy(shop):
    for path, status in EVERYWHERE:
        response = answer(shop, path)
        assert response.status_code == status
        parts = response.headers["Content-Security-Policy"].split(";")
        assert dict(part.strip().partition(" ")[::2] for part in parts) == {
            "default-src": "'none'", "style-src": "'self'", "script-src": "'self'", "img-src": "'self'",
            "connect-src": "'self'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
        }  # fmt: skip
        assert not re.search(r"<[^>]*\s(style|on\w+)=|<style|<script(?! src=)", response.text), path
    assert "Content-Security-Policy" in shop.get("/", user=CLEO).headers


def test_s15_a_nonce_of_the_application_is_used(new_shop):
    shop = new_shop(csp_nonce=lambda: "n0nce")
    assert shop.page("/").count('nonce="n0nce"') == 2
    assert "'nonce-n0nce'" in shop.get("/").headers["Content-Security-Policy"]


def test_s15_the_policy_of_the_application_stays(new_shop):
    shop = new_shop()

    @shop.application.app.after_request
    def own_policy(response):
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
        return response

    headers = shop.get("/").headers
    assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
    assert headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]


@both_drivers
def test_s16_pages_are_kept_by_no_cache(shop):
    for path, _ in EVERYWHERE:
        headers = shop.get(path).headers
        assert headers["Cache-Control"] == "private, no-store" and "Cookie" in headers["Vary"], path
    assert shop.get("/", user=CLEO).headers["Cache-Control"] == "private, no-store"


def test_s16_static_files_are_cached_for_ever_under_an_address_with_their_hash(shop):
    html = shop.page("/")
    for address in re.findall(r'(?:href|src)="(/audit/static/[^"]+)"', html):
        assert re.search(r"\?v=[0-9a-f]{12}$", address)
        with shop.get(address) as response:
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    with shop.get("/static/audit.css") as response:
        assert "immutable" not in response.headers.get("Cache-Control", "")


def test_s17_pages_are_not_framed_indexed_sniffed_or_referred_from(shop):
    for path, _ in EVERYWHERE:
        headers = shop.get(path).headers
        assert headers["Referrer-Policy"] == "same-origin", path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Robots-Tag"] == "noindex, nofollow"


# S18: who watches the watchers


def test_s18_every_view_and_every_refusal_is_told(new_shop):
    events = []
    shop = make_history(new_shop(on_view=events.append))
    shop.page("/?table=products&actor=2")
    shop.page("/record/products/42")
    shop.page("/activity/4")
    shop.page("/transaction/4")
    shop.page("/actor/~none")
    assert shop.get("/export.csv?table=products&verb=update").text
    shop.page("/record/products/42", 403, user=CLEO)
    shop.page("/?since=x", 400)
    told = [(event.action, event.status) for event in events]
    pages = ("list", "record", "activity", "transaction", "actor", "export")
    assert told == [*((action, 200) for action in pages), ("record", 403), ("list", 400)]
    first, record, activity, _, _, export, refused, _ = events
    assert (first.viewer.id, first.viewer.label, first.rows) == ("1", "Ann Price", 2)
    assert first.filters == {"table": ("products",), "actor": ("2",)} and first.address == "127.0.0.1"
    assert isinstance(record.target, RecordRef) and record.target.key == "42" and activity.target.activity_id == 4
    assert export.rows == len(shop.ids("/?table=products&verb=update")) and refused.viewer.label == "Cleo D’Angelo"


def test_s18_what_can_not_be_logged_is_not_shown_if_it_has_to_be(new_shop):
    def broken(event):
        raise RuntimeError("no space left")

    shop = make_history(new_shop(on_view=broken, view_log_required=True))
    for path in ("/", "/export.csv", "/record/products/42"):
        response = answer(shop, path)
        assert response.status_code == 503 and "Blue mug" not in response.text
        assert response.headers["Cache-Control"] == "private, no-store"
    assert "could not be recorded" in shop.page("/", 503)


# S19 to S21: what would stop the server


def sleep():
    """Sleep in the database, if that is told to end a statement after three seconds."""
    limit = sa.func.current_setting("statement_timeout")
    return sa.case((limit == "3s", sa.func.pg_sleep(20).is_not(None)), else_=sa.true())


def test_s19_a_search_that_takes_too_long_is_stopped(new_shop):
    """By the database, and the connection can be used afterwards."""
    shop = make_history(new_shop(scope=lambda select, viewer: select.where(sleep())))
    response = answer(shop, "/?period=all")
    assert response.status_code == 503 and response.headers["Retry-After"] == "5"
    assert "took longer than 3 s" in response.text and "Only the last 24 hours" in response.text
    with shop.application.app.app_context():
        assert shop.db.session.scalar(sa.text("SELECT 1")) == 1
        assert shop.db.session.scalar(sa.text("SHOW statement_timeout")) == "0"


@pytest.mark.slow
def test_s19_nothing_is_skipped_or_searched_as_text(tenants):
    change = tenants.activity(record_key="42")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
    for path in (*addresses(tenants, **values), "/?breakdown=1", "/?before=9.9", "/?after=0.0"):
        for statement in statements(tenants, path):
            assert not re.search(r"\bI?LIKE '%|\bILIKE\b", statement), (path, statement)


@pytest.mark.slow
def test_s19_a_download_that_is_left_alone_holds_no_connection(new_shop, monkeypatch):
    monkeypatch.setattr(reader, "IDLE_TIMEOUT_MS", 100)
    shop = make_history(new_shop())
    shop.sql("INSERT INTO products (id) SELECT generate_series(1000, 4000)")
    sending = shop.application.app.test_client().get("/audit/export.csv", headers=logged_in_as(ANN), buffered=False)
    lines = iter(sending.response)
    next(lines)
    left = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE state = 'idle in transaction' AND datname = current_database() AND query LIKE '%activity%'"
    )
    for _ in range(200):
        if shop.sql(left) == [(0,)]:
            break
        time.sleep(0.05)
    assert shop.sql(left) == [(0,)]
    with pytest.raises(LogUnavailable):
        list(lines)
    sending.close()
    monkeypatch.undo()
    assert shop.page("/export.csv?period=all").count("\n") > 3000


#: What pins a worker for a minute and more if texts are compared the obvious way.
SLOW_TEXTS = {
    "repetitive": ("a " * 1000, "b a " * 1000),
    "prose": (" ".join(f"word{n}" for n in range(4000)), " ".join(f"word{n + (n % 20 == 0)}" for n in range(4000))),
    "lines": ("a\n\n" * 20_000, "b\na\n" * 20_000),
    "one word": ("x" * 90_000, "y" + "x" * 90_000),
    "brackets": ("[" * 50_000, "]" * 50_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_TEXTS)
def test_s20_hostile_texts_are_compared_with_little_work(shop, name):
    before, after = SLOW_TEXTS[name]
    shop.change(ANN, "Product", 42, description=before)
    shop.change(ANN, "Product", 42, description=after)
    change = shop.activity(record_key="42")
    for path in (f"/activity/{change.id}", "/record/products/42", "/", "/record/products/42/compare"):
        with at_most(calls=2_000_000):
            html = shop.page(path)
        assert len(html) < 1_500_000, path


@pytest.mark.slow
def test_s20_hostile_json_and_very_many_columns(shop):
    deep = "[" * 3000 + "]" * 3000
    wide = "(SELECT jsonb_object_agg('c' || i, i) FROM generate_series(1, 1500) i)"
    change = shop.activity(table_name="products", verb="update")
    nested = (f"jsonb_build_object('attributes', {value})" for value in (f"'{deep}'::jsonb", wide))
    for data in (*nested, wide):
        shop.sql(f"UPDATE activity SET changed_data = {data} WHERE id = {change.id}")
        for path in (f"/activity/{change.id}", "/record/products/42", "/?period=all"):
            with at_most(calls=1_250_000):
                html = shop.page(path)
            assert len(html) < 1_500_000, path


@pytest.mark.slow
def test_s20_many_similar_items_and_long_texts(shop):
    """Three changes of 8,000 objects kept a list busy for 39 seconds; two texts made a page of 1.1 MB."""
    for number in range(3):
        items = f"(SELECT jsonb_agg(jsonb_build_object('id', i, 'n', {number})) FROM generate_series(1, 8000) i)"
        shop.sql(f"UPDATE products SET attributes = {items}, description = repeat('{number} ', 250000) WHERE id = 42")
    change = shop.activity(record_key="42")
    paths = ("/?period=all", "/record/products/42", f"/activity/{change.id}", "/record/products/42/compare",
             "/record/products/42/at", f"/transaction/{change.transaction_id}")  # fmt: skip
    for path in paths:
        with at_most(calls=3_000_000):
            html = shop.page(path)
        assert len(html) < 600_000, path
    page = shop.page(f"/activity/{change.id}")
    for side, number in (("old", 1), ("new", 2)):
        assert f'href="/audit/activity/{shop.address(change.id)}/value/description?side={side}" download' in page
        whole = shop.get(f"/activity/{change.id}/value/description?side={side}").text
        assert whole == f"{number} " * 250_000
    assert f'href="/audit/activity/{shop.address(change.id)}/value/attributes?side=new" download' in page
    assert "too large to be compared here" in shop.page("/?period=all")


STRANGE = ("%00", "%ED%A0%80", "99999999999999999999", "-1", "~ED~A0~80", "0000-00-00", "10000-01-01", "Mars%2FOlympus",
           "192.0.2.1%2F99", "x" * 5000, "%FF%FE", "1e400")  # fmt: skip


@pytest.mark.slow
def test_s21_strange_input_is_an_answer_of_400_or_404(shop):
    names = "table key actor since until tz addr tx req before after col limit from to time".split()
    # every value of every name for a list; the other pages read them by the same forms
    pages = {"/": len(STRANGE), "/transactions": 3, "/record/products/42/at": 3, "/export.csv": 3}
    for path, values in pages.items():
        for number, name in enumerate(names):
            for value in islice(cycle(STRANGE), number, number + values):
                with shop.get(f"{path}?{name}={value}") as response:
                    assert response.status_code in (200, 400, 404), (path, name, value)
    for value in STRANGE:
        for path in ("/activity/{}", "/transaction/{}", "/record/{}/1", "/record/products/{}",
                     "/breakdown/{}", "/activity/1/value/{}?side=new"):  # fmt: skip
            assert shop.get(path.format(value)).status_code == 404, (path, value)
        assert shop.get(f"/actor/{value}").status_code in (200, 404), value  # a number may be somebody who did nothing


# S22: names that are SQL

QUOTED = 'we"ird; DROP TABLE products; --'
ODD_NAME = "na'me %s :x"


def declare_quoted(db):
    """The shop and a table whose name and columns need quotes everywhere."""
    models = declare_shop(db)

    class Odd(db.Model):
        __tablename__ = QUOTED
        __table_args__ = (AUDITED,)
        key = sa.Column('k"; --', sa.Integer, primary_key=True)
        name = sa.Column(ODD_NAME, sa.Text)

    models.Odd = Odd
    return models


def test_s22_names_are_never_part_of_a_statement(create_app):
    from tests.ui.shop import Shop

    ui = AuditUI(permission=may_read, revert=RevertPolicy())
    shop = Shop(create_app(declare=declare_quoted, ui=ui))
    with shop.application.app.app_context():
        shop.db.session.add(shop.models.User(id=ANN, name="Ann"))
        shop.db.session.commit()
    shop.add(ANN, "Odd", key=1, name="first")
    shop.change(ANN, "Odd", 1, name="second")
    change = shop.activity(table_name=QUOTED)
    href = next(link for link in links(shop.page("/")) if "/record/we" in link)
    for path in (href, f"{href}/at", f"{href}/compare?from=first&to=now", f"/activity/{change.id}", "/?breakdown=1",
                 f"/?table={quote(QUOTED)}&key=1", f"/?table={quote(QUOTED)}&col={quote(ODD_NAME)}",
                 "/transactions", f"/transaction/{change.transaction_id}", "/export.csv"):  # fmt: skip
        assert "second" in shop.page(path) or path in ("/transactions",), path
    path = f"{href}/revert?to={change.id}&side=before"
    browser = Browser(shop)
    browser.preview(path)
    browser.fields["column"] = [ODD_NAME]
    assert browser.send(path).status_code == 303
    with shop.acting(ANN) as session:
        assert session.get(shop.models.Odd, 1).name == "first"
    assert shop.sql("SELECT count(*) FROM products") == [(0,)]


def test_s22_names_in_an_address_are_values(shop):
    names = ("products'; DROP TABLE activity; --", 'products"; DROP TABLE activity; --', "x) OR (1=1", "%s", "$1")
    for name in names:
        word = quote(name, safe="")
        for path in (f"/?table={word}", f"/?period=all&table={word}&table=products", f"/transactions?table={word}",
                     f"/export.csv?table={word}"):  # fmt: skip
            assert shop.get(path).status_code == 200, path
        assert shop.get(f"/?table=products&col={word}").status_code == 400
        tilded = "".join(c if c.isalnum() else f"~{ord(c):02X}" for c in name)
        for path in (f"/record/{tilded}/1", f"/record/products/{tilded}", f"/actor/{tilded}"):
            assert shop.get(path).status_code == 404, path
    assert shop.page("/?period=all")


# S23: values that a browser would run


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


# S24: the address of the client


def test_s24_the_address_is_the_recorded_one_and_the_help_says_on_what_it_depends(shop):
    shop.change(ANN, "Product", 42, addr="198.51.100.9", stock=3)
    change = shop.activity(record_key="42")
    spoofed = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=203.0.113.1"}
    html = shop.page(f"/activity/{change.id}", headers=spoofed)
    assert "198.51.100.9" in html and "203.0.113.1" not in html
    assert "behind a proxy it depends on the application" in text_of(shop.page("/help"))
    assert "ProxyFix" in (DOCS / "ui.md").read_text(encoding="utf-8")


# S25: other sites


@pytest.mark.slow
def test_s25_other_sites_get_nothing(tenants):
    for path in ("/export", "/export.csv", "/export.jsonl", "/breakdown/facets", "/breakdown/histogram"):
        response = answer(tenants, path, headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
        assert response.status_code == 403, path
        assert "Blue mug" not in response.text
    for path, _ in EVERYWHERE:
        headers = tenants.get(path, headers={"Origin": "https://evil.example"}).headers
        assert not [name for name, _ in headers.items() if name.lower().startswith("access-control-")], path


# S26: the host's templates


@pytest.mark.slow
def test_s26_a_page_does_not_depend_on_the_templates_of_the_application(new_shop):
    """Autoescape off, trim_blocks on, filters and globals broken."""
    shop = new_shop(revert=RevertPolicy())
    env = shop.application.app.jinja_env
    env.autoescape, env.trim_blocks, env.lstrip_blocks = False, True, True
    env.globals["url_for"] = None
    env.filters["escape"] = env.filters["e"] = str
    make_history(shop)
    shop.change(ANN, "Product", 42, name="<b>bold</b>")
    change = shop.activity(record_key="42")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
    for path in (*addresses(shop, **values), "/?table=<b>bold</b>&since=<b>x</b>", "/nothing<b>"):
        with shop.get(path) as response:
            if "text/html" in response.content_type and response.request.path != "/audit/nothing<b>":
                assert "<b>bold" not in response.text and "<b>x" not in response.text, path
    assert "&lt;b&gt;bold" in shop.page("/")


def test_s26_templates_read_no_request():
    for template in (PACKAGE / "templates").rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"(?<![.\w])(request|session|g|config)[.|\[]|url_for|get_flashed", text), template


# S27: errors


def test_s27_errors_say_nothing_about_statements_or_values(new_shop, caplog):
    shop = make_history(new_shop(revert=RevertPolicy()))
    app = shop.application.app
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    shop.sql("ALTER TABLE products ADD CONSTRAINT not_that_cheap CHECK (price > 11)")
    browser, path = browser_at_the_price(shop)
    refused = browser.send(path)
    assert refused.status_code == 422 and "not_that_cheap" in refused.text
    assert not re.search(r"SELECT|UPDATE|psycopg|Traceback|s3cret|Failing row", refused.text)
    shop.sql("ALTER TABLE activity RENAME COLUMN changed_data TO gone")
    for page in ("/?period=all&table=products", "/record/products/42", "/activity/4"):
        response = answer(shop, page)
        assert response.status_code == 503
        assert not re.search(r"SELECT|psycopg|Traceback|Blue mug|changed_data", response.text), page
    shop.sql("ALTER TABLE activity RENAME COLUMN gone TO changed_data")
    assert "s3cret" not in caplog.text and "Blue mug" not in caplog.text
    assert shop.get("/").status_code == 200


# S28: who really did it


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


# S29: privacy of those who are watched

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


# S30: the log stays as it is


@pytest.mark.slow
def test_s30_a_role_that_can_only_select_is_enough(server, database_url, create_app, driver):
    """With the statements that the documentation gives."""
    from tests.ui.shop import Shop, make_shop

    shop = make_history(make_shop(create_app))
    grants = re.findall(r"(?m)^(GRANT .*|ALTER .*);$", (DOCS / "ui.md").read_text(encoding="utf-8"))
    assert grants
    with server.role("LOGIN PASSWORD 'reader'") as role:
        for statement in grants:
            shop.sql(statement.replace("audit_reader", f'"{role}"'))
        # the application of this test keeps its users in the same database
        shop.sql(f'GRANT SELECT ON users TO "{role}"')
        url = database_url.set(username=role, password="reader")
        ui = AuditUI(permission=may_read, revert=RevertPolicy())
        reading = Shop(make_app(url, declare=declare_shop, create_all=False, ui=ui))
        try:
            change = shop.activity(record_key="42")
            values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
            for path in (*addresses(reading, **values), "/?breakdown=1"):
                if "/revert" not in path:  # which reads the row and is for another role
                    assert reading.get(path).status_code in (200, 404), path
            assert reading.ids("/?period=all") == shop.ids("/?period=all") != []
            for statement in ("DELETE FROM activity", "UPDATE activity SET verb = 'insert'", "TRUNCATE transaction"):
                with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                    reading.sql(statement)
        finally:
            reading.application.dispose()
            shop.sql(f'DROP OWNED BY "{role}"')


def test_s30_the_connection_of_a_page_can_not_write(shop):
    with shop.application.app.app_context():
        of_shop = reader.AuditReader(shop.db.engine, shop.application.audit_logger.models)
        with pytest.raises(sa.exc.InternalError, match="read-only"), of_shop.reading() as log:
            log.connection.execute(sa.text("DELETE FROM activity"))
        with shop.db.engine.connect() as connection:
            assert connection.scalar(sa.text("SHOW transaction_read_only")) == "off"
            assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"
