"""How records are called, as far as the log knows: also for those that were deleted, and whose keys others have now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .reader import Log
from .records import is_emptied, is_end
from .refs import RecordRef, TableRef

#: Columns whose value names a record to a human, best first.
NAMING_COLUMNS = ("name", "title", "label", "display_name", "full_name", "username", "email", "login")
#: At most so many records are named at once.
MOST_RECORDS = 1000
#: Characters of a name.
LONGEST = 120
#: So many changes of a record are looked at for the ends of its lives.
MOST_CHANGES = 500


@dataclass(frozen=True)
class Named:
    """The name a record last had in the log, or in an earlier life of its key."""

    name: str | None
    is_deleted: bool


@dataclass
class Names:
    """The names of what had a key: the newest, and by the last change of each life those before it."""

    newest: Named
    earlier: dict[int, Named] = field(default_factory=dict)

    def before(self, activity_id: int) -> Named | None:
        """What had the key at the time of a change, if that is not what had it last."""
        ends = [end for end in self.earlier if end >= activity_id]
        return self.earlier[min(ends)] if ends else None


def names_of(
    log: Log,
    records: Mapping[RecordRef, int | None],
    naming_columns: Callable[[TableRef], Sequence[str]],
    key: Callable[[TableRef], Sequence[str]],
) -> dict[RecordRef, Names]:
    """The names of records, each found by steps in the index of records.

    :param records: with the oldest change for which the name is asked; ``None`` if only the newest name is.
    :param naming_columns: the columns of a table that name its records, best first; none if the reader may not see
        them.
    :param key: the columns of a table's key.
    """
    wanted = [(ref, since, naming_columns(ref.table)) for ref, since in list(records.items())[:MOST_RECORDS]]
    wanted = [entry for entry in wanted if entry[2]]
    if not wanted:
        return {}
    asked = asked_records([(ref, since) for ref, since, _ in wanted], key)
    names = list(dict.fromkeys(name for *_, columns in wanted for name in columns))
    end = _ends(log, asked)
    last = _last(log, asked, end, names)
    a = log.models.activity.c
    emptied = log.activities(a.id).where(*is_emptied(log, asked.c.schema, asked.c.table_name), a.id > last.c.id)
    is_deleted = or_(last.c.verb == "delete", emptied.correlate(asked, last).exists())
    statement = select(asked.c.place, end.c.id.label("end"), last, is_deleted.label("is_deleted"))
    statement = statement.select_from(asked.join(end, true()).join(last, true()))
    found: dict[RecordRef, Names] = {}
    ids: dict[RecordRef, int] = {}
    for row in log.all(statement.order_by(asked.c.place, end.c.id.nulls_first())):
        ref, _, columns = wanted[row.place - 1]
        texts_of = (getattr(row, f"name_{names.index(name)}") for name in columns)
        named = Named(next((text for text in texts_of if text), None), row.is_deleted)
        if row.end is None:
            found[ref], ids[ref] = Names(named), row.id
        elif row.id != ids[ref]:
            found[ref].earlier[row.end] = named
    return found


def asked_records(records: Sequence[tuple[RecordRef, int | None]], key: Callable[[TableRef], Sequence[str]]) -> Any:
    """Records as the rows of a statement, numbered from 1 by ``place``.

    :param records: each with the oldest change that matters, if one does.
    :param key: the columns of a table's key.
    """
    # arrays, not VALUES: one statement for any number of records, so it is compiled once
    refs = [ref for ref, _ in records]
    texts = (
        [ref.table.schema for ref in refs],
        [ref.table.name for ref in refs],
        [ref.key for ref in refs],
        [json.dumps([str(name) for name in key(ref.table)]) for ref in refs],
    )
    columns = [*(cast(part, ARRAY(Text)) for part in texts), cast([since for _, since in records], ARRAY(BigInteger))]
    unnested = func.unnest(*columns).table_valued(
        column("schema", Text),
        column("table_name", Text),
        column("record_key", Text),
        column("key_columns", Text),
        column("since", BigInteger),
        with_ordinality="place",
        name="asked",
    )
    return unnested.render_derived()


def key_columns(asked: Any) -> Any:
    """The names of the columns of each record's key."""
    part = func.jsonb_array_elements_text(cast(asked.c.key_columns, JSONB)).table_valued("name").render_derived()
    return select(part.c.name).correlate(asked).scalar_subquery()


def _is_own(log: Log, asked: Any) -> list[ColumnElement[bool]]:
    a = log.models.activity.c
    return [a.table_name == asked.c.table_name, a.record_key == asked.c.record_key, a.schema == asked.c.schema]


def _ends(log: Log, asked: Any) -> Any:
    """The ids by which lives of a key had ended, as far as they are asked for; and nothing, for the newest life."""
    a = log.models.activity.c
    key = func.array(key_columns(asked), type_=ARRAY(Text))
    own = log.activities(a.id, a.verb, is_end(a, key).label("is_end")).where(*_is_own(log, asked))
    own = own.where(a.id >= asked.c.since)
    change = own.order_by(a.id).limit(MOST_CHANGES).correlate(asked).subquery("change")
    # whatever had the key before an insert was gone by then, even if nobody saw that
    is_new = and_(change.c.verb == "insert", change.c.id > asked.c.since)
    ended = select(case((is_new, change.c.id - 1), else_=change.c.id)).where(or_(change.c.is_end, is_new))
    # one for each change at most: between two of them, all times that the table was emptied mean the same
    start = union_all(select(asked.c.since.label("id")).correlate(asked), select(change.c.id + 1)).subquery("start")
    later = log.activities(a.id).where(*is_emptied(log, asked.c.schema, asked.c.table_name), a.id >= start.c.id)
    emptied = later.order_by(a.id).limit(1).correlate(asked, start).lateral("emptied")
    gone = select(emptied.c.id).distinct().select_from(start.join(emptied, true()))
    ends = (func.array(part.correlate(asked).scalar_subquery()) for part in (ended, gone))
    every = func.array_append(func.array_cat(*ends), cast(null(), BigInteger))
    unnested = func.unnest(every, type_=BigInteger).table_valued(column("id", BigInteger), name="ends")
    return unnested.render_derived().lateral()


def _last(log: Log, asked: Any, end: Any, names: Sequence[str]) -> Any:
    """The last change up to an end, with the values that name the record."""
    a = log.models.activity.c
    row = case((a.verb == "delete", a.old_data), else_=a.old_data.op("||", return_type=JSONB)(a.changed_data))
    texts = (_text(row, name).label(f"name_{place}") for place, name in enumerate(names))
    own = log.activities(a.id, a.verb, *texts).where(*_is_own(log, asked), or_(end.c.id.is_(None), a.id <= end.c.id))
    return own.order_by(a.id.desc()).limit(1).correlate(asked, end).lateral("last")


def _text(row: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """A name is a text or a number; the mark of a masked value is neither."""
    is_name = func.jsonb_typeof(func.jsonb_extract_path(row, name)).in_(("string", "number"))
    return case((is_name, func.left(func.jsonb_extract_path_text(row, name), LONGEST)))
