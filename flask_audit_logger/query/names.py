"""How records are called, as far as the log knows: also for those that were deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, column, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .reader import Log
from .refs import RecordRef, TableRef

#: Columns whose value names a record to a human, best first.
NAMING_COLUMNS = ("name", "title", "label", "display_name", "username")
#: At most so many records are named at once.
MOST = 1000
#: Characters of a name.
LONGEST = 120


@dataclass(frozen=True)
class Named:
    """The name a record last had in the log."""

    name: str
    is_deleted: bool


def names_of(
    log: Log, records: Sequence[RecordRef], naming_columns: Callable[[TableRef], Sequence[str]]
) -> dict[RecordRef, Named]:
    """The names of records, each found by one step in the index of records.

    :param naming_columns: the columns of a table that name its records, best first; none if the reader may not see
        them.
    """
    wanted = [(ref, naming_columns(ref.table)) for ref in records[:MOST]]
    wanted = [(ref, columns) for ref, columns in wanted if columns]
    if not wanted:
        return {}
    a = log.models.activity.c
    refs = [ref for ref, _ in wanted]
    # arrays, not VALUES: one statement for any number of records, so it is compiled once
    columns_asked = ([ref.table.schema for ref in refs], [ref.table.name for ref in refs], [ref.key for ref in refs])
    asked = (
        func.unnest(*(cast(texts, ARRAY(Text)) for texts in columns_asked))
        .table_valued(
            column("schema", Text),
            column("table_name", Text),
            column("record_key", Text),
            with_ordinality="place",
            name="asked",
        )
        .render_derived()
    )
    row = case((a.verb == "delete", a.old_data), else_=a.old_data.op("||", return_type=JSONB)(a.changed_data))
    names = list(dict.fromkeys(name for _, columns in wanted for name in columns))
    newest = (
        log.activities(
            (a.verb == "delete").label("is_deleted"),
            *(_text(row, name).label(f"name_{place}") for place, name in enumerate(names)),
        )
        .where(a.table_name == asked.c.table_name, a.record_key == asked.c.record_key, a.schema == asked.c.schema)
        .order_by(a.id.desc())
        .limit(1)
        .correlate(asked)
        .lateral("newest")
    )
    statement = select(asked.c.place, newest).select_from(asked.join(newest, true()))
    found = {}
    for place, is_deleted, *texts in log.all(statement):
        ref, columns = wanted[place - 1]
        name = next((text for column in columns if (text := texts[names.index(column)])), None)
        if name:
            found[ref] = Named(name, is_deleted)
    return found


def _text(row: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """A name is a text or a number; the mark of a masked value is neither."""
    is_name = func.jsonb_typeof(func.jsonb_extract_path(row, name)).in_(("string", "number"))
    return case((is_name, func.left(func.jsonb_extract_path_text(row, name), LONGEST)))
