"""The row of a record as it is now, written the way the log writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from .diff import differs
from .reader import Log
from .records import renamed_to
from .refs import RecordRef
from .rows import ActivityRow
from .tables import TableInfo
from .values import load, value_of


@dataclass(frozen=True)
class Drift:
    """How a row differs from what the log says about it, because it was changed while auditing was off.

    ``kind`` is ``none``, ``columns`` (these differ), ``gone`` (the log does not know that it was removed), ``unlogged``
    (the log says that it was deleted) or ``unknown`` (the row can't be read).
    """

    kind: str
    columns: tuple[str, ...] = ()


def drift(log: Log, info: TableInfo, record: RecordRef, newest: ActivityRow) -> Drift:
    """Compare the row with the newest change in the log. After ``unknown``, nothing can be read with ``log``."""
    if not info.is_audited or renamed_to(newest, info.key) is not None:
        return Drift("none")
    logged = newest.state_after
    try:
        row = live_row(log, info, record)
    except LookupError:
        return Drift("unknown")
    if row is None or logged is None:
        return Drift("none") if row is logged else Drift("gone" if row is None else "unlogged")
    columns = [name for name in info.ordered(row) if name in logged and _differ(logged, row, name)]
    return Drift("columns", tuple(columns)) if columns else Drift("none")


def _differ(logged: dict[str, Any], row: dict[str, Any], column: str) -> bool:
    return differs(value_of(logged, column), value_of(row, column))


def live_row(log: Log, info: TableInfo, record: RecordRef) -> dict[str, Any] | None:
    """The columns of a record that are logged, as they are now; ``None`` if there is no such row.

    Everything named here comes from the models, never from an address. Nothing can be read with ``log`` after a
    failure, such as a column that the models have and the database has not.

    :raises LookupError: if the row can't be read.
    """
    parts = record.components
    if not info.key or len(parts) != len(info.key) or info.table.metadata is not log.models.activity.metadata:
        raise LookupError(f"the row of {record} can't be read")
    live = info.table.alias("live")
    unlogged = sorted(info.excluded | info.masked)
    row_json: ColumnElement[Any] = func.to_jsonb(live.table_valued())
    if unlogged:
        row_json = row_json.op("-")(cast(unlogged, ARRAY(Text)))
    statement = select(cast(row_json, Text)).select_from(live)
    for column, text in zip(info.table.primary_key.columns, parts, strict=True):
        part: Any = live.corresponding_column(column)
        statement = statement.where(part == cast(literal(text, Text), column.type))
    try:
        row = log.first(statement)
    except DBAPIError as error:
        raise LookupError(f"the row of {record} can't be read") from error
    return None if row is None else load(row[0])
