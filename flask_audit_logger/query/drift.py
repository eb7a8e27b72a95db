"""The row of a record as it is now, read as the log would write it, where it differs from the log, and the reverse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy import types as sa_types
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, DOMAIN, HSTORE, JSONB, OID
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from ..diff import ValueKind, as_text, differs
from ..diff.values import MASKED, as_logged, dump, load, mark_of, value_of
from ..sql import quote_ident, quote_literal
from .reader import Log, everything
from .record_states import NEWEST, record_states
from .records import renamed_to
from .refs import HASHED, RecordRef, stored_key
from .rows import ActivityRow
from .tables import TableInfo

#: PostgreSQL's own types have smaller numbers.
FIRST_OWN_OID = 16384

#: The type ``json[]``, whose elements are logged as texts, too.
JSON_ARRAY_OID = 199


@dataclass(frozen=True)
class Drift:
    """How a row differs from what the log says about it, because it was changed while auditing was off.

    ``kind`` is ``none``, ``columns`` (these differ), ``gone`` (the log does not know that it was removed), ``unlogged``
    (the log says that it was deleted) or ``unknown`` (the row can't be read).
    """

    kind: str
    columns: tuple[str, ...] = ()


def drift(log: Log, info: TableInfo, record: RecordRef, newest: ActivityRow) -> Drift:
    """Compare the row with the newest change in the log. After ``unknown``, nothing can be read with ``log``.

    To a reader with a scope nothing is told: what differs may have been changed by a change that they don't see.
    """
    if log.is_scoped or not info.is_audited or renamed_to(newest, info.key) is not None:
        return Drift("none")
    logged = newest.state_after
    try:
        row = live_row(log, info, record, newest.old_data if logged is None else logged)
    except LookupError:
        return Drift("unknown")
    if row is None or logged is None:
        kind, verb = ("gone", "delete") if row is None else ("unlogged", "insert")
        return Drift(kind) if row is not logged and verb in info.verbs else Drift("none")
    if "update" not in info.verbs:
        return Drift("none")
    known = [n for n in info.ordered(row) if n in logged and value_of(logged, n) != MASKED]  # else it was erased
    compared = [n for n in known if n not in info.ignored and not _is_text(logged, n, info)]
    columns = tuple(n for n in compared if differs(value_of(logged, n), value_of(row, n), info.kind(n)))
    return Drift("columns", columns) if columns else Drift("none")


def is_as_logged(log: Log, info: TableInfo, record: RecordRef, row: Mapping[str, Any]) -> bool:
    """Whether a row is what the whole log says, as far as it says anything; for a reader without a scope it always is.

    A row that differs was changed by nobody knows whom, so it may be in another scope by now. Columns whose change
    alone is not logged count as well: one of them may be what the scope asks for.

    :param row: the live row; what is not in it is not compared.
    """
    if not log.is_scoped:
        return True
    # apart from the scope: what is hidden counts, and no value of it is shown
    (state,) = record_states(replace(log, scope=everything), record, NEWEST, key=info.key)
    logged = state.row if state is not None else None
    if logged is None:
        return False
    hidden = info.excluded | info.masked
    compared = [n for n in row if n in logged and n not in hidden and not _is_lost(logged, n)]
    return not any(differs(value_of(logged, n), value_of(dict(row), n), info.kind(n)) for n in compared)


def _is_lost(logged: dict[str, Any], name: str) -> bool:
    """Whether the log has only a mark in place of a value."""
    return value_of(logged, name) == MASKED or mark_of(logged[name]) == "too large"


def _is_text(logged: dict[str, Any], name: str, info: TableInfo) -> bool:
    """Whether the log has a value as text that JSON has no equal for: a negative zero, an array with other bounds."""
    return mark_of(logged[name]) == "text" and info.kind(name) is not ValueKind.JSON


def live_row(log: Log, info: TableInfo, record: RecordRef, logged: Mapping[str, Any]) -> dict[str, Any] | None:
    """The columns of a record that are logged, as they are now; ``None`` if there is no such row.

    Everything named here comes from the models, never from an address. Nothing can be read with ``log`` after a
    failure, such as a column that the models have and the database has not.

    :param logged: the record as the log knows it.
    :raises LookupError: if the row can't be read.
    """
    if info.table.metadata is not log.models.beside:
        raise LookupError(f"the row of {record} can't be read")
    unlogged = info.excluded | info.masked
    statement = select_live(info, key_of(info, record, logged), without=unlogged)
    try:
        return read_live_row(info, log.first(statement), unlogged)
    except DBAPIError as error:
        raise LookupError(f"the row of {record} can't be read") from error


def key_of(info: TableInfo, record: RecordRef, logged: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of the record's key as text; the log has only a hash of a long one as its key.

    :param logged: the record as the log knows it.
    :raises LookupError: if the log does not have them.
    """
    parts = tuple(as_text(logged[name]) for name in info.key if name in logged)
    if len(parts) == len(info.key) > 0 and stored_key(parts) == record.key:
        return parts
    if record.key.startswith(HASHED):
        raise LookupError(f"the key of {record} is not in the log")
    return record.components


def select_live(
    info: TableInfo, key: Sequence[str], *, without: Collection[str] = (), lock: bool = False
) -> Select[Any]:
    """Read a row for :func:`read_live_row`.

    :param without: columns that are not even read.
    :raises LookupError: if the table has another key.
    """
    return _select_rows(info, lambda table: is_key(table, info, key), without, lock=lock)


def select_live_rows(info: TableInfo, keys: Sequence[Sequence[str]], *, lock: bool = False) -> Select[Any]:
    """Read many rows for :func:`read_live_row`: the same for all keys at once."""
    data = dump([dict(zip(info.key, key, strict=True)) for key in keys])
    columns = [column(part.name, part.type) for part in info.table.primary_key.columns]
    source = func.pg_catalog.jsonb_populate_recordset(
        literal_column(f"NULL::{info.name.quoted}"), cast(literal(data, Text), JSONB)
    ).table_valued(*columns, name="wanted")

    def is_wanted(table: Any) -> list[ColumnElement[bool]]:
        parts = [table.c[part.key] for part in info.table.primary_key.columns]
        return [tuple_(*parts).in_(select(*(source.c[part.name] for part in columns)))]

    return _select_rows(info, is_wanted, (), lock=lock)


def _select_rows(
    info: TableInfo, which: Callable[[Any], list[ColumnElement[bool]]], without: Collection[str], *, lock: bool
) -> Select[Any]:
    table = info.table.alias("live")
    # always live.*, as "live" alone would be a column of that name
    whole: ColumnElement[Any] = literal_column("live.*")
    # By name: SQLAlchemy warns of a type of the application's that doesn't say whether it can be cached.
    named = [_live(column.name) for column in table.columns if column.name not in without]
    read = named if without else [whole]
    rows = select(*read).select_from(table).where(*which(table))
    live = (rows.with_for_update() if lock else rows).subquery("live")
    # row_to_json takes a json as it is written; to_jsonb fails for one with \u0000. Neither tells JSON null from NULL.
    columns: list[ColumnElement[Any]] = [cast(func.pg_catalog.row_to_json(whole), Text)]
    columns += [_live(name).is_not(None) for name in _json_columns(info, without)]
    own = ((name, logged_json(_live(name), kind)) for name, kind in _own_types(info, without).items())
    columns += [cast(func.pg_catalog.json_build_object(cast(name, Text), value), Text) for name, value in own]
    return select(*columns).select_from(live)


def _live(name: str) -> ColumnElement[Any]:
    return literal_column(f"live.{quote_ident(name)}")


def read_live_row(info: TableInfo, found: Any, without: Collection[str] = ()) -> dict[str, Any] | None:
    """The row that :func:`select_live` found, values and marks as in the log."""
    if found is None:
        return None
    row = load(found[0])
    json = _json_columns(info, without)
    for name, is_set in zip(json, found[1 : 1 + len(json)], strict=True):
        row[name] = as_logged(row[name]) if is_set else None
    for text in found[1 + len(json) :]:
        row |= load(text)
    return row


def logged_json(value: ColumnElement[Any], kind: Any) -> ColumnElement[Any]:
    """A value as JSON, as the triggers log it: a type that PostgreSQL doesn't bring is its text, an array of it texts.

    :param kind: the SQLAlchemy type of its column.
    """
    pg = func.pg_catalog  # functions for any type: another schema may have one that matches better
    whole: ColumnElement[Any] = pg.to_json(value)
    if not _may_be_own(kind):
        return whole
    text: ColumnElement[Any] = pg.format(cast("%s", Text), value, type_=Text)
    own = cast(text, ARRAY(Text)) if isinstance(_plain(kind), sa_types.ARRAY) else text
    oid = cast(cast(pg.pg_typeof(value), OID), BigInteger)
    is_own = or_(oid >= FIRST_OWN_OID, oid == JSON_ARRAY_OID)
    return case((pg.num_nulls(value) == 1, null()), (is_own, pg.to_json(own)), else_=whole)


def _own_types(info: TableInfo, without: Collection[str]) -> dict[str, Any]:
    found = {column.name: column.type for column in info.table.columns if column.name not in without}
    return {name: kind for name, kind in found.items() if _may_be_own(kind)}


def _may_be_own(kind: Any) -> bool:
    """Whether a type may be one whose JSON is not that of its text: hstore, a composite, or one we know nothing of."""
    kind = _plain(kind)
    if isinstance(kind, sa_types.ARRAY):
        kind = _plain(kind.item_type)
        if isinstance(kind, sa_types.JSON | DOMAIN):
            return True
    return isinstance(kind, HSTORE | sa_types.UserDefinedType | NullType)


def is_json_array(kind: Any) -> bool:
    """Whether a type is ``json[]``, whose elements are logged as texts."""
    kind = _plain(kind)
    item = _plain(kind.item_type) if isinstance(kind, sa_types.ARRAY) else None
    return isinstance(item, sa_types.JSON) and not isinstance(item, JSONB)


def json_array(row: str, name: str, kind: str) -> str:
    """The SQL of a ``json[]`` from the texts that are logged of it.

    :param row: the SQL of the logged row.
    :param name: that of the name of the column.
    :param kind: its type.
    """
    texts = f"pg_catalog.jsonb_to_record(pg_catalog.jsonb_build_object('v', {row} -> {name}))"
    return f"(SELECT CAST(v AS {kind}) FROM {texts} AS texts(v pg_catalog.text[]))"  # noqa: S608 - quoted by the caller


def values_of_columns(
    connection: Connection, info: TableInfo, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Logged values as values of their columns: PostgreSQL knows best how to read what it wrote, then the types do.

    :param names: of the columns that are wanted.
    :param rows: values without marks.
    """
    types = {declared.name: declared.type for declared in info.table.columns}
    table = quote_ident(*filter(None, (info.table.schema, info.table.name)))
    logged = func.jsonb_array_elements(cast(literal(dump(rows), Text), JSONB))
    entry = logged.table_valued("value", with_ordinality="place").render_derived(name="entry")
    row = func.jsonb_populate_record(literal_column(f"NULL::{table}"), entry.c.value)
    then = row.table_valued(*(column(name, types[name]) for name in names), name="then").lateral()
    read = [
        literal_column(json_array("entry.value", quote_literal(name), _compiled(types[name])), types[name]).label(name)
        if is_json_array(types[name])
        else then.c[name]
        for name in names
    ]
    statement = select(*read).select_from(entry.join(then, literal(True))).order_by(entry.c.place)
    return [dict(zip(names, found, strict=True)) for found in connection.execute(statement)]


def _compiled(kind: Any) -> str:
    return str(kind.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def _plain(kind: Any) -> Any:
    """The type of the database behind those of the application."""
    while isinstance(kind, sa_types.TypeDecorator):
        kind = kind.impl_instance
    return kind


def is_key(table: Any, info: TableInfo, key: Sequence[str]) -> list[ColumnElement[bool]]:
    """What makes a row of a table that of a key."""
    columns = list(info.table.primary_key.columns)
    if not columns or len(columns) != len(key):
        raise LookupError(f"{info.name} has another key now")
    parts = zip(columns, key, strict=True)
    return [table.c[column.key] == cast(literal(text, Text), column.type) for column, text in parts]


def _json_columns(info: TableInfo, without: Collection[str]) -> list[str]:
    return [name for name, column in info.columns.items() if column.kind is ValueKind.JSON and name not in without]
