"""Promise: the pages are closed unless the application opens them, and every route is behind the one gate."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, Response

from flask_audit_logger.query.refs import RecordRef
from tests.support.server import both_drivers
from tests.ui.shop import ANN, CLEO, make_history, text_of

PAGES = (
    "/", "/activity/1", "/activity/1/value/name?side=new", "/record/products/42", "/transaction/1", "/actor/1",
    "/actor/~none", "/activity/999999", "/record/nothing/1", "/record/a.b.c/1", "/record/products/~zz",
)  # fmt: skip


def paths_of(app: Flask) -> list[str]:
    """An address for every rule of the blueprint but the static files."""
    values = {"activity_id": 1, "transaction_id": 1, "table": "products", "key": "42", "actor": "1", "column": "name"}
    adapter = app.url_map.bind("localhost")
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("audit.") and rule.endpoint != "audit.static":
            known = {name: values.get(name, "facets") for name in rule.arguments}
            found.append(adapter.build(rule.endpoint, known))
    return found


def test_without_a_permission_callback_every_page_is_refused(new_shop):
    """S1: open by default is the defect of many admin packages."""
    shop = make_history(new_shop(permission=None))
    for path in (*PAGES, *paths_of(shop.application.app)):
        assert shop.get(path).status_code == 403, path
        assert shop.get(path, user=None).status_code == 403, path
    assert "Blue mug" not in shop.page("/", 403)


def test_debug_mode_explains_what_is_missing(new_shop):
    shop = new_shop(permission=None)
    assert "permission=" not in shop.page("/", 403)
    shop.application.app.debug = True
    assert "AuditUI(permission=can_read_audit)" in shop.page("/", 403)


def test_a_missing_permission_callback_is_warned_of_at_the_start(new_shop, caplog):
    with caplog.at_level(logging.WARNING, "flask_audit_logger.ui"):
        new_shop(permission=None)
    assert "every page below /audit answers 403" in caplog.text


def test_who_is_not_allowed_gets_403_everywhere(shop):
    for path in (*PAGES, *paths_of(shop.application.app)):
        assert shop.get(path, user=CLEO).status_code == 403, path


def test_who_is_not_logged_in_is_sent_to_the_login_of_the_application(shop):
    shop.application.app.login_manager.unauthorized_handler(lambda: ("please log in", 401))
    for path in paths_of(shop.application.app):
        response = shop.get(path, user=None)
        assert (response.status_code, response.text) == (401, "please log in"), path


def test_every_view_declares_an_action(shop):
    """S2: a route that is added later can't forget the check."""
    app = shop.application.app
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("audit.")}
    undeclared = {name for name in endpoints if not getattr(app.view_functions[name], "audit_action", None)}
    assert undeclared == {"audit.static"}


def test_a_view_without_action_is_refused(shop):
    app = shop.application.app
    # what a later version of the package could do by mistake
    app.view_functions["audit.activity"] = lambda activity_id: "everything"
    assert "everything" not in shop.page("/activity/1", 403)


@pytest.mark.parametrize("answer", [False, None, 0, 1, "yes", [True]])
def test_only_true_lets_somebody_in(new_shop, answer):
    shop = new_shop(permission=lambda action, target: answer)
    assert shop.get("/").status_code == 403


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
    assert ("list", None) in asked and ("activity", 3) in asked and ("transaction", 3) in asked
    record = dict(asked)["record"]
    assert isinstance(record, RecordRef) and (record.table.name, record.key) == ("products", "42")
    assert ("actor", "1") in asked and ("actor", None) in asked


def test_static_files_are_open_and_say_nothing(shop):
    with shop.get("/static/audit.css", user=None) as response:
        assert response.status_code == 200
        assert "s3cret" not in response.text


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


def test_the_scope_holds_on_every_page_and_in_every_number(new_shop):
    """S4: counts, sums and neighbours are of what the viewer may see."""

    def scope(select, viewer):
        return select.where(scoped_column(shop) != "products")

    shop = make_history(new_shop(scope=scope))
    visible = [a.id for a in shop.application.activities() if a.table_name != "products"]
    html = shop.page("/?period=all")
    assert sorted(shop.ids("/?period=all")) == visible
    assert f"{len(visible)} changes" in html
    transaction = shop.activity(table_name="products", verb="delete").transaction_id
    assert shop.get(f"/transaction/{transaction}").status_code == 404
    assert "Blue mug" not in shop.page("/actor/2", 404)
    assert "Products" not in shop.page("/actor/1?period=all").partition("By table")[2]


def test_requests_under_another_method_change_nothing(shop):
    client = shop.application.app.test_client()
    for path in paths_of(shop.application.app):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            response = client.open(f"{path}", method=method, headers={"X-Test-User": str(ANN)})
            # putting values back is the only thing that can be posted, and this shop has no policy for it
            may_post = method == "POST" and path.endswith("/revert")
            assert response.status_code == (404 if may_post else 405), (method, path)


@both_drivers
def test_headers_keep_pages_out_of_caches_frames_and_search_engines(shop):
    """S15-S17."""
    for path, status in (("/", 200), ("/?since=x", 400), ("/activity/99999", 404), ("/record/products/42", 200)):
        headers = shop.get(path).headers
        assert headers["Cache-Control"] == "private, no-store", path
        assert "Cookie" in headers["Vary"]
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Robots-Tag"] == "noindex, nofollow"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, status
    assert "Content-Security-Policy" in shop.get("/", user=CLEO).headers


def test_static_files_are_cached_for_ever_under_an_address_with_their_hash(shop):
    html = shop.page("/")
    address = html.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert "?v=" in address
    with shop.get(address) as response:
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_a_nonce_of_the_application_is_used(new_shop):
    shop = new_shop(csp_nonce=lambda: "n0nce")
    assert 'nonce="n0nce"' in shop.page("/")
    assert "'nonce-n0nce'" in shop.get("/").headers["Content-Security-Policy"]


def test_the_policy_of_the_application_stays(new_shop):
    shop = new_shop()

    @shop.application.app.after_request
    def own_policy(response):
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response

    assert shop.get("/").headers["Content-Security-Policy"] == "default-src 'self'"


def test_two_applications_have_pages_of_their_own(create_app, server):
    from tests.ui.shop import make_shop

    with server.database("psycopg2") as other:
        one = make_history(make_shop(create_app))
        two = make_shop(lambda **options: create_app(other, **options))
        assert "Blue mug" in one.page("/") and "Blue mug" not in two.page("/")
        two.application.dispose()
