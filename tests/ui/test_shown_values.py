"""Promise: what the pages read and write back is what the row holds, whatever its types, names and options are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.orm import validates

from flask_audit_logger.ui import AuditUI, Label, Preset, RevertPolicy
from tests.support.models import AUDITED
from tests.support.server import both_drivers
from tests.ui.everywhere import PACKAGE, addresses, answer
from tests.ui.previews import Browser, path_of
from tests.ui.shop import ANN, BOB, Shop, declare_shop, links, make_history, may_read, text_of, with_own_shop

DRIFT = "while auditing was off"


def declare(db):
    """The shop, and tables that are odd in one way each."""
    models = declare_shop(db)
    key = lambda: sa.Column("id", sa.Integer, primary_key=True)  # noqa: E731

    def table(name, *columns, **options):
        return sa.Table(name, db.metadata, *columns, info={"audit_logged": options})

    table("docs", key(), sa.Column("d", JSONB), sa.Column("j", JSON), sa.Column("t", sa.Text))
    table("counted", key(), sa.Column("name", sa.Text), sa.Column("hits", sa.Integer), ignore=["hits"])
    table("arrivals", key(), sa.Column("v", sa.Text), verbs=["insert"])
    table("longs", sa.Column("id", sa.Text, primary_key=True), sa.Column("v", sa.Text))
    table("texts", key(), sa.Column("v", sa.Text))
    table("sites", key(), sa.Column("title", sa.Text), sa.Column("live", sa.Boolean), sa.Column("t", sa.Text))
    secret = [sa.Column(name, sa.Text) for name in ("name", "pw", "x")]
    table("logins", key(), *secret, sa.Column("n", sa.Integer), mask=["pw"], exclude=["x"])
    table("partial", key(), sa.Column("name", sa.Text), sa.Column("n", sa.Integer, nullable=False), only=["id", "name"])
    table("numbers", sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True), sa.Column("v", sa.Text))
    table("queue", key(), sa.Column("n", sa.Integer), sa.Column("seq", sa.Integer, sa.Identity(always=True)))

    class Setting(db.Model):
        __tablename__ = "settings"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        data = sa.Column(JSONB)
        price = sa.Column(sa.Integer, default=1)
        double = sa.Column(sa.Integer, sa.Computed("price * 2", persisted=True))
        owner = sa.Column(sa.ForeignKey("users.id"), nullable=False)

        @validates("data")
        def _only_objects(self, name, value):
            """As ``MutableDict`` does, whose listeners stay for good."""
            if not isinstance(value, dict):
                raise ValueError(f"{name} is {value!r}")
            return value

    class Page(db.Model):
        __tablename__ = "leaves"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        text = sa.Column(sa.JSON)
        number = sa.Column(sa.Integer, sa.Identity(always=True))

    class Bill(db.Model):
        __tablename__ = "bills"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        amount = sa.Column(sa.Integer)
        version = sa.Column(sa.Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    class Employee(db.Model):
        __tablename__ = "employees"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        kind = sa.Column(sa.Text)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "employee"}  # noqa: RUF012

    class Manager(Employee):
        budget = sa.Column(sa.Integer)
        __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012

    models.Page, models.Bill, models.Manager = Page, Bill, Manager
    return models


@pytest.fixture
def odd(create_app):
    return make(create_app)


def make(create_app, **ui):
    options = {"permission": may_read, "revert": RevertPolicy(), **ui}
    shop = Shop(create_app(declare=declare, ui=AuditUI(**options)))
    shop.sql("INSERT INTO users (id, name) VALUES (1, 'Ann Price'), (2, 'Bob Stone')")
    return shop


def by(shop, user, *statements):
    for statement in statements:
        with shop.acting(user) as session:
            session.execute(sa.text(statement.replace(":", "\\:")))


def unaudited(shop, table, statement):
    shop.sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    shop.sql(statement.replace(":", "\\:"))
    shop.sql(f"ALTER TABLE {table} ENABLE TRIGGER ALL")


def put_back(shop, table, side="before"):
    """Put the newest change of a table back."""
    browser, path = Browser(shop), path_of(shop.activity(table_name=table), side)
    browser.preview(path)
    return browser.send(path)


@both_drivers
def test_json_null_is_put_back_as_json_null(odd):
    by(odd, ANN, "INSERT INTO docs VALUES (1, 'null', 'null', 'a')", """UPDATE docs SET d = '{"a":1}', j = '[1]'""")
    assert put_back(odd, "docs").status_code == 303
    assert odd.sql("SELECT d::text, j::text FROM docs") == [("null", "null")]
    by(odd, ANN, "UPDATE docs SET d = NULL, j = NULL", """UPDATE docs SET d = '{"a":1}', j = '[1]'""")
    assert put_back(odd, "docs").status_code == 303
    assert odd.sql("SELECT d::text, j::text FROM docs") == [(None, None)]


def test_null_of_a_mapped_json_column_stays_null(odd):
    by(odd, ANN, "INSERT INTO leaves (id, text) VALUES (1, NULL)", "UPDATE leaves SET text = '1'")
    assert put_back(odd, "leaves").status_code == 303
    assert odd.sql("SELECT text IS NULL FROM leaves") == [(True,)]


def test_null_of_a_json_column_that_takes_only_objects_comes_back(odd):
    for value in ("NULL", "'null'"):
        by(odd, ANN, f"INSERT INTO settings (id, data, price, owner) VALUES (1, {value}, 2, 2)")
        by(odd, ANN, "UPDATE settings SET data = '{}'")
        before = [(value != "NULL", 4)]
        assert put_back(odd, "settings").status_code == 303
        assert odd.sql("SELECT data IS NOT NULL, double FROM settings") == before
        by(odd, ANN, "DELETE FROM settings")
        assert "except for the columns" not in odd.page(path_of(odd.activity(table_name="settings")))
        assert put_back(odd, "settings").status_code == 303
        assert odd.sql("SELECT data IS NOT NULL, double FROM settings") == before
        by(odd, ANN, "DELETE FROM settings")


def test_json_that_jsonb_cannot_hold_is_put_back_as_it_was_written(odd):
    text = r'{"a":   "\u0000"}'
    by(odd, ANN, f"INSERT INTO docs (id, j) VALUES (1, '{text}')", """UPDATE docs SET j = '{"a": "2"}'""")
    page = odd.page(path_of(odd.activity(table_name="docs")))
    assert "audit_logger" not in text_of(page)
    assert put_back(odd, "docs").status_code == 303
    assert odd.sql("SELECT j::text FROM docs") == [(text,)]
    assert DRIFT not in odd.page("/record/docs/1")
    by(odd, ANN, "UPDATE docs SET t = 'b'")
    assert put_back(odd, "docs").status_code == 303, "other columns of such a row, too"


def test_json_null_is_shown_as_what_it_is(odd):
    by(odd, ANN, "INSERT INTO docs VALUES (1, 'null', 'null', 'a')", """UPDATE docs SET d = '{"a":1}', j = NULL""")
    activity = odd.activity(table_name="docs")
    for path in ("/?table=docs", f"/activity/{activity.id}", "/record/docs/1", "/record/docs/1/compare"):
        assert '<span class="audit-badge">JSON null</span>' in odd.page(path), path
    for path in ("/?table=docs", "/record/docs/1", "/record/docs/1/compare"):
        assert "audit_logger" not in text_of(odd.page(path)), path
    assert odd.ids("/?table=docs&field=d&was=null") == [activity.id]
    export = odd.page("/export.csv?table=docs&shape=field")
    assert ",d,,json null," in export and "audit_logger" not in export


def test_nobody_can_write_what_looks_like_a_mark(odd):
    by(
        odd, ANN,
        """INSERT INTO docs VALUES (1, '{"audit_logger": "masked"}', '{"text": "x", "audit_logger": "text"}', 'a')""",
        """INSERT INTO docs VALUES (2, '{"audit_logger": "json null"}', '1', 'a'), (3, NULL, '2', 'b')""",
    )  # fmt: skip
    assert "JSON null" not in odd.page("/?table=docs")
    shown = text_of(odd.page("/record/docs/1"))
    assert 'audit_logger": "masked"' in shown and '"text": "x", "audit_logger": "text"' in shown
    assert 'audit_logger": "json null"' in text_of(odd.page("/record/docs/2"))
    for key in (1, 2):
        assert DRIFT not in odd.page(f"/record/docs/{key}")
    by(odd, BOB, "UPDATE docs SET d = NULL, j = NULL WHERE id = 1")
    assert put_back(odd, "docs").status_code == 303
    assert odd.sql("SELECT d ->> 'audit_logger', j ->> 'text' FROM docs WHERE id = 1") == [("masked", "x")]


def test_a_row_is_said_to_differ_only_if_it_does(odd):
    by(odd, ANN, "INSERT INTO counted VALUES (1, 'n', 1)", "UPDATE counted SET hits = 50")
    by(odd, ANN, "INSERT INTO docs VALUES (1, 'null', 'null', 'a')")
    by(odd, ANN, "INSERT INTO sites VALUES (1, 'Home', true)", "UPDATE sites SET title = 'Start'")
    by(odd, ANN, "INSERT INTO arrivals VALUES (1, 'a'), (2, 'b')", "UPDATE arrivals SET v = 'c'")
    by(odd, ANN, "DELETE FROM arrivals WHERE id = 2")
    for record in ("counted/1", "docs/1", "sites/1", "arrivals/1", "arrivals/2"):
        assert DRIFT not in odd.page(f"/record/{record}"), record
    unaudited(odd, "docs", "UPDATE docs SET d = NULL")
    unaudited(odd, "sites", "UPDATE sites SET title = 'Other'")
    for record in ("docs/1", "sites/1"):
        assert DRIFT in odd.page(f"/record/{record}"), record


def test_a_record_with_a_long_key_is_found(odd):
    key = "k" * 1500
    by(odd, ANN, f"INSERT INTO longs VALUES ('{key}', 'x')", "UPDATE longs SET v = 'y'")
    activity = odd.activity(table_name="longs")
    record = next(link for link in links(odd.page(f"/activity/{activity.id}")) if "/record/longs/" in link)
    page = odd.page(record.partition("?")[0])
    assert "gone" not in text_of(page) and DRIFT not in page
    assert "The current row" in odd.page(record.partition("?")[0] + "/compare?to=now")
    path = f"{record.partition('?')[0]}/revert?to={activity.id}&side=before"
    browser = Browser(odd)
    browser.preview(path)
    assert browser.send(path).status_code == 303
    assert odd.sql("SELECT v FROM longs") == [("x",)]
    take_back(odd, "longs")
    assert odd.sql("SELECT v FROM longs") == [("y",)]
    by(odd, ANN, "DELETE FROM longs")
    path = f"{record.partition('?')[0]}/revert?to={odd.activity(table_name='longs').id}&side=before"
    browser.preview(path)
    assert browser.send(path).status_code == 303
    assert odd.sql("SELECT id = repeat('k', 1500), v FROM longs") == [(True, "y")]


def take_back(shop, table):
    """Take the newest transaction of a table back, from its page."""
    browser, path = Browser(shop), f"/audit/transaction/{shop.activity(table_name=table).transaction_id}/take-back"
    browser.preview(path)
    assert browser.send(path).status_code == 303


def test_a_column_may_have_the_name_of_an_alias(odd):
    by(odd, ANN, "INSERT INTO sites VALUES (1, 'Home', true, 'x')", "UPDATE sites SET title = 'Start', t = 'y'")
    page = odd.page("/record/sites/1/compare?to=now")
    assert text_of(page).count("Home") == 1
    assert put_back(odd, "sites").status_code == 303
    assert odd.sql("SELECT title, live, t FROM sites") == [("Home", True, "x")]
    take_back(odd, "sites")
    assert odd.sql("SELECT title, t FROM sites") == [("Start", "y")]


def test_texts_that_look_like_times_are_texts(odd):
    by(odd, ANN, "INSERT INTO texts VALUES (1, '2026-01-01 10:00:00+00')")
    by(odd, BOB, "UPDATE texts SET v = '2026-01-01T12:00:00+02:00'")
    assert "No differences" not in text_of(odd.page("/record/texts/1/compare"))
    assert put_back(odd, "texts").status_code == 303
    assert odd.sql("SELECT v FROM texts") == [("2026-01-01 10:00:00+00",)]
    unaudited(odd, "texts", "UPDATE texts SET v = '2026-01-01T10:00:00Z'")
    assert DRIFT in odd.page("/record/texts/1")


def test_what_a_restored_row_will_lack_is_said(odd):
    by(odd, ANN, "INSERT INTO logins VALUES (1, 'n', 'hunter2', 'x', 5)", "DELETE FROM logins")
    path = path_of(odd.activity(table_name="logins"))
    page = odd.page(path)
    assert "except for the columns" in text_of(page)
    for name in ("pw", "x"):
        row = re.search(f'value="{name}"(.*?)</th>', page)[1]
        assert "disabled" in row and "Not possible: the log has no value for it." in row
    assert put_back(odd, "logins").status_code == 303
    assert odd.sql("SELECT id, name, pw, x, n FROM logins") == [(1, "n", None, None, 5)]


def test_columns_the_viewer_may_not_see_are_not_restored_silently(create_app):
    shop = make(create_app, can_see_column=lambda table, column, viewer: column != "price")
    by(shop, ANN, "INSERT INTO products (id, name, price) VALUES (1, 'a', 5)", "DELETE FROM products")
    page = shop.page(path_of(shop.activity(table_name="products")))
    assert "its value is hidden from you" in re.search('value="price"(.*?)</th>', page)[1]


def test_a_row_that_needs_more_than_the_log_has_is_not_restored(odd):
    by(odd, ANN, "INSERT INTO partial VALUES (1, 'a', 1)", "DELETE FROM partial")
    page = odd.page(path_of(odd.activity(table_name="partial")))
    assert "It can't be restored" in text_of(page) and "are missing: n." in text_of(page)
    assert put_back(odd, "partial").status_code == 422
    assert odd.sql("SELECT count(*) FROM partial") == [(0,)]


def test_a_row_that_needs_what_is_gone_is_not_restored(odd):
    by(
        odd,
        ANN,
        "INSERT INTO settings (id, owner) VALUES (1, 2)",
        "DELETE FROM settings",
        "DELETE FROM users WHERE id = 2",
    )
    page = odd.page(path_of(odd.activity(table_name="settings")))
    assert "the referenced record no longer exists" in page and "are missing: owner." in text_of(page)


@both_drivers
def test_numbers_that_the_database_gives_are_restored(odd):
    by(odd, ANN, "INSERT INTO numbers (v) VALUES ('x')", "DELETE FROM numbers")
    assert put_back(odd, "numbers").status_code == 303
    assert odd.sql("SELECT id, v FROM numbers") == [(1, "x")]
    by(odd, ANN, "INSERT INTO leaves (id, text) VALUES (1, '[1]'), (2, '[2]')", "DELETE FROM leaves WHERE id = 1")
    assert put_back(odd, "leaves").status_code == 303
    assert odd.sql("SELECT number, text FROM leaves WHERE id = 1") == [(1, [1])]


def test_a_number_that_the_database_gives_is_not_offered_for_a_row_that_exists(odd):
    by(odd, ANN, "INSERT INTO queue (id, n) VALUES (1, 5)", "UPDATE queue SET n = 6, seq = DEFAULT")
    page = odd.page(path_of(odd.activity(table_name="queue")))
    assert "the database generates this value" in re.search('value="seq" disabled(.*?)</th>', page)[1]
    assert put_back(odd, "queue").status_code == 303
    assert odd.sql("SELECT n FROM queue") == [(5,)]


def test_the_version_that_sqlalchemy_counts_is_left_to_it(odd):
    by(odd, ANN, "INSERT INTO bills VALUES (1, 10, 1)", "UPDATE bills SET amount = 99, version = 2")
    page = odd.page(path_of(odd.activity(table_name="bills")))
    assert (
        "the application uses it to detect concurrent changes"
        in re.search('value="version" disabled(.*?)</th>', page)[1]
    )
    assert put_back(odd, "bills").status_code == 303
    assert odd.sql("SELECT amount, version FROM bills") == [(10, 3)]
    by(odd, ANN, "DELETE FROM bills")
    assert put_back(odd, "bills").status_code == 303
    assert odd.sql("SELECT amount, version FROM bills") == [(10, 1)]


def test_a_row_is_put_back_as_one_of_its_class(odd):
    seen = []
    for name in ("before_insert", "before_update"):
        sa.event.listen(odd.models.Manager, name, lambda mapper, connection, target: seen.append(type(target).__name__))
    by(odd, ANN, "INSERT INTO employees VALUES (1, 'manager', 10)", "UPDATE employees SET budget = 20")
    assert put_back(odd, "employees").status_code == 303
    by(odd, ANN, "DELETE FROM employees")
    assert put_back(odd, "employees").status_code == 303
    assert odd.sql("SELECT kind, budget FROM employees") == [("manager", 10)]
    assert seen == ["Manager", "Manager"]


def test_sent_twice_the_second_one_is_told_that_the_row_has_changed(odd):
    by(odd, ANN, "INSERT INTO texts VALUES (1, 'a')", "UPDATE texts SET v = 'b'")
    browser, path = Browser(odd), path_of(odd.activity(table_name="texts"))
    browser.preview(path)
    assert [browser.send(path).status_code for _ in range(2)] == [303, 409]
    assert odd.sql("SELECT v FROM texts") == [("a",)]


def test_each_time_values_are_put_back_the_application_is_told(create_app):
    events = []
    shop = make(create_app, on_view=events.append)
    by(shop, ANN, "INSERT INTO texts VALUES (1, 'a')", "UPDATE texts SET v = 'b'")
    browser, path = Browser(shop), path_of(shop.activity(table_name="texts"))
    for _ in range(2):
        browser.preview(path)
        assert browser.send(path).status_code == 303
        by(shop, BOB, "UPDATE texts SET v = 'b'")
    assert [event.status for event in events if event.action == "revert"] == [200, 303, 303]


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


LIARS = [0x202E, 0x2066, 0x200B, 0x200F, 0xFEFF, 0x2028, 0xAD, *range(1, 9), 0x0B, 0x1B, 0x1F, 0x7F, 0x85]


@pytest.mark.slow
@with_own_shop
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


@with_own_shop
def test_s08_values_are_never_links(shop):
    shop.change(ANN, "Product", 42, name="https://evil.example/", description="see https://evil.example/ and\n" * 9)
    change = shop.activity(record_key="42")
    for path in ("/", f"/activity/{change.id}", "/record/products/42", f"/transaction/{change.transaction_id}"):
        assert not [link for link in links(shop.page(path)) if "evil" in link], path
