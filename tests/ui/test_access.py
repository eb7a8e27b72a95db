"""Promise: the pages are closed unless the application opens them, and every route is behind the one gate."""

from __future__ import annotations

import gc
import logging
import weakref
from html import unescape

import pytest
from flask import Flask, Response
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_audit_logger.query.paging import Cursor
from flask_audit_logger.query.refs import RecordRef
from tests.support.apps import make_app
from tests.support.leaks import only_new_objects
from tests.ui.everywhere import addresses, answer
from tests.ui.shop import ANN, BOB, CLEO, links, make_history, make_shop, text_of, with_own_shop

PAGES = (
    "/", "/activity/1", "/activity/1/value/name?side=new", "/record/products/42", "/transaction/1", "/actor/1",
    "/actor/~none", "/activity/999999", "/record/nothing/1",
)  # fmt: skip


def paths_of(app: Flask) -> list[str]:
    """An address for every rule of the blueprint but the static files."""
    values = {"change": "1.1", "transaction_id": 1, "table": "products", "key": "42", "actor": "1"}
    adapter = app.url_map.bind("localhost")
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("audit.") and rule.endpoint != "audit.static":
            known = {name: values.get(name, "name") for name in rule.arguments}
            found.append(adapter.build(rule.endpoint, known))
    return found


def test_who_is_not_allowed_gets_403_everywhere(shop):
    for path in (*PAGES, *paths_of(shop.application.app)):
        assert shop.get(path, user=CLEO).status_code == 403, path


@with_own_shop
def test_who_is_not_logged_in_is_sent_to_the_login_of_the_application(shop):
    shop.application.app.login_manager.unauthorized_handler(lambda: ("please log in", 401))
    for path in paths_of(shop.application.app):
        response = shop.get(path, user=None)
        assert (response.status_code, response.text) == (401, "please log in"), path


@pytest.mark.parametrize("answer", [False, None, 0, 1, "yes", [True]])
def test_only_true_lets_somebody_in(new_shop, answer):
    shop = new_shop(permission=lambda action, target: answer)
    assert shop.get("/").status_code == 403


def test_what_is_taken_for_a_yes_and_is_none_is_said_once_for_each_action(new_shop, caplog, monkeypatch):
    # the configuration of Alembic, which a test before may have read, switches loggers off
    monkeypatch.setattr(logging.getLogger("flask_audit_logger.ui"), "disabled", False)
    caplog.set_level(logging.WARNING, "flask_audit_logger.ui")
    shop = new_shop(permission=lambda action, target: {"list": "yes", "help": 0}.get(action, 1))
    for path in ("/", "/", "/help", "/transaction/1"):
        assert shop.get(path).status_code == 403
    said = [record.getMessage() for record in caplog.records if record.name == "flask_audit_logger.ui"]
    assert said == [
        "permission('list', …) returned 'yes', which allows nothing: it must return True itself; use bool(…).",
        "permission('transaction', …) returned 1, which allows nothing: it must return True itself; use bool(…).",
    ]
    assert "use bool(" not in shop.page("/", 403)
    shop.application.app.debug = True
    assert said[0] in unescape(shop.page("/", 403))
    assert "permission('help', …) did not return True." in unescape(shop.page("/help", 403))


def test_a_permission_callback_may_answer_itself(new_shop):
    shop = new_shop(permission=lambda action, target: Response("first accept the terms", 451))
    response = shop.get("/")
    assert (response.status_code, response.text) == (451, "first accept the terms")


def test_the_callback_is_told_action_and_target(new_shop):
    asked = []

    def permission(action, target):
        asked.append((action, target))
        return True

    shop = make_history(new_shop(permission=permission))
    for path in ("/", "/record/products/42", "/activity/3", "/transaction/3", "/actor/1", "/actor/~none"):
        shop.page(path)
    assert (
        ("list", None) in asked and ("activity", Cursor.parse(shop.address(3))) in asked and ("transaction", 3) in asked
    )
    record = dict(asked)["record"]
    assert isinstance(record, RecordRef) and (record.table.name, record.key) == ("products", "42")
    assert ("actor", "1") in asked and ("actor", None) in asked


def test_not_found_and_out_of_scope_look_the_same(new_shop):
    """S3: who may not see a record can't learn that it exists."""
    shop = make_history(new_shop(scope=lambda select, viewer: select.where(scoped_column(shop) == "categories")))
    hidden = shop.activity(table_name="products").id
    pages = {
        text_of(shop.page(path, 404))
        for path in (f"/activity/{hidden}", "/activity/999999", "/record/products/42", "/record/products/4711")
    }
    assert len(pages) == 1
    assert shop.page("/record/categories/1")


def scoped_column(shop):
    return shop.application.audit_logger.activity_cls.table_name


def test_two_applications_have_pages_of_their_own(create_app, server):
    from tests.ui.shop import make_shop

    with server.database("psycopg2") as other:
        one = make_history(make_shop(create_app))
        two = make_shop(lambda **options: create_app(other, **options))
        assert "Blue mug" in one.page("/") and "Blue mug" not in two.page("/")
        two.application.dispose()


def test_an_application_that_is_gone_is_not_kept(database_url):
    """Tests and factories make many of them in one process."""

    def visited():
        shop = make_shop(lambda **options: make_app(database_url, **options))
        shop.page("/")
        shop.application.dispose()
        return weakref.ref(shop.application.app)

    with only_new_objects():
        left = visited()
        gc.collect()
    assert left() is None


def test_a_link_to_an_actor_or_a_transaction_is_there_if_its_page_would_open(new_shop):
    """A policy may let everybody see the own page only: the link to it is there, the links to others are not."""
    asked = []

    def permission(action, target):
        asked.append((action, target))
        if action == "actor":
            return target == str(BOB)
        return action != "transaction" or target == own

    own = 0
    shop = make_history(new_shop(permission=permission))
    own = shop.activity(table_name="products", record_key="42", verb="update").transaction_id
    asked.clear()
    found = set(links(shop.page("/?period=all")))
    assert {link for link in found if "/actor/" in link} == {f"/audit/actor/{BOB}"}
    assert {link for link in found if "/transaction/" in link} == {f"/audit/transaction/{own}"}
    assert len(asked) == len(set(asked)), "each question is asked once"
    for path, status in ((f"/actor/{BOB}", 200), (f"/actor/{ANN}", 403), (f"/transaction/{own}", 200)):
        assert shop.get(path).status_code == status, path


def test_tabs_lead_only_where_the_viewer_may_go(new_shop):
    shop = new_shop(permission=lambda action, target: action == "list")
    assert not [href for href in links(shop.page("/")) if "/help" in href or "/transactions" in href]


def test_only_true_offers_a_page(new_shop):
    """A callback that returns something else by mistake offers no link that its page would refuse."""
    shop = new_shop(permission=lambda action, target: True if action == "list" else "yes")
    assert not [href for href in links(shop.page("/")) if "/help" in href or "/transactions" in href]


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


def test_s02_every_route_declares_an_action(shop):
    app = shop.application.app
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("audit.")}
    undeclared = {name for name in endpoints if not getattr(app.view_functions[name], "audit_action", None)}
    assert undeclared == {"audit.static"}
    assert all(shop.get(path, user=CLEO).status_code == 403 for path in addresses(shop))


@with_own_shop
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


@pytest.fixture
def in_debug(new_shop):
    shop = make_history(new_shop(permission="debug"))
    shop.application.app.debug = True
    return shop


def test_debug_opens_the_pages_to_this_machine(in_debug):
    for host, address in (
        ("localhost:5000", "127.0.0.1"),
        ("127.0.0.1", "127.8.9.1"),
        ("[::1]:5000", "::1"),
        ("LocalHost", "::ffff:127.0.0.1"),
    ):
        local = {"headers": {"Host": host}, "environ_base": {"REMOTE_ADDR": address}, "user": None}
        assert "Blue mug" in in_debug.page("/", **local), (host, address)
    assert "/audit/transaction/" in in_debug.page("/record/products/42", user=None)


KEPT_OUT = [
    ({}, {"REMOTE_ADDR": "192.0.2.7"}, "came from '192.0.2.7'"),
    ({}, {"REMOTE_ADDR": "2001:db8::1"}, "came from '2001:db8::1'"),
    ({}, {"REMOTE_ADDR": ""}, "came from ''"),
    ({}, {"REMOTE_ADDR": "unix:"}, "came from 'unix:'"),
    ({"X-Forwarded-For": "127.0.0.1"}, {"REMOTE_ADDR": "192.0.2.7"}, "a proxy forwarded the request (X-Forwarded-For)"),
    ({"X-Forwarded-For": "127.0.0.1"}, {}, "a proxy forwarded the request (X-Forwarded-For)"),
    ({"X-Real-IP": "127.0.0.1"}, {}, "a proxy forwarded the request (X-Real-Ip)"),
    ({"Forwarded": "for=127.0.0.1;host=localhost"}, {}, "a proxy forwarded the request (Forwarded)"),
    ({"Host": "evil.example"}, {}, "sent to 'evil.example'"),
    ({"Host": "localhost.evil.example"}, {}, "sent to 'localhost.evil.example'"),
    ({"Host": "127.0.0.1.evil.example"}, {}, "sent to '127.0.0.1.evil.example'"),
    ({"Host": "localhost@evil.example"}, {}, "sent to 'localhost@evil.example'"),
    ({"Host": "192.0.2.1:5000"}, {}, "sent to '192.0.2.1:5000'"),
    ({"Host": ""}, {}, "sent to ''"),
]


def test_debug_opens_the_pages_to_nobody_else(in_debug, caplog):
    app = in_debug.application.app
    # a proxy is believed, as in many applications: what it says must not count
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_host=1)
    for headers, environ, reason in KEPT_OUT:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "flask_audit_logger.ui"):
            page = unescape(in_debug.page("/", 403, headers=headers, environ_base=environ))
        assert reason in page and reason in caplog.text
        assert "AuditUI(permission=can_read_audit)" in page and "Blue mug" not in page


def test_without_debug_the_pages_are_closed_and_the_log_says_why(in_debug, caplog):
    in_debug.application.app.debug = False
    with caplog.at_level(logging.WARNING, "flask_audit_logger.ui"):
        for path in addresses(in_debug):
            response = answer(in_debug, path, user=None)
            assert response.status_code == 403 and "Blue mug" not in response.text, path
        assert "debug" not in in_debug.page("/", 403, user=None)
    assert "app.debug is off; start the application with flask run --debug" in caplog.text
