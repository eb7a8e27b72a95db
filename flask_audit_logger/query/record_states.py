"""How a record stood right after some of its changes: its row, who set each value, and the changes around.

A key may be used again: a life of a record ends when it is deleted, when its table is emptied, and when it gets another
key. What was before that says nothing about the values of a later life.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from ..diff import differs
from ..diff.values import Value, value_of
from .criteria import is_verb
from .feed import ALL
from .paging import Cursor, position
from .reader import Log
from .records import ANY_RECORD, is_emptied, is_end, is_record, lived_in, values_of
from .refs import RecordRef
from .rows import ActivityRow, activity_columns, read_activity, transaction_columns

#: No change has a larger id.
LAST_ID = 2**63 - 1

#: Changes of a record, from a version on, that are read for who set its values and for changes of its key.
NEAREST = 500

#: A statement that ran for longer counts as one that began later: ids tell when changes were written, not when the
#: statements began that wrote them.
LONGEST_STATEMENT = dt.timedelta(hours=1)


@dataclass(frozen=True)
class ChangePoint:
    """Which change of a record is meant: the last one under some conditions, one by its id, or the oldest."""

    conditions: tuple[ColumnElement[bool], ...] = ()
    exactly: Cursor | None = None
    is_oldest: bool = False


@dataclass(frozen=True)
class RecordState:
    """A record right after a change.

    :param version: the change, with its whole old row; or that its table was emptied.
    :param touched: for every column the newest change of this life, up to then, that touched it.
    :param later: for columns whose values are not logged with the version: the next change that tells what they were.
    :param since: id of the last change before this life, or 0.
    :param is_cut: whether this life has older changes than were read, in which columns may be that ``touched`` lacks.
    """

    version: ActivityRow
    touched: dict[str, ActivityRow] = field(default_factory=dict)
    later: dict[str, ActivityRow] = field(default_factory=dict)
    since: int = 0
    is_cut: bool = False
    older: Cursor | None = None
    newer: Cursor | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether the record was gone after the change."""
        return self.version.state_after is None

    @property
    def is_partial(self) -> bool:
        """Whether only the changed columns are logged with the version."""
        return self.version.verb == "update" and self.version.old_data.keys() <= self.version.changed_data.keys()

    @property
    def is_incomplete(self) -> bool:
        """Whether there may be columns whose values nothing in the log tells."""
        known = [*(entry.verb for entry in self.touched.values()), *(entry.verb for entry in self.later.values())]
        return self.is_partial and not {"insert", "snapshot", "delete"} & set(known)

    @property
    def row(self) -> dict[str, Any] | None:
        """The columns, or ``None`` if the record was gone.

        If only changed columns are logged for the table, the others come from the changes around.
        """
        row = self.version.state_after
        if row is None or not self.is_partial:
            return row
        later = {name: entry.old_data.get(name) for name, entry in self.later.items()}
        return later | {name: entry.changed_data.get(name) for name, entry in self.touched.items()} | row

    def value(self, column: str) -> Value:
        """The value of a column."""
        return value_of(self.row or {}, column)

    def is_older(self, column: str) -> bool:
        """Whether a column may have been set by a change that was not read."""
        return self.is_cut and column not in self.touched

    def setter(self, column: str) -> ActivityRow | None:
        """The change that gave a column its value; ``None`` if that is not in what can be read of the log."""
        found = self.touched.get(column)
        return None if found is None or differs(found.after(column), self.value(column)) else found

    def is_changed(self, column: str) -> bool:
        """Whether a column was changed since the record was made, even if nobody saw it."""
        found = self.touched.get(column)
        return found is not None and (found.verb == "update" or self.setter(column) is None)


NEWEST = ChangePoint()
#: The oldest that the log still has.
OLDEST = ChangePoint(is_oldest=True)


def exactly(log: Log, change: Cursor) -> ChangePoint:
    """A change by its address, if it is one of the record."""
    return ChangePoint((log.models.activity.c.id <= change.activity_id,), exactly=change)


def begun_by(log: Log, moment: dt.datetime) -> ChangePoint:
    """The last change that began at this time or before it, found from where the ids of this time end."""
    a = log.models.activity.c
    first = _first_id(log, moment, LONGEST_STATEMENT, is_after=True)
    return ChangePoint((a.issued_at <= moment, a.id < func.coalesce(first, LAST_ID)))


def record_states(
    log: Log, record: RecordRef, *changes: ChangePoint, key: Sequence[str] = ()
) -> list[RecordState | None]:
    """How the record stood after each of some changes, in one statement; ``None`` where there is no such change.

    :param changes: each named by what is above.
    :param key: names of the key's columns.
    """

    def make() -> Select[Any]:
        return _states(log, ANY_RECORD, changes, key)

    is_newest = len(changes) == 1 and changes[0] is NEWEST
    statement = log.kept(("state", tuple(key)), make) if is_newest else make()
    found: list[RecordState | None] = [None] * len(changes)
    values = values_of(record)
    if log.models.is_partitioned:
        values["first_month"], values["end_of_months"] = lived_in(log, record)
    for row in log.all(statement, values):
        activity, state = read_activity(row), found[row.place]
        if row.column is None:
            older, newer = (None if at is None else Cursor(at[1], at[0]) for at in (row.older, row.newer))
            found[row.place] = RecordState(
                activity, since=row.since, is_cut=row.floor > row.since, older=older, newer=newer
            )
        elif state is not None and row.is_later:
            state.later[row.column] = activity
        elif state is not None:
            state.touched[row.column] = _without_absent(activity)
    return found


def _states(log: Log, record: RecordRef, changes: Sequence[ChangePoint], key: Sequence[str]) -> Select[Any]:
    a, t = log.models.activity, log.models.transaction
    wanted = _wanted(log, record, changes, key)
    entry = _entries(log, record, wanted)
    is_version = entry.c.name.is_(None)
    columns: list[ColumnElement[Any]] = [
        wanted.c.place,
        wanted.c.since,
        wanted.c.floor,
        wanted.c.older,
        wanted.c.newer,
        entry.c.name.label("column"),
        entry.c.is_later,
        *(c for c in activity_columns(log.models) if c.key not in ("old_text", "changed_text")),
        _part(is_version, entry.c.name, a.c.old_data).label("old_text"),
        _part(is_version, entry.c.name, a.c.changed_data).label("changed_text"),
        *transaction_columns(log.models),
    ]
    source = a.join(entry, and_(a.c.transaction_id == entry.c.at[2], a.c.id == entry.c.at[1]))
    source = source.join(wanted, wanted.c.place == entry.c.place)
    source = source.outerjoin(t, a.c.transaction_id == t.c.id)
    return log.activities(*columns, source=source).order_by(wanted.c.place, entry.c.name.nulls_first())


def first_after(log: Log, record: RecordRef, moment: dt.datetime | None) -> Cursor | None:
    """The first change after a time, or of all."""
    a = log.models.activity.c
    statement = log.activities(position(a)).where(*is_record(log, record)).order_by(a.id).limit(1)
    if moment is not None:
        first = _first_id(log, moment, -LONGEST_STATEMENT, is_after=False)
        statement = statement.where(a.issued_at > moment, a.id >= func.coalesce(first, 0))
    return Cursor.read(log.scalar(statement))


def _first_id(log: Log, moment: dt.datetime, distance: dt.timedelta, *, is_after: bool) -> ScalarSelect[int]:
    """The id of the first change of the first transaction after a time, or of the last one up to it.

    :param distance: how far from the moment this time is; added by PostgreSQL, whose calendar has no end there.
    """
    time = literal(moment, DateTime(timezone=True)) + distance
    t, w = log.models.transaction.c, log.models.activity.alias("bound").c
    nearest = select(t.id).where(t.issued_at > time if is_after else t.issued_at <= time)
    order = (t.issued_at, t.id) if is_after else (t.issued_at.desc(), t.id.desc())
    begins = nearest.order_by(*order).limit(1).scalar_subquery()
    found = select(w.id).where(w.transaction_id >= begins).order_by(w.transaction_id, w.id)
    return found.limit(1).scalar_subquery()


def _wanted(log: Log, record: RecordRef, changes: Sequence[ChangePoint], key: Sequence[str]) -> CTE:
    """For each change its id, since when and until when the record lived, and the changes before and after.

    The changes of the record and those of its whole table are looked for apart, each by a step in the index of records.
    """
    a = log.models.activity
    numbered = enumerate(_place_of(log, record, which, key).scalar_subquery() for which in changes)
    until = union_all(
        *(select(literal(place).label("place"), found.label("at")) for place, found in numbered)
    ).subquery()
    is_own_end = is_end(a.c, _names(key))
    # what follows a change of the key is another life and tells nothing of this one
    is_gone, is_partial = or_(is_own_end, a.c.verb == "truncate"), and_(_is_partial(a), not_(is_own_end))
    version = log.activities(
        until.c.place,
        a.c.id,
        a.c.transaction_id,
        is_gone.label("is_gone"),
        is_partial.label("is_partial"),
        source=until.join(a, and_(a.c.transaction_id == until.c.at[2], a.c.id == until.c.at[1])),
    ).cte("version")
    own, whole = log.activities(a.c.id).where(*_is_own(log, record)), _emptied(log, record)
    is_before, is_after = a.c.id < version.c.id, a.c.id > version.c.id
    first, last = a.c.id, a.c.id.desc()

    def end(of: Select[Any], order: ColumnElement[Any], *within: CTE, skip: int = 0) -> ScalarSelect[Any]:
        return of.order_by(order).offset(skip or None).limit(1).correlate(version, *within).scalar_subquery()

    # the index alone tells how far; deletions have one of their own, changes of the key are looked for that far
    w = a if log.is_scoped else a.alias("near")
    near = select(w.c.id).where(w.c.table_name == record.table.name, w.c.record_key == record.key, *_within(log, w))
    near = own if log.is_scoped else near
    window = select(
        version.c.place,
        func.coalesce(end(near.where(w.c.id <= version.c.id), w.c.id.desc(), skip=NEAREST), 0).label("floor"),
        func.coalesce(end(near.where(w.c.id > version.c.id), w.c.id, skip=NEAREST - 1), LAST_ID).label("ceiling"),
    ).cte("nearest")
    deleted, renamed = own.where(is_verb(a.c.verb, "delete")), own.where(a.c.verb == "update", is_own_end)
    floor, ceiling = window.c.floor, window.c.ceiling
    since = func.greatest(
        end(deleted.where(is_before), last),
        end(renamed.where(is_before, a.c.id >= floor), last, window),
        end(whole.where(is_before), last),
    )
    until_end = func.least(
        end(deleted.where(is_after), first),
        end(renamed.where(is_after, a.c.id <= ceiling), first, window),
        end(whole.where(is_after), first),
        ceiling,
    )
    next_own = end(own.with_only_columns(_place(a)).where(is_after), first)
    next_emptied = end(whole.with_only_columns(_place(a)).where(is_after), first)
    return (
        select(
            version.c.place,
            version.c.id,
            version.c.transaction_id,
            func.coalesce(since, 0).label("since"),
            floor,
            case((version.c.is_partial, until_end)).label("end"),
            _reached(log, record, key, is_before, of=version).scalar_subquery().label("older"),
            func.least(next_own, case((not_(version.c.is_gone), next_emptied))).label("newer"),
        )
        .join_from(version, window, window.c.place == version.c.place)
        .cte("wanted")
    )


def _place(a: FromClause) -> Any:
    """The id of a change and its transaction: in this order, so that the larger one is the later change."""
    return array([a.c.id, a.c.transaction_id])


def _place_of(log: Log, record: RecordRef, which: ChangePoint, key: Sequence[str]) -> Select[Any]:
    a = log.models.activity
    if which.is_oldest:
        return log.activities(_place(a)).where(*_is_own(log, record)).order_by(a.c.id).limit(1)
    reached = _reached(log, record, key, *which.conditions)
    if which.exactly is None:
        return reached
    found, change = reached.subquery(), which.exactly
    exists = log.activities(literal(1)).where(a.c.transaction_id == change.transaction_id, a.c.id == change.activity_id)
    return select(found.c.at).where(found.c.at[1] == change.activity_id, exists.exists())


def _reached(
    log: Log, record: RecordRef, key: Sequence[str], *conditions: ColumnElement[bool], of: CTE | None = None
) -> Select[Any]:
    """The place of the last change; that its table was emptied is one of the record, if there was the record then.

    :param of: what the conditions refer to besides the activities.
    """
    a = log.models.activity
    ended = is_end(a.c, _names(key)).label("is_end")
    own = log.activities(a.c.id, _place(a).label("at"), ended).where(*_is_own(log, record), *conditions)
    own = own.order_by(a.c.id.desc()).limit(1)
    last = (own if of is None else own.correlate(of)).subquery("last")
    emptied = _emptied(log, record).with_only_columns(_place(a))
    emptied = emptied.where(a.c.id > last.c.id, *conditions).order_by(a.c.id).limit(1)
    emptied = emptied.correlate(last) if of is None else emptied.correlate(last, of)
    found = case((last.c.is_end, last.c.at), else_=func.coalesce(emptied.scalar_subquery(), last.c.at))
    return select(found.label("at"))


def _emptied(log: Log, record: RecordRef) -> Select[Any]:
    """Ids of the changes that removed all rows of the record's table at once."""
    a = log.models.activity
    is_its = is_emptied(log, record.table.schema, record.table.name)
    return log.activities(a.c.id).where(*is_its, *_within(log, a)[:1])


def _is_own(log: Log, record: RecordRef) -> list[ColumnElement[bool]]:
    return [*is_record(log, record), *_within(log, log.models.activity)]


def _within(log: Log, a: FromClause) -> list[ColumnElement[bool]]:
    """The first and the last month with changes of the record: others are not planned."""
    if not log.models.is_partitioned:
        return []
    first, end = (bindparam(name, type_=BigInteger) for name in ("first_month", "end_of_months"))
    return [a.c.transaction_id >= first, a.c.transaction_id < end]


def _names(key: Sequence[str]) -> ColumnElement[Any]:
    return cast([str(name) for name in key], ARRAY(Text))


def _is_partial(a: FromClause) -> ColumnElement[bool]:
    """Whether an update brings only the old values of what it changed."""
    name = func.jsonb_object_keys(a.c.old_data).table_valued("name").render_derived()
    other = select(literal(1)).select_from(name).where(not_(a.c.changed_data.has_key(name.c.name)))
    return and_(a.c.verb == "update", not_(other.correlate(a).exists()))


def _entries(log: Log, record: RecordRef, wanted: CTE) -> FromClause:
    """What is read for each place: the version, what touched its columns, and what tells the others."""
    a = log.models.activity

    def of_each(data: ColumnElement[Any], *near: ColumnElement[bool]) -> Any:
        # planned apart: a range of the index of records for each place, not all changes of the record for all
        own = log.activities(a.c.id, a.c.transaction_id, data.label("data")).where(*_is_own(log, record), *near)
        return own.limit(ALL).correlate(wanted).lateral()

    lived = of_each(a.c.changed_data, a.c.id > wanted.c.since, a.c.id > wanted.c.floor, a.c.id <= wanted.c.id)
    # there is an end only where columns are missing
    later = of_each(a.c.old_data, a.c.id > wanted.c.id, a.c.id <= wanted.c.end)
    touched, told = (
        func.jsonb_object_keys(own.c.data).table_valued("name").render_derived().lateral() for own in (lived, later)
    )
    place = wanted.c.place
    version = array([wanted.c.id, wanted.c.transaction_id])
    return union_all(
        select(place, cast(null(), Text).label("name"), version.label("at"), false().label("is_later")),
        select(place, touched.c.name, func.max(_place(lived)), false())
        .select_from(wanted.join(lived, true()).join(touched, true()))
        .group_by(place, touched.c.name),
        select(place, told.c.name, func.min(_place(later)), true())
        .select_from(wanted.join(later, true()).join(told, true()))
        .group_by(place, told.c.name),
    ).subquery("entry")


def _part(is_version: ColumnElement[bool], name: ColumnElement[Any], data: ColumnElement[Any]) -> ColumnElement[Any]:
    """The whole row of a version, and of another change only one column."""
    return cast(case((is_version, data), else_=func.pg_catalog.jsonb_build_object(name, data.op("->")(name))), Text)


def _without_absent(activity: ActivityRow) -> ActivityRow:
    # an insert has no old value; jsonb_build_object wrote null for it
    return activity if activity.verb == "update" else replace(activity, old_text=None)
