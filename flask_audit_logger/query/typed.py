"""Logged values as what SQLAlchemy writes into the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Text, cast, column, func, literal, literal_column, null, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType

from ..diff import differs
from ..diff.kinds import ValueKind
from ..diff.values import JSON_NULL, NULL, Value, as_logged, as_value, dump, load, mark_of
from .errors import Refused
from .tables import TableInfo


def typed(session: Session, info: TableInfo, values: Mapping[str, Any]) -> dict[str, Any]:
    """Logged values as Python values of their columns: PostgreSQL knows best how to read what it wrote.

    :raises Refused: if Python can't hold one of them exactly.
    """
    known = {name: found for name, value in values.items() if (found := _as_sql(info, name, value)) is not None}
    given = {name: as_value(value).data for name, value in values.items() if name not in known}
    if not given:
        return known
    table = session.get_bind().dialect.identifier_preparer.format_table(info.table)
    row = func.jsonb_populate_record(
        literal_column(f"NULL::{table}"), cast(literal(dump(given), Text), JSONB)
    ).table_valued(*(column(name, column_of(info, name).type) for name in given), name="then")
    read = dict(zip(given, session.execute(select(*(row.c[name] for name in given))).one(), strict=True))
    lost = _lost(session, info, read, given)
    if lost:
        raise Refused(f"the values of {lost} can't be written back exactly", ", ".join(lost))
    return {**known, **read}


def _as_sql(info: TableInfo, name: str, value: Any) -> Any:
    """A value of a JSON column that Python can't say: JSON null, NULL where None means that one, or odd text."""
    if info.kind(name) is not ValueKind.JSON:
        return None
    if as_value(value) == NULL:
        return null()
    if mark_of(value) != "text" and as_value(value) != JSON_NULL:
        return None
    text = value["text"] if mark_of(value) == "text" else "null"
    return cast(literal(text, Text), column_of(info, name).type)


def _lost(session: Session, info: TableInfo, typed: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Columns whose values Python can't hold as they were: an interval of a month, infinity, long numbers in JSON."""
    types = {name: column_of(info, name).type for name in typed}
    names = [name for name, value in typed.items() if value is not None and not isinstance(types[name], NullType)]
    if not names:
        return []
    sent = ((name, cast(literal(typed[name], types[name]), types[name])) for name in names)
    row = session.execute(select(*(cast(func.jsonb_build_object(name, value), Text) for name, value in sent))).one()
    seen = {name: value for text in row for name, value in load(text).items()}
    return [name for name in names if differs(_raw(seen[name]), _raw(given[name]), info.kind(name))]


def _raw(data: Any) -> Value:
    """A value in which nothing is a mark."""
    return as_value(as_logged(data)) if isinstance(data, dict) else as_value(data)


def identity(session: Session, info: TableInfo, key: Sequence[str]) -> list[Any]:
    """The values of a key, given as text."""
    parts = zip(info.table.primary_key.columns, key, strict=True)
    return list(session.execute(select(*(cast(literal(text, Text), part.type) for part, text in parts))).one())


def column_of(info: TableInfo, name: str) -> Any:
    """A column of the table by its name in the database."""
    return next(found for found in info.table.columns if found.name == name)
