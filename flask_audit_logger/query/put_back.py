"""Put logged values back into a row: which columns can be, with which values, why others can't, and the write."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Connection, Text, cast, event, func, literal, null, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Mapper, Session, object_mapper
from sqlalchemy.orm.attributes import flag_modified, instance_dict
from sqlalchemy.types import NullType

from ..diff import differs
from ..diff.kinds import ValueKind, settled
from ..diff.values import ABSENT, JSON_NULL, MASKED, NULL, Value, as_logged, as_value, load, mark_of, value_of
from ..exceptions import Conflict, Refused
from ..i18n import marked
from .drift import is_as_logged, is_key, logged_json, read_live_row, select_live, values_of_columns
from .reader import SETTINGS, AuditReader, Log
from .refs import RecordRef
from .scope import newest_change
from .tables import TableInfo

#: The mapped classes of an application.
Mappers = Collection[Mapper[Any]]


def _written(session: Session, info: TableInfo, values: Mapping[str, Any]) -> dict[str, Any]:
    """Logged values as they are written into their columns.

    :raises Refused: if Python can't hold one of them exactly.
    """
    known = {name: found for name, value in values.items() if (found := _as_sql(info, name, value)) is not None}
    given = {name: as_value(value).data for name, value in values.items() if name not in known}
    if not given:
        return known
    connection = session.connection(bind_arguments={"clause": info.table})
    (read,) = values_of_columns(connection, info, list(given), [given])
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
    sent = ((name, logged_json(cast(literal(typed[name], types[name]), types[name]), types[name])) for name in names)
    row = session.execute(
        select(*(cast(func.pg_catalog.jsonb_build_object(name, value), Text) for name, value in sent))
    ).one()
    seen = {name: value for text in row for name, value in load(text).items()}
    return [name for name in names if differs(_raw(seen[name]), _raw(given[name]), info.kind(name))]


def _raw(data: Any) -> Value:
    """A value of which no part is read as a mark."""
    return as_value(as_logged(data)) if isinstance(data, dict) else as_value(data)


def identity(session: Session, info: TableInfo, key: Sequence[str]) -> list[Any]:
    """The values of a key, given as text."""
    parts = zip(info.table.primary_key.columns, key, strict=True)
    return list(session.execute(select(*(cast(literal(text, Text), part.type) for part, text in parts))).one())


def column_of(info: TableInfo, name: str) -> Any:
    """A column of the table by its name in the database."""
    return next(found for found in info.table.columns if found.name == name)


#: The obstacle that takes nothing from a row that is made again.
MADE = marked("the database generates this value")


@dataclass(frozen=True)
class LiveRow:
    """The row as it is now, all columns, and a digest of it; ``row`` is ``None`` if there is none."""

    row: dict[str, Any] | None
    digest: str


#: The row of a record that has none, or none that its reader may see.
NO_ROW = LiveRow(None, hashlib.sha256(b"").hexdigest())


@dataclass(frozen=True)
class PlannedColumn:
    """What would happen to a column.

    :param logged: the value to put back, as logged.
    :param obstacle: why it can't be put back.
    :param is_lacking: whether no row can be made without it.
    """

    name: str
    now: Value
    then: Value
    logged: Any = None
    obstacle: str | None = None
    is_lacking: bool = False


def read_live(connection: Connection, info: TableInfo, key: Sequence[str], *, lock: bool = False) -> LiveRow:
    """Read the row, and lock it for the rest of the transaction if it is to be changed.

    :param key: the values of its key as text.
    :raises Refused: if there can't be such a row.
    """
    try:
        statement = select_live(info, key, lock=lock)
        connection.execute(select(*(func.set_config(name, value, True) for name, value in SETTINGS)))
        found = connection.execute(statement).first()
    except (DBAPIError, LookupError) as error:
        raise Refused("the row can't be read") from error
    text = "" if found is None else repr(tuple(found))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return LiveRow(read_live_row(info, found), digest)


def plan(
    info: TableInfo, mappers: Mappers, live: LiveRow, target: dict[str, Any], hidden: Collection[str]
) -> list[PlannedColumn]:
    """The columns in which a row differs from what it was; all columns of a row that is to be made again.

    :param target: the row to go back to.
    :param hidden: columns the reader may not see: they are left as they are, and not named if there is a row.
    """
    unknown = {name for name in target if name in hidden or value_of(target, name) == MASKED}
    counted = counted_column(mappers, info)
    if live.row is None:
        missing = unknown | {name for name, column in info.columns.items() if not column.is_generated} - target.keys()
        return [
            _missing(info, name, name in hidden, is_counted=name == counted)
            if name in missing
            else PlannedColumn(
                name, ABSENT, value_of(target, name), target[name], obstacle_of(info, name, target[name], live, counted)
            )
            for name in info.ordered(missing | target.keys())
        ]
    planned = []
    for name in info.ordered(target.keys() - unknown):
        now, then = value_of(live.row, name), value_of(target, name)
        if differs(now, then, info.kind(name)):
            obstacle = obstacle_of(info, name, target[name], live, counted)
            planned.append(PlannedColumn(name, now, then, target[name], obstacle))
    return planned


def read_in_scope(
    log: Log, info: TableInfo, record: RecordRef, key: Sequence[str], *, lock: bool = False
) -> LiveRow | None:
    """Read the row as far as it belongs to what the reader may see; ``None`` if it is out of their scope, or may be.

    The row comes first: once it is locked, whoever changed it has committed, and the log has what they did.

    :param log: reads in the transaction that will change the row.
    :raises Refused: if there can't be such a row.
    """
    live = read_live(log.connection, info, key, lock=lock)
    newest = newest_change(log, record, lambda _: info.key)
    if not newest.is_seen:
        return None
    if not newest.has_row:
        return NO_ROW
    return live if live.row is None or is_as_logged(log, info, record, live.row) else None


def put_back(
    session: Session,
    mappers: Mappers,
    info: TableInfo,
    record: RecordRef,
    key: Sequence[str],
    *,
    reader: AuditReader,
    digest: str,
    values: Mapping[str, Any],
) -> None:
    """Change the row through the application's session, so that its events, triggers and policies hold.

    Nothing is committed.

    :param key: the values of its key as text.
    :param reader: of whoever changes it: their scope holds for the row as well.
    :param digest: of the row when the change was shown.
    :param values: what the columns become, as logged.
    :raises Conflict: if the row is another one by now.
    :raises Refused: if the database refuses the values.
    """
    connection = session.connection(bind_arguments={"clause": info.table})
    log = Log(connection=connection, models=reader.models, scope=reader.scope)
    live = read_in_scope(log, info, record, key, lock=True)
    if live is None or live.digest != digest:
        raise Conflict("the row has changed in the meantime")
    try:
        with _numbers_given(session, info):
            _write(session, mappers, info, key, values, is_new=live.row is None)
            session.flush()
    # psycopg2 raises the plain errors for dates and numbers that Python has no value for
    except (SQLAlchemyError, ValueError, OverflowError) as error:
        objection = objection_of(error)
        raise Refused(f"the database refused it: {objection}", objection) from error


def _missing(info: TableInfo, name: str, is_hidden: bool, *, is_counted: bool) -> PlannedColumn:
    """A column that a row which is made again will not have as it was."""
    declared = info.columns.get(name)
    is_hidden = is_hidden and name not in info.masked
    reason = marked("its value is hidden from you") if is_hidden else marked("the log has no value for it")
    is_lacking = declared is not None and declared.is_required and not is_counted
    return PlannedColumn(name, ABSENT, ABSENT, obstacle=reason, is_lacking=is_lacking)


def obstacle_of(info: TableInfo, name: str, value: Any, live: LiveRow, counted: str | None) -> str | None:
    """Why a column can't get a logged value; :data:`MADE` takes nothing from it.

    :param counted: the column that SQLAlchemy counts changes in, if it is left alone.
    """
    declared = info.columns.get(name)
    if declared is None or (live.row is not None and name not in live.row):
        return marked("the column is gone")
    if declared.is_generated or declared.kind is ValueKind.DERIVED or (declared.is_numbered and live.row is not None):
        return MADE
    if name == counted:
        return marked("the application uses it to detect concurrent changes")
    if declared.is_key and live.row is not None:
        return marked("it is part of the key")
    is_json, mark = declared.kind is ValueKind.JSON, mark_of(value)
    if mark == "too large" or (mark == "text" and not is_json):
        return marked("the log could not store the exact value")
    fits = (
        value is None or is_json or declared.kind is ValueKind.PLAIN or settled(declared.kind, value) is declared.kind
    )
    return None if fits else marked("the type of the column has changed")


def _mapper(mappers: Mappers, info: TableInfo) -> Mapper[Any] | None:
    return next((m for m in mappers if m.local_table is info.table and not m.inherits), None)


def counted_column(mappers: Mappers, info: TableInfo) -> str | None:
    """The column that tells SQLAlchemy whether somebody else changed the row; it writes it itself."""
    mapper = _mapper(mappers, info)
    return None if mapper is None or mapper.version_id_col is None else mapper.version_id_col.name


@contextmanager
def _numbers_given(session: Session, info: TableInfo) -> Iterator[None]:
    """Let rows that are made again have the numbers they had, which SQLAlchemy has no words for."""
    if not any(column.is_numbered for column in info.columns.values()):
        yield
        return

    def told(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> tuple[str, Any]:
        compiled = context.compiled if context.isinsert else None
        if compiled is not None and compiled.statement.table is info.table:
            statement = statement.replace(") VALUES (", ") OVERRIDING SYSTEM VALUE VALUES (", 1)
        return statement, parameters

    connection = session.connection(bind_arguments={"clause": info.table})
    event.listen(connection, "before_cursor_execute", told, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", told)


def _write(
    session: Session,
    mappers: Mappers,
    info: TableInfo,
    key: Sequence[str],
    values: Mapping[str, Any],
    *,
    is_new: bool,
) -> None:
    written = _written(session, info, values)
    mapper = _mapper(mappers, info)
    if mapper is None:
        statement = info.table.insert() if is_new else info.table.update().where(*is_key(info.table, info, key))
        session.execute(statement.values({column_of(info, name): value for name, value in written.items()}))
        return
    if is_new:
        found = _class_of(mapper, info, written).class_manager.new_instance()
        session.add(found)
    else:
        found = session.get(mapper.class_, tuple(identity(session, info, key)), populate_existing=True)
    for name, value in written.items():
        attribute = object_mapper(found).get_property_by_column(column_of(info, name)).key
        if isinstance(value, ClauseElement):  # what is meant for the database, MutableDict and validators refuse
            instance_dict(found)[attribute] = value
            flag_modified(found, attribute)
        else:
            setattr(found, attribute, value)


def _class_of(mapper: Mapper[Any], info: TableInfo, values: Mapping[str, Any]) -> Mapper[Any]:
    """The class of a row that is made again: several may share the table."""
    found = mapper.polymorphic_map.get(values.get(getattr(mapper.polymorphic_on, "name", "")), mapper)
    return found if found.local_table is info.table else mapper


def objection_of(error: Exception) -> str:
    """The constraint that the database reports, without the values."""
    diagnosis = getattr(getattr(error, "orig", None), "diag", None)
    constraint = getattr(diagnosis, "constraint_name", None)
    return str(constraint or type(getattr(error, "orig", None) or error).__name__)
