"""The history of one record: its versions, who set each value, its state at a time, two versions compared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, true

from .activities import Count, capped
from .criteria import Criteria, conditions
from .paging import Page, Paging, page_of, paged
from .reader import Log
from .refs import RecordRef
from .rows import ActivityRow, activity_columns, read_activity, transaction_columns
from .values import Value, value_of


@dataclass(frozen=True)
class LastSet:
    """The change that gave a column the value it has (or had at a time)."""

    column: str
    activity: ActivityRow


@dataclass(frozen=True)
class Snapshot:
    """What the log says about a record at some point.

    :param row: the columns, or ``None`` if the record did not exist.
    :param version: the last change up to then; ``None`` if there was none.
    """

    row: dict[str, Any] | None
    version: ActivityRow | None

    @property
    def is_deleted(self) -> bool:
        """Whether the record had been deleted."""
        return self.version is not None and self.version.verb == "delete"

    def value(self, column: str) -> Value:
        """The value of a column."""
        return value_of(self.row or {}, column)


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


def last_version(log: Log, record: RecordRef, *, until: int | None = None) -> ActivityRow | None:
    """The newest change of the record, with its whole old row.

    :param until: not newer than this activity.
    """
    a = log.models.activity.c
    statement = _versions(log, record, whole=True).order_by(a.id.desc()).limit(1)
    if until is not None:
        statement = statement.where(a.id <= until)
    row = log.first(statement)
    return None if row is None else read_activity(row)


def first_version(log: Log, record: RecordRef) -> ActivityRow | None:
    """The oldest change of the record that the log still has."""
    row = log.first(_versions(log, record, whole=True).order_by(log.models.activity.c.id).limit(1))
    return None if row is None else read_activity(row)


def version_at(log: Log, record: RecordRef, moment: dt.datetime) -> ActivityRow | None:
    """The last change of the record that began at this time or before it."""
    a = log.models.activity.c
    row = log.first(_versions(log, record, whole=True).where(a.issued_at <= moment).order_by(a.id.desc()).limit(1))
    return None if row is None else read_activity(row)


def version_of(log: Log, record: RecordRef, activity_id: int) -> ActivityRow | None:
    """A change of the record by its id; ``None`` if it is of another record."""
    row = log.first(_versions(log, record, whole=True).where(log.models.activity.c.id == activity_id))
    return None if row is None else read_activity(row)


def neighbours_of(
    log: Log, record: RecordRef, version: ActivityRow | None, moment: dt.datetime | None
) -> tuple[ActivityRow | None, ActivityRow | None]:
    """The changes before and after a version.

    :param moment: where there is no version: the first change after this time.
    """
    a = log.models.activity.c
    statement = _versions(log, record, whole=False)
    before = None
    if version is not None:
        before = log.first(statement.where(a.id < version.id).order_by(a.id.desc()).limit(1))
        after = log.first(statement.where(a.id > version.id).order_by(a.id).limit(1))
    else:
        after = log.first(statement.where(a.issued_at > moment).order_by(a.id).limit(1))
    return (
        None if before is None else read_activity(before),
        None if after is None else read_activity(after),
    )


def snapshot(log: Log, record: RecordRef, version: ActivityRow | None) -> Snapshot:
    """The record right after a change.

    If only changed columns are logged for the table, the others come from the changes that set them.
    """
    if version is None or version.state_after is None:
        return Snapshot(None, version)
    row = version.state_after
    if version.verb == "update":
        older = {entry.column: entry.activity for entry in last_set(log, record, until=version.id)}
        row = {name: entry.changed_data.get(name) for name, entry in older.items() if name not in row} | row
    return Snapshot(row, version)


def last_set(log: Log, record: RecordRef, *, until: int | None = None) -> list[LastSet]:
    """Who set each column: for every column the newest change that touched it."""
    a, t = log.models.activity, log.models.transaction
    name = func.jsonb_object_keys(a.c.changed_data).table_valued("name").render_derived().lateral()
    newest = (
        log.activities(name.c.name, func.max(a.c.id).label("id"), source=a.join(name, true()))
        .where(*_is_record(log, record))
        .group_by(name.c.name)
    )
    if until is not None:
        newest = newest.where(a.c.id <= until)
    setter = newest.subquery("setter")
    columns: list[ColumnElement[Any]] = [
        setter.c.name.label("column"),
        *(c for c in activity_columns(log.models) if c.key not in ("old_text", "changed_text")),
        cast(func.jsonb_build_object(setter.c.name, a.c.old_data[setter.c.name]), Text).label("old_text"),
        cast(func.jsonb_build_object(setter.c.name, a.c.changed_data[setter.c.name]), Text).label("changed_text"),
        *transaction_columns(log.models),
    ]
    source = a.join(setter, setter.c.id == a.c.id).outerjoin(t, a.c.transaction_id == t.c.id)
    statement = log.activities(*columns, source=source).order_by(setter.c.name)
    found = [(row.column, read_activity(row)) for row in log.all(statement)]
    return [LastSet(column, _without_absent(activity, column)) for column, activity in found]


def renamed_to(version: ActivityRow, key: Sequence[str]) -> tuple[str, ...] | None:
    """The new key if a change gave the record another one.

    :param key: names of the key's columns.
    """
    if version.verb != "update" or not any(column in version.changed_data for column in key):
        return None
    row = version.state_after or {}
    return tuple(str(row.get(column)) for column in key)


def _versions(log: Log, record: RecordRef, *, whole: bool) -> Select[Any]:
    a, t = log.models.activity, log.models.transaction
    return log.activities(
        *activity_columns(log.models, whole=whole),
        *transaction_columns(log.models),
        source=a.outerjoin(t, a.c.transaction_id == t.c.id),
    ).where(*_is_record(log, record))


def _is_record(log: Log, record: RecordRef) -> list[ColumnElement[bool]]:
    a = log.models.activity.c
    return [a.table_name == record.table.name, a.record_key == record.key, a.schema == record.table.schema]


def _of_record(criteria: Criteria, record: RecordRef) -> Criteria:
    return replace(criteria, tables=(record.table,), record_key=record.key)


def _without_absent(activity: ActivityRow, column: str) -> ActivityRow:
    # an insert has no old value; jsonb_build_object wrote null for it
    return activity if activity.verb == "update" else replace(activity, old_data={})
