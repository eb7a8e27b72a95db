"""Register the pages with an application: routes, the gate before them, headers and error pages after them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flask import Blueprint, Flask, Response, current_app, g, request
from werkzeug.exceptions import NotFound

from ..exceptions import ConfigurationError
from ..query.errors import BadValue, LogForbidden, LogMissing, LogOutdated, LogUnavailable, LogUnsupported, ReadTimeout
from ..settings import PageSettings
from .access import guard, report_view
from .embed import audit_actor_url, audit_recent_changes, audit_record_url, audit_stylesheet
from .options import Audited, AuditUI
from .pages import activities, actor, as_of, breakdown, compare, export, help, record, revert, transactions
from .templating import (
    FOLDER,
    STATIC,
    bad_value,
    forbidden,
    is_standalone,
    make_environment,
    missing,
    not_found,
    outdated,
    too_slow,
    unavailable,
    unsupported,
)
from .urls import BadKey
from .visit import UIState, add_state, current_state, refuse_masked_keys

logger = logging.getLogger("flask_audit_logger.ui")


#: (rule, endpoint, view); all answer GET only. Putting values back, the one thing that writes, is apart.
ROUTES = (
    ("/", "activities", activities.list_page),
    ("/activity/<int:activity_id>", "activity", activities.detail_page),
    ("/activity/<int:activity_id>/value/<column>", "value", activities.value_file),
    ("/record/<table>/<key>", "record", record.history_page),
    ("/record/<table>/<key>/at", "record_at", as_of.at_page),
    ("/record/<table>/<key>/compare", "compare", compare.compare_page),
    ("/transactions", "transactions", transactions.list_page),
    ("/export", "export", export.options_page),
    ("/export.csv", "export_csv", export.csv_file),
    ("/export.jsonl", "export_jsonl", export.jsonl_file),
    ("/panel/<name>", "panel", breakdown.panel),
    ("/help", "help", help.help_page),
    ("/transaction/<int:transaction_id>", "transaction", transactions.detail_page),
    ("/transaction/<int:transaction_id>/undo.sql", "undo_sql", transactions.undo_file),
    ("/actor/<actor>", "actor", actor.actor_page),
)


def register(app: Flask, audit_logger: Audited, ui: AuditUI) -> None:
    """Register the pages with an application.

    :param audit_logger: the log to read.
    :raises ConfigurationError: for a bad value of an ``AUDIT_UI_…`` key or of ``foreign_keys``, or for a ``mask`` that
        hides a key.
    """
    if ui.foreign_keys != "auto" and not isinstance(ui.foreign_keys, Mapping):
        raise ConfigurationError(
            f"foreign_keys is {ui.foreign_keys!r}; it must be 'auto' or a mapping such as "
            "{('orders', 'user_id'): 'users'}"
        )
    config = PageSettings.of(app)
    app.register_blueprint(make_blueprint(ui.name), url_prefix=ui.url_prefix)
    state = UIState(ui, audit_logger, config, make_environment(app), ui.name)
    if ui.mask:
        with app.app_context():
            refuse_masked_keys(state.catalog, ui.mask)
    add_state(app, state)
    app.jinja_env.globals.update(
        audit_record_url=audit_record_url,
        audit_actor_url=audit_actor_url,
        audit_recent_changes=audit_recent_changes,
        audit_stylesheet=audit_stylesheet,
    )
    if ui.permission is None:
        logger.warning("AuditUI has no permission callback: every page below %s answers 403", ui.url_prefix)


def make_blueprint(name: str) -> Blueprint:
    """Make a blueprint; each application gets one of its own."""
    blueprint = Blueprint(
        name, __name__, static_folder=str(STATIC), static_url_path="/static", template_folder=str(FOLDER / "templates")
    )
    blueprint.add_url_rule("/record/<table>/<key>/revert", "revert", revert.revert_page, methods=["GET", "POST"])
    for rule, endpoint, view in ROUTES:
        blueprint.add_url_rule(rule, endpoint, view, methods=["GET"])
    blueprint.enable_openapi = False  # type: ignore[attr-defined]  # APIFlask asks this of blueprints with hooks
    blueprint.before_request(guard)
    # called from the last to the first: what on_view puts in place of a page gets the headers as well
    blueprint.after_request(add_headers)
    blueprint.after_request(report_view)
    blueprint.register_error_handler(NotFound, lambda _: not_found(current_state()))
    blueprint.register_error_handler(BadKey, lambda _: not_found(current_state()))
    blueprint.register_error_handler(ReadTimeout, lambda _: too_slow(current_state()))
    blueprint.register_error_handler(LogUnavailable, lambda _: unavailable(current_state()))
    blueprint.register_error_handler(LogUnsupported, lambda _: unsupported(current_state()))
    blueprint.register_error_handler(LogMissing, lambda _: missing(current_state()))
    blueprint.register_error_handler(LogOutdated, lambda _: outdated(current_state()))
    blueprint.register_error_handler(LogForbidden, lambda _: forbidden(current_state()))
    blueprint.register_error_handler(BadValue, lambda _: bad_value(current_state()))
    return blueprint


_POLICY = (
    "default-src 'none'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)

_HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

#: A year; the address of a file changes with its content.
_IMMUTABLE = "public, max-age=31536000, immutable"


def add_headers(response: Response) -> Response:
    """Keep pages out of caches, frames and search engines. What the application has set stays.

    A sign-in page, a redirect to it or an error page of the application is left as it is.
    """
    is_static = (request.endpoint or "").endswith(".static")
    # popped: if something fails after this, the application's error page passes here as well
    if not g.pop("audit_answered", is_static):
        return response
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if is_static:
        if response.status_code == 200 and request.args.get("v"):
            response.headers["Cache-Control"] = _IMMUTABLE
        return response
    response.headers["Cache-Control"] = "private, no-store"
    response.vary.add("Cookie")
    state = current_state()
    if _wants_policy(state) and "Content-Security-Policy" not in response.headers:
        response.headers["Content-Security-Policy"] = policy(state.nonce())
    return response


def _wants_policy(state: UIState) -> bool:
    """Whether a page gets our policy: not within the application's layout, and not while a toolbar adds scripts."""
    is_debugged = current_app.debug or "debugtoolbar" in current_app.blueprints
    return state.config.set_csp and not is_debugged and is_standalone(state)


def policy(nonce: str | None = None) -> str:
    """The Content-Security-Policy of a page of its own."""
    source = "'self'" if nonce is None else f"'self' 'nonce-{nonce}'"
    return "; ".join([*_POLICY, f"style-src {source}", f"script-src {source}"])
