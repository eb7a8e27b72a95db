"""No working secret of a URL gets into the log or onto its pages."""

from __future__ import annotations

import base64
import secrets
import uuid

import pytest
from flask import request

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.ui import AuditUI
from tests.support.apps import logged_in_as


def written(app, rule, url, **options):
    """Send a request to a page that writes, and return what was recorded of it."""
    endpoint = f"page_{len(app.app.view_functions)}"

    def page(**arguments):
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        return "done"

    app.app.add_url_rule(rule, endpoint, page, methods=["GET", "POST"])
    assert app.app.test_client().post(url, **options).text == "done"
    context = app.transactions()[-1].context
    assert context["url_rule"] == rule and context["endpoint"] == endpoint
    return context


@pytest.mark.parametrize(
    ("rule", "url", "path"),
    [
        ("/reset/<token>", "/reset/abc", "/reset/<token>"),
        ("/reset/<resetToken>/done", "/reset/abc/done", "/reset/<resetToken>/done"),
        ("/confirm/<int:confirm_code>", "/confirm/123456", "/confirm/<confirm_code>"),
        ("/files/<int:id>/<string(length=4):signature>", "/files/7/beef", "/files/7/<signature>"),
        ("/api/<api_key>/<name>", "/api/k/Ann Lee", "/api/<api_key>/Ann Lee"),
        ("/monkeys/<monkey>", "/monkeys/fred", "/monkeys/fred"),
        ("/authors/<int:author_id>", "/authors/99999999999999999999", "/authors/99999999999999999999"),
        ("/posts/<slug>", "/posts/how-to-write-2-letters-in-2026", "/posts/how-to-write-2-letters-in-2026"),
        ("/days/<day>", "/days/2026-11-26", "/days/2026-11-26"),
        ("/docs/<path:page>", "/docs/guide/first-steps/index.html", "/docs/guide/first-steps/index.html"),
        ("/prices/<float:price>", "/prices/1.5", "/prices/1.5"),
    ],
)
def test_the_path_has_no_argument_named_like_a_secret(blog, rule, url, path):
    """The URL rule is recorded, and of its arguments those that are not named like a secret."""
    assert written(blog, rule, f"{url}?token=t0p-s3cret")["path"] == path


RANDOM = {
    "small letters": "kqxzvtawbqmlrdpsnyhj",
    "capitals": "ABCDEFGHIJKLMNOPQRST1234",
    "urlsafe": secrets.token_urlsafe(16),
    "hex": secrets.token_hex(16),
    "uuid": str(uuid.uuid4()),
    "short": "V1StGXR8_Z5j",
    "signed": "ImFubkB4LnRlc3Qi.ZxY1aQ.N2rV0u_8kqJXk9",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
    "base32": base64.b32encode(secrets.token_bytes(15)).decode(),
}


@pytest.mark.parametrize("value", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize("rule", ["/go/<x>", "/go/<path:x>", "/go/<uuid:x>"])
def test_the_path_has_no_argument_that_is_long_and_random(blog, rule, value):
    """Whatever it is called: a link of a mail may have it as the last part of a path."""
    if "uuid:" in rule:
        value = RANDOM["uuid"]
    context = written(blog, rule, f"/go/{value}")
    assert context["path"] == "/go/<x>"
    assert value not in str(context)


def test_an_object_of_a_converter_is_not_turned_into_text(blog):
    """Its ``str()`` may load from the database, in the middle of a write."""

    class Thing:
        def __str__(self):
            raise AssertionError

    with blog.app.test_request_context("/things/1"):
        blog.app.add_url_rule("/things/<thing>", "thing")
    with blog.app.test_request_context("/things/1"):
        request.view_args["thing"] = Thing()
        blog.db.session.add(blog.models.Tag(name="x"))
        blog.db.session.commit()
    assert blog.transactions()[-1].context["path"] == "/things/<thing>"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_request_without_a_rule_records_no_path(blog, method):
    """Nothing tells which part of an unknown path, or of one asked in the wrong way, is a secret."""
    blog.app.add_url_rule("/reset/<token>", "reset", lambda token: "", methods=["POST"])

    @blog.app.errorhandler(404)
    @blog.app.errorhandler(405)
    def note(error):
        blog.db.session.add(blog.models.Tag(name="missed"))
        blog.db.session.commit()
        return "missed", error.code

    path = "/reset/s3cret-t0ken/x" if method == "GET" else "/reset/s3cret-t0ken"
    assert blog.app.test_client().open(path, method=method).text == "missed"
    assert blog.transactions()[-1].context == {
        "method": method,
        "user_agent": blog.transactions()[-1].context["user_agent"],
    }


def test_names_of_secret_arguments_are_configured(create_app):
    """AUDIT_LOGGER_SECRET_ARGUMENTS replaces the patterns; a text instead of a list is an error."""
    app = create_app(config={"AUDIT_LOGGER_SECRET_ARGUMENTS": ["shoe*"]})
    assert written(app, "/a/<shoe_size>/<token>", "/a/9/t")["path"] == "/a/<shoe_size>/t"
    with pytest.raises(ConfigurationError, match="AUDIT_LOGGER_SECRET_ARGUMENTS"):
        create_app(config={"AUDIT_LOGGER_SECRET_ARGUMENTS": "token"}, create_all=False)


def test_a_hook_redacts_the_rest(create_app):
    """redact_request is asked once per request; what it returns is recorded, and nothing if it fails."""
    asked = []

    def redact(facts):
        asked.append(facts["path"])
        if facts["path"].endswith("fail"):
            raise RuntimeError
        return {**facts, "path": facts["path"].replace("mallory", "…"), "tenant": request.headers["X-Tenant"]}

    app = create_app(redact_request=redact)
    headers = {"X-Tenant": "acme"}
    with app.app.app_context():  # outside of a request there is nothing to redact
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    context = written(app, "/by/<name>", "/by/mallory", headers=headers)
    assert (context["path"], context["tenant"]) == ("/by/…", "acme")
    assert asked == ["/by/mallory"]
    app.app.test_client().post("/by/fail", headers=headers)
    assert app.transactions()[-1].context == {}


def test_no_page_shows_the_link_that_resets_a_password(create_app):
    """The token of a link of a mail is in no table of the log, on no page and in no export."""
    app = create_app(ui=AuditUI(permission=lambda *_: True))
    token = secrets.token_urlsafe(24)
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()
    written(app, "/reset/<token>", f"/reset/{token}?next=/{token}", headers=logged_in_as(1))
    (activity,) = app.activities(table_name="tags")
    client = app.app.test_client()
    for page in (
        "/audit/?period=all",
        f"/audit/activity/{activity.transaction_id}.{activity.id}",
        "/audit/transactions?period=all",
        f"/audit/transaction/{activity.transaction_id}",
        "/audit/export.csv?period=all",
        "/audit/export.jsonl?period=all",
    ):
        response = client.get(page, headers=logged_in_as(1))
        assert response.status_code == 200, page
        assert token not in response.text
    page = client.get(f"/audit/transaction/{activity.transaction_id}", headers=logged_in_as(1)).text
    assert "/reset/&lt;token&gt;" in page
    with app.app.app_context():
        rows = app.db.session.execute(app.db.text("SELECT t::text FROM transaction t")).scalars().all()
        assert rows and not any(token in row for row in rows)
