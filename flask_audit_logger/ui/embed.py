"""Links to the log and recent changes on the application's own pages."""

from __future__ import annotations

import logging
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from ..exceptions import ConfigurationError, LogUnsupported, NotInitializedError, ReadError
from ..query.paging import Paging
from ..query.records import versions
from ..query.refs import RecordRef, key_text, mapped_key, stored_key
from .presenter import Presenter
from .templating import NOT_POSTGRESQL, file_hash, fragment
from .visit import Visit, find_site, visit_to

logger = logging.getLogger("flask_audit_logger.ui")
#: Most changes of a record on somebody else's page.
MOST = 25


def audit_record_url(subject: Any, key: Any = None) -> str:
    """Address of the history of a record.

    :param subject: a model object, or the name of a table (``"products"``, ``"billing.orders"``).
    :param key: with a table: the value of its key, or a tuple of values for a key of several columns.
    """
    visit = this_visit()
    return visit.links.record(record_of(visit, subject, key))


def audit_actor_url(actor_id: Any) -> str:
    """Address of what an actor did; ``None`` is the actor that was not recorded."""
    return this_visit().links.actor(None if actor_id is None else str(actor_id))


def record_of(visit: Visit, subject: Any, key: Any = None) -> RecordRef:
    """The record that an application means.

    :raises ConfigurationError: if a table is named without a key, or an object has none yet.
    """
    if isinstance(subject, RecordRef):
        return subject
    if isinstance(subject, str):
        if key is None:
            raise ConfigurationError(f"audit_record_url({subject!r}) needs the record's key as well")
        ref = visit.catalog.named(subject)
        info = visit.catalog.get(ref)
        parts = key if isinstance(key, (tuple, list)) else (key,)
        columns = list(info.table.primary_key.columns) if info is not None else []
        return RecordRef(ref, stored_key([key_text(*pair) for pair in zip_longest(parts, columns[: len(parts)])]))
    found = mapped_key(subject)
    if found is None:
        raise ConfigurationError(f"{subject!r} has no key yet; flush it before linking to its history")
    table = type(subject).__mapper__.local_table
    name = table.name if table.schema is None else f"{table.schema}.{table.name}"
    return RecordRef(visit.catalog.named(name), found)


def this_visit() -> Visit:
    """The visit to the pages that links of this application lead to.

    :raises NotInitializedError: if there are none.
    """
    site = find_site()
    if site is None:
        raise NotInitializedError("this application has no audit pages; give AuditLogger a ui")
    return visit_to(site)


def audit_recent_changes(subject: Any, key: Any = None, limit: int = 5) -> Markup:
    """The newest changes of a record as HTML; nothing for who may not see them.

    :param subject: a model object, or the name of a table.
    :param key: with a table: the value of its key, or a tuple of values.
    :param limit: number of changes, at most 25.
    """
    visit = this_visit()
    record = record_of(visit, subject, key)
    if not _may_see(visit, record):
        return Markup()
    presenter = Presenter(visit)
    try:
        with visit.reader().reading() as log:
            page = versions(log, record, Paging(limit=max(1, min(limit, MOST))))
            presenter.learn(log, page.rows, [record])
    except LogUnsupported:
        return _fragment(visit, note=str(NOT_POSTGRESQL))
    except ReadError:
        logger.exception("the changes of %s can't be shown", record)
        return Markup()
    return _fragment(
        visit,
        rows=tuple(presenter.activity(row) for row in page.rows),
        record=presenter.record(record),
        has_more=page.has_older,
        zone=visit.clock.name,
    )


def audit_stylesheet() -> Markup:
    """The link to the style sheet, for the head of a page that shows recent changes."""
    visit = this_visit()
    nonce = visit.nonce()
    attribute = Markup(' nonce="{}"').format(nonce) if nonce else Markup()
    href = visit.links.static("audit.css", file_hash("audit.css"))
    return Markup('<link rel="stylesheet" href="{}"{}>').format(href, attribute)


def _fragment(visit: Visit, *, rows: tuple[Any, ...] = (), note: str | None = None, **values: Any) -> Markup:
    html = fragment(visit, "audit/_recent.html", rows=rows, note=note, **values)
    return Markup(html)  # noqa: S704 - our own environment escaped everything in it


def _may_see(visit: Visit, record: RecordRef) -> bool:
    if visit.ui.permission is None or visit.is_anonymous():
        return False
    visit.identify()
    return visit.may("record", record)
