"""Who may read which page, and the report of every page that was read or refused."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, abort, current_app, g, request

from ..query.errors import unavailable_translated
from .options import ViewEvent
from .templating import not_signed_in, refused, unlogged
from .urls import NOBODY, BadKey, decode
from .visit import UIState, current_state, find_viewer, is_anonymous

_ATTRIBUTE = "audit_action"

#: The only endpoint that anybody may read: style sheet and script, which say nothing about the log.
OPEN_ENDPOINTS = frozenset({"static"})

#: What another site must not make a browser fetch with the viewer's cookies.
_NOT_FROM_OTHER_SITES = frozenset({"export", "export_csv", "export_jsonl", "panel", "undo_sql"})


def action(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare what a view does; the permission callback is asked for this. What the view answers gets our headers."""

    def declare(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def answered(**values: Any) -> Any:
            response = view(**values)
            g.audit_answered = True
            return response

        setattr(answered, _ATTRIBUTE, name)
        return answered

    return declare


def guard() -> Any:
    """Let a request in or answer it. Runs before every view of the blueprint."""
    # who looks and what they may see is usually asked of the database as well
    with unavailable_translated():
        return _decide(current_state())


def _decide(state: UIState) -> Any:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    if endpoint in OPEN_ENDPOINTS:
        return None
    name = g.audit_action = getattr(current_app.view_functions.get(request.endpoint or ""), _ATTRIBUTE, None)
    permission = state.ui.permission
    if permission is None or name is None:
        return refused(state, name)
    if is_anonymous(state.ui, current_app):
        return current_app.login_manager.unauthorized()  # type: ignore[attr-defined]  # set by Flask-Login
    g.audit_viewer = find_viewer(state.ui, current_app)
    if endpoint in _NOT_FROM_OTHER_SITES and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return refused(state, name)
    try:
        target = find_target(state, name)
    except BadKey:
        # Nobody learns more from a malformed address than from any other.
        name, target = "list", None
        decision = permission(name, target)
        return _answer(state, decision, name) or abort(404)
    g.audit_target = target
    return _answer(state, permission(name, target), name)


def find_target(state: UIState, name: str) -> Any:
    """What a request is about: a :class:`RecordRef`, an id, an actor, or ``None``.

    :raises BadKey: if the address can't be one of ours.
    """
    values = request.view_args or {}
    if "table" in values and "key" in values:
        return state.record_from(values["table"], values["key"])
    if "actor" in values:
        return None if values["actor"] == NOBODY else decode(values["actor"])
    return values.get("activity_id", values.get("transaction_id"))


def allowed(state: UIState, name: str, target: Any = None) -> bool:
    """Whether the viewer may do something a page offers. A link is shown only if this is true."""
    permission = state.ui.permission
    return permission is not None and permission(name, target) is True


def _answer(state: UIState, decision: Any, name: str) -> Any:
    if isinstance(decision, Response):
        return decision
    # exactly True: a callback that forgets to return, or returns something else by mistake, lets nobody in
    if decision is True:
        return None
    if g.get("audit_viewer") is None and state.ui.viewer is not None:
        return not_signed_in(state)
    return refused(state, name)


logger = logging.getLogger("flask_audit_logger.ui")

#: The same viewer reading the same address within so many seconds is one view.
MERGED_SECONDS = 60

#: So many recent views are remembered.
REMEMBERED = 1000


def note_rows(number: int) -> None:
    """Say how many rows the page of this request shows."""
    g.audit_rows = number


def report_view(response: Response) -> Response:
    """Tell the application. If it has to know and can't be told, the page is not shown."""
    state = current_state()
    hook = state.ui.on_view
    if hook is None or (request.endpoint or "").rpartition(".")[2] in OPEN_ENDPOINTS:
        return response
    now = dt.datetime.now(dt.UTC)
    viewer = state.viewer
    view = (viewer.id if viewer else None, request.full_path, response.status_code, request.remote_addr)
    seen = state.recent_views.get(view)
    is_read = request.method in ("GET", "HEAD")  # each time something is sent, something may have been changed
    if is_read and seen is not None and (now - seen).total_seconds() < MERGED_SECONDS:
        return response
    event = ViewEvent(
        viewer=viewer,
        action=g.get("audit_action"),
        target=g.get("audit_target"),
        filters={name: tuple(values) for name, values in request.args.lists()},
        status=response.status_code,
        rows=g.get("audit_rows"),
        address=request.remote_addr,
        time=now,
    )
    try:
        hook(event)
    except Exception:  # whatever the application raises
        logger.exception("the hook on_view failed")
        if state.ui.view_log_required:
            response.close()
            failed: Response = unlogged(state)
            return failed
        return response
    if len(state.recent_views) >= REMEMBERED:
        state.recent_views.clear()
    if is_read:
        state.recent_views[view] = now
    return response
