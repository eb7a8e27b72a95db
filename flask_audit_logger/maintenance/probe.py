"""Fire a change through each trigger of a table, and take it back: the only proof that it is logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ..schema.catalog import default_schema
from ..schema.objects import Triggers
from ..sql import quote_ident

#: A value of the same type that is another one.
_OTHER = {
    "b": "NOT {0}",
    "N": "{0} + 1",
    "S": "{0} || 'x'",
    "D": "{0} + interval '1 day'",
    "T": "{0} + interval '1 second'",
}

#: What this database transaction logged.
_OWN = "native_transaction_id = CAST(CAST(pg_current_xact_id() AS text) AS bigint)"

_COLUMNS = text(
    """
    SELECT a.attname, t.typcategory::text AS category, a.attgenerated <> '' AS is_generated
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
    """
)


@dataclass(frozen=True)
class Probe:
    """One change that was tried.

    :param verb: which kind.
    :param is_logged: whether it was logged; ``None`` if it could not be made.
    :param reason: why it could not be made.
    """

    verb: str
    is_logged: bool | None
    reason: str = ""


def probe(connection: Connection, triggers: Triggers) -> Iterator[Probe]:
    """Try an insert, an update and a delete of one row that is there. TRUNCATE would lock the table for everybody.

    :param connection: with a transaction that the caller rolls back.
    """
    for verb in triggers.options.verbs:
        if verb != "truncate":
            yield _try_all(connection, triggers, verb)


def _try_all(connection: Connection, triggers: Triggers, verb: str) -> Probe:
    """Try until a change is possible: a constraint may forbid this or that value."""
    default = default_schema(connection)
    table = quote_ident(triggers.schema or default, triggers.table)
    activity = quote_ident(triggers.audit_schema or default, "activity")
    if connection.scalar(text(f"SELECT true FROM {_escaped(table)} LIMIT 1")) is None:  # noqa: S608 - quoted
        return Probe(verb, None, "the table is empty")
    reason = "no column has a type that can be changed"
    for statement, expected in _statements(connection, triggers, table, verb):
        savepoint = connection.begin_nested()
        try:
            before = connection.scalar(text(f"SELECT max(id) FROM {_escaped(activity)}")) or 0  # noqa: S608 - quoted
            if not connection.execute(text(_escaped(statement))).rowcount:
                reason = "every row is locked"
                continue
            verbs = connection.scalars(
                text(f"SELECT verb FROM {_escaped(activity)} WHERE id > :before AND {_OWN}"),  # noqa: S608 - quoted
                {"before": before},
            ).all()
            return Probe(verb, expected in verbs)
        except DBAPIError as error:
            reason = str(error.orig).partition("\n")[0]
        finally:
            savepoint.rollback()
    return Probe(verb, None, reason)


def _statements(connection: Connection, triggers: Triggers, table: str, verb: str) -> Iterator[tuple[str, str]]:
    columns = connection.execute(_COLUMNS, {"table": table}).all()
    row = f"(SELECT ctid FROM ONLY {table} LIMIT 1 FOR UPDATE SKIP LOCKED)"  # noqa: S608 - quoted
    if triggers.options.partitioned:
        row = f"(SELECT ctid FROM {table} LIMIT 1)"  # noqa: S608 - quoted
    if verb == "update":
        logged = triggers.options
        for column in columns:
            is_stored = column.attname not in logged.exclude and (logged.only is None or column.attname in logged.only)
            if (
                is_stored
                and column.category in _OTHER
                and not column.is_generated
                and column.attname not in logged.ignore
            ):
                name = quote_ident(column.attname)
                changed = _OTHER[column.category].format(name)
                yield f"UPDATE {table} SET {name} = {changed} WHERE ctid = {row} AND {name} IS NOT NULL", verb  # noqa: S608 - quoted
        return
    names = ", ".join(quote_ident(column.attname) for column in columns if not column.is_generated)
    # In one statement, so that a row that refers to this one doesn't notice.
    yield (
        f"WITH gone AS (DELETE FROM {table} WHERE ctid = {row} RETURNING *) "  # noqa: S608 - quoted
        f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM gone",
        verb,
    )


def _escaped(sql: str) -> str:
    return sql.replace(":", "\\:")
