"""``History`` and ``Change``: the changes of a record, a table or the whole log, as values of the mapped columns."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sqlalchemy import inspect, select
from sqlalchemy.exc import DBAPIError

from ..diff.values import JSON_NULL, MASKED, as_value
from ..exceptions import ConfigurationError
from ..query.criteria import VERBS, Criteria
from ..query.drift import values_of_columns
from ..query.feed import STEPS, Search, list_activities, reached
from ..query.paging import Cursor, Paging, Slice
from ..query.reader import Log
from ..query.record_states import NEWEST, record_states
from ..query.records import versions
from ..query.refs import RecordRef, key_text, stored_key
from ..query.rows import ActivityRow, TransactionRow, read_transaction, transaction_columns
from ..query.summaries import undone_by
from ..query.tables import TableInfo
from .events import Event
from .source import Source, Target

#: Changes that are read at once while a history is iterated.
BATCH = 200


class _Unknown:
    """Stands for a value that the log does not have: masked, erased or too large."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __bool__(self) -> bool:
        return False


UNKNOWN = _Unknown()

#: What is raised for a logged value that does not fit its column of today; by an enum, LookupError.
_UNREADABLE = (DBAPIError, ValueError, OverflowError, LookupError)


class Difference(NamedTuple):
    """What a column was and became; ``None`` also where there was no row."""

    before: Any
    after: Any


class Actor(NamedTuple):
    """Who acted: the key as text, ``None`` for nobody, and the name at that time."""

    id: str | None
    label: str | None


@dataclass(frozen=True)
class Transaction:
    """One unit of work.

    :param changes: what it changed.
    """

    id: int
    at: dt.datetime
    actor: Actor
    context: Mapping[str, Any]
    client_addr: str | None
    changes: History = field(repr=False)

    @property
    def reason(self) -> str | None:
        """Why, if somebody said so."""
        found = self.context.get("reason")
        return found if isinstance(found, str) else None

    @property
    def undoes(self) -> int | None:
        """The id of the transaction that it took back, or a part of it."""
        found = self.context.get("undoes")
        return found if isinstance(found, int) else None

    @property
    def undone_by(self) -> tuple[int, ...]:
        """The ids of the transactions that took it back, or a part of it, read now; of many the newest five."""
        return taken_back_by(self.changes.source, self.id)


@dataclass(frozen=True)
class Change:
    """One change of one row. Names are those of the attributes, if the table is mapped.

    :param id: its address, as in the pages: ``120.4711``.
    :param key: of the record as the log writes it.
    :param before: the row before it, as far as it is logged; ``None`` if there was none.
    :param after: the row after it; ``None`` if there is none.
    :param diff: of each column that changed what it was and became. A value that the log does not have is
        :data:`UNKNOWN`.
    :param event: what the application recorded, of the verb ``event``; it is no change of the row.
    """

    id: str
    table: str
    key: str | None
    verb: str
    at: dt.datetime
    actor: Actor
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    diff: Mapping[str, Difference]
    event: Event | None
    transaction: Transaction | None = field(repr=False)

    @property
    def cursor(self) -> Cursor:
        """Its place in the log."""
        return Cursor.parse(self.id)


class Page(NamedTuple):
    """Some changes, and the cursor of the page after them; ``None`` if it is the last."""

    changes: tuple[Change, ...]
    next: str | None


@dataclass(frozen=True)
class History:
    """Changes, newest first: nothing is read before they are asked for, and each method gives another history.

    :param tables: what the models say about the tables whose changes they are; none for those of all tables.
    """

    source: Source = field(repr=False)
    tables: tuple[TableInfo, ...] = field(default=(), repr=False)
    criteria: Criteria = field(default_factory=Criteria)

    def by(self, actor: Any) -> History:
        """Only changes by somebody: a mapped object or a key; ``None`` for changes by nobody."""
        return replace(self, criteria=replace(self.criteria, actors=(_actor_id(actor),)))

    def between(self, since: dt.datetime | None = None, until: dt.datetime | None = None) -> History:
        """Only changes from a time on, and before another.

        :raises ConfigurationError: if a time has no time zone.
        """
        for moment in (since, until):
            if moment is not None and moment.utcoffset() is None:
                raise ConfigurationError(f"{moment!r} has no time zone: give datetime(…, tzinfo=timezone.utc).")
        return replace(self, criteria=replace(self.criteria, since=since, until=until))

    def touching(self, *names: str) -> History:
        """Only changes that touched one of some attributes; so do insert and delete.

        :raises ConfigurationError: if there is no such attribute.
        """
        columns = tuple(self._column(name) for name in names)
        return replace(self, criteria=replace(self.criteria, columns=columns))

    def verb(self, *verbs: str) -> History:
        """Only changes of some kinds: ``insert``, ``update``, ``delete``, ``truncate``, ``snapshot``.

        :raises ConfigurationError: if there is no such kind.
        """
        unknown = [verb for verb in verbs if verb not in VERBS]
        if unknown:
            raise ConfigurationError(f"{unknown[0]!r} is no kind of change; there are {', '.join(VERBS)}.")
        return replace(self, criteria=replace(self.criteria, verbs=verbs))

    def __iter__(self) -> Iterator[Change]:
        """All changes, read in batches: each in a short read of its own."""
        cursor = None
        while True:
            page = self.page(cursor, BATCH)
            yield from page.changes
            cursor = page.next
            if cursor is None:
                return

    def first(self) -> Change | None:
        """The newest of the changes."""
        return next(iter(self.page(limit=1).changes), None)

    def page(self, cursor: str | None = None, limit: int = 50) -> Page:
        """So many changes, from the cursor of the page before on.

        :raises ValueError: if it is no cursor.
        """
        with self.source.reader.reading() as log:
            rows, following = self._read(log, cursor, limit)
            return Page(changes_of(self.source, log, rows), following)

    def logged(self, most: int | None = None) -> Iterator[ActivityRow]:
        """The changes as they are logged, read in batches as well.

        :param most: changes after which to stop.
        """
        cursor, left = None, sys.maxsize if most is None else most
        while left > 0:
            with self.source.reader.reading() as log:
                rows, cursor = self._read(log, cursor, min(left, BATCH))
            yield from rows
            left = 0 if cursor is None else left - len(rows)

    def _read(self, log: Log, cursor: str | None, limit: int) -> tuple[list[ActivityRow], str | None]:
        """So many changes, and the cursor of those after them, if there are any."""
        paging = Paging(limit, before=None if cursor is None else Cursor.parse(cursor))
        rows: list[ActivityRow] = []
        while True:
            found = self._slice(log, replace(paging, limit=limit - len(rows)))
            rows += found.rows
            if found.reached is None or len(rows) >= limit:
                break
            paging = replace(paging, before=found.reached)
        return rows, str(rows[-1].cursor) if found.has_older and rows else None

    def _slice(self, log: Log, paging: Paging) -> Slice[ActivityRow]:
        if len(self.tables) == 1 and self.criteria.record_key is not None:
            record = RecordRef(self.tables[0].name, self.criteria.record_key)
            return versions(log, record, paging, self.criteria, whole=True, deeper=True)
        search, reach = reached(log, Search(self.criteria), paging, STEPS[-1])
        return list_activities(log, search, paging, whole=True, reach=reach)

    def _column(self, name: str) -> str:
        if not self.tables:
            return name
        for info in self.tables:
            found = column_named(self.source, info, name)
            if found is not None:
                return found
        tables = " and ".join(str(info.name) for info in self.tables)
        raise ConfigurationError(f"{tables} has no column {name!r}.")


def history_of(target: Target) -> History:
    """The changes of a record, or of all records of a class."""
    return history_in(target.source, target.tables, target.key)


def history_in(source: Source, tables: tuple[TableInfo, ...], key: str | None = None) -> History:
    """The changes of some tables, or of the record with a key in them."""
    return History(source, tables, Criteria(tables=tuple(info.name for info in tables), record_key=key))


def changes_of(source: Source, log: Log, rows: Sequence[ActivityRow]) -> tuple[Change, ...]:
    """Entries as changes with typed values."""
    typed = _Values(source, log, rows)
    return tuple(_change(source, typed, row) for row in rows)


def transaction_of(source: Source, number: int) -> Transaction | None:
    """One unit of work, if the log has it."""
    found = transaction_row(source, number)
    return None if found is None else _transaction(source, found)


def transaction_row(source: Source, number: int) -> TransactionRow | None:
    """The same as it is logged."""
    t = source.reader.models.transaction.c
    with source.reader.reading() as log:
        row = log.first(select(*transaction_columns(log.models)).where(t.id == number))
    return None if row is None else read_transaction(row)


def taken_back_by(source: Source, number: int) -> tuple[int, ...]:
    """The ids of the transactions that took one back, or a part of it; of many the newest five."""
    with source.reader.reading() as log:
        return tuple(sorted(log.scalar(select(undone_by(log, number))) or ()))


def in_transaction(source: Source, number: int) -> History:
    """What a transaction changed."""
    return History(source, (), Criteria(transactions=(number,)))


def blame_of(target: Target) -> dict[str, Change | None]:
    """For each column of a record the change that gave it its value, as far as the log tells."""
    found: dict[str, Change | None] = {}
    for info, record in zip(target.tables, target.records, strict=True):
        with target.source.reader.reading() as log:
            (state,) = record_states(log, record, NEWEST, key=info.key)
            names = names_of(target.source, info)
            stored = [name for name in info.columns if name not in info.excluded]
            setters = {name: None if state is None else state.setter(name) for name in stored}
            rows = list({row.id: row for row in setters.values() if row is not None}.values())
            values = _Values(target.source, log, rows)
            changes = {row.id: _change(target.source, values, row) for row in rows}
        for name, row in setters.items():
            found.setdefault(names.get(name, name), None if row is None else changes[row.id])
    return found


def names_of(source: Source, info: TableInfo) -> dict[str, str]:
    """The attribute of each column of a table, by the column's name."""
    found: dict[str, str] = {}
    for mapper in source.database.mappers():
        if info.table in mapper.tables:
            for attribute in mapper.column_attrs:
                for part in attribute.columns:
                    if getattr(part, "table", None) is info.table:
                        found.setdefault(str(part.name), attribute.key)
    return found


def column_named(source: Source, info: TableInfo, name: str) -> str | None:
    """The column that somebody means by the name of an attribute, or by its own; ``None`` if there is none."""
    found = next((c for c, attribute in names_of(source, info).items() if attribute == name), None)
    return found or (name if name in info.columns else None)


def _actor_id(actor: Any) -> str | None:
    if actor is None:
        return None
    mapped = inspect(type(actor), raiseerr=False)
    if mapped is None:
        return key_text(actor, None)
    identity = inspect(actor).identity or mapped.primary_key_from_instance(actor)
    return stored_key([key_text(*pair) for pair in zip(identity, mapped.primary_key, strict=True)])


def _transaction(source: Source, row: TransactionRow) -> Transaction:
    actor = Actor(row.actor_id, row.actor_label)
    return Transaction(row.id, row.issued_at, actor, row.context, row.client_addr, in_transaction(source, row.id))


def _change(source: Source, values: _Values, row: ActivityRow) -> Change:
    before, after = values.before(row), values.after(row)
    touched = [values.name(row, column) for column in row.changed_columns]
    diff = {name: Difference((before or {}).get(name), (after or {}).get(name)) for name in touched}
    transaction = None if row.transaction is None else _transaction(source, row.transaction)
    actor = Actor(None, None) if transaction is None else transaction.actor
    return Change(
        id=str(row.cursor),
        table=source.catalog.text(row.table),
        key=row.record_key,
        verb=row.verb,
        at=row.issued_at,
        actor=actor,
        before=before,
        after=after,
        diff=diff,
        event=Event.read(row.changed_data) if row.is_event else None,
        transaction=transaction,
    )


class _Values:
    """The rows of some changes as values of their columns, all of one table read in one statement.

    PostgreSQL reads what it wrote; what does not fit the column of today stays as it is logged.
    """

    def __init__(self, source: Source, log: Log, rows: Sequence[ActivityRow]) -> None:
        self._names = {}
        self._rows: dict[tuple[int, str], dict[str, Any]] = {}
        for table in {row.table for row in rows}:
            info = source.catalog.get(table)
            self._names[table] = {} if info is None else names_of(source, info)
            logged = {
                (row.id, side): state
                for row in rows
                if row.table == table
                for side, state in (("before", row.state_before), ("after", row.state_after))
                if state is not None
            }
            read = list(logged.values()) if info is None else typed_rows(log, info, list(logged.values()))
            self._rows |= dict(zip(logged, read, strict=True))

    def name(self, row: ActivityRow, column: str) -> str:
        """The attribute of a column."""
        return self._names[row.table].get(column, column)

    def before(self, row: ActivityRow) -> dict[str, Any] | None:
        """The row before a change."""
        return self._named(row, "before")

    def after(self, row: ActivityRow) -> dict[str, Any] | None:
        """The row after a change."""
        return self._named(row, "after")

    def _named(self, row: ActivityRow, side: str) -> dict[str, Any] | None:
        found = self._rows.get((row.id, side))
        return None if found is None else {self.name(row, column): value for column, value in found.items()}


def typed_rows(log: Log, info: TableInfo, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Logged rows of a table as values of its columns."""
    known = [{name: _known(value) for name, value in row.items()} for row in rows]
    names = [name for name in info.columns if any(name in row for row in known)]
    if not names:
        return known
    try:
        read = _populated(log, info, names, known)
    except _UNREADABLE:
        read = [_one_by_one(log, info, row) for row in known]
    return [
        {name: _merged(value, found.get(name, value)) for name, value in row.items()}
        for row, found in zip(known, read, strict=True)
    ]


def _known(value: Any) -> Any:
    found = as_value(value)
    is_too_large = isinstance(found.data, dict) and found.data.get("audit_logger") == "too large"
    return UNKNOWN if found == MASKED or is_too_large else None if found == JSON_NULL else found.data


def _merged(value: Any, read: Any) -> Any:
    return value if value is UNKNOWN else read


def _one_by_one(log: Log, info: TableInfo, row: Mapping[str, Any]) -> dict[str, Any]:
    """Each value for itself, so that one that doesn't fit leaves the others typed."""
    found = dict(row)
    for name, value in row.items():
        if name in info.columns and value is not UNKNOWN:
            try:
                (read,) = _populated(log, info, [name], [{name: value}])
            except _UNREADABLE:
                continue
            found[name] = read[name]
    return found


def _populated(
    log: Log, info: TableInfo, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows as PostgreSQL and the types of the columns read them."""
    known = [{name: value for name, value in row.items() if name in names and value is not UNKNOWN} for row in rows]
    with log.connection.begin_nested():
        return values_of_columns(log.connection, info, names, known)
