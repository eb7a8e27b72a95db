"""Forget a person: their personal values become a mark in all entries, and who did what to which key stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData

from ..exceptions import ArchiveError, ConfigurationError, HeldError
from ..schema.catalog import actor_type, translated
from ..schema.declared import Declaration, declaration_of
from ..schema.names import TableName
from ..schema.table_options import audited_tables, personal_of
from ..sql import EVENT, OF_ITSELF
from .archive import Archive
from .holds import HELD, as_json, holds, lock_holds
from .maintain import alone
from .notices import Log, check_owner, log_of, notice

_OF_TABLE = f"a.table_name = :table AND a.schema = :schema AND a.verb NOT IN ({', '.join(map(repr, OF_ITSELF))})"
_OF_RECORD = f"{_OF_TABLE} AND a.record_key = ANY (CAST(:keys AS text[]))"

# Whom a row was about before and after an entry. One that does not say it, as it has the changed columns only, is about
# the same person as the entry before it, or, if that is not there, as any entry of its record that says it.
_BEFORE = """CASE
            WHEN pg_catalog.jsonb_exists(a.old_data, :subject) THEN a.old_data ->> :subject
            WHEN a.verb IN ('insert', 'snapshot') THEN NULL
            ELSE coalesce(
                (
                    SELECT CASE
                        WHEN pg_catalog.jsonb_exists(p.changed_data, :subject) THEN p.changed_data ->> :subject
                        ELSE p.old_data ->> :subject
                    END
                    FROM {activity} AS p
                    WHERE p.table_name = a.table_name
                        AND p.schema = a.schema
                        AND p.record_key = a.record_key
                        AND p.id < a.id
                        AND (
                            pg_catalog.jsonb_exists(p.changed_data, :subject)
                            OR pg_catalog.jsonb_exists(p.old_data, :subject)
                        )
                    ORDER BY p.id DESC
                    LIMIT 1
                ),
                CASE WHEN a.record_key = ANY (CAST(:records AS text[])) THEN :key END
            )
        END"""
_AFTER = """CASE
            WHEN pg_catalog.jsonb_exists(a.changed_data, :subject) THEN a.changed_data ->> :subject
            ELSE {before}
        END"""
_NAMES = """(
        a.old_data ->> :subject = ANY (CAST(:keys AS text[]))
        OR a.changed_data ->> :subject = ANY (CAST(:keys AS text[]))
    )"""
_RECORDS = f"""
    SELECT DISTINCT a.record_key
    FROM {{activity}} AS a
    WHERE {_OF_TABLE} AND {_NAMES} AND a.record_key IS NOT NULL
"""  # noqa: S608 - of our own texts
_OF_SUBJECT = f"{_OF_TABLE} AND ({_NAMES} OR a.record_key = ANY (CAST(:records AS text[])))"


def _erased(row: str, whose: str) -> str:
    """The row of an entry without the values to be erased; what is empty or masked stays so."""
    return f"""CASE
                WHEN {whose} THEN {row} || coalesce(
                    (
                        SELECT pg_catalog.jsonb_object_agg(e.key, CAST(:mark AS jsonb))
                        FROM pg_catalog.jsonb_each({row}) AS e
                        WHERE e.key = ANY (CAST(:columns AS text[]))
                            AND e.value <> 'null'
                            AND e.value <> ALL (CAST(:marks AS jsonb[]))
                    ),
                    CAST(:nothing AS jsonb)
                )
                ELSE {row}
            END"""  # noqa: S608 - of our own texts


def _update(condition: str, before: str, after: str) -> str:
    data = _erased("(a.changed_data -> 'data')", after)
    of_event = f"pg_catalog.jsonb_build_object('data', {data})"
    changed = f"""CASE
                WHEN a.verb = '{EVENT}' THEN a.changed_data || {of_event}
                ELSE {_erased("a.changed_data", after)}
            END"""
    return f"""
        UPDATE {{activity}} AS a
        SET old_data = n.old_data, changed_data = n.changed_data
        FROM (
            SELECT a.transaction_id, a.id, {_erased("a.old_data", before)} AS old_data,
                {changed} AS changed_data
            FROM {{activity}} AS a
            WHERE {condition}
        ) AS n
        WHERE a.transaction_id = n.transaction_id AND a.id = n.id
            AND (n.old_data <> a.old_data OR n.changed_data <> a.changed_data)
    """  # noqa: S608 - of our own texts


_ERASE_RECORD = _update(_OF_RECORD, "true", "true")
_ERASE_SUBJECT = _update(
    _OF_SUBJECT,
    f"({_BEFORE}) = ANY (CAST(:keys AS text[]))",
    f"({_AFTER.replace('{before}', _BEFORE)}) = ANY (CAST(:keys AS text[]))",
)

# Who acted in the name of this actor did it from their own address, which leads to them.
_OF_ACTOR = """(
        t.actor_id = CAST(CAST(:actor AS text) AS {type})
        OR t.context OPERATOR(pg_catalog.?) 'impersonator'
            AND t.context #>> CAST(:impersonator AS text[]) = CAST(:actor AS text)
    )"""
_ERASE_ACTOR = """
    UPDATE {{transaction}} AS t
    SET actor_label = CASE WHEN t.actor_id = CAST(CAST(:actor AS text) AS {type}) THEN NULL ELSE t.actor_label END,
        client_addr = NULL,
        context = CASE
            WHEN t.context #>> CAST(:impersonator AS text[]) = CAST(:actor AS text)
                THEN (t.context - 'user_agent') #- CAST(:impersonator_label AS text[])
            ELSE t.context - 'user_agent'
        END
    WHERE {of_actor}
        AND (
            t.actor_label IS NOT NULL
            OR t.client_addr IS NOT NULL
            OR pg_catalog.jsonb_exists(t.context, 'user_agent')
            OR t.context #> CAST(:impersonator_label AS text[]) IS NOT NULL
        )
"""

_IS_HELD = """
    SELECT EXISTS (
        SELECT
        FROM {{activity}} AS a
        LEFT JOIN {{transaction}} AS t ON t.id = a.transaction_id
        WHERE {condition} AND {held}
    )
"""

_RENAMED = f"""
    SELECT DISTINCT a.record_key, a.changed_data ->> :column AS new_key
    FROM {{activity}} AS a
    WHERE {_OF_TABLE} AND a.verb = 'update' AND pg_catalog.jsonb_exists(a.changed_data, :column)
"""  # noqa: S608 - of our own texts


@dataclass(frozen=True)
class Whom:
    """Who is to be forgotten.

    :param tables: schema and name of the tables of their record; several where classes extend each other.
    :param key: its key, as the log writes it.
    :param actor: their key as an actor.
    :param columns: the columns of the record; by default those that are declared personal.
    """

    tables: tuple[tuple[str | None, str], ...] = ()
    key: str = ""
    actor: str | None = None
    columns: Sequence[str] | None = None


@dataclass
class Erasure:
    """What was erased, or would be.

    :param changes: how many entries of each table.
    :param transactions: how many transactions lost the actor's name and address.
    :param months: the archived months whose files were written anew.
    :param unreached: the archived months that still have the values, each with the reason.
    :param address: of the entry that says so, ``<transaction id>.<id>``.
    """

    changes: dict[str, int] = field(default_factory=dict)
    transactions: int = 0
    months: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    address: str | None = None

    def lines(self) -> Iterator[str]:
        """The same in words."""
        for table, number in self.changes.items():
            yield f"{table}: {number} entr{'y' if number == 1 else 'ies'}"
        if self.transactions:
            yield f"transactions with the name, address or user agent of the actor: {self.transactions}"
        for month in self.months:
            yield f"archived month {month}: written anew"
        for text in self.unreached:
            yield f"NOT REACHED  {text}"


@dataclass(frozen=True)
class _Part:
    """The entries of one table that are to be erased.

    :param subject: the column that says whom a row is about; none for the record itself.
    """

    table: TableName
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    subject: str | None = None

    def values(self, connection: Connection, log: Log) -> dict[str, Any]:
        """The parameters of the statements."""
        values: dict[str, Any] = {
            "table": self.table.name,
            "schema": self.table.schema,
            "columns": list(self.columns),
            "keys": list(self.keys),
            "key": self.keys[0],
            "subject": self.subject,
            "mark": '{"audit_logger": "erased"}',
            "marks": ['{"audit_logger": "masked"}', '{"audit_logger": "erased"}'],
            "nothing": "{}",
        }
        if self.subject is not None:
            values["records"] = list(connection.scalars(log.sql(_RECORDS), values))
        return values

    @property
    def condition(self) -> str:
        return _OF_RECORD if self.subject is None else _OF_SUBJECT

    @property
    def statement(self) -> str:
        return _ERASE_RECORD if self.subject is None else _ERASE_SUBJECT


def erase(engine: Engine, metadata: MetaData, whom: Whom, *, reason: str, dry_run: bool = False) -> Erasure:
    """Erase the personal values of somebody, all in one transaction.

    :param engine: of the log's owner.
    :param reason: why, in words; without the person's name.
    :param dry_run: only say what would be erased.
    :raises HeldError: if a hold keeps something of it.
    :raises ConfigurationError: if nothing is personal, or it can't be done.
    """
    declaration = declaration_of(metadata)
    if declaration is None:
        raise ConfigurationError("There is no audited table in this database.")
    if not reason.strip():
        raise ConfigurationError(
            "An erasure needs a reason, which the log keeps: that of the request, without the name."
        )
    with engine.connect() as connection:
        log = log_of(connection, declaration)
        check_owner(connection, log)
    with alone(engine, log) as is_alone, engine.connect() as connection:
        if not is_alone:
            raise ConfigurationError("`flask audit maintain` or another command is at this log. Run it again later.")
        lock_holds(connection, log)
        parts = list(_parts(connection, metadata, declaration, log, whom)) if whom.tables else []
        type_ = actor_type(connection, log.schema)
        _refuse_held(connection, log, parts, whom.actor, type_)
        done = Erasure()
        _erase_in(connection, log, parts, whom.actor, type_, done)
        if not dry_run:
            _erase_archived(connection, declaration, log, parts, whom.actor, type_, done)
            done.address = _say(connection, log, whom, parts, reason, done)
            _erase_in(connection, log, [], whom.actor, type_, Erasure())  # of who erases themself
            connection.commit()
    return done


def _parts(
    connection: Connection, metadata: MetaData, declaration: Declaration, log: Log, whom: Whom
) -> Iterator[_Part]:
    """What of which table is about the person: their record, and the rows whose subject they are."""

    def named(schema: str | None, name: str) -> TableName:
        return TableName(translated(connection, schema) or log.default, name)

    audited = {named(table.schema, table.name): table for table in audited_tables(metadata)}
    personal = {name: personal_of(table, declaration.attributes(table)) for name, table in audited.items()}
    own = [name for name in (named(*table) for table in whom.tables) if name in audited]
    if not own:
        raise ConfigurationError(f"{named(*whom.tables[0])} is no audited table; there are {_list(audited)}.")
    found = False
    for name in own:
        key = [column.name for column in audited[name].primary_key.columns]
        given = whom.columns and [column for column in whom.columns if column in audited[name].columns]
        columns = personal[name].columns if given is None else tuple(given)
        if set(key) & set(columns):
            raise ConfigurationError(f"{_list(set(key) & set(columns))} is of the key of {name}, and keys stay.")
        keys = _all_keys(connection, log, name, key[0], whom.key) if len(key) == 1 else (whom.key,)
        parts = [_Part(name, columns, keys)] if columns else []
        for other, said in personal.items():
            if said.subject and said.of is not None and said.columns and named(said.of.schema, said.of.name) == name:
                parts.append(_Part(other, said.columns, keys, said.subject))
        found = found or bool(parts)
        yield from parts
    unknown = set(whom.columns or ()) - {column.name for name in own for column in audited[name].columns}
    if unknown or not found:
        what = f"no column {_list(unknown)}" if unknown else "nothing that is declared personal"
        raise ConfigurationError(
            f"{_list(own)} has {what}. Declare it by info="
            '{"audit_logged": {"personal": ["email"]}}, or name columns.'
        )


def _list(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names)))


def _all_keys(connection: Connection, log: Log, table: TableName, column: str, key: str) -> tuple[str, ...]:
    """The keys that a record had, when its key was changed."""
    values = {"table": table.name, "schema": table.schema, "column": column}
    pairs = [tuple(row) for row in connection.execute(log.sql(_RENAMED), values)]
    known = [key]
    for each in known:
        known += {other for pair in pairs if each in pair for other in pair if other and other not in known}
    return tuple(known)


def _refuse_held(connection: Connection, log: Log, parts: Sequence[_Part], actor: str | None, type_: str) -> None:
    """Refuse what a hold keeps."""
    today = dt.datetime.now(dt.UTC).date()
    conditions: list[tuple[str, Mapping[str, Any]]] = [(p.condition, p.values(connection, log)) for p in parts]
    if actor is not None:
        conditions.append((_OF_ACTOR.format(type=type_), {"actor": actor, "impersonator": ["impersonator", "id"]}))
    for hold in holds(connection, log):
        if not hold.is_in_force(today):
            continue
        for condition, values in conditions:
            query = _IS_HELD.replace("{condition}", condition).replace("{held}", HELD)
            query = query.replace("{{activity}}", "{activity}").replace("{{transaction}}", "{transaction}")
            if connection.scalar(log.sql(query), {**values, "holds": as_json([hold])}):
                raise HeldError(
                    f"The hold {hold.address} of {hold.covers(log.default)} keeps it: {hold.why()}. Nothing was erased."
                )


def _erase_in(
    connection: Connection, log: Log, parts: Sequence[_Part], actor: str | None, type_: str, done: Erasure
) -> int:
    """Erase in the tables of a log, or in those that have the rows of its archive."""
    total = 0
    for part in parts:
        number = connection.execute(log.sql(part.statement), part.values(connection, log)).rowcount
        if number:
            name = part.table.short(log.default)
            done.changes[name] = done.changes.get(name, 0) + number
        total += number
    if actor is not None:
        of_actor = _OF_ACTOR.format(type=type_)
        values = {
            "actor": actor,
            "impersonator": ["impersonator", "id"],
            "impersonator_label": ["impersonator", "label"],
        }
        statement = log.sql(_ERASE_ACTOR.format(type=type_, of_actor=of_actor))
        number = connection.execute(statement, values).rowcount
        done.transactions += number
        total += number
    return total


def _erase_archived(
    connection: Connection,
    declaration: Declaration,
    log: Log,
    parts: Sequence[_Part],
    actor: str | None,
    type_: str,
    done: Erasure,
) -> None:
    """Erase in the files of the archive; those that can't be changed are listed."""
    if declaration.archive is None:
        return
    archive = Archive(Path(declaration.archive), log.schema)

    def change(connection: Connection, schema: str) -> int:
        return _erase_in(connection, Log(schema, log.default), parts, actor, type_, Erasure())

    for month in archive.months():
        try:
            with connection.begin_nested():
                if archive.rewrite(connection, month, change):
                    done.months.append(month)
        except ArchiveError as error:
            done.unreached.append(f"{month}: {error}")


def _say(connection: Connection, log: Log, whom: Whom, parts: Sequence[_Part], reason: str, done: Erasure) -> str:
    """Say in the log what was erased, without what it was."""
    of = parts[0].table if parts else TableName(log.schema, "transaction")
    given = {"key": whom.key or None, "actor": whom.actor, "columns": whom.columns and list(whom.columns)}
    data: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    data |= {"reason": reason, "changes": done.changes, "transactions": done.transactions}
    data |= {name: value for name, value in (("months", done.months), ("unreached", done.unreached)) if value}
    return notice(connection, log, "erased", of.schema, of.name, data)
