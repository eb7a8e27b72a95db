"""The blueprint: routes, the gate before them, headers and error pages after them."""

from __future__ import annotations

from flask import Blueprint
from werkzeug.exceptions import NotFound

from ..query.errors import BadValue, LogForbidden, LogMissing, LogOutdated, LogUnavailable, LogUnsupported, ReadTimeout
from .gate import guard
from .headers import add_headers
from .keys import BadKey
from .messages import bad_value, forbidden, missing, not_found, outdated, too_slow, unavailable, unsupported
from .rendering import FOLDER, STATIC
from .state import current_state
from .viewlog import report_view
from .views import activities, actors, compare, export, help, panels, records, revert, states, transactions, undo

#: (rule, endpoint, view); all answer GET only. Putting values back, the one thing that writes, is apart.
ROUTES = (
    ("/", "activities", activities.list_page),
    ("/activity/<int:activity_id>", "activity", activities.detail_page),
    ("/activity/<int:activity_id>/value/<column>", "value", activities.value_file),
    ("/record/<table>/<key>", "record", records.history_page),
    ("/record/<table>/<key>/at", "record_at", states.at_page),
    ("/record/<table>/<key>/compare", "compare", compare.compare_page),
    ("/transactions", "transactions", transactions.list_page),
    ("/export", "export", export.options_page),
    ("/export.csv", "export_csv", export.csv_file),
    ("/export.jsonl", "export_jsonl", export.jsonl_file),
    ("/panel/<name>", "panel", panels.panel),
    ("/help", "help", help.help_page),
    ("/transaction/<int:transaction_id>", "transaction", transactions.detail_page),
    ("/transaction/<int:transaction_id>/undo.sql", "undo_sql", undo.undo_file),
    ("/actor/<actor>", "actor", actors.actor_page),
)


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
