"""Who watches the watchers: the application is told of every page that was read or refused."""

from __future__ import annotations

import datetime as dt
import logging

from flask import Response, g, request

from .gate import OPEN_ENDPOINTS
from .hooks import ViewEvent
from .messages import unlogged
from .state import current_state

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
