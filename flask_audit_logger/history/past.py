"""Rows as they were at a time, as detached objects of their classes.

The statement of the application runs unchanged, but the name of its table means a common table expression with the
rows of then: of each key the newest change that had begun by then, else what the first change after it found, else the
row of today. PostgreSQL makes typed columns of the logged values, SQLAlchemy objects of those.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import (
    CTE,
    Column,
    Connection,
    DateTime,
    Select,
    Table,
    Text,
    TextClause,
    bindparam,
    cast,
    column,
    event,
    func,
    literal,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapper, Session, defer, object_mapper, raiseload, undefer
from sqlalchemy.orm.attributes import instance_dict
from sqlalchemy.sql import ClauseElement, visitors
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.util import find_tables

from ..diff.kinds import ValueKind
from ..exceptions import BadValue, ConfigurationError, UnknownPast
from ..query.criteria import is_verb
from ..query.drift import is_json_array, json_array
from ..query.reader import Log
from ..query.tables import TableInfo
from ..sql import quote_ident
from .source import Target, bad_key_named

T = TypeVar("T")

#: What a value of a column that is not logged is called, beside the marks of the log.
NOT_LOGGED, ABSENT = "not logged", "absent"
#: Where an object keeps which of its columns are not known, and why.
_UNKNOWN = "_audit_unknown"
#: Stands for the schema of a table in the statement of the application; SQLAlchemy can't translate one to none.
_THEN = "audit_logger_then"
_WHOLE = {"insert", "update", "delete"}

#: ``step``: what an entry does to the number of rows with a key. A change of the key takes one from the old key and
#: gives one to the new. Entries of one transaction and time may be one statement that moves many keys along, so their
#: order tells nothing: they are counted together, and if as many went as came, what was before decides.
_ROWS = """
WITH emptied AS MATERIALIZED (
    SELECT coalesce(max(a.id) FILTER (WHERE a.issued_at <= :when{n}), 0) AS id, count(*) AS number,
        count(*) FILTER (WHERE a.issued_at > :when{n}) AS later
    FROM {activity} AS a
    WHERE a.table_name = :table{n} AND a.schema = :schema{n} AND a.record_key IS NULL AND a.verb = 'truncate'
        AND a.issued_at >= :begins{n}
), entry AS MATERIALIZED (
{entries}
), event AS MATERIALIZED (
    SELECT e.record_key AS key, e.id, e.transaction_id, e.issued_at, e.verb,
        CASE WHEN e.verb = 'insert' THEN 1 WHEN e.verb = 'delete' OR e.is_moved THEN -1 ELSE 0 END AS step,
        CASE WHEN e.verb IN ('update', 'delete') THEN e.old_data END AS before,
        CASE WHEN e.verb <> 'delete' AND NOT e.is_moved THEN e.old_data || e.changed_data END AS after
    FROM entry AS e
    UNION ALL
    SELECT m.key, e.id, e.transaction_id, e.issued_at, 'move', 1, NULL, m.state
    FROM entry AS e
    CROSS JOIN LATERAL (
        SELECT {moved_key} AS key, s.state FROM (SELECT e.old_data || e.changed_data AS state) AS s
    ) AS m
    WHERE e.is_moved
), past_group AS (
    SELECT e.key, max(e.id) AS id, sum(e.step) AS net, bool_or(e.step < 0) AS has_left,
        (array_agg(e.verb ORDER BY e.id))[1] AS first_verb
    FROM event AS e
    CROSS JOIN emptied
    WHERE e.issued_at <= :when{n} AND e.id > emptied.id
    GROUP BY e.key, e.transaction_id, e.issued_at
), past AS MATERIALIZED (
    SELECT g.key,
        coalesce(
            (array_agg(g.net >= 0 ORDER BY g.id DESC) FILTER (WHERE g.net <> 0 OR NOT g.has_left))[1],
            (array_agg(g.first_verb <> 'insert' ORDER BY g.id))[1]
        ) AS is_there
    FROM past_group AS g
    GROUP BY g.key
), last AS (
    SELECT DISTINCT ON (e.key) e.key, e.after
    FROM event AS e
    WHERE e.issued_at <= :when{n} AND e.after IS NOT NULL
    ORDER BY e.key, e.id DESC
), future AS (
    SELECT DISTINCT ON (e.key)
        e.key, sum(e.step) AS net, min(e.id) AS id, (array_agg(e.verb ORDER BY e.id))[1] AS first_verb,
        (array_agg(e.before ORDER BY e.id) FILTER (WHERE e.before IS NOT NULL))[1] AS before
    FROM event AS e
    CROSS JOIN emptied
    WHERE e.issued_at > :when{n} AND emptied.id = 0 AND NOT EXISTS (SELECT FROM past AS p WHERE p.key = e.key)
    GROUP BY e.key, e.transaction_id, e.issued_at
    ORDER BY e.key, min(e.id)
), state AS (
    SELECT last.after AS state FROM past JOIN last ON last.key = past.key WHERE past.is_there {of_past}
    UNION ALL
    SELECT coalesce(f.before, '{{}}')
    FROM future AS f
    WHERE (f.net < 0 OR (f.net = 0 AND f.first_verb <> 'insert')) {of_future}
)
SELECT {then}, {unknown} AS audit_unknown
FROM state
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(v.key, CASE v.value ->> 'audit_logger'
        WHEN 'text' THEN v.value -> 'text' WHEN 'value' THEN v.value -> 'value' ELSE v.value END), '{{}}') AS row
    FROM jsonb_each(state.state) AS v
    WHERE v.key <> ALL (:apart{n})
        AND coalesce(v.value ->> 'audit_logger', '') NOT IN ('masked', 'erased', 'too large', 'json null')
) AS clean
CROSS JOIN LATERAL jsonb_populate_record(NULL::{relation}, clean.row) AS r
UNION ALL
SELECT {now}, '{{}}'::jsonb
FROM {relation} AS t
CROSS JOIN emptied
WHERE emptied.number = 0 {of_now} AND NOT EXISTS (SELECT FROM event AS e WHERE e.key = {live_key})
"""

_ENTRY = """
    SELECT a.id, a.transaction_id, a.issued_at, a.verb, a.record_key, a.old_data, a.changed_data,
        a.verb = 'update' AND jsonb_exists_any(a.changed_data, :names{n}) AS is_moved
    FROM {activity} AS a
    WHERE a.table_name = :table{n} AND a.schema = :schema{n} AND a.issued_at >= :begins{n}
        AND a.verb IN ('insert', 'update', 'delete', 'snapshot')
"""

#: The entries of one record. Who else got its key no index tells, so that is looked for only if its own entries don't
#: say enough: there was no row at that key by then, as far as they know, but there is one later.
_OWN_ENTRIES = """
    WITH own AS MATERIALIZED ({entry} AND a.record_key = :key{n})
    SELECT own.* FROM own
    UNION ALL
    SELECT * FROM ({entry} AND a.verb = 'update' AND jsonb_exists_any(a.changed_data, :names{n})) AS e
    CROSS JOIN LATERAL (SELECT e.old_data || e.changed_data AS state) AS s
    WHERE e.record_key <> :key{n} AND {moved_key} = :key{n}
        AND (
            SELECT NOT coalesce((
                SELECT own.verb <> 'delete' AND NOT own.is_moved FROM own, emptied
                WHERE own.issued_at <= :when{n} AND own.id > emptied.id ORDER BY own.id DESC LIMIT 1
            ), false)
            AND (
                (SELECT emptied.later > 0 FROM emptied)
                OR coalesce(
                    (SELECT own.verb <> 'insert' FROM own WHERE own.issued_at > :when{n} ORDER BY own.id LIMIT 1),
                    EXISTS (SELECT FROM {relation} AS t WHERE {of_row})
                )
            )
        )
"""

_REASON = """(
    SELECT coalesce(jsonb_object_agg(c.name, c.why) FILTER (WHERE c.why IS NOT NULL), '{{}}')
    FROM (
        SELECT k.name, CASE WHEN NOT jsonb_exists(state.state, k.name) THEN 'absent'
            WHEN state.state -> k.name ->> 'audit_logger' IN ('masked', 'erased', 'too large')
            THEN state.state -> k.name ->> 'audit_logger' END AS why
        FROM unnest(:stored{n}) AS k (name)
    ) AS c
)"""

_JSON = """CAST(CASE
    WHEN jsonb_typeof(state.state -> {name}) = 'null' THEN NULL
    WHEN state.state -> {name} ->> 'audit_logger' = 'json null' THEN 'null'
    WHEN state.state -> {name} ->> 'audit_logger' = 'text' THEN state.state -> {name} ->> 'text'
    WHEN state.state -> {name} ->> 'audit_logger' = 'value' THEN (state.state -> {name} -> 'value')::text
    WHEN state.state -> {name} ->> 'audit_logger' IN ('masked', 'erased', 'too large') THEN NULL
    ELSE (state.state -> {name})::text END AS {type})"""


def checked_moment(when: Any) -> dt.datetime:
    """The time.

    :raises ConfigurationError: if it is none, has no time zone, or is to come.
    """
    if not isinstance(when, dt.datetime):
        raise ConfigurationError(f"when is {when!r}; give a datetime with a time zone.")
    if when.tzinfo is None or when.utcoffset() is None:
        raise ConfigurationError(f"when is {when!r}, without a time zone: give datetime(…, tzinfo=timezone.utc).")
    return when


def row_as_of(target: Target, entity: type[T], when: dt.datetime) -> T | None:
    """A record as it was; ``None`` if there was none.

    :raises UnknownPast: if the log can't tell.
    :raises BadValue: if the key can't be one of its table.
    """
    parts = zip(target.mapper.primary_key, target.identity, strict=True)
    statement = select(entity).where(*(part == value for part, value in parts))
    with bad_key_named(target):
        return next(_load(target, statement, when, set(), is_one=True), None)


def rows_as_of(target: Target, statement: Select[Any], when: dt.datetime) -> list[Any]:
    """What a select of one class would have found.

    :raises UnknownPast: if the log can't tell.
    :raises ConfigurationError: for a select of anything else.
    """
    return list(_load(target, statement, when, _used(target, statement)))


def selected(statement: Select[Any]) -> type[Any]:
    """The class that a select is of.

    :raises ConfigurationError: for a select of anything else.
    """
    found = statement.column_descriptions
    entity = found[0].get("entity") if len(found) == 1 else None
    if not isinstance(entity, type) or found[0]["expr"] is not entity:
        raise ConfigurationError("as_of() takes select(Model): one mapped class, no alias and no single columns.")
    return entity


def unknown(instance: Any) -> dict[str, str]:
    """Names of the attributes of an object of the past that are not known, each with the reason."""
    return dict(instance_dict(instance).get(_UNKNOWN, {}))


def _used(target: Target, statement: Select[Any]) -> set[Column[Any]]:
    """The columns by which a select chooses and sorts."""
    extras = {
        "join()": statement._setup_joins,
        "select_from()": statement._from_obj,
        "group_by()": statement._group_by_clauses,
        "having()": statement._having_criteria,
        "distinct()": statement._distinct,
        "with_for_update()": statement._for_update_arg is not None,
        "options()": statement._with_options,
        "add_cte()": statement._independent_ctes,
        "a prefix or suffix": (*statement._prefixes, *statement._suffixes),
    }
    extra = next((name for name, given in extras.items() if given), None)
    if extra is not None:
        raise ConfigurationError(f"as_of() knows no {extra}: only WHERE, ORDER BY, LIMIT and OFFSET of one class.")
    used: set[Column[Any]] = set()
    for clause in (*statement._where_criteria, *statement._order_by_clauses):
        for part in visitors.iterate(clause):
            used |= _columns_of(target, part)
    discriminator = target.mapper.polymorphic_on
    return used | ({discriminator} if isinstance(discriminator, Column) else set())


def _columns_of(target: Target, part: Any) -> set[Column[Any]]:
    if isinstance(part, Column):
        for info in target.tables:
            found = {c for c in info.table.columns if c.name == part.name and _is_of(part.table, info.table)}
            if found:
                return found
        raise ConfigurationError(f"as_of() knows only columns of {target.mapper.class_.__name__}, not {part}.")
    is_text = isinstance(part, TextClause) or (isinstance(part, ColumnClause) and part.is_literal)
    if is_text or (isinstance(part, ClauseElement) and part.is_selectable and not isinstance(part, Table)):
        raise ConfigurationError("as_of() knows no functions, subqueries and SQL as text, only columns of the class.")
    return set()


def _is_of(given: Any, table: Table) -> bool:
    return isinstance(given, Table) and (given.schema, given.name) == (table.schema, table.name)


def _load(
    target: Target, statement: Select[Any], when: dt.datetime, used: Collection[Column[Any]], *, is_one: bool = False
) -> Iterator[Any]:
    tables = _tables(target, statement)
    for info in tables:
        _refuse_unreadable(target, info)
        lacking = {c.name for c in used if c.table is info.table} & (info.masked | info.excluded)
        if lacking:
            raise ConfigurationError(
                f"{', '.join(sorted(lacking))} of {info.name} is not logged, so nothing can be found or sorted by it."
            )
    with target.source.reader.reading() as log:
        for info in tables:
            refuse_too_early(log, info, when)
        parts = [
            _rows(target, log, info, when, number, is_one=is_one).cte(info.table.name)
            for number, info in enumerate(tables)
        ]
        schemas = {info.table.schema: _THEN for info in tables if info.table.schema is not None}
        try:
            with _named_plainly(log.connection), Session(log.connection, autoflush=False) as session:
                for info, part in zip(tables, parts, strict=True):
                    _refuse_unknown(log, info, part, {c.name for c in used if c.table is info.table}, when)
                read = statement.options(raiseload("*"), *_columns_only(target.mapper)).add_columns(
                    *(literal_column(f"{quote_ident(info.table.name)}.audit_unknown") for info in tables)
                )
                options = {"schema_translate_map": schemas} if schemas else {}
                rows = session.execute(read.add_cte(*parts), execution_options=options).all()
                for found, *reasons in rows:
                    _forget(session, found, list(zip(tables, reasons, strict=True)))
                session.expunge_all()
        except (BadValue, LookupError) as error:
            raise UnknownPast("a value of then doesn't fit the type that its column has today", when) from error
    yield from (row[0] for row in rows)


@contextmanager
def _named_plainly(connection: Connection) -> Iterator[None]:
    """Name tables without their schema: only so the name of a common table expression is meant."""

    def told(_: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> tuple[str, Any]:
        return statement.replace(f"{_THEN}.", ""), parameters

    event.listen(connection, "before_cursor_execute", told, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", told)


def _tables(target: Target, statement: Select[Any]) -> list[TableInfo]:
    """The tables that a select reads, all of which must be audited."""
    read = {table for source in statement.get_final_froms() for table in find_tables(source, include_joins=True)}
    read = {table for table in read if isinstance(table, Table)}
    audited = {(info.table.schema, info.table.name): info for info in target.tables}
    for mapper in target.mapper.self_and_descendants:
        for table in mapper.tables:
            if isinstance(table, Table) and (table.schema, table.name) not in audited:
                info = target.source.info(table)
                if info.is_audited:
                    audited[table.schema, table.name] = info
    missing = [table.fullname for table in read if (table.schema, table.name) not in audited]
    if missing or len({table.name for table in read}) < len(read):
        raise ConfigurationError(f"as_of() can't tell how {', '.join(missing) or 'these tables'} was: it has no log.")
    return [info for name, info in audited.items() if name in {(table.schema, table.name) for table in read}]


def _refuse_unreadable(target: Target, info: TableInfo) -> None:
    options = target.source.options(info)
    if not info.verbs >= _WHOLE:
        raise ConfigurationError(f"as_of() needs all changes, and {info.name} logs only {', '.join(info.verbs)}.")
    if options.old_data != "row":
        raise ConfigurationError(f'as_of() needs whole rows, and {info.name} logs old_data="changed".')
    if options.key not in (None, info.key) or set(info.key) & (info.masked | info.excluded) or not info.key:
        raise ConfigurationError(f"as_of() needs the primary key of {info.name} as the key of its records.")


def refuse_too_early(log: Log, info: TableInfo, when: dt.datetime) -> None:
    """Nothing is told about times before the log has entries, or from which they were removed."""
    a, t, now = log.models.activity.c, log.models.transaction.c, log.scalar(select(func.clock_timestamp()))
    if when > now:
        raise ConfigurationError(f"when is {when}, which is to come.")
    # a change counts from when its statement began, and that was before the row of its transaction was made
    begun = (select(a.issued_at).order_by(a.transaction_id, a.id), select(t.issued_at).order_by(t.id))
    first = log.scalar(select(func.least(*(each.limit(1).scalar_subquery() for each in begun))))
    if first is None:
        raise UnknownPast("the log is empty, so nothing tells how something was", when)
    since = max(first, removed_until(log, info))
    if when < since:
        raise UnknownPast(f"the log of {info.name} begins at {since}; nothing tells how it was at {when}", when, since)


def removed_until(log: Log, info: TableInfo) -> dt.datetime:
    """The time before which entries of a table were removed from the log: what is left of then is not all."""
    a = log.models.activity.c
    until = func.max(cast(a.changed_data["until"].astext, DateTime(timezone=True)))
    statement = log.activities(until).where(
        is_verb(a.verb, "pruned"), a.table_name == info.name.name, a.schema == info.name.schema
    )
    return log.scalar(statement) or dt.datetime.min.replace(tzinfo=dt.UTC)


def _refuse_unknown(log: Log, info: TableInfo, rows: CTE, used: set[str], when: dt.datetime) -> None:
    """Rows that nothing tells about, and values that WHERE or ORDER BY would need.

    One that is left out by a filter would not be missed.
    """
    reasons: Any = literal_column("audit_unknown")
    names = cast(literal([str(name) for name in sorted(used | set(info.key))], ARRAY(Text)), ARRAY(Text))
    doubtful = select(reasons).select_from(rows).where(func.jsonb_exists_any(reasons, names)).limit(1)
    found: Mapping[str, str] | None = log.scalar(doubtful)
    if found is None:
        return
    if set(info.key) & found.keys():
        why = f"rows of {info.name} were there before it was audited, and nothing tells how they were"
        raise UnknownPast(why, when)
    lost = ", ".join(f"{name} ({found[name]})" for name in sorted(used & found.keys()))
    why = f"not of all rows of {info.name} the log knows {lost}, so nothing can be found or sorted by it"
    raise UnknownPast(why, when)


def _columns_only(mapper: Mapper[Any]) -> list[Any]:
    """All columns are loaded, and nothing that is computed from other tables of today."""
    entity: Any = mapper.class_
    options = []
    for attribute in mapper.column_attrs:
        is_column = all(isinstance(part, Column) for part in attribute.columns)
        options.append((undefer if is_column else defer)(getattr(entity, attribute.key)))
    return options


def _forget(session: Session, instance: Any, reasons: Sequence[tuple[TableInfo, Mapping[str, str]]]) -> None:
    """Take from an object what is not known; reading it is an error of SQLAlchemy then."""
    mapper = object_mapper(instance)
    found: dict[str, str] = {}
    for info, logged in reasons:
        whole = dict.fromkeys(info.excluded, NOT_LOGGED) | dict.fromkeys(info.masked, "masked") | dict(logged)
        for name, reason in whole.items():
            attribute = next((a.key for a in mapper.column_attrs if _has(a.columns, info.table, name)), None)
            if attribute is not None:
                found[attribute] = reason
    if found:
        session.expire(instance, list(found))
    instance_dict(instance)[_UNKNOWN] = found


def _has(columns: Sequence[Any], table: Table, name: str) -> bool:
    return any(isinstance(c, Column) and c.table is table and c.name == name for c in columns)


def _rows(target: Target, log: Log, info: TableInfo, when: dt.datetime, number: int, *, is_one: bool) -> Any:
    """The rows of a table as they were, with the names of its columns."""
    dialect, relation, activity = target.source.engine.dialect, _quoted(info.table), _quoted(log.models.activity)
    unlogged = info.masked | info.excluded
    columns = list(info.table.columns)
    json = [c for c in columns if info.kind(c.name) is ValueKind.JSON and c.name not in unlogged]
    then = [
        _JSON.format(name=_literal(c.name), type=c.type.compile(dialect=dialect))
        if c in json
        else json_array("clean.row", _literal(c.name), c.type.compile(dialect=dialect))
        if is_json_array(c.type)
        else f"r.{_quoted(c)}"
        for c in columns
    ]
    now = [f"CASE WHEN false THEN t.{_quoted(c)} END" if c.name in unlogged else f"t.{_quoted(c)}" for c in columns]
    keys = list(info.table.primary_key.columns)
    of_row = " AND ".join(
        f"t.{_quoted(c)} = CAST(:part{number}_{place} AS {c.type.compile(dialect=dialect)})"
        for place, c in enumerate(keys)
    )
    names = {"n": number, "activity": activity, "relation": relation, "of_row": of_row}
    names["moved_key"] = _key_text([f"(s.state ->> {_literal(c.name)})" for c in keys])
    entry = _ENTRY.format(**names)
    own = _OWN_ENTRIES.replace("SELECT * FROM", "SELECT e.* FROM").format(entry=entry, **names)
    sql = _ROWS.format(
        **names,
        entries=own if is_one else entry + " AND a.record_key IS NOT NULL",
        then=", ".join(f"{expression} AS {_quoted(c)}" for expression, c in zip(then, columns, strict=True)),
        now=", ".join(now),
        unknown=_REASON.format(n=number),
        live_key=_key_text([f"(to_jsonb(t.{_quoted(c)}) #>> '{{}}')" for c in keys]),
        of_past=f"AND past.key = :key{number}" if is_one else "",
        of_future=f"AND f.key = :key{number}" if is_one else "",
        of_now=f"AND {of_row}" if is_one else "",
    )
    moment, texts = DateTime(timezone=True), ARRAY(Text)
    values: list[tuple[str, Any, Any]] = [
        ("when", when, moment),
        ("begins", removed_until(log, info), moment),
        ("table", info.name.name, Text()),
        ("schema", info.name.schema, Text()),
        ("names", [str(name) for name in info.key], texts),
        ("apart", [str(c.name) for c in json], texts),
        ("stored", [str(c.name) for c in columns if c.name not in unlogged], texts),
    ]
    if is_one:
        values.append(("key", target.key, Text()))
        values += [(f"part{number}_{place}", part, Text()) for place, part in enumerate(target.components)]
    bound = [
        bindparam(name if name.startswith("part") else f"{name}{number}", value, kind) for name, value, kind in values
    ]
    return text(sql).bindparams(*bound).columns(*(column(c.name, c.type) for c in columns), column("audit_unknown"))


def _key_text(parts: Sequence[str]) -> str:
    """The text of a key as the log stores it, from the texts of its columns."""
    whole = parts[0] if len(parts) == 1 else f"jsonb_build_array({', '.join(parts)})::text"
    hashed = f"'sha256\\:' || encode(sha256(convert_to({whole}, 'UTF8')), 'hex')"
    return f"CASE WHEN octet_length({whole}) > 1000 THEN {hashed} ELSE {whole} END"


def _quoted(declared: Column[Any] | Table) -> str:
    names = (declared.schema, declared.name) if isinstance(declared, Table) else (declared.name,)
    return quote_ident(*filter(None, names)).replace(":", "\\:")


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''").replace(":", "\\:") + "'"
