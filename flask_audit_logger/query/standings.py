"""How a record stood right after some of its changes: its row, who set each value, and the changes around."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    ScalarSelect,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)

from .reader import Log
from .records import is_record
from .refs import RecordRef
from .rows import ActivityRow, activity_columns, read_activity, transaction_columns
from .values import Value, value_of


@dataclass(frozen=True)
class LastSet:
    """The change that gave a column the value it has (or had at a time)."""

    column: str
    activity: ActivityRow


@dataclass(frozen=True)
class Step:
    """A change before or after another one of the same record."""

    id: int
    issued_at: dt.datetime


@dataclass(frozen=True)
class Standing:
    """A record right after a change.

    :param version: the change, with its whole old row.
    :param setters: for every column the newest change up to then that touched it.
    """

    version: ActivityRow
    setters: list[LastSet] = field(default_factory=list)
    older: Step | None = None
    newer: Step | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether the record was gone after the change."""
        return self.version.verb == "delete"

    @property
    def row(self) -> dict[str, Any] | None:
        """The columns, or ``None`` if the record was gone.

        If only changed columns are logged for the table, the others come from the changes that set them.
        """
        row = self.version.state_after
        if row is None or self.version.verb != "update":
            return row
        older = {entry.column: entry.activity for entry in self.setters}
        return {name: entry.changed_data.get(name) for name, entry in older.items() if name not in row} | row

    def value(self, column: str) -> Value:
        """The value of a column."""
        return value_of(self.row or {}, column)


def newest(log: Log, record: RecordRef) -> Select[Any]:
    """The id of the last change."""
    return _ids(log, record).order_by(log.models.activity.c.id.desc())


def oldest(log: Log, record: RecordRef) -> Select[Any]:
    """The id of the oldest change that the log still has."""
    return _ids(log, record).order_by(log.models.activity.c.id)


def exactly(log: Log, record: RecordRef, activity_id: int) -> Select[Any]:
    """A change by its id, if it is one of the record."""
    return _ids(log, record).where(log.models.activity.c.id == activity_id)


def begun_by(log: Log, record: RecordRef, moment: dt.datetime) -> Select[Any]:
    """The id of the last change that began at this time or before it."""
    return newest(log, record).where(log.models.activity.c.issued_at <= moment)


def standings(log: Log, record: RecordRef, *changes: Select[Any]) -> list[Standing | None]:
    """How the record stood after each of some changes, in one statement; ``None`` where there is no such change.

    :param changes: selects of ids made by the functions above.
    """
    a, t = log.models.activity, log.models.transaction
    wanted = union_all(
        *(select(literal(place).label("place"), _one(change).label("until")) for place, change in enumerate(changes))
    ).cte("wanted")
    name = func.jsonb_object_keys(a.c.changed_data).table_valued("name").render_derived().lateral()
    of_record = wanted.join(a, a.c.id <= wanted.c.until)
    setter = union_all(
        select(wanted.c.place, cast(null(), Text).label("name"), wanted.c.until.label("id")),
        log.activities(wanted.c.place, name.c.name, func.max(a.c.id), source=of_record.join(name, true()))
        .where(*is_record(log, record))
        .group_by(wanted.c.place, name.c.name),
    ).subquery("setter")
    is_version = setter.c.name.is_(None)
    columns: list[ColumnElement[Any]] = [
        setter.c.place,
        setter.c.name.label("column"),
        *(c for c in activity_columns(log.models) if c.key not in ("old_text", "changed_text")),
        _part(is_version, setter.c.name, a.c.old_data).label("old_text"),
        _part(is_version, setter.c.name, a.c.changed_data).label("changed_text"),
        *transaction_columns(log.models),
        *_around(log, record, setter),
    ]
    source = a.join(setter, setter.c.id == a.c.id).outerjoin(t, a.c.transaction_id == t.c.id)
    rows = log.all(log.activities(*columns, source=source).order_by(setter.c.place, setter.c.name.nulls_first()))
    found: list[Standing | None] = [None] * len(changes)
    for row in rows:
        activity, place = read_activity(row), row.place
        standing = found[place]
        if row.column is None:
            found[place] = Standing(activity, [], _step(row, "older"), _step(row, "newer"))
        elif standing is not None:
            standing.setters.append(LastSet(row.column, _without_absent(activity)))
    return found


def first_after(log: Log, record: RecordRef, moment: dt.datetime | None) -> Step | None:
    """The first change after a time, or of all."""
    a = log.models.activity.c
    statement = log.activities(a.id, a.issued_at).where(*is_record(log, record)).order_by(a.id).limit(1)
    row = log.first(statement if moment is None else statement.where(a.issued_at > moment))
    return None if row is None else Step(row[0], row[1])


def _ids(log: Log, record: RecordRef) -> Select[Any]:
    return log.activities(log.models.activity.c.id).where(*is_record(log, record))


def _one(change: Select[Any]) -> ScalarSelect[Any]:
    return change.limit(1).scalar_subquery()


def _part(is_version: ColumnElement[bool], name: ColumnElement[Any], data: ColumnElement[Any]) -> ColumnElement[Any]:
    """The whole row of a version, and of a change that set a column only that column."""
    return cast(case((is_version, data), else_=func.jsonb_build_object(name, data.op("->")(name))), Text)


def _around(log: Log, record: RecordRef, setter: FromClause) -> list[ColumnElement[Any]]:
    """Id and time of the changes before and after a version; nothing for the other rows."""
    a = log.models.activity.c
    ends = (("older", a.id < setter.c.id, a.id.desc()), ("newer", a.id > setter.c.id, a.id))
    found: list[ColumnElement[Any]] = []
    for end, beyond, order in ends:
        for column in (a.id, a.issued_at):
            nearest = log.activities(column).where(*is_record(log, record), beyond).order_by(order).limit(1)
            nearest = nearest.correlate(setter)
            value = case((setter.c.name.is_(None), nearest.scalar_subquery()))
            found.append(value.label(f"{end}_{column.name}"))
    return found


def _step(row: Any, end: str) -> Step | None:
    activity_id = getattr(row, f"{end}_id")
    return None if activity_id is None else Step(activity_id, getattr(row, f"{end}_issued_at"))


def _without_absent(activity: ActivityRow) -> ActivityRow:
    # an insert has no old value; jsonb_build_object wrote null for it
    return activity if activity.verb == "update" else replace(activity, old_data={})
