"""The newest changes of a record on a page of the application."""

from __future__ import annotations

import logging
from typing import Any

from flask import g
from markupsafe import Markup

from ..query.errors import LogUnsupported, ReadError
from ..query.paging import Paging
from ..query.records import versions
from .gate import allowed
from .messages import NOT_POSTGRESQL
from .present import Presenter
from .rendering import file_hash, fragment
from .state import UIState, this_app
from .texts import gettext
from .urls import find, record_of

logger = logging.getLogger("flask_audit_logger.ui")
#: Most changes of a record on somebody else's page.
MOST = 25


def audit_recent_changes(subject: Any, key: Any = None, limit: int = 5) -> Markup:
    """The newest changes of a record as HTML; nothing for who may not see them.

    :param subject: a model object, or the name of a table.
    :param key: with a table: the value of its key, or a tuple of values.
    :param limit: number of changes, at most 25.
    """
    state = find()
    record = record_of(state, subject, key)
    if not _may_see(state, record):
        return Markup()
    presenter = Presenter(state)
    try:
        with state.reader().reading() as log:
            page = versions(log, record, Paging(limit=max(1, min(limit, MOST))))
            presenter.learn(log, page.rows, [record])
    except LogUnsupported:
        return _fragment(state, note=gettext(NOT_POSTGRESQL))
    except ReadError:
        logger.exception("the changes of %s can't be shown", record)
        return Markup()
    return _fragment(
        state,
        rows=tuple(presenter.activity(row) for row in page.rows),
        record=presenter.record(record),
        has_more=page.has_older,
        zone=state.clock.name,
    )


def audit_stylesheet() -> Markup:
    """The link to the style sheet, for the head of a page that shows recent changes."""
    state = find()
    nonce = state.nonce()
    attribute = Markup(' nonce="{}"').format(nonce) if nonce else Markup()
    href = state.links.static("audit.css", file_hash("audit.css"))
    return Markup('<link rel="stylesheet" href="{}"{}>').format(href, attribute)


def _fragment(state: UIState, *, rows: tuple[Any, ...] = (), note: str | None = None, **values: Any) -> Markup:
    html = fragment("audit/_recent.html", state, rows=rows, note=note, **values)
    return Markup(html)  # noqa: S704 - our own environment escaped everything in it


def _may_see(state: UIState, record: Any) -> bool:
    app = this_app()
    if state.ui.permission is None or state.ui.is_anonymous(app):
        return False
    if "audit_viewer" not in g:
        g.audit_viewer = state.ui.find_viewer(app)
    return allowed(state, "record", record)
