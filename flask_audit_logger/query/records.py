"""The history of one record: its versions and their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, or_

from ..diff import as_text
from .activities import Count, capped
from .criteria import Criteria, conditions
from .paging import Page, Paging, page_of, paged
from .reader import Log
from .refs import RecordRef
from .rows import ActivityRow, activity_columns, read_activity, transaction_columns


def versions(
    log: Log, record: RecordRef, paging: Paging, criteria: Criteria | None = None, *, whole: bool = False
) -> Page[ActivityRow]:
    """A page of the record's changes, in the order of their ids: row locks make that the true order.

    :param criteria: narrows the versions; its table and key are the record's.
    """
    statement = _versions(log, record, whole=whole)
    if criteria is not None:
        statement = statement.where(*conditions(log.models, _of_record(criteria, record), None))
    rows = log.all(paged(statement, paging, log.models.activity.c.id, ends=("activity_id",)))
    return page_of([read_activity(row) for row in rows], paging)


def count_versions(log: Log, record: RecordRef, criteria: Criteria, cap: int) -> Count:
    """How many changes of the record match, up to ``cap``."""
    a, t = log.models.activity, log.models.transaction
    wanted = _of_record(criteria, record)
    source = a.outerjoin(t, a.c.transaction_id == t.c.id) if wanted.needs_transaction else a
    matching = log.activities(a.c.id, source=source).where(*conditions(log.models, wanted, None))
    return capped(log, matching, cap)


def last_version(log: Log, record: RecordRef) -> ActivityRow | None:
    """The newest change of the record, with its whole old row."""
    row = log.first(_versions(log, record, whole=True).order_by(log.models.activity.c.id.desc()).limit(1))
    return None if row is None else read_activity(row)


def renamed_to(version: ActivityRow, key: Sequence[str]) -> tuple[str, ...] | None:
    """The new key if a change gave the record another one.

    :param key: names of the key's columns.
    """
    if version.verb != "update" or not any(column in version.changed_data for column in key):
        return None
    parts = version.record.components if version.record is not None else ()
    # what stayed as it was is logged with whole rows only; a key too long for the log can't be taken apart
    old = {**dict(zip(key, parts, strict=False)), **version.old_data} if len(parts) == len(key) else version.old_data
    row = {**old, **version.changed_data}
    return tuple(as_text(row[column]) for column in key) if row.keys() >= set(key) else ()


def renamed_from(log: Log, record: RecordRef, key: Sequence[str], after: int = 0) -> ActivityRow | None:
    """The last change that gave another record the key of this one.

    No index leads to it: the changes of the table are read until it is found, so this needs a time limit.

    :param key: names of the key's columns.
    """
    a = log.models.activity.c
    named = list(zip(map(str, key), record.components, strict=False))
    # what a change does not name is as it was, so it is the same in the old key
    parts = [func.coalesce(a.changed_data[name].astext, a.old_data[name].astext, text) == text for name, text in named]
    if len(named) > 1:
        before = (func.coalesce(a.old_data[name].astext, text) for name, text in named)
        parts.append(cast(func.jsonb_build_array(*before), Text) == a.record_key)
    statement = _of_table(log, record).where(
        a.verb == "update",
        a.id > after,
        a.record_key != record.key,
        or_(*(a.changed_data.has_key(str(name)) for name in key)),
        *parts,
    )
    row = log.first(statement.order_by(a.id.desc()).limit(1))
    return None if row is None else read_activity(row)


def _versions(log: Log, record: RecordRef, *, whole: bool) -> Select[Any]:
    return _of_table(log, record, whole=whole).where(log.models.activity.c.record_key == record.key)


def _of_table(log: Log, record: RecordRef, *, whole: bool = False) -> Select[Any]:
    a, t = log.models.activity, log.models.transaction
    return log.activities(
        *activity_columns(log.models, whole=whole),
        *transaction_columns(log.models),
        source=a.outerjoin(t, a.c.transaction_id == t.c.id),
    ).where(a.c.table_name == record.table.name, a.c.schema == record.table.schema)


def is_record(log: Log, record: RecordRef) -> list[ColumnElement[bool]]:
    """What makes an activity one of the record."""
    a = log.models.activity.c
    return [a.table_name == record.table.name, a.record_key == record.key, a.schema == record.table.schema]


def is_emptied(log: Log, schema: Any, table_name: Any) -> list[ColumnElement[bool]]:
    """What makes an activity one that removed all rows of a table at once."""
    a = log.models.activity.c
    return [a.table_name == table_name, a.record_key.is_(None), a.schema == schema, a.verb == "truncate"]


def is_end(a: Any, key: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether nothing has the key of a record after a change of it: it was deleted, or got another key.

    :param a: the columns of the change.
    :param key: names of the key's columns, as an array.
    """
    return or_(a.verb == "delete", and_(a.verb == "update", a.changed_data.has_any(key)))


def _of_record(criteria: Criteria, record: RecordRef) -> Criteria:
    return replace(criteria, tables=(record.table,), record_key=record.key)
