"""The history of one record, and the names of records as the log knows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
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

from ..diff import as_text
from ..schema.names import TableName
from .criteria import Criteria, conditions, is_change, is_verb
from .feed import APART, Count, Search, capped, nearby, reached
from .paging import MAX_ID, Cursor, Paging, Slice, ordered, paged, position, slice_of, started
from .reader import Log
from .refs import RecordRef
from .rows import ActivityRow, activity_columns, read_activities, read_activity, transaction_columns

#: Stands for a record in a statement that is kept, with :func:`values_of` the one that is meant.
ANY_RECORD: Any = RecordRef(TableName(bindparam("in_schema"), bindparam("in_table")), bindparam("of_key"))  # type: ignore[arg-type]

#: Changes of a record that are looked through for a page if not all of them match, and if it is to look further back.
STEPS = (5000, 100_000)


def values_of(record: RecordRef) -> dict[str, Any]:
    """A record as the parameters of a statement of :data:`ANY_RECORD`."""
    return {"in_schema": record.table.schema, "in_table": record.table.name, "of_key": record.key}


def versions(
    log: Log,
    record: RecordRef,
    paging: Paging,
    criteria: Criteria | None = None,
    *,
    whole: bool = False,
    deeper: bool = False,
) -> Slice[ActivityRow]:
    """A page of the record's changes, in the order of their ids: row locks make that the true order.

    :param criteria: narrows the versions; its table and key are the record's.
    :param deeper: look further than for a first page.
    """
    a, end = log.models.activity.c, None
    if paging == Paging(paging.limit) and (criteria is None or criteria.is_empty):
        statement = log.kept(
            ("versions", whole),
            lambda: _versions(log, ANY_RECORD, whole=whole).order_by(a.id.desc()).limit(bindparam("most")),
        )
        rows = log.all(statement, {**values_of(record), "most": paging.limit + 1})
        return slice_of(read_activities(rows), paging)
    statement = _versions(log, record, whole=whole)
    if criteria is not None:
        statement = statement.where(*conditions(log.models, _of_record(criteria, record), None))
        if _may_look_for_long(log, criteria):
            end = _looked_at(log, record, paging, STEPS[deeper])
    if end is not None:
        statement = statement.where(a.id >= end.activity_id if paging.reads_down else a.id <= end.activity_id)
    rows = log.all(paged(statement, paging, a.id, ends=("activity_id",)))
    return slice_of(read_activities(rows), paging, end)


def count_versions(log: Log, record: RecordRef, criteria: Criteria, cap: int) -> Count | None:
    """How many changes of the record match, up to ``cap``, as far as a page looks; ``None`` if it finds none there."""
    a, t = log.models.activity, log.models.transaction
    wanted = _of_record(criteria, record)
    source = a.outerjoin(t, a.c.transaction_id == t.c.id) if wanted.needs_transaction else a
    matching = log.activities(a.c.id, source=source).where(*conditions(log.models, wanted, None))
    paging = Paging(limit=cap)
    end = _looked_at(log, record, paging, STEPS[0]) if _may_look_for_long(log, criteria) else None
    if end is not None:
        matching = matching.where(a.c.id >= end.activity_id)
    return nearby(capped(log, ordered(matching, paging, a.c.id), cap), end)


def _may_look_for_long(log: Log, criteria: Criteria) -> bool:
    return criteria.is_timed or not criteria.is_plain or log.is_scoped


def _looked_at(log: Log, record: RecordRef, paging: Paging, number: int) -> Cursor | None:
    """The change of the record at which a search ends that finds nothing, if it has so many."""
    w, v = (log.models.activity.alias(name).c for name in ("walked", "version"))
    own = [(c.table_name == record.table.name) & (c.record_key == record.key) for c in (w, v)]
    last = started(select(w.id).where(own[0]), paging, w.id, ends=("activity_id",))
    edge = ordered(last, paging, w.id).offset(number - 1).limit(1).scalar_subquery()
    return Cursor.read(log.scalar(select(position(v).label("edge")).where(own[1], v.id == edge).limit(1)))


def last_version(log: Log, record: RecordRef) -> ActivityRow | None:
    """The newest change of the record, with its whole old row."""
    a = log.models.activity.c
    row = log.first(_versions(log, record, whole=True).where(is_change(a.verb)).order_by(a.id.desc()).limit(1))
    return None if row is None else read_activity(row)


@dataclass(frozen=True)
class Removal:
    """That older changes of a table were removed from the log.

    :param on: the day.
    :param rule: for how long its entries are kept.
    """

    on: str
    rule: str


def removal(log: Log, table: TableName) -> Removal | None:
    """The last removal of older changes of a table, if there was one."""
    a = log.models.activity.c
    statement = log.activities(a.changed_data).where(
        is_verb(a.verb, "pruned"), a.table_name == table.name, a.schema == table.schema
    )
    row = log.first(statement.order_by(a.transaction_id.desc(), a.id.desc()).limit(1))
    return None if row is None else Removal(str(row.changed_data.get("on")), str(row.changed_data.get("rule")))


def renamed_to(version: ActivityRow, key: Sequence[str]) -> tuple[str, ...] | None:
    """The new key if a change gave the record another one.

    :param key: names of the key's columns.
    """
    if version.verb != "update" or not any(column in version.changed_data for column in key):
        return None
    parts = version.record.components if version.record is not None else ()
    # what stayed as it was is logged with whole rows only; a key too long for the log can't be taken apart
    old = {**dict(zip(key, parts, strict=False)), **version.old_data} if len(parts) == len(key) else version.old_data
    row = {**old, **version.changed_data}
    return tuple(as_text(row[column]) for column in key) if row.keys() >= set(key) else ()


def renamed_from(log: Log, record: RecordRef, key: Sequence[str], after: int = 0) -> ActivityRow | None:
    """The last change that gave another record the key of this one.

    No index leads to it: those of a small table are read, else the newest of the log.

    :param key: names of the key's columns.
    """
    a = log.models.activity.c
    _, reach = reached(log, Search(Criteria(tables=(record.table,))), Paging())
    named = list(zip(map(str, key), record.components, strict=False))
    # what a change does not name is as it was, so it is the same in the old key
    parts = [func.coalesce(a.changed_data[name].astext, a.old_data[name].astext, text) == text for name, text in named]
    if len(named) > 1:
        before = (func.coalesce(a.old_data[name].astext, text) for name, text in named)
        parts.append(cast(func.jsonb_build_array(*before), Text) == a.record_key)
    statement = _of_table(log, record).where(
        a.verb == "update",
        a.id > after,
        a.record_key != record.key,
        or_(*(a.changed_data.has_key(str(name)) for name in key)),
        *parts,
    )
    if reach.edge is not None:
        statement = statement.where(a.transaction_id >= reach.edge.transaction_id)
    found = statement.offset(APART).subquery() if reach.edge is None else None
    order = statement.order_by(a.id.desc()) if found is None else select(found).order_by(found.c.id.desc())
    row = log.first(order.limit(1))
    return None if row is None else read_activity(row)


def _versions(log: Log, record: RecordRef, *, whole: bool) -> Select[Any]:
    return _of_table(log, record, whole=whole).where(log.models.activity.c.record_key == record.key)


def _of_table(log: Log, record: RecordRef, *, whole: bool = False) -> Select[Any]:
    a, t = log.models.activity, log.models.transaction
    return log.activities(
        *activity_columns(log.models, whole=whole),
        *transaction_columns(log.models),
        source=a.outerjoin(t, a.c.transaction_id == t.c.id),
    ).where(a.c.table_name == record.table.name, a.c.schema == record.table.schema)


def is_record(log: Log, record: RecordRef) -> list[ColumnElement[bool]]:
    """What makes an activity a change of the record."""
    a = log.models.activity.c
    own = (a.table_name == record.table.name, a.record_key == record.key, a.schema == record.table.schema)
    return [*own, is_change(a.verb)]


def is_emptied(log: Log, schema: Any, table_name: Any) -> list[ColumnElement[bool]]:
    """What makes an activity one that removed all rows of a table at once."""
    a = log.models.activity.c
    return [a.table_name == table_name, a.record_key.is_(None), a.schema == schema, is_verb(a.verb, "truncate")]


def is_end(a: Any, key: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether nothing has the key of a record after a change of it: it was deleted, or got another key.

    :param a: the columns of the change.
    :param key: names of the key's columns, as an array.
    """
    return or_(a.verb == "delete", and_(a.verb == "update", a.changed_data.has_any(key)))


def _of_record(criteria: Criteria, record: RecordRef) -> Criteria:
    return replace(criteria, tables=(record.table,), record_key=record.key)


#: Columns whose value names a record to a human, best first.
NAMING_COLUMNS = ("name", "title", "label", "display_name", "full_name", "username", "email", "login")
#: Maximum number of records that are named at once.
MOST_RECORDS = 1000
#: Characters of a name.
LONGEST = 120
#: Maximum number of changes of a record that are scanned for the ends of its lives.
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
    records: Mapping[RecordRef, Cursor | None],
    naming_columns: Callable[[TableName], Sequence[str]],
    key: Callable[[TableName], Sequence[str]],
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
    names = tuple(dict.fromkeys(name for *_, columns in wanted for name in columns))
    statement = log.kept(("names", names), lambda: _names(log, names))
    since = [None if oldest is None else oldest.activity_id for _, oldest, _ in wanted]
    values = asked_values([(ref, since) for (ref, *_), since in zip(wanted, since, strict=True)], key)
    if log.models.is_partitioned:
        oldest = min((at.transaction_id for _, at, _ in wanted if at is not None), default=MAX_ID)
        values |= _month_values(log, oldest)
    found: dict[RecordRef, Names] = {}
    ids: dict[RecordRef, int] = {}
    places = {ref.table: [names.index(name) for name in columns] for ref, _, columns in wanted}
    with log.without_sorting():
        rows = log.all(statement, values)
    for row in rows:
        ref, texts = wanted[row.place - 1][0], row[NAMES_AT:-1]
        named = Named(next((texts[place] for place in places[ref.table] if texts[place]), None), row.is_deleted)
        if row.end is None:
            found[ref], ids[ref] = Names(named), row.id
        elif row.id != ids[ref]:
            found[ref].earlier[row.end] = named
    return found


#: Where the values that name a record begin in a row of the statement.
NAMES_AT = 4


def _names(log: Log, names: Sequence[str]) -> Select[Any]:
    """Of each record that is asked for the values that name it, in each of its lives."""
    asked, emptied = asked_records(), _emptied(log)
    is_its = and_(emptied.c.schema == asked.c.schema, emptied.c.table_name == asked.c.table_name)
    emptied_at = select(emptied.c.id).where(is_its).correlate(asked).scalar_subquery()
    end = _ends(log, asked, emptied_at)
    last = _last(log, asked, end, names)
    is_deleted = or_(last.c.verb == "delete", func.coalesce(emptied_at, 0) > last.c.id)
    statement = select(asked.c.place, end.c.id.label("end"), last, is_deleted.label("is_deleted"))
    statement = statement.select_from(asked.join(end, true()).join(last, true()))
    return statement.order_by(asked.c.place, end.c.id.nulls_first())


def asked_values(
    records: Sequence[tuple[RecordRef, int | None]], key: Callable[[TableName], Sequence[str]]
) -> dict[str, list[Any]]:
    """The values of a statement with :func:`asked_records`.

    :param records: each with the oldest change that matters, if one does.
    :param key: the columns of a table's key.
    """
    refs = [ref for ref, _ in records]
    return {
        "asked_schema": [ref.table.schema for ref in refs],
        "asked_table": [ref.table.name for ref in refs],
        "asked_key": [ref.key for ref in refs],
        "asked_columns": [json.dumps([str(name) for name in key(ref.table)]) for ref in refs],
        "asked_since": [since for _, since in records],
    }


def asked_records() -> Any:
    """Records as the rows of a statement, numbered from 1 by ``place``."""
    # arrays, not VALUES: one statement for any number of records, so it is compiled once
    texts = ("asked_schema", "asked_table", "asked_key", "asked_columns")
    columns: list[Any] = [cast(bindparam(name, type_=ARRAY(Text)), ARRAY(Text)) for name in texts]
    columns.append(cast(bindparam("asked_since", type_=ARRAY(BigInteger)), ARRAY(BigInteger)))
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
    own = (a.table_name == asked.c.table_name, a.record_key == asked.c.record_key, a.schema == asked.c.schema)
    return [*own, is_change(a.verb)]


def _emptied(log: Log) -> CTE:
    """When the tables of the records that are asked for were last emptied at once, by its id."""
    asked = asked_records()
    table = select(asked.c.schema, asked.c.table_name).distinct().subquery("table")
    newest = log.activities(log.models.activity.c.id).where(*is_emptied(log, table.c.schema, table.c.table_name))
    newest = newest.order_by(log.models.activity.c.id.desc()).limit(1).correlate(table)
    return select(table.c.schema, table.c.table_name, newest.scalar_subquery().label("id")).cte("emptied")


def _ends(log: Log, asked: Any, emptied_at: ScalarSelect[int]) -> Any:
    """The ids by which lives of a key had ended, as far as they are asked for; and nothing, for the newest life.

    :param emptied_at: the id by which the table was last emptied.
    """
    a = log.models.activity.c
    key = func.array(key_columns(asked), type_=ARRAY(Text))
    own = log.activities(a.id, a.verb, is_end(a, key).label("is_end")).where(*_is_own(log, asked))
    own = own.where(a.id >= asked.c.since).order_by(a.id)
    change = _by_month(log, own, MOST_CHANGES, "since", asked).subquery("change")
    # whatever had the key before an insert was gone by then, even if nobody saw that
    is_new = and_(change.c.verb == "insert", change.c.id > asked.c.since)
    ended = select(case((is_new, change.c.id - 1), else_=change.c.id)).where(or_(change.c.is_end, is_new))
    # one for each change at most: between two of them, all times that the table was emptied mean the same
    start = union_all(select(asked.c.since.label("id")).correlate(asked), select(change.c.id + 1)).subquery("start")
    later = log.activities(a.id).where(*is_emptied(log, asked.c.schema, asked.c.table_name))
    later = later.where(a.id >= start.c.id, start.c.id <= emptied_at)
    emptied = later.order_by(a.id).limit(1).correlate(asked, start).lateral("first_emptied")
    gone = select(emptied.c.id).distinct().select_from(start.join(emptied, true()))
    ends = (func.array(part.correlate(asked).scalar_subquery()) for part in (ended, gone))
    every = func.pg_catalog.array_append(func.pg_catalog.array_cat(*ends), cast(null(), BigInteger))
    unnested = func.unnest(every, type_=BigInteger).table_valued(column("id", BigInteger), name="ends")
    return unnested.render_derived().lateral()


def _last(log: Log, asked: Any, end: Any, names: Sequence[str]) -> Any:
    """The last change up to an end, with the values that name the record."""
    a = log.models.activity.c
    row = case((a.verb == "delete", a.old_data), else_=a.old_data.op("||", return_type=JSONB)(a.changed_data))
    texts = (_text(row, name).label(f"name_{place}") for place, name in enumerate(names))
    own = log.activities(a.id, a.verb, *texts).where(*_is_own(log, asked), a.id <= func.coalesce(end.c.id, MAX_ID))
    return _by_month(log, own.order_by(a.id.desc()), 1, "all", asked, end).lateral("last")


def _by_month(log: Log, own: Select[Any], most: int, which: str, *outside: Any) -> Select[Any]:
    """The first rows of a select of activities in the order of their ids, month by month: each has its own indexes.

    :param which: ``since``: oldest first, from the oldest month that was asked for; ``all``: newest first.
    :param outside: what it refers to.
    """
    own = own.limit(most)
    if not log.models.is_partitioned:
        return own.correlate(*outside)
    month, is_in_month = _months(log, which)
    within = own.where(*is_in_month).correlate(*outside, month).lateral("within")
    # the function gives its rows in this order, so that reading ends with the month that fills the limit
    found = select(within).select_from(month.join(within, true())).order_by(month.c.number)
    return found.limit(most).correlate(*outside)


#: The bounds of a month: its first transaction id, and the next month's.
MONTH = ("low", "high")


def _months(log: Log, which: str) -> tuple[Any, list[ColumnElement[bool]]]:
    """The months as the rows of a statement, numbered from 1, and that a change is in one."""
    bounds = [cast(bindparam(f"{which}_{name}", type_=ARRAY(BigInteger)), ARRAY(BigInteger)) for name in MONTH]
    columns = [column(name, BigInteger) for name in MONTH]
    month = func.unnest(*bounds).table_valued(*columns, with_ordinality="number", name="month").render_derived()
    a = log.models.activity.c
    return month, [a.transaction_id >= month.c.low, a.transaction_id < month.c.high]


def lived_in(log: Log, record: RecordRef) -> tuple[int, int]:
    """Between which transaction ids all changes of a record are, by whole months."""
    month, is_in_month = _months(log, "all")
    a = log.models.activity.c
    change = select(a.id).where(*is_record(log, record), *is_in_month).order_by(a.id).limit(1)
    source = month.join(change.correlate(month).lateral("change"), true())
    statement = select(func.min(month.c.low), func.max(month.c.high)).select_from(source)
    low, high = log.all(statement, _month_values(log, 0))[0]
    return low or 0, high or 0


def _month_values(log: Log, oldest: int) -> dict[str, list[int]]:
    """The months as parameters of a statement.

    :param oldest: the oldest transaction that matters where not all do.
    """
    every, since = log.months(), log.months_from(oldest)
    return {
        "all_low": list(every),
        "all_high": [MAX_ID, *every[:-1]],
        "since_low": list(since),
        "since_high": [*since[1:], MAX_ID],
    }


def _text(row: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """A name is a text or a number; the mark of a masked value is neither."""
    is_name = func.jsonb_typeof(func.jsonb_extract_path(row, name)).in_(("string", "number"))
    return case((is_name, func.left(func.jsonb_extract_path_text(row, name), LONGEST)))
