"""Register the pages with an application: routes, the gate before them, headers and error pages after them."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Flask, Response, current_app, redirect, request
from werkzeug.exceptions import NotFound

from ..exceptions import (
    BadValue,
    ConfigurationError,
    LogForbidden,
    LogMissing,
    LogOutdated,
    LogUnavailable,
    LogUnsupported,
    ReadTimeout,
)
from ..query.paging import MAX_ID
from ..query.refs import RecordRef, TableName, stored_key
from ..settings import PageSettings
from .access import guard, report_view
from .embed import audit_actor_url, audit_recent_changes, audit_record_url, audit_stylesheet
from .options import Audited, AuditUI
from .pages import activities, actor, as_of, breakdown, compare, export, help, record, revert, take_back, transactions
from .templating import (
    FOLDER,
    STATIC,
    ZONE,
    bad_value,
    forbidden,
    here,
    is_standalone,
    make_environment,
    missing,
    not_found,
    outdated,
    too_slow,
    unavailable,
    unsupported,
)
from .times import zone_names
from .urls import CONVERTERS
from .visit import ZONE_COOKIE, Site, Visit, add_site, current_visit, refuse_masked_keys

logger = logging.getLogger("flask_audit_logger.ui")


#: (rule, endpoint, view); all answer GET only. Putting values back and taking back, which write, are apart.
ROUTES = (
    ("/", "activities", activities.list_page),
    ("/activity/<audit_change:change>", "activity", activities.detail_page),
    ("/activity/<audit_change:change>/value/<audit_text:column>", "value", activities.value_file),
    ("/record/<audit_table:table>/<audit_key:key>", "record", record.record_page),
    ("/record/<audit_table:table>/<audit_key:key>/at", "as_of", as_of.as_of_page),
    ("/record/<audit_table:table>/<audit_key:key>/compare", "compare", compare.compare_page),
    ("/transactions", "transactions", transactions.list_page),
    ("/export", "export", export.options_page),
    ("/export.csv", "export_csv", export.csv_file),
    ("/export.jsonl", "export_jsonl", export.jsonl_file),
    ("/breakdown/<name>", "breakdown", breakdown.breakdown_part),
    ("/help", "help", help.help_page),
    (f"/transaction/<int(max={MAX_ID}):transaction_id>", "transaction", transactions.detail_page),
    ("/actor/<audit_actor:actor>", "actor", actor.actor_page),
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
    settings = PageSettings.of(app)
    app.url_map.converters.update(CONVERTERS)
    app.register_blueprint(make_blueprint(ui.name), url_prefix=ui.url_prefix)
    site = Site(ui, audit_logger, settings, make_environment(app), ui.name)
    if ui.mask:
        with app.app_context():
            refuse_masked_keys(site.catalog, ui.mask)
    add_site(app, site)
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
    blueprint.add_url_rule(
        "/record/<audit_table:table>/<audit_key:key>/revert", "revert", revert.revert_page, methods=["GET", "POST"]
    )
    taken = f"/transaction/<int(max={MAX_ID}):transaction_id>/take-back"
    blueprint.add_url_rule(taken, "take_back", take_back.take_back_page, methods=["GET", "POST"])
    for rule, endpoint, view in ROUTES:
        blueprint.add_url_rule(rule, endpoint, view, methods=["GET"])
    blueprint.enable_openapi = False  # type: ignore[attr-defined]  # APIFlask asks this of blueprints with hooks
    blueprint.url_value_preprocessor(find_record)
    blueprint.before_request(guard)
    blueprint.before_request(choose_zone)
    # called from the last to the first: what on_view puts in place of a page gets the headers as well
    blueprint.after_request(add_headers)
    blueprint.after_request(report_view)
    blueprint.register_error_handler(NotFound, lambda _: not_found(current_visit()))
    blueprint.register_error_handler(ReadTimeout, lambda _: too_slow(current_visit()))
    blueprint.register_error_handler(LogUnavailable, lambda _: unavailable(current_visit()))
    blueprint.register_error_handler(LogUnsupported, lambda _: unsupported(current_visit()))
    blueprint.register_error_handler(LogMissing, lambda _: missing(current_visit()))
    blueprint.register_error_handler(LogOutdated, lambda _: outdated(current_visit()))
    blueprint.register_error_handler(LogForbidden, lambda _: forbidden(current_visit()))
    blueprint.register_error_handler(BadValue, lambda _: bad_value(current_visit()))
    return blueprint


def find_record(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Pass a page its record in place of table and key."""
    if values and "table" in values and "key" in values:
        schema, name = values.pop("table")
        table = TableName(schema or current_visit().catalog.default_schema, name)
        values["record"] = RecordRef(table, stored_key(values.pop("key")))


def choose_zone() -> Any:
    """Keep the zone that is chosen, and go on to the same page in it; what is no zone changes nothing."""
    name, visit = request.args.get(ZONE), current_visit()
    if name is None or request.method == "POST" or (request.endpoint or "").endswith(".static"):
        return None
    path, args = here()
    is_known = name in zone_names()
    if is_known:
        args = [*(given for given in args if given[0] != "tz"), ("tz", name)]
    response = redirect(f"{path}?{urlencode(args)}")
    below = urlsplit(visit.links.activities()).path
    if is_known and name == visit.usual_zone:
        response.delete_cookie(ZONE_COOKIE, path=below)
    elif is_known:
        year, is_secure = dt.timedelta(days=365), request.is_secure
        response.set_cookie(
            ZONE_COOKIE, name, max_age=year, path=below, secure=is_secure, httponly=True, samesite="Lax"
        )
    visit.is_answered = True
    return response


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
    visit, is_static = current_visit(), (request.endpoint or "").endswith(".static")
    if not (visit.is_answered or is_static):
        return response
    visit.is_answered = False  # if something fails after this, the application's error page passes here as well
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if is_static:
        if response.status_code == 200 and request.args.get("v"):
            response.headers["Cache-Control"] = _IMMUTABLE
        return response
    response.headers["Cache-Control"] = "private, no-store"
    response.vary.add("Cookie")
    if _wants_policy(visit) and "Content-Security-Policy" not in response.headers:
        response.headers["Content-Security-Policy"] = policy(visit.nonce())
    return response


def _wants_policy(visit: Visit) -> bool:
    """Whether a page gets our policy: not within the application's layout, and not while a toolbar adds scripts."""
    is_debugged = current_app.debug or "debugtoolbar" in current_app.blueprints
    return visit.settings.set_csp and not is_debugged and is_standalone(visit)


def policy(nonce: str | None = None) -> str:
    """The Content-Security-Policy of a page of its own."""
    source = "'self'" if nonce is None else f"'self' 'nonce-{nonce}'"
    return "; ".join([*_POLICY, f"style-src {source}", f"script-src {source}"])
