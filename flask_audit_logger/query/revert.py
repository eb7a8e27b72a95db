"""Putting values of a record back: what would change, and doing it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Text, cast, column, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, registry
from sqlalchemy.types import NullType

from .diff import differs
from .diff.kinds import Kind, settled
from .errors import ReadError
from .reader import SETTINGS
from .refs import RecordRef
from .tables import TableInfo
from .texts import marked
from .values import MASKED, as_value, dump, load, value_of


class RevertError(ReadError):
    """Values could not be put back; nothing was changed."""


class Conflict(RevertError):
    """The row is not what it was when the change was shown."""


class Refused(RevertError):
    """A column can't be put back, or the database refused the values.

    :param objection: the constraint or the kind of error, if it was the database.
    """

    def __init__(self, text: str, objection: str | None = None) -> None:
        super().__init__(text)
        self.objection = objection


@dataclass(frozen=True)
class LiveRow:
    """The row as it is now, all columns, and a digest of it; ``row`` is ``None`` if there is none."""

    row: dict[str, Any] | None
    digest: str


@dataclass(frozen=True)
class PlannedColumn:
    """What would happen to a column; ``obstacle`` says why it can't be put back."""

    name: str
    now: Any
    then: Any
    obstacle: str | None = None


def read_live(connection: Connection | Session, info: TableInfo, record: RecordRef, *, lock: bool = False) -> LiveRow:
    """Read the row, and lock it for the rest of the transaction if it is to be changed.

    :raises Refused: if there can't be such a row.
    """
    statement = _live(info, record)
    if lock:
        statement = statement.with_for_update()
    try:
        connection.execute(select(*(func.set_config(name, value, True) for name, value in SETTINGS)))
        text = connection.execute(statement).scalar()
    except DBAPIError as error:
        raise Refused("the row can't be read") from error
    digest = hashlib.sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()
    return LiveRow(None if text is None else load(text), digest)


def plan(info: TableInfo, live: LiveRow, target: dict[str, Any], hidden: Collection[str]) -> list[PlannedColumn]:
    """The columns in which a row differs from what it was.

    :param target: the row to go back to.
    :param hidden: columns the reader may not see: they are left as they are and not even named.
    """
    planned = []
    for name in info.ordered(target):
        if name in hidden or as_value(target[name]) == MASKED:
            continue
        now, then = value_of(live.row or {}, name), value_of(target, name)
        if live.row is not None and not differs(now, then):
            continue
        planned.append(PlannedColumn(name, now.data, target[name], _obstacle(info, name, target[name], live)))
    return planned


def put_back(
    session: Session,
    mappers: registry,
    info: TableInfo,
    record: RecordRef,
    *,
    digest: str,
    values: Mapping[str, Any],
) -> None:
    """Change the row through the application's session, so that its events, triggers and policies hold.

    Nothing is committed.

    :param digest: of the row when the change was shown.
    :param values: what the columns become, as logged.
    :raises Conflict: if the row is another one by now.
    :raises Refused: if the database refuses the values.
    """
    live = read_live(session, info, record, lock=True)
    if live.digest != digest:
        raise Conflict("the row has changed in the meantime")
    try:
        _write(session, mappers, info, record, values, is_new=live.row is None)
        session.flush()
    # psycopg2 raises the plain errors for dates and numbers that Python has no value for
    except (SQLAlchemyError, ValueError, OverflowError) as error:
        objection = _objection(error)
        raise Refused(f"the database refused it: {objection}", objection) from error


def _live(info: TableInfo, record: RecordRef) -> Select[Any]:
    live = info.table.alias("live")
    statement = select(cast(func.to_jsonb(live.table_valued()), Text)).select_from(live)
    columns = list(info.table.primary_key.columns)
    if not columns or len(columns) != len(record.components):
        raise Refused("the table has another key now")
    for part, text in zip(columns, record.components, strict=True):
        found: Any = live.corresponding_column(part)
        statement = statement.where(found == cast(literal(text, Text), part.type))
    return statement


def _obstacle(info: TableInfo, name: str, value: Any, live: LiveRow) -> str | None:
    declared = info.columns.get(name)
    if declared is None or (live.row is not None and name not in live.row):
        return marked("the column is gone")
    if declared.is_generated or declared.kind is Kind.DERIVED:
        return marked("the database makes this value")
    if declared.is_key and live.row is not None:
        return marked("it is the key")
    fits = value is None or declared.kind in (Kind.PLAIN, Kind.JSON) or settled(declared.kind, value) is declared.kind
    return None if fits else marked("the type of the column has changed")


def _write(
    session: Session, mappers: registry, info: TableInfo, record: RecordRef, values: Mapping[str, Any], *, is_new: bool
) -> None:
    typed = _typed(session, info, values)
    mapper = next((m for m in mappers.mappers if m.local_table is info.table and not m.inherits), None)
    if mapper is None:
        where = [
            part == cast(literal(text, Text), part.type)
            for part, text in zip(info.table.primary_key.columns, record.components, strict=True)
        ]
        statement = info.table.insert() if is_new else info.table.update().where(*where)
        session.execute(statement.values({_column(info, name): value for name, value in typed.items()}))
        return
    if is_new:
        found = mapper.class_manager.new_instance()
        session.add(found)
    else:
        found = session.get(mapper.class_, tuple(_identity(session, info, record)), populate_existing=True)
    for name, value in typed.items():
        setattr(found, mapper.get_property_by_column(_column(info, name)).key, value)


def _typed(session: Session, info: TableInfo, values: Mapping[str, Any]) -> dict[str, Any]:
    """Logged values as Python values of their columns: PostgreSQL knows best how to read what it wrote."""
    names = list(values)
    table = session.get_bind().dialect.identifier_preparer.format_table(info.table)
    row = func.jsonb_populate_record(
        literal_column(f"NULL::{table}"), cast(literal(dump(dict(values)), Text), JSONB)
    ).table_valued(*(column(name, _column(info, name).type) for name in names), name="then")
    found = session.execute(select(*(row.c[name] for name in names))).one()
    typed = dict(zip(names, found, strict=True))
    lost = _lost(session, info, typed, values)
    if lost:
        raise Refused(f"the values of {lost} can't be written back exactly", ", ".join(lost))
    return typed


def _lost(session: Session, info: TableInfo, typed: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Columns whose values Python can't hold as they were: an interval of a month, infinity, long numbers in JSON."""
    types = {name: _column(info, name).type for name in typed}
    names = [name for name, value in typed.items() if value is not None and not isinstance(types[name], NullType)]
    if not names:
        return []
    sent = ((name, cast(literal(typed[name], types[name]), types[name])) for name in names)
    row = session.execute(select(*(cast(func.jsonb_build_object(name, value), Text) for name, value in sent))).one()
    seen = {name: value for text in row for name, value in load(text).items()}
    return [name for name in names if differs(value_of(seen, name), as_value(values[name]))]


def _identity(session: Session, info: TableInfo, record: RecordRef) -> list[Any]:
    columns = list(info.table.primary_key.columns)
    parts = zip(columns, record.components, strict=True)
    return list(session.execute(select(*(cast(literal(text, Text), part.type) for part, text in parts))).one())


def _column(info: TableInfo, name: str) -> Any:
    return next(found for found in info.table.columns if found.name == name)


def _objection(error: Exception) -> str:
    """What the database objects to: the constraint, without the values."""
    diagnosis = getattr(getattr(error, "orig", None), "diag", None)
    constraint = getattr(diagnosis, "constraint_name", None)
    return str(constraint or type(getattr(error, "orig", None) or error).__name__)
