"""The row of a record as it is now, written the way the log writes it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from .reader import Log
from .refs import RecordRef
from .tables import TableInfo
from .values import load


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
