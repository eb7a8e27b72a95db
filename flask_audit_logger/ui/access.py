"""Who may read which page, and the report of every page that was read or refused."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, request

from ..query.reader import unavailable_translated
from .options import DEBUG, ViewEvent
from .templating import ONLY_LOCAL, not_signed_in, refused, unlogged
from .visit import Visit, current_visit

logger = logging.getLogger("flask_audit_logger.ui")
_ATTRIBUTE = "audit_action"

#: The only endpoint that anybody may read: style sheet and script, which say nothing about the log.
OPEN_ENDPOINTS = frozenset({"static"})

#: What another site must not make a browser fetch with the viewer's cookies.
_NOT_FROM_OTHER_SITES = frozenset({"export", "export_csv", "export_jsonl", "breakdown"})


def action(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare what a page does: the permission callback is asked for this. Its response gets our headers."""

    def declare(page: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(page)
        def answered(**values: Any) -> Any:
            visit = current_visit()
            response = page(visit, **values)
            visit.is_answered = True
            return response

        setattr(answered, _ATTRIBUTE, name)
        return answered

    return declare


def guard() -> Any:
    """Grant a request or answer it with a refusal. Runs before every page of the blueprint."""
    # who looks and what they may see is usually asked of the database as well
    with unavailable_translated():
        return _decide(current_visit())


def _decide(visit: Visit) -> Any:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    if endpoint in OPEN_ENDPOINTS:
        return None
    visit.action = getattr(current_app.view_functions.get(request.endpoint or ""), _ATTRIBUTE, None)
    if visit.ui.permission is None or visit.action is None:
        return refused(visit, visit.action)
    if visit.is_anonymous():
        return current_app.login_manager.unauthorized()  # type: ignore[attr-defined]  # set by Flask-Login
    visit.identify()
    if endpoint in _NOT_FROM_OTHER_SITES and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return refused(visit, visit.action)
    visit.target = find_target()
    return _answer(visit, visit.action, visit.target)


def find_target() -> Any:
    """The target of a request: a :class:`RecordRef`, an id, an actor, or ``None``."""
    values = request.view_args or {}
    return next((values[name] for name in ("record", "change", "transaction_id", "actor") if name in values), None)


def _answer(visit: Visit, name: str, target: Any = None) -> Any:
    if visit.may(name, target):
        return None
    decision = visit.ask(name, target)
    if isinstance(decision, Response):
        return decision
    if visit.ui.permission == DEBUG:
        logger.warning(ONLY_LOCAL, visit.not_local)
        return refused(visit, name)
    if visit.viewer is None and visit.ui.viewer is not None:
        return not_signed_in(visit)
    return refused(visit, name)


#: The same viewer reading the same address within so many seconds is one view.
MERGED_SECONDS = 60

#: Maximum number of remembered views.
REMEMBERED = 1000


def report_view(response: Response) -> Response:
    """Call ``on_view``. If it fails and ``view_log_required`` is set, the page is not shown."""
    visit = current_visit()
    hook = visit.ui.on_view
    if hook is None or (request.endpoint or "").rpartition(".")[2] in OPEN_ENDPOINTS:
        return response
    now = dt.datetime.now(dt.UTC)
    viewer = visit.viewer
    view = (viewer.id if viewer else None, request.full_path, response.status_code, request.remote_addr)
    seen = visit.site.recent_views.get(view)
    is_read = request.method in ("GET", "HEAD")  # each time something is sent, something may have been changed
    if is_read and seen is not None and (now - seen).total_seconds() < MERGED_SECONDS:
        return response
    event = ViewEvent(
        viewer=viewer,
        action=visit.action,
        target=visit.target,
        filters={name: tuple(values) for name, values in request.args.lists()},
        status=response.status_code,
        rows=visit.rows,
        address=request.remote_addr,
        time=now,
    )
    try:
        hook(event)
    except Exception:  # whatever the application raises
        logger.exception("the hook on_view failed")
        if visit.ui.view_log_required:
            response.close()
            failed: Response = unlogged(visit)
            return failed
        return response
    if len(visit.site.recent_views) >= REMEMBERED:
        visit.site.recent_views.clear()
    if is_read:
        visit.site.recent_views[view] = now
    return response
