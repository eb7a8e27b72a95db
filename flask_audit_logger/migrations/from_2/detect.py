"""Autogenerate finds the log of flask-audit-logger 2.0 or postgresql-audit 0.18 and converts it."""

from __future__ import annotations

import logging
from typing import Any

from alembic.operations import MigrateOperation
from sqlalchemy import Connection, MetaData, text

from ...exceptions import ConfigurationError
from ...schema.catalog import default_schema
from ...schema.declared import Declaration, declared_triggers
from ...schema.names import TableName
from ...sql import CURRENT_VERSION
from .conversion import ORIGINS, ConvertAuditLoggerLogOp, OldLog, RecordKey

_log = logging.getLogger("alembic.autogenerate")

_COLUMNS = text(
    """
    SELECT c.relname, a.attname
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname IN ('activity', 'transaction') AND c.relkind = 'r' AND a.attnum > 0
        AND NOT a.attisdropped
    """
)

#: Tables with an old trigger, and their primary key.
_KEYS = text(
    """
    SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY k.position) AS key_columns
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
    CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
    WHERE c.oid IN (SELECT tgrelid FROM pg_catalog.pg_trigger WHERE tgfoid = to_regprocedure(:capture))
    GROUP BY n.nspname, c.relname
    """
)

_FUNCTIONS = text(
    """
    SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) AS signature,
        pg_catalog.pg_get_functiondef(p.oid) AS definition
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN (:schema, :helpers)
        AND format('%s(%s)', p.proname, pg_catalog.oidvectortypes(p.proargtypes)) IN (
            'create_activity()',
            'get_setting(text, text)',
            'jsonb_subtract(jsonb, jsonb)',
            'jsonb_change_key_name(jsonb, text, text)',
            'audit_table(regclass)',
            'audit_table(regclass, text[])'
        )
    ORDER BY p.oid
    """
)

_OPERATORS = text(
    """
    SELECT format('%I.%s (jsonb, jsonb)', n.nspname, o.oprname) AS signature,
        format(
            'CREATE OPERATOR %I.%s (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = %s)',
            n.nspname, o.oprname, o.oprcode
        ) AS definition
    FROM pg_catalog.pg_operator AS o
    JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
    JOIN pg_catalog.pg_proc AS p ON p.oid = o.oprcode
    WHERE p.proname = 'jsonb_subtract' AND n.nspname IN (:schema, :helpers)
        AND o.oprleft = 'jsonb'::regtype AND o.oprright = 'jsonb'::regtype
    ORDER BY o.oid
    """
)

#: Columns that models of the application gave the old tables. One that may not be null comes back only with a default.
_MORE_COLUMNS = text(
    """
    SELECT a.attrelid::regclass || '.' || pg_catalog.quote_ident(a.attname) AS name,
        concat(
            'ALTER TABLE ', a.attrelid::regclass, ' ADD COLUMN ', pg_catalog.quote_ident(a.attname), ' ',
            pg_catalog.format_type(a.atttypid, a.atttypmod),
            ' COLLATE ' || (
                SELECT pg_catalog.format('%I.%I', n.nspname, c.collname)
                FROM pg_catalog.pg_collation AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
                JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
                WHERE c.oid = a.attcollation AND c.oid <> t.typcollation
            ),
            ' DEFAULT ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid),
            CASE WHEN a.attnotnull AND d.oid IS NOT NULL THEN ' NOT NULL' END
        ) AS definition
    FROM pg_catalog.pg_attribute AS a
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid IN (to_regclass(:activity), to_regclass(:transaction)) AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attname <> ALL (CAST(:known AS text[]))
    ORDER BY a.attrelid, a.attnum
    """
)

_CONSTRAINTS = text(
    """
    SELECT format(
        'ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_catalog.pg_get_constraintdef(c.oid)
    ) AS definition
    FROM pg_catalog.pg_constraint AS c
    WHERE c.conrelid IN (to_regclass(:activity), to_regclass(:transaction)) AND c.contype IN ('f', 'p', 'u', 'x')
    ORDER BY c.contype = 'f', c.conrelid::regclass::text, c.conname
    """
)

_INDEXES = text(
    """
    SELECT pg_catalog.pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_catalog.pg_index AS i
    WHERE i.indrelid IN (to_regclass(:activity), to_regclass(:transaction))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS c WHERE c.conindid = i.indexrelid)
    ORDER BY i.indexrelid::regclass::text
    """
)

_TRIGGERS = text(
    """
    SELECT pg_catalog.pg_get_triggerdef(t.oid) AS definition
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgfoid = to_regprocedure(:capture) AND NOT t.tgisinternal AND t.tgparentid = 0
    ORDER BY t.tgrelid::regclass::text, t.tgname
    """
)

_ELSEWHERE = text(
    """
    SELECT log.nspname AS log, n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace AS log ON log.oid = p.pronamespace
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE p.proname = 'create_activity' AND p.pronargs = 0 AND log.nspname <> :schema
    ORDER BY log.nspname, n.nspname, c.relname
    """
)

#: The columns that an old log has, besides those that models of the application may have added.
_OLD_COLUMNS = (
    "id native_transaction_id issued_at client_addr actor_id schema schema_name table_name relid verb old_data "
    "changed_data transaction_id"
).split()


def conversion_of(connection: Connection, metadata: MetaData, declaration: Declaration) -> list[MigrateOperation]:
    """The operation that converts the log of ``metadata``, if it is an old one.

    :raises ConfigurationError: if the old log of one of its tables is in another schema.
    """
    _refuse_old_log_elsewhere(connection, metadata, declaration)
    old = _old_log(connection, metadata, declaration)
    return [] if old is None else [ConvertAuditLoggerLogOp(old)]


def _old_log(connection: Connection, metadata: MetaData, declaration: Declaration) -> OldLog | None:
    """The old log that stands where the log of ``metadata`` should be, if there is one."""
    default = default_schema(connection)
    schema = declaration.schema or default
    origin = _origin(connection, schema)
    if origin is None:
        return None
    quote = connection.dialect.identifier_preparer.quote_identifier
    names: dict[str, Any] = {
        "known": _OLD_COLUMNS,
        "schema": schema,
        "helpers": default,
        "activity": f"{quote(schema)}.activity",
        "transaction": f"{quote(schema)}.transaction",
        "capture": f"{quote(schema)}.create_activity()",
    }

    def rows(query: Any) -> Any:
        return connection.execute(query, {name: names[name] for name in query.compile().params}).all()

    functions, operators, more = rows(_FUNCTIONS), rows(_OPERATORS), rows(_MORE_COLUMNS)
    if more:
        _log.warning("The conversion drops columns that are not the log's own: %s", ", ".join(row.name for row in more))
    made = [*more, *rows(_CONSTRAINTS), *rows(_INDEXES), *functions, *operators, *rows(_TRIGGERS)]
    return OldLog(
        schema=declaration.schema,
        origin=origin,
        record_keys=_record_keys(rows(_KEYS), metadata, default),
        functions=tuple(row.signature for row in reversed(functions)),
        operators=tuple(row.signature for row in operators),
        statements=tuple(row.definition for row in made),
        version=CURRENT_VERSION,
    )


def _origin(connection: Connection, schema: str) -> str | None:
    """Whose log the tables in a schema are, if they are those of an old one."""
    columns: dict[str, set[str]] = {"activity": set(), "transaction": set()}
    for row in connection.execute(_COLUMNS, {"schema": schema}):
        columns[row.relname].add(row.attname)
    is_old = {"native_transaction_id", "verb", "old_data"} <= columns["activity"] - {"record_key"}
    if not is_old or "record_key" in columns["activity"] or "native_transaction_id" not in columns["transaction"]:
        return None
    return ORIGINS["schema_name" in columns["activity"]]


def _refuse_old_log_elsewhere(connection: Connection, metadata: MetaData, declaration: Declaration) -> None:
    """Stop if another schema has the old log: its entries would be left there, or dropped."""
    default = default_schema(connection)
    audited = {t.name(default) for t in declared_triggers(metadata)}
    for row in connection.execute(_ELSEWHERE, {"schema": declaration.schema or default}):
        origin = _origin(connection, row.log) if TableName(row.schema, row.name) in audited else None
        if origin is not None:
            raise ConfigurationError(
                f"{origin} logs changes of {row.name!r} in schema {row.log!r}. Let the AuditLogger have that schema "
                "until a migration has converted the log."
            )


def _record_keys(found: Any, metadata: MetaData, default: str) -> tuple[RecordKey, ...]:
    keys = {(row.nspname, row.relname): tuple(row.key_columns) for row in found}
    for triggers in declared_triggers(metadata):
        if triggers.options.key:
            keys[triggers.schema or default, triggers.table] = triggers.options.key
    return tuple((schema, table, columns) for (schema, table), columns in sorted(keys.items()))
