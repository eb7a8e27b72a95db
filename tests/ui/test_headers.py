"""Promise: our headers are on our responses and on no other, and our blueprint disturbs no other extension."""

from __future__ import annotations

import re

import flask
import pytest
from werkzeug.exceptions import Unauthorized

from flask_audit_logger.ui import AuditUI
from tests.support import apps
from tests.support.apps import logged_in_as
from tests.support.server import both_drivers
from tests.ui.everywhere import answer
from tests.ui.shop import ANN, CLEO, Shop, declare_shop, make_history, may_read, with_own_shop

OURS = {
    "Cache-Control",
    "Content-Security-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Robots-Tag",
}


def headers_of_ours(response):
    return OURS & {name for name, _ in response.headers}


@with_own_shop
def test_a_sign_in_page_of_the_application_is_left_alone(shop):
    """Flask-Login raises 401 for who is not signed in; the application's handler answers."""
    app = shop.application.app
    app.register_error_handler(Unauthorized, lambda error: ("<script>signIn()</script>", 401))
    response = shop.get("/", user=None)
    assert response.status_code == 401 and "signIn" in response.text
    assert headers_of_ours(response) == set()


@with_own_shop
def test_a_redirect_to_the_sign_in_page_is_left_alone(shop):
    app = shop.application.app
    app.add_url_rule("/login", "login", lambda: "sign in")
    app.login_manager.login_view = "login"
    response = shop.get("/", user=None)
    assert response.status_code == 302 and response.location.startswith("/login")
    assert headers_of_ours(response) == set()


def test_an_answer_of_the_permission_callback_is_left_alone(new_shop):
    shop = new_shop(permission=lambda action, target: flask.redirect("/login"))
    assert headers_of_ours(shop.get("/")) == set()


def test_a_page_for_errors_of_the_application_is_left_alone(new_shop):
    """Also if our page was made already when the application failed."""

    def fail(response):
        if flask.request.args.get("late"):
            raise RuntimeError("of the application")
        return response

    def scope(select, viewer):
        if flask.request.args.get("early"):
            raise RuntimeError("of the application")
        return select

    shop = make_history(new_shop(scope=scope))
    app = shop.application.app
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(500, lambda error: ("<script>sorry()</script>", 500))
    app.after_request(fail)
    early = shop.get("/?early=1")
    assert (early.status_code, headers_of_ours(early)) == (500, set())
    app.after_request_funcs[None].clear()
    app.after_request_funcs.setdefault("audit", []).insert(0, fail)  # after ours: the last to be called
    late = shop.get("/?late=1")
    assert (late.status_code, "sorry" in late.text, headers_of_ours(late)) == (500, True, set())


@pytest.mark.parametrize("path", ["/", "/help", "/export.csv", "/activity/999", "/?verb=no", "/breakdown/facets"])
def test_our_own_responses_have_them_all(shop, path):
    with shop.get(path) as response:
        assert headers_of_ours(response) == OURS


def test_a_refusal_of_ours_has_them_too(shop):
    response = shop.get("/", user=CLEO)
    assert response.status_code == 403 and headers_of_ours(response) == OURS


def test_a_debug_toolbar_works_in_our_pages(shop):
    """A toolbar puts scripts into our page after us, which our policy would forbid: a debugged page has none."""
    app = shop.application.app
    app.debug = True
    assert "Content-Security-Policy" not in shop.get("/").headers
    app.debug = False
    assert "Content-Security-Policy" in shop.get("/").headers


def test_flask_debugtoolbar_runs_its_scripts(new_shop):
    toolbar = pytest.importorskip("flask_debugtoolbar")
    shop = make_history(new_shop())
    app = shop.application.app
    app.config.update(DEBUG_TB_ENABLED=True, DEBUG_TB_INTERCEPT_REDIRECTS=True)
    toolbar.DebugToolbarExtension(app)
    response = shop.get("/")
    assert "flDebug" in response.text and "Content-Security-Policy" not in response.headers


def test_the_description_of_an_api_is_made(create_app):
    """APIFlask asks every blueprint with hooks whether it belongs to the description."""
    shop = make_shop_of_apiflask(create_app)
    client = shop.application.app.test_client()
    described = client.get("/openapi.json")
    assert described.status_code == 200
    assert list(described.json["paths"]) == ["/pets"] and described.json["tags"] == []
    assert client.get("/audit/", headers=logged_in_as(ANN)).status_code == 200


def make_shop_of_apiflask(create_app):
    apiflask = pytest.importorskip("apiflask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apps, "Flask", apiflask.APIFlask)
        shop = Shop(create_app(declare=declare_shop, ui=AuditUI(permission=may_read)))
    app = shop.application.app
    app.json_errors = False
    app.add_url_rule("/pets", "pets", lambda: {"name": "Rex"})
    with app.app_context():
        shop.db.session.add(shop.models.User(id=ANN, name="Ann"))
        shop.db.session.commit()
    return shop


EVERYWHERE = (("/", 200), ("/?since=x", 400), ("/activity/99999", 404), ("/record/products/42", 200),
              ("/activity/4", 200), ("/transactions", 200), ("/actor/1", 200), ("/export.csv", 200),
              ("/breakdown/facets", 200), ("/help", 200))  # fmt: skip


@with_own_shop
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


@pytest.mark.slow
def test_s25_other_sites_get_nothing(tenants):
    for path in ("/export", "/export.csv", "/export.jsonl", "/breakdown/facets", "/breakdown/histogram"):
        response = answer(tenants, path, headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
        assert response.status_code == 403, path
        assert "Blue mug" not in response.text
    for path, _ in EVERYWHERE:
        headers = tenants.get(path, headers={"Origin": "https://evil.example"}).headers
        assert not [name for name, _ in headers.items() if name.lower().startswith("access-control-")], path
