"""Promise: the pages say who changed what, from what to what, and lead from each to every other."""

from __future__ import annotations

import gzip
import re
from collections import deque

import jinja2
import pytest
import sqlalchemy as sa

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.query.reader import AuditReader
from flask_audit_logger.ui import AuditUI, Label, Preset, Viewer
from tests.ui.shop import ANN, BOB, CLEO, Shop, declare_shop, links, make_history, make_shop, text_of


def row_of(html, activity):
    """What the list says about an activity."""
    rows = html.partition("<tbody")[2].split("<tr ")
    return text_of(next(row for row in rows if re.search(rf'/activity/\d+\.{activity}"', row)).partition(">")[2])


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


def test_an_empty_text_and_no_text_are_shown(shop):
    shop.change(ANN, "Product", 42, name="", description=None)
    shop.change(ANN, "Product", 42, name="Mug", description="")
    first, second = (a.id for a in shop.application.activities(record_key="42")[-2:])
    html = shop.page("/")
    assert "name Blue mug, large → empty" in row_of(html, first)
    assert "name empty → Mug description null → empty" in row_of(html, second)
    assert "Before name empty Mug" not in text_of(html)
    assert "name empty Mug" in text_of(shop.page(f"/activity/{second}"))


def test_a_table_of_another_schema_is_named_with_it(shop):
    shop.sql("UPDATE activity SET schema = 'billing' WHERE table_name = 'categories'")
    html = shop.page("/?period=all")
    assert "Categories (billing)" in html and 'href="/audit/record/billing.categories/1"' in html
    assert len(shop.ids("/record/billing.categories/1")) == 1


def test_the_mark_of_a_masked_value_is_no_name(shop):
    """A table that the models do not know any more."""
    shop.sql(
        "UPDATE activity SET table_name = 'gone', changed_data = changed_data || "
        "jsonb_build_object('name', jsonb_build_object('audit_logger', 'masked')) WHERE table_name = 'categories'"
    )
    html = shop.page("/record/gone/1")
    assert "<h1>Gone #1</h1>" in html and "audit_logger" not in html.partition("<main")[2].replace("/audit_logger", "")


def test_a_masked_value_is_changed_but_never_shown(shop):
    change = next(
        a
        for a in shop.application.activities(table_name="products")
        if "secret" in a.changed_data and a.verb == "update"
    )
    for path in (f"/activity/{change.id}", "/record/products/42", "/?period=all"):
        html = shop.page(path)
        assert "hidden" in html and "s3cret" not in html and "other" not in text_of(html).split(), path


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


def test_a_long_text_is_marked_by_words_and_folded(shop):
    record = shop.activity(table_name="products", record_key="42").old_data["description"]
    shop.change(ANN, "Product", 42, description=record.replace("sturdy", "robust").replace("330", "350"))
    html = shop.page(f"/activity/{shop.activity(record_key='42').id}")
    assert '<del><span class="audit-sr">removed: </span>sturdy</del>' in html
    assert '<ins><span class="audit-sr">added: </span>robust</ins>' in html
    assert re.search(r"<summary>\d+ lines unchanged</summary>", html)
    brief = shop.page("/record/products/42")
    assert "A <del>sturdy</del><ins>robust</ins> mug" in brief.replace("<bdi>", "").replace("</bdi>", "")


def test_nested_values_are_compared_by_path(shop):
    shop.change(
        ANN, "Product", 42, attributes={"color": "red", "size": {"height": 10}, "eco": True}, tags=["blue", "big"]
    )
    text = text_of(shop.page(f"/activity/{shop.activity(record_key='42').id}"))
    assert "color blue → red" in text and "eco + true" in text and "1 unchanged" in text
    assert "\N{MINUS SIGN} kitchen + big" in text


def test_a_record_says_who_set_each_value(shop):
    html = shop.page("/record/products/42")
    current = text_of(html.partition("Current values")[2].partition("</table>")[0])
    assert re.search(r"price 12\.50 was 10\.00 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d Bob Stone", current)
    assert "active false was true" in current and "category_id Maps #2 was Mugs #1" in current
    never = text_of(html.partition("columns never changed")[2].partition("</table>")[0])
    assert "launched 2026-08-01" in never and "id 42" in never
    assert "<h1>Blue mug, large</h1>" in html and "5 changes" in html


def test_the_history_of_one_column(shop):
    assert len(shop.ids("/record/products/42?col=price")) == 2
    assert len(shop.ids("/record/products/42?col=price&verb=update")) == 1
    assert len(shop.ids("/record/products/42?actor=2")) == 2


def test_a_deleted_record_keeps_its_name(shop):
    html = shop.page("/record/products/43")
    assert "<h1>Red mug</h1>" in html and "Deleted 20" in html and "by Ann Price" in html


def test_composite_and_odd_keys_have_pages(shop):
    href = next(link for link in links(shop.page("/?table=order_items&verb=update")) if "/record/" in link)
    assert href == "/audit/record/order_items/7,a~2Fb~2C+~7E~2E"
    assert "quantity 1 → 2 (+100 %)" in text_of(shop.page(href))


KEYS = [
    "a/b",
    "..",
    ".",
    "",
    " ",
    "~",
    "%2F",
    "a b",
    "ü",
    "🙂",
    '["a", "b"]',
    "a,b",
    "#x",
    "?y",
    "a\nb",
    "'\"<>&",
    "\\",
]


def test_every_key_has_a_page(shop):
    for number, key in enumerate(KEYS):
        shop.add(ANN, "Item", order_id=number, code=key, quantity=1)
        href = next(link for link in links(shop.page("/?table=order_items")) if "/record/" in link)
        assert "Created" in shop.page(href), key
        with shop.application.app.test_request_context():
            item = shop.db.session.get(shop.models.Item, (number, key))
            assert shop.application.app.jinja_env.globals["audit_record_url"](item) == href


def test_a_key_that_changed_leads_to_the_new_one(shop):
    shop.sql("UPDATE categories SET id = 20 WHERE id = 1; ")
    html = shop.page("/record/categories/1")
    assert 'href="/audit/record/categories/20"' in html and "auditing was off" not in html


def test_a_transaction_sums_up_what_it_did(shop):
    shop.sql(
        "WITH p AS (INSERT INTO products (id, price) SELECT i, i FROM generate_series(1000, 1119) i RETURNING id) "
        "INSERT INTO categories (id) SELECT 3"
    )
    shop.sql("UPDATE products SET price = price + 1, stock = 0 WHERE id >= 1000")
    update = shop.activity(verb="update")
    html = shop.page(f"/transaction/{update.transaction_id}?limit=25")
    text = text_of(html)
    assert "120 rows changed by" in text and "Products Updated 120 price, stock" in text
    ids = shop.ids(f"/transaction/{update.transaction_id}?limit=200")
    assert ids == sorted(ids) and len(ids) == 120
    both = text_of(shop.page(f"/transaction/{shop.activity(table_name='categories').transaction_id}"))
    assert "Products Created 120 all" in both and "Categories Created 1 all" in both


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
    for unknown in ("4711", "ann", "99999999999999999999", "~41"):
        shop.page(f"/actor/{unknown}", 404)


def test_an_actor_who_is_gone_keeps_a_name(shop):
    with shop.acting(BOB) as session:
        session.delete(session.get(shop.models.User, CLEO))
    assert "<h1>Cleo D’Angelo</h1>" in shop.page("/actor/3").replace("&#39;", "'")


@pytest.mark.slow
@pytest.mark.slow
def test_every_link_leads_somewhere(shop):
    """Follow every link from the list; no page is missing and none fails."""
    seen: set[str] = set()
    waiting = deque(["/audit/?period=all"])
    while waiting and len(seen) < 400:
        path = waiting.popleft().partition("#")[0]
        if not path.startswith("/audit") or path in seen:
            continue
        seen.add(path)
        response = shop.get(path)
        assert response.status_code == 200, path
        if path.count("&") + path.count("?") <= 1 and "text/html" in response.content_type:
            waiting.extend(links(response.text))
        response.close()
    kinds = {path.split("/")[2].partition("?")[0] for path in seen}
    assert {"", "activity", "record", "transaction", "actor"} <= kinds


NOWHERE = [
        "/activity/99999999999999999999", "/activity/0", "/transaction/99999999999999999999", "/record/products/4711",
        "/record/products/", "/record/products/~0", "/record/products/4%00", "/record/a.b.c/1", "/record/products/~41",
        "/record/products/~ED~A0~80", "/record/products/a,,b", "/record/pro%2Fducts/1", "/actor/~zz", "/activity/-1",
        "/activity/1/value/name", "/activity/1/value/nothing?side=new", "/activity/1/value/name?side=both",
    ]  # fmt: skip


def test_addresses_that_mean_nothing_give_404(shop):
    for path in NOWHERE:
        assert shop.get(path).status_code == 404, path


def test_the_layout_can_be_the_applications(new_shop, tmp_path):
    (tmp_path / "mine.html").write_text(
        "<!doctype html><html><head><title>{% block audit_title %}{% endblock %}</title>"
        "{% block audit_head %}{% endblock %}"
        "</head><body><nav>{{ own }}</nav><div class='audit'>{% block audit_content %}{% endblock %}</div>"
        "{% block audit_scripts %}{% endblock %}</body></html>"
    )
    shop = new_shop(layout="mine.html")
    shop.application.app.jinja_loader = jinja2.FileSystemLoader(tmp_path)
    shop.application.app.context_processor(lambda: {"own": "My shop"})
    make_history(shop)
    html = shop.page("/")
    assert "<nav>My shop</nav>" in html and "Blue mug" in html and "<title>" in html and "audit.css" in html
    assert "<main" not in html
    assert "Content-Security-Policy" not in shop.get("/").headers  # the page is the application's


def test_a_layout_of_the_applications_replaces_ours_by_its_name(new_shop, tmp_path):
    """The Content-Security-Policy for pages of our own would take style and pictures from the application's layout."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "layout.html").write_text("<p>Mine</p>{% block audit_content %}{% endblock %}")
    shop = new_shop()
    app = shop.application.app
    assert "default-src 'none'" in shop.get("/").headers["Content-Security-Policy"]
    app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(tmp_path), app.jinja_env.loader])
    app.jinja_env.cache.clear()
    response = shop.get("/")
    assert response.text.startswith("<p>Mine</p>")
    assert "Content-Security-Policy" not in response.headers


def test_a_database_that_is_down(new_shop, server, caplog):
    """Whoever needs it: the permission callback, the log, or the layout with the user's name."""
    shop = make_history(new_shop(layout="mine.html"))
    app, url = shop.application.app, shop.application.app.config["SQLALCHEMY_DATABASE_URI"]
    mine = "{{ current_user.name }} reads {% block audit_content %}{% endblock %}"
    app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.DictLoader({"mine.html": mine}), app.jinja_env.loader])
    assert shop.page("/").startswith("Ann Price reads")
    server.execute(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'")
    for path in ("/", "/record/products/42", "/transactions"):
        response = shop.get(path)
        assert response.status_code == 503 and response.headers["Retry-After"] == "30"
        assert "database can’t be reached" in response.text.replace("&#39;", "’")
        assert "<main" in response.text  # our own layout
    assert "the layout 'mine.html' failed, too" in caplog.text


def test_the_pages_can_be_anywhere(new_shop):
    """Another prefix, another name of the blueprint, an application that is mounted below a path."""
    shop = make_history(new_shop(url_prefix="/back/log", name="history"))
    shop.prefix = "/back/log"
    below = {"environ_overrides": {"SCRIPT_NAME": "/shop"}}
    for path in ("/", "/record/products/42", "/activity/4", "/transactions", "/export", "/?since=x"):
        with shop.get(path, **below) as response:
            found = re.findall(r'(?:href|src|action|data-audit-breakdown)="([^"#]+)', response.text)
        assert found and all(address.startswith("/shop/back/log/") for address in found), path
    assert shop.application.app.test_client().get("/audit/").status_code == 404


def test_a_log_that_is_not_there_yet(new_shop):
    shop = new_shop()
    shop.sql("DROP TABLE activity, transaction CASCADE")
    assert "There is no audit log in this database yet." in shop.page("/", 503)
    assert "flask db upgrade" not in shop.page("/record/products/1", 503)
    shop.application.app.debug = True
    assert "flask db upgrade" in shop.page("/", 503)


def test_a_log_with_the_tables_of_an_older_version(shop):
    shop.sql("ALTER TABLE activity DROP COLUMN record_key CASCADE")
    for path in ("/", "/record/products/42", "/record/products/42/at", "/activity/4"):
        assert "need a migration first" in shop.page(path, 503), path
    assert "flask db" not in shop.page("/", 503)
    shop.application.app.debug = True
    assert "flask db upgrade" in shop.page("/", 503)


def test_a_log_that_may_not_be_read(server, database_url, create_app):
    """The page says so, and to developers what to grant."""
    make_history(make_shop(create_app))
    with server.role("LOGIN PASSWORD 'nobody'") as role:
        ui = AuditUI(permission=lambda *_: True, viewer=lambda: Viewer("1"))
        url = database_url.set(username=role, password="nobody")
        shop = Shop(create_app(url=url, declare=declare_shop, create_all=False, ui=ui))
        for path in ("/", "/record/products/42", "/transactions", "/breakdown/facets", "/export.csv"):
            html = shop.page(path, 503, user=None)
            assert "database user may not read the audit log" in html and "GRANT" not in html, path
        shop.application.app.debug = True
        assert "GRANT SELECT ON activity, transaction TO" in shop.page("/", 503, user=None)
        shop.application.dispose()


def test_a_default_schema_that_is_not_public(create_app, database_url):
    """Tables of the connection's own schema have no schema in their addresses."""
    engine = sa.create_engine(database_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA tenant"))
        connection.execute(sa.text(f'ALTER DATABASE "{database_url.database}" SET search_path = tenant'))
    shop = make_history(make_shop(create_app))
    assert "<h1>Blue mug, large</h1>" in shop.page("/record/products/42")
    assert "/record/products/42" in shop.page("/") and "tenant" not in shop.page("/")
    assert shop.ids("/?table=products") == shop.ids("/?table=tenant.products") != []


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


def test_times_are_the_viewers(new_shop):
    shop = make_history(new_shop(viewer=lambda: Viewer("7", "Vera", "Asia/Kolkata"), permission=lambda *_: True))
    shop.sql("UPDATE activity SET issued_at = '2026-01-01 00:00+00'")
    html = shop.page("/?period=all")
    assert '<time datetime="2026-01-01T00:00:00.000Z">2026-01-01 05:30:00</time>' in html
    assert "Times in Asia/Kolkata" in html
    assert "2026-01-01 05:30:00.000000 +05:30" in shop.page("/activity/1")


@pytest.mark.parametrize(
    ("key", "value"),
    [("PAGE_SIZE", 7), ("DEFAULT_PERIOD", "1y"), ("TIMEZONE", "Mars"), ("STATEMENT_TIMEOUT_MS", 0), ("THEME", "pink"),
     ("COUNT_CAP", "1"), ("QUARTER_START_MONTH", 13), ("SET_CSP", 1), ("HOME", ("a",)), ("BREAKDOWN_TIMEOUT_MS", True)],
)  # fmt: skip
def test_a_bad_setting_is_refused_at_the_start(new_shop, key, value):
    with pytest.raises(ConfigurationError, match=f"AUDIT_UI_{key} is"):
        new_shop(config={f"AUDIT_UI_{key}": value})


def test_the_link_macros_of_the_application(shop):
    render = shop.application.app.jinja_env.from_string
    with shop.application.app.test_request_context():
        product = shop.db.session.get(shop.models.Product, 42)
        assert render("{{ audit_record_url(p) }}").render(p=product) == "/audit/record/products/42"
        assert render("{{ audit_record_url('products', 42) }}").render() == "/audit/record/products/42"
        assert (
            render("{{ audit_record_url('billing.orders', (1, 'a b')) }}").render()
            == "/audit/record/billing.orders/1,a+b"
        )
        assert (
            render("{{ audit_actor_url(2) }}|{{ audit_actor_url(none) }}").render()
            == "/audit/actor/2|/audit/actor/~none"
        )
        with pytest.raises(ConfigurationError, match="has no key yet"):
            render("{{ audit_record_url(p) }}").render(p=shop.models.Product())
        with pytest.raises(ConfigurationError, match="needs the record's key"):
            render("{{ audit_record_url('products') }}").render()


def count_statements(shop, path):
    seen = []
    with shop.application.app.app_context():
        engine = shop.db.engine

    def note(conn, cursor, statement, *rest):
        # the user of the request is loaded by the application, not by us
        if "FROM users" not in statement:
            seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        shop.page(path)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return seen


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/?period=all", 4),
        ("/", 5),
        ("/activity/5", 5),
        ("/record/products/42", 6),
        ("/transaction/5", 6),
        ("/actor/1?period=all", 8),
    ],
)
def test_pages_ask_the_database_little(shop, path, most):
    """The budget of a page; no page skips rows or counts all of them."""
    shop.page("/")  # the list of actors is kept for a minute
    statements = count_statements(shop, path)
    assert len(statements) <= most, "\n".join(statements)
    assert not any("OFFSET" in s.upper() and "ISSUED_AT" not in s.upper() for s in statements)


def test_reading_the_log_is_not_stamped(shop):
    """Who reads changes nothing: no actor is looked up and nothing is sent for the connection that reads."""
    setting = sa.text("SELECT current_setting('flask_audit_logger.context', true)")
    with shop.acting(BOB) as session:
        with AuditReader(shop.db.engine, shop.application.audit_logger.models).reading() as log:
            assert log.connection.scalar(setting) in (None, "")
        session.execute(sa.text("UPDATE products SET stock = 1 WHERE id = 42"))
        assert "Bob Stone" in session.scalar(setting)


def test_a_full_page_is_light(new_shop):
    """Budget: 50 rows in at most 64 kB raw and 10 kB compressed."""
    shop = make_history(new_shop())
    shop.sql("INSERT INTO products (id, name, price) SELECT i, 'Item ' || i, i FROM generate_series(100, 160) i")
    shop.sql("UPDATE products SET price = price * 1.1, stock = 1, active = true WHERE id >= 100")
    html = shop.page("/").encode()
    assert len(html) < 64_000 and len(gzip.compress(html)) < 10_000


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


def test_who_left_long_ago_has_a_page_with_changes(shop):
    """The page of an actor starts with all time."""
    shop.sql("UPDATE transaction SET issued_at = issued_at - interval '3 years'")
    html = shop.page(f"/actor/{CLEO}")
    assert "Order items" in text_of(html.partition('id="audit-results"')[2])
    assert "No changes match" in shop.page(f"/actor/{CLEO}?period=30d")


def test_tabs_lead_only_where_the_viewer_may_go(new_shop):
    shop = new_shop(permission=lambda action, target: action == "list")
    assert not [href for href in links(shop.page("/")) if "/help" in href or "/transactions" in href]


def test_only_true_offers_a_page(new_shop):
    """A callback that returns something else by mistake offers no link that its page would refuse."""
    shop = new_shop(permission=lambda action, target: True if action == "list" else "yes")
    assert not [href for href in links(shop.page("/")) if "/help" in href or "/transactions" in href]
