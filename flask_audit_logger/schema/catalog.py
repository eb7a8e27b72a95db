"""What does exist: tables, functions and triggers as PostgreSQL has them, where, and whether they are up to date."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, text

from ..exceptions import ConfigurationError
from ..sql import CALLABLE, CALLED, COMPILED, CURRENT_VERSION, FUNCTIONS, VERBS, function_signature, quote_ident, render
from .names import TableName
from .objects import DEFAULT_SCHEMA, LOG_TABLES, Functions, Triggers
from .table_options import TableOptions

#: A dataclass that says in which schema something is.
Described = TypeVar("Described", bound=Any)

_FUNCTIONS = text(
    """
    SELECT p.proname, p.prosrc, p.prosecdef, coalesce(p.proconfig, '{}') AS proconfig,
        p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS a WHERE a.grantee <> p.proowner) AS is_granted,
        pg_catalog.oidvectortypes(p.proargtypes) AS arguments,
        p.provolatile::text AS volatility, p.proisstrict, l.lanname,
        pg_catalog.obj_description(p.oid, 'pg_proc') AS comment
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE n.nspname = :schema AND p.proname LIKE 'audit\\_logger\\_%'
    """
)

# A trigger is one of ours by the function it calls; its name and table may be anything. Its arguments are bytes in the
# encoding of the database, each with a null after it.
_TRIGGERS = text(
    """
    SELECT n.nspname, c.relname, c.relispartition, c.relkind, t.tgname, t.tgenabled, p.proname,
        CASE
            WHEN t.tgnargs > 0 AND getdatabaseencoding() = 'SQL_ASCII' THEN args.first
            WHEN t.tgnargs > 0 THEN convert(args.first, getdatabaseencoding(), 'UTF8')
        END AS argument,
        t.tgqual IS NULL AND cardinality(t.tgattr::smallint[]) = 0 AS is_unconditional,
        t.tgtype, t.tgoldtable, t.tgnewtable,
        root_schema.nspname AS root_schema, root.relname AS root_table
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace AS log ON log.oid = p.pronamespace
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS root ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)
    LEFT JOIN pg_catalog.pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
    CROSS JOIN LATERAL (
        SELECT substring(t.tgargs FOR greatest(position(decode('00', 'hex') IN t.tgargs) - 1, 0)) AS first
    ) AS args
    WHERE log.nspname = :schema AND p.proname ~ :called AND p.pronargs = 0 AND NOT t.tgisinternal
    ORDER BY n.nspname, c.relname, t.tgname
    """
)

_LOGS = text(
    """
    SELECT DISTINCT n.nspname
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_trigger AS t ON t.tgfoid = p.oid
    WHERE p.proname ~ :called AND p.pronargs = 0
    ORDER BY n.nspname
    """
)

# Tables whose triggers call other functions than the ones that would be compiled for them now.
_UNCOMPILED = """
    SELECT n.nspname, c.relname
    FROM (
        SELECT DISTINCT t.tgrelid FROM pg_catalog.pg_trigger AS t
        JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
        JOIN pg_catalog.pg_namespace AS log ON log.oid = p.pronamespace
        WHERE log.nspname = :schema AND p.proname ~ :compiled
    ) AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT {log}.audit_logger_is_compiled(c.oid)
    ORDER BY 1, 2
"""

_MAY_CALL = text(
    """
    SELECT has_schema_privilege(:schema, 'USAGE') AND has_function_privilege(:function, 'EXECUTE')
    """
)

_PARTITIONS = text(
    """
    SELECT count(*)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) AS tree
    JOIN pg_catalog.pg_class AS part ON part.oid = tree.relid AND part.oid <> c.oid AND part.relkind <> 'f'
    WHERE n.nspname = :schema AND c.relname = :table AND c.relkind = 'p'
    """
)

_PARTITIONING = text(
    """
    SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS is_partitioned,
        root_schema.nspname AS root_schema, root.relname AS root
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS root ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)
    LEFT JOIN pg_catalog.pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relname = ANY(CAST(:names AS text[]))
    """
)

_PARTITION_NAMES = text(
    """
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class AS root
    JOIN pg_catalog.pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid) AS part
    JOIN pg_catalog.pg_class AS c ON c.oid = part.relid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE root_schema.nspname = :schema AND root.relname = :table AND root.relkind = 'p' AND c.oid <> root.oid
    """
)

_ACTOR_TYPE = text(
    """
    SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = 'transaction' AND a.attname = 'actor_id' AND NOT a.attisdropped
    """
)

#: What a trigger of each verb is: PostgreSQL's bits for when it fires, and its transition tables.
_SHAPES = {
    "insert": (4, None, "new_table"),
    "delete": (8, "old_table", None),
    "update": (16, "old_table", "new_table"),
    "truncate": (32 | 2, None, None),
}

_VOLATILITY = {"IMMUTABLE": "i", "STABLE": "s", "VOLATILE": "v"}

_TABLES = text(
    """
    SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE position(c.relkind::text IN :kinds) > 0
    """
)

_SAME_TYPE = text(
    """
    SELECT coalesce(a.atttypid = pg_catalog.to_regtype(:type)::oid, false)
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = pg_catalog.to_regclass(:table) AND a.attname = 'actor_id' AND NOT a.attisdropped
    """
)

#: The length of a type: ``(36)``, ``(10, 2)``.
_LENGTH = re.compile(r"\(([0-9, ]+)\)")

# As audit_logger_protect asks.
_OPEN = text(
    """
    SELECT c.oid::pg_catalog.regclass
    FROM pg_catalog.pg_class AS log
    JOIN pg_catalog.pg_namespace AS n ON n.oid = log.relnamespace
    JOIN pg_catalog.pg_class AS c
        ON c.oid = log.oid OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(log.oid) AS p)
    WHERE n.nspname = :schema AND log.relname IN ('activity', 'transaction') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid = c.oid AND t.tgname = 'audit_logger_append_only' AND p.proname = t.tgname
            AND p.pronamespace = n.oid AND t.tgenabled = 'A' AND t.tgtype = 62 AND t.tgqual IS NULL
            AND t.tgargs = pg_catalog.convert_to(
                pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.getdatabaseencoding()
            ) || pg_catalog.decode('00', 'hex')
    )
    """
)

_VERSION = re.compile(r"^flask-audit-logger, version ([0-9]+)$")
_HEADER = re.compile(
    r"^(?:LANGUAGE (?P<language>\w+)|(?P<volatility>IMMUTABLE|STABLE|VOLATILE)|(?P<strict>STRICT))$", re.MULTILINE
)
_BODY = re.compile(r"AS \$function\$(.*)\$function\$", re.DOTALL)
_SETTING = re.compile(r"^SET \"?(\w+)\"? = (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class ExistingTriggers:
    """The triggers of one table that work: enabled, unconditional, of the right shape, under their own name.

    :param triggers: them, as the operation that would make them.
    :param is_complete: whether each partition has the same, and neither has another one that captures.
    """

    triggers: Triggers
    is_complete: bool = True


@dataclass(frozen=True)
class Partitioning:
    """How a table has to do with partitions.

    :param is_partitioned: whether it has partitions.
    :param root: the partitioned table on top, if the table is a partition.
    """

    is_partitioned: bool
    root: TableName | None


def default_schema(connection: Connection) -> str:
    """The schema in which a name without schema is: that of ``schema_translate_map``, or the first in the path."""
    schema = _translations(connection).get(None) or connection.scalar(text("SELECT pg_catalog.current_schema()"))
    return str(schema or DEFAULT_SCHEMA)


def placed(connection: Connection, described: Described) -> Described:
    """The same tables, functions or triggers in the schemas that ``schema_translate_map`` of a connection gives.

    No schema stays none: that is :func:`default_schema`.

    :param described: a dataclass with a ``schema`` and perhaps an ``audit_schema``.
    """
    given = {name: getattr(described, name, None) for name in ("schema", "audit_schema")}
    moved = {name: translated(connection, schema) for name, schema in given.items()}
    return described if moved == given else dataclasses.replace(described, **{n: s for n, s in moved.items() if s})


def translated(connection: Connection, schema: str | None) -> str | None:
    """A schema as ``schema_translate_map`` of a connection gives it; none stays none."""
    return schema if schema is None else _translations(connection).get(schema, schema)


def _translations(connection: Connection) -> Mapping[str | None, str | None]:
    return connection.get_execution_options().get("schema_translate_map") or {}


def unless_default(schema: str | None, default: str) -> str | None:
    """A schema, or ``None`` if it is the default one: as the functions here name it."""
    return None if schema == default else schema


def has_schema(connection: Connection, schema: str) -> bool:
    """Whether there is a schema of that name."""
    query = text("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = :schema)")
    return bool(connection.scalar(query, {"schema": schema}))


def partitioning(connection: Connection, names: Iterable[TableName]) -> dict[TableName, Partitioning]:
    """What is known of some tables; those that don't exist are missing."""
    rows = connection.execute(_PARTITIONING, {"names": [table.name for table in names]})
    return {
        TableName(row.schema, row.name): Partitioning(
            row.is_partitioned, None if row.root is None else TableName(row.root_schema, row.root)
        )
        for row in rows
    }


def partitions_of(connection: Connection, table: TableName) -> list[TableName]:
    """The partitions of a table, on all levels."""
    return [
        TableName(*row) for row in connection.execute(_PARTITION_NAMES, {"schema": table.schema, "table": table.name})
    ]


def actor_type(connection: Connection, schema: str) -> str:
    """The type of the actors' keys in a log, as PostgreSQL writes it."""
    return str(connection.scalar(_ACTOR_TYPE, {"schema": schema}))


def has_actor_type(connection: Connection, schema: str, type_: str) -> bool:
    """Whether the actors' keys in a log have a type.

    :param type_: as PostgreSQL or SQLAlchemy writes it.
    """
    table = quote_ident(schema, "transaction")
    is_same = bool(connection.scalar(_SAME_TYPE, {"type": type_, "table": table}))
    return is_same and _length(actor_type(connection, schema)) == _length(type_)


def _length(type_: str) -> list[int]:
    found = _LENGTH.search(type_)
    length = [int(part) for part in found[1].split(",")] if found else []
    return length[:1] if length[1:] == [0] else length  # numeric(10) is numeric(10,0)


def tables_in(connection: Connection, kinds: str = "rp") -> set[TableName]:
    """All tables; or views (``v``), materialized views (``m``) and foreign tables (``f``), as ``pg_class.relkind``."""
    return {TableName(*row) for row in connection.execute(_TABLES, {"kinds": kinds})}


def has_log_tables(connection: Connection, schema: str) -> bool:
    """Whether a schema has the two tables of a log, or tables of their names."""
    return {TableName(schema, name) for name in LOG_TABLES} <= tables_in(connection)


def log_partition(connection: Connection, schema: str) -> str | None:
    """How the tables of a log are partitioned: ``"month"``, or not at all."""
    log = TableName(schema, LOG_TABLES[0])
    found = partitioning(connection, [log]).get(log)
    return "month" if found is not None and found.is_partitioned else None


def parts_of_log(connection: Connection, schema: str) -> list[TableName]:
    """The tables of a log and their partitions."""
    logs = [TableName(schema, name) for name in LOG_TABLES]
    return [*logs, *(part for log in logs for part in partitions_of(connection, log))]


def installed_version(connection: Connection, schema: str) -> int | None:
    """The version of the functions of a log, or ``None`` if the schema has no log.

    :raises ConfigurationError: if it is newer than this package.
    """
    for row in _function_rows(connection, schema):
        if (row.proname, row.arguments) == ("audit_logger_capture", ""):
            said = _VERSION.match(row.comment or "")
            version = int(said[1]) if said else CURRENT_VERSION
            if version > CURRENT_VERSION:
                raise ConfigurationError(
                    f"The audit log in schema {schema!r} is of version {version}, this package knows versions up to "
                    f"{CURRENT_VERSION}. Install the release of flask-audit-logger that made it, or a newer one."
                )
            return version
    return None


def are_current(connection: Connection, functions: Functions) -> bool:
    """Whether the functions exist exactly as this version has them."""
    schema = functions.schema or default_schema(connection)
    existing = {(row.proname, row.arguments): row for row in _function_rows(connection, schema)}
    return is_append_only(connection, schema) and all(
        _is_same(existing.get((f"audit_logger_{name}", arguments)), render(name, functions.version, schema))
        for name, arguments in FUNCTIONS
    )


def is_append_only(connection: Connection, schema: str) -> bool:
    """Whether each table of a log, and each partition, has the trigger that lets only its owner change it."""
    return not connection.scalars(_OPEN, {"schema": schema}).all()


def existing_triggers(connection: Connection, audit_schema: str | None) -> list[ExistingTriggers]:
    """The triggers that write to the log in ``audit_schema``, per table, in order of schema and table."""
    default = default_schema(connection)
    version = installed_version(connection, audit_schema or default)
    if version is None:
        return []
    on_partitions: dict[TableName, list[Row[Any]]] = defaultdict(list)
    by_table: dict[TableName, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_TRIGGERS, {"schema": audit_schema or default, "called": CALLED}):
        if row.relispartition and _argument(row).get("partition"):
            on_partitions[TableName(row.root_schema, row.root_table)].append(row)
        else:
            by_table[TableName(row.nspname, row.relname)].append(row)
    found = []
    for table, rows in by_table.items():
        partitioned = rows[0].relkind == "p"
        triggers = Triggers(
            table=table.name,
            schema=unless_default(table.schema, default),
            audit_schema=audit_schema,
            version=version,
            options=_options([row for row in rows if _works(row)], partitioned=partitioned),
        )
        counted = {"schema": table.schema, "table": table.name}
        partitions = connection.scalar(_PARTITIONS, counted) if partitioned else 0
        is_complete = len(rows) == len(triggers.options.verbs) and _are_alike(
            on_partitions[table], triggers.options, partitions or 0
        )
        found.append(ExistingTriggers(triggers, is_complete))
    return found


def uncompiled_tables(connection: Connection, functions: Functions) -> list[TableName]:
    """Tables that were altered since their triggers were made: changes are captured all the same, only slower.

    A role that may not call the functions of the log, as the application's, is told of none.

    :param functions: those of the log, which are current.
    """
    schema = functions.schema or default_schema(connection)
    if not connection.scalar(_MAY_CALL, {"schema": schema, "function": function_signature("is_compiled", schema)}):
        return []
    query = text(_UNCOMPILED.format(log=quote_ident(schema).replace(":", "\\:")))
    return [TableName(*row) for row in connection.execute(query, {"schema": schema, "compiled": COMPILED})]


def triggers_of_other_logs(connection: Connection, audit_schema: str | None) -> list[Triggers]:
    """The triggers that write to any log but the one in ``audit_schema``: whose it is, no catalog can tell.

    A table has the triggers of one log only, because of their names.
    """
    default = default_schema(connection)
    schemas = [unless_default(schema, default) for schema in connection.scalars(_LOGS, {"called": CALLED})]
    others = [schema for schema in schemas if schema != unless_default(audit_schema, default)]
    return [found.triggers for schema in others for found in existing_triggers(connection, schema)]


def _are_alike(rows: list[Row[Any]], options: TableOptions, partitions: int) -> bool:
    """Whether exactly the same triggers work on each partition."""
    expected = json.loads(options.argument(partition=True))
    return len(rows) == partitions * len(options.verbs) and all(
        _works(row) and _argument(row) == expected and _verb(row) in options.verbs for row in rows
    )


def _function_rows(connection: Connection, schema: str) -> list[Row[Any]]:
    return list(connection.execute(_FUNCTIONS, {"schema": schema}).all())


def _is_same(row: Row[Any] | None, sql: str) -> bool:
    body = _BODY.search(sql)
    if row is None or body is None:
        return False
    header = sql[: body.start()]
    settings = {name.lower(): value.strip("'") for name, value in _SETTING.findall(header)}
    existing = dict(item.split("=", 1) for item in row.proconfig)
    said = {kind: match[kind] for match in _HEADER.finditer(header) for kind in match.groupdict() if match[kind]}
    return (
        row.prosrc == body[1]
        and row.prosecdef == ("SECURITY DEFINER" in header)
        and row.lanname == said["language"]
        and row.volatility == _VOLATILITY[said.get("volatility", "VOLATILE")]
        and row.proisstrict == ("strict" in said)
        and {name.lower(): value.strip("'\"") for name, value in existing.items()} == settings
        and (not row.is_granted or row.proname == f"audit_logger_{CALLABLE}")
    )


def _works(row: Row[Any]) -> bool:
    verb = _verb(row) or ""
    shape = (row.tgtype, row.tgoldtable, row.tgnewtable)
    return row.tgenabled in _ENABLED and row.is_unconditional and _SHAPES.get(verb) == shape and _calls(row, verb)


def _calls(row: Row[Any], verb: str) -> bool:
    """Whether a trigger calls the function of its verb: its table's own, or of a partition the one for all."""
    name = str(row.proname)
    if verb == "truncate":
        return name == "audit_logger_truncate"
    if _argument(row).get("partition"):
        return name == "audit_logger_capture"
    return re.search(COMPILED, name) is not None and name.endswith(f"_{verb}")


def _verb(row: Row[Any]) -> str | None:
    """The verb that the name of a trigger says."""
    verb = str(row.tgname).removeprefix("audit_logger_")
    return verb if verb in VERBS and verb != row.tgname else None


#: As bytes or text, as the driver gives ``"char"``.
_ENABLED = ("O", "A", b"O", b"A")


def _argument(row: Row[Any]) -> dict[str, Any]:
    try:
        argument = json.loads(bytes(row.argument or b"{}").decode("utf-8"))
    except ValueError:
        return {}
    return argument if isinstance(argument, dict) else {}


def _options(rows: list[Row[Any]], *, partitioned: bool) -> TableOptions:
    """The options that the triggers of a table share; a trigger with others doesn't count as there."""
    if not rows:
        return TableOptions(verbs=(), partitioned=partitioned)
    argument = _argument(rows[0])
    names = {_verb(row) for row in rows if _argument(row) == argument}
    verbs = tuple(verb for verb in VERBS if verb in names)
    try:
        return TableOptions.from_trigger(json.dumps(argument), verbs=verbs, partitioned=partitioned)
    except TypeError:  # an argument that no version of this package wrote
        return TableOptions(verbs=(), partitioned=partitioned)
