"""The results of reads: plain frozen rows, with JSON read so that numbers keep their scale."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, func, literal, select

from ..diff.values import Value, load, value_of
from ..models import AuditModels
from ..schema.names import TableName
from ..sql import EVENT, NOTICES
from .paging import Cursor
from .refs import RecordRef


@dataclass(frozen=True)
class TransactionRow:
    """One unit of work."""

    id: int
    native_transaction_id: int | None
    issued_at: dt.datetime
    actor_id: str | None
    actor_label: str | None
    client_addr: str | None
    db_user: str | None
    application_name: str | None
    context: dict[str, Any] = field(default_factory=dict)
    #: What only the database says.
    marks: dict[str, Any] = field(default_factory=dict)

    @property
    def impersonator(self) -> dict[str, Any] | None:
        """Who really acted, if somebody acted as the actor."""
        found = self.context.get("impersonator")
        return found if isinstance(found, dict) else None

    @property
    def other_actor(self) -> str | None:
        """Class and key of an actor who is none of the actor class."""
        found = self.context.get("actor")
        return f"{found.get('class')} {found.get('key')}" if isinstance(found, dict) else None

    def said(self, name: str) -> str | None:
        """A text of the context, or ``None`` if it is missing or something else."""
        found = self.context.get(name)
        return found if isinstance(found, str) and found else None


@dataclass(frozen=True)
class ActivityRow:
    """One change. On lists ``old_data`` holds only the columns that are shown there.

    :param old_text: as PostgreSQL writes it; read where somebody looks into it, as not every row of a file is.
    """

    id: int
    table: TableName
    record_key: str | None
    verb: str
    issued_at: dt.datetime
    transaction_id: int
    old_text: str | None
    changed_text: str | None
    transaction: TransactionRow | None

    @cached_property
    def old_data(self) -> dict[str, Any]:
        """The values before."""
        return load(self.old_text)

    @cached_property
    def changed_data(self) -> dict[str, Any]:
        """The values after."""
        return load(self.changed_text)

    @cached_property
    def record(self) -> RecordRef | None:
        """The record, unless the table has no key or the whole table was emptied."""
        return None if self.record_key is None else RecordRef(self.table, self.record_key)

    @property
    def is_notice(self) -> bool:
        """Whether it is no change of a row, but what the log says about itself, or an event."""
        return self.verb in NOTICES

    @property
    def is_event(self) -> bool:
        """Whether the application recorded it."""
        return self.verb == EVENT

    @property
    def own_name(self) -> str | None:
        """What an event without a target is called by: it is of no record and of no table."""
        return str(self.changed_data.get("name")) if self.is_event and not self.table.schema else None

    @property
    def cursor(self) -> Cursor:
        """The position of this row in the feed."""
        return Cursor(self.transaction_id, self.id)

    @property
    def changed_columns(self) -> tuple[str, ...]:
        """The columns this change touched: all of them for a new or a deleted row."""
        if self.is_notice:
            return ()
        return tuple(self.old_data if self.verb == "delete" else self.changed_data)

    def before(self, column: str) -> Value:
        """The value before the change."""
        return value_of(self.old_data, column)

    def after(self, column: str) -> Value:
        """The value after the change. What an update did not touch is as before."""
        if self.verb == "update" and column not in self.changed_data:
            return value_of(self.old_data, column)
        return value_of(self.changed_data, column)

    @property
    def state_after(self) -> dict[str, Any] | None:
        """The row as it was after this change; ``None`` after a delete."""
        if self.verb in ("delete", "truncate") or self.is_notice:
            return None
        return {**self.old_data, **self.changed_data}

    @property
    def state_before(self) -> dict[str, Any] | None:
        """The row as it was before this change; ``None`` if there was none."""
        return self.old_data if self.verb in ("update", "delete") else None


def transaction_columns(models: AuditModels) -> list[ColumnElement[Any]]:
    """The columns of a transaction, as text where the type depends on the application."""
    t = models.transaction.c
    return [
        t.id.label("t_id"),
        t.native_transaction_id.label("t_native"),
        t.issued_at.label("t_issued_at"),
        cast(t.actor_id, Text).label("t_actor_id"),
        t.actor_label.label("t_actor_label"),
        # the text form of inet has no /32 only this way, whatever type the driver would make of it
        func.abbrev(t.client_addr).label("t_client_addr"),
        t.db_user.label("t_db_user"),
        t.application_name.label("t_application_name"),
        cast(t.context, Text).label("t_context"),
        cast(t.marks, Text).label("t_marks"),
    ]


def activity_columns(models: AuditModels, *, whole: bool = False, of: Any = None) -> list[ColumnElement[Any]]:
    """The columns of an activity.

    :param whole: the whole old row; otherwise an update brings only the old values of what changed, so that a
        wide row is not sent for a list.
    :param of: the columns of a sub-select of activities, if not those of the table.
    """
    a = models.activity.c if of is None else of
    return [
        a.id,
        a.schema,
        a.table_name,
        a.record_key,
        a.verb,
        a.issued_at,
        a.transaction_id,
        cast(a.old_data if whole else _old_part(a), Text).label("old_text"),
        cast(a.changed_data, Text).label("changed_text"),
    ]


def read_transaction(row: Any) -> TransactionRow | None:
    """Make a transaction of a row with :func:`transaction_columns`."""
    if row.t_id is None:  # the transaction row is gone: the activity is shown all the same
        return None
    return TransactionRow(
        id=row.t_id,
        native_transaction_id=row.t_native,
        issued_at=row.t_issued_at,
        actor_id=row.t_actor_id,
        actor_label=row.t_actor_label,
        client_addr=row.t_client_addr,
        db_user=row.t_db_user,
        application_name=row.t_application_name,
        context=load(row.t_context),
        marks=load(row.t_marks),
    )


def read_activities(rows: Iterable[Any]) -> list[ActivityRow]:
    """Make activities of rows with both sets of columns; those of one transaction share it."""
    transactions: dict[int | None, TransactionRow | None] = {None: None}
    found = []
    for row in rows:
        if row.t_id not in transactions:
            transactions[row.t_id] = read_transaction(row)
        found.append(_read(row, transactions[row.t_id]))
    return found


def read_activity(row: Any) -> ActivityRow:
    """Make an activity of a row with both sets of columns."""
    return _read(row, read_transaction(row))


def _read(row: Any, transaction: TransactionRow | None) -> ActivityRow:
    return ActivityRow(
        id=row.id,
        table=TableName(row.schema, row.table_name),
        record_key=row.record_key,
        verb=row.verb,
        issued_at=row.issued_at,
        transaction_id=row.transaction_id,
        old_text=row.old_text,
        changed_text=row.changed_text,
        transaction=transaction,
    )


def _old_part(a: Any) -> ColumnElement[Any]:
    entry = func.jsonb_each(a.old_data).table_valued("key", "value").render_derived()
    changed = a.changed_data.has_key(entry.c.key)
    part = select(func.pg_catalog.jsonb_object_agg(entry.c.key, entry.c.value)).where(changed).scalar_subquery()
    return case((a.verb == literal("update"), part), else_=a.old_data)
