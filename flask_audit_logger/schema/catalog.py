"""What does exist: the functions and triggers of a log as the catalog of PostgreSQL has them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from ..sql import FUNCTIONS, VERBS, render
from .objects import DEFAULT_SCHEMA, Functions, Triggers
from .options import TableOptions

_FUNCTIONS = text(
    """
    SELECT p.proname, p.prosrc, p.prosecdef, coalesce(p.proconfig, '{}') AS proconfig,
        p.proacl IS NULL OR EXISTS (
            SELECT FROM aclexplode(p.proacl) AS a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'
        ) AS is_public
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = :schema AND p.proname LIKE 'audit\\_logger\\_%'
    """
)

# A trigger is one of ours by the function it calls; its name and table may be anything.
_TRIGGERS = text(
    """
    SELECT n.nspname, c.relname, c.relispartition, c.relkind, t.tgname, t.tgenabled, t.tgargs,
        t.tgqual IS NULL AND cardinality(t.tgattr::smallint[]) = 0 AS is_unconditional,
        root_schema.nspname AS root_schema, root.relname AS root_table
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace AS log ON log.oid = p.pronamespace
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS root ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)
    LEFT JOIN pg_catalog.pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
    WHERE log.nspname = :schema AND p.proname = 'audit_logger_capture' AND NOT t.tgisinternal
    ORDER BY n.nspname, c.relname, t.tgname
    """
)

_PARTITIONS = text(
    """
    SELECT count(*)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) AS part
    WHERE n.nspname = :schema AND c.relname = :table AND c.relkind = 'p' AND part.relid <> c.oid
    """
)

_IS_PARTITIONED = text(
    """
    SELECT EXISTS (
        SELECT
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = :schema AND c.relname = :table AND c.relkind = 'p'
    )
    """
)

_BODY = re.compile(r"AS \$function\$(.*)\$function\$", re.DOTALL)
_SETTING = re.compile(r"^SET \"?(\w+)\"? = (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class ExistingTriggers:
    """The triggers of one table that work: enabled, unconditional, under their own name.

    :param triggers: them, as the operation that would make them.
    :param is_complete: whether each partition has them, too.
    """

    triggers: Triggers
    is_complete: bool = True


def default_schema(connection: Connection) -> str:
    """The schema in which a name without schema is."""
    return connection.dialect.default_schema_name or DEFAULT_SCHEMA


def has_schema(connection: Connection, schema: str) -> bool:
    """Whether there is a schema of that name."""
    query = text("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = :schema)")
    return bool(connection.scalar(query, {"schema": schema}))


def is_partitioned(connection: Connection, schema: str, table: str) -> bool:
    """Whether the table exists and is partitioned."""
    return bool(connection.scalar(_IS_PARTITIONED, {"schema": schema, "table": table}))


def has_functions(connection: Connection, schema: str) -> bool:
    """Whether the schema has the functions of a log, of whatever version."""
    return any(row.proname == "audit_logger_capture" for row in _function_rows(connection, schema))


def are_current(connection: Connection, functions: Functions) -> bool:
    """Whether the functions exist exactly as this version has them."""
    schema = functions.schema or default_schema(connection)
    existing = {row.proname: row for row in _function_rows(connection, schema)}
    return all(
        _is_same(existing.get(f"audit_logger_{name}"), render(name, functions.version, schema)) for name, _ in FUNCTIONS
    )


def existing_triggers(connection: Connection, audit_schema: str | None, version: int) -> list[ExistingTriggers]:
    """The triggers that write to the log in ``audit_schema``, per table, in order of schema and table."""
    default = default_schema(connection)
    rows = connection.execute(_TRIGGERS, {"schema": audit_schema or default}).all()
    on_partitions: dict[tuple[str, str], int] = defaultdict(int)
    by_table: dict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        if row.relispartition and _argument(row).get("partition"):
            on_partitions[row.root_schema, row.root_table] += _works(row)
        else:
            by_table[row.nspname, row.relname].append(row)
    found = []
    for (schema, table), triggers in by_table.items():
        working = [row for row in triggers if _works(row)]
        partitioned = triggers[0].relkind == "p"
        partitions = connection.scalar(_PARTITIONS, {"schema": schema, "table": table}) if partitioned else 0
        found.append(
            ExistingTriggers(
                triggers=Triggers(
                    table=table,
                    schema=None if schema == default else schema,
                    audit_schema=audit_schema,
                    version=version,
                    options=_options(working, partitioned=partitioned),
                ),
                is_complete=on_partitions[schema, table] == (partitions or 0) * len(working),
            )
        )
    return found


def _function_rows(connection: Connection, schema: str) -> list[Row[Any]]:
    return list(connection.execute(_FUNCTIONS, {"schema": schema}).all())


def _is_same(row: Row[Any] | None, sql: str) -> bool:
    body = _BODY.search(sql)
    if row is None or body is None:
        return False
    settings = {name.lower(): value.strip("'") for name, value in _SETTING.findall(sql[: body.start()])}
    existing = dict(item.split("=", 1) for item in row.proconfig)
    return (
        row.prosrc == body[1]
        and row.prosecdef == ("SECURITY DEFINER" in sql[: body.start()])
        and {name.lower(): value.strip("'\"") for name, value in existing.items()} == settings
        and not row.is_public
    )


def _works(row: Row[Any]) -> bool:
    named = row.tgname.removeprefix("audit_logger_")
    return row.tgenabled in _ENABLED and row.is_unconditional and named in VERBS and named != row.tgname


#: As bytes or text, as the driver gives ``"char"``.
_ENABLED = ("O", "A", b"O", b"A")


def _argument(row: Row[Any]) -> dict[str, Any]:
    first = bytes(row.tgargs).partition(b"\0")[0].decode("utf-8")
    try:
        argument = json.loads(first or "{}")
    except ValueError:
        return {}
    return argument if isinstance(argument, dict) else {}


def _options(rows: list[Row[Any]], *, partitioned: bool) -> TableOptions:
    """The options that the triggers of a table share; a trigger with others doesn't count as there."""
    if not rows:
        return TableOptions(verbs=(), partitioned=partitioned)
    argument = _argument(rows[0])
    names = {row.tgname.removeprefix("audit_logger_") for row in rows if _argument(row) == argument}
    verbs = tuple(verb for verb in VERBS if verb in names)
    try:
        return TableOptions.from_trigger(json.dumps(argument), verbs=verbs, partitioned=partitioned)
    except TypeError:  # an argument that no version of this package wrote
        return TableOptions(verbs=(), partitioned=partitioned)


def as_in_catalog(triggers: Triggers, default: str) -> Triggers:
    """The same triggers, named as :func:`existing_triggers` names them."""
    return dataclasses.replace(triggers, schema=None if triggers.schema == default else triggers.schema)
