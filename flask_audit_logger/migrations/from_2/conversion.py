"""The operations of old migrations, and those that convert an old log and back.

Old means flask-audit-logger 2.0 or postgresql-audit 0.18. The functions and triggers of release 2.0.0 are not made any
more: what old migrations write into audited tables while a database is made from nothing is not logged, until the
migration that converts the log makes the new ones.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection, text

from ...sql import quote_ident, quote_literal, render
from ..operations import AuditOperation, Table, declared_schema, default_schema, lock, operation, run

#: Rows of one UPDATE: some seconds of work.
BATCH = 50_000

#: What wrote an old log. postgresql-audit calls one column otherwise and has another type of transaction ids.
ORIGINS = ("flask-audit-logger 2.0", "postgresql-audit 0.18")

#: Schema, table and key columns.
RecordKey = tuple[str, str, tuple[str, ...]]

#: A log of another package has no keys of records.
_OLD_LOGS = text(
    """
    SELECT c.oid
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
    WHERE c.relname = 'activity' AND c.relkind = 'r'
    GROUP BY c.oid
    HAVING bool_or(a.attname = 'native_transaction_id') AND NOT bool_or(a.attname = 'record_key')
    """
)

_log = logging.getLogger("alembic.runtime.migration")


def may_have_old_log(connection: Connection) -> bool:
    """Whether some schema has a table like that of flask-audit-logger 2.0 or postgresql-audit."""
    return connection.execute(_OLD_LOGS).first() is not None


@dataclass(frozen=True)
class OldLog:
    """An old log: what it takes to convert it and to make it again.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    :param origin: one of :data:`ORIGINS`.
    :param record_keys: the key columns of each table that it may have entries of.
    :param functions: signatures of the old functions that go.
    :param operators: signatures of the old operators that go.
    :param statements: SQL that makes what went: constraints, indexes, functions, operators, triggers.
    :param version: version of the SQL.
    """

    schema: str | None
    origin: str
    record_keys: tuple[RecordKey, ...]
    functions: tuple[str, ...]
    operators: tuple[str, ...]
    statements: tuple[str, ...]
    version: int


class _LogOp(AuditOperation):
    """An operation on a whole log, written with one argument per line."""

    def __init__(self, old: OldLog) -> None:
        self.old = old

    def locks(self) -> tuple[list[Table], bool]:
        audited: list[Table] = [(schema, table) for schema, table, _ in self.old.record_keys]
        return [*audited, (self.old.schema, "activity"), (self.old.schema, "transaction")], True

    def render(self, context: AutogenContext) -> str:
        prefix = context.opts.get("alembic_module_prefix") or ""
        written = []
        for name, value in self.arguments()[1].items():
            if isinstance(value, list):
                items = "".join(f"        {item!r},\n" for item in value)
                written += [f"    {name}=[\n{items}    ],\n"] if value else []
            elif value is not None:
                written.append(f"    {name}={value!r},\n")
        return f"{prefix}{self.name}(\n{''.join(written)})"


@operation("convert_audit_logger_log")
class ConvertAuditLoggerLogOp(_LogOp):
    """Turn the log of another release or package into one of this package."""

    @classmethod
    def convert_audit_logger_log(
        cls,
        operations: Operations,
        *,
        origin: str,
        version: int,
        schema: str | None = None,
        record_keys: Sequence[tuple[str, str, Sequence[str]]] = (),
        functions: Sequence[str] = (),
        operators: Sequence[str] = (),
    ) -> Any:
        """Turn the log of another release or package into one of this package. Every entry stays.

        :param origin: ``"flask-audit-logger 2.0"`` or ``"postgresql-audit 0.18"``.
        :param version: version of the SQL.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param record_keys: ``(schema, table, key columns)`` of the tables whose entries get a record key.
        :param functions: signatures of old functions to drop.
        :param operators: signatures of old operators to drop.
        """
        keys = tuple((key[0], key[1], tuple(key[2])) for key in record_keys)
        return operations.invoke(cls(OldLog(schema, origin, keys, tuple(functions), tuple(operators), (), version)))

    def reverse(self) -> MigrateOperation:
        return RestoreAuditLoggerLogOp(self.old)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        old = self.old
        keys = [(schema, table, list(columns)) for schema, table, columns in old.record_keys]
        named = {"record_keys": keys, "functions": list(old.functions), "operators": list(old.operators)}
        return [], {"origin": old.origin, "schema": old.schema, **named, "version": old.version}

    def execute(self, operations: Operations) -> None:
        old = self.old
        schema = old.schema or default_schema(operations)
        lock(operations, *self.locks())
        run(operations, [_sql("convert_structure", old, schema)])
        run(operations, [f"DROP OPERATOR IF EXISTS {operator}" for operator in old.operators])
        run(operations, [f"DROP FUNCTION IF EXISTS {function}" for function in old.functions])
        run(operations, [_sql("convert_transactions", old, schema, origin=quote_literal(old.origin))])
        _convert_activities(operations, old, schema)
        run(operations, [_sql("convert_finish", old, schema)])


@operation("restore_audit_logger_log")
class RestoreAuditLoggerLogOp(_LogOp):
    """Turn a converted log back into what it was."""

    @classmethod
    def restore_audit_logger_log(
        cls,
        operations: Operations,
        *,
        origin: str,
        version: int,
        schema: str | None = None,
        statements: Sequence[str] = (),
    ) -> Any:
        """Turn a converted log back into what it was.

        Old logs have no place for some things: record keys, labels of actors, contexts and the rows of transactions
        nobody was known for are lost, and a database transaction in which the actor changed gets back one row.

        :param origin: ``"flask-audit-logger 2.0"`` or ``"postgresql-audit 0.18"``.
        :param version: version of the SQL.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param statements: SQL that makes the old constraints, indexes, functions and triggers.
        """
        return operations.invoke(cls(OldLog(schema, origin, (), (), (), tuple(statements), version)))

    def reverse(self) -> MigrateOperation:
        return ConvertAuditLoggerLogOp(self.old)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        old = self.old
        named = {"origin": old.origin, "schema": old.schema, "statements": list(old.statements), "version": old.version}
        return [], named

    def execute(self, operations: Operations) -> None:
        old = self.old
        lock(operations, *self.locks())
        is_postgresql_audit = old.origin.startswith("postgresql-audit")
        back = _sql(
            "convert_back",
            old,
            old.schema or default_schema(operations),
            native_type="xid8" if is_postgresql_audit else "bigint",
            is_renamed=str(is_postgresql_audit).lower(),
            # flask-audit-logger allows one row per hour for a transaction id, postgresql-audit one for ever
            is_timed=str(not is_postgresql_audit).lower(),
        )
        run(operations, [back, *old.statements])


def _convert_activities(operations: Operations, old: OldLog, schema: str) -> None:
    keys = _record_keys(old)
    if operations.migration_context.as_sql:
        batch = _sql("convert_activities", old, schema, record_keys=keys, first="batch", last="batch + size - 1")
        run(operations, [_in_batches(batch, schema)])
        return
    last_id = operations.get_bind().scalar(text(f"SELECT max(id) FROM {quote_ident(schema)}.activity")) or 0  # noqa: S608 - quoted
    for first in range(1, last_id + 1, BATCH):
        last = min(first + BATCH - 1, last_id)
        batch = _sql("convert_activities", old, schema, record_keys=keys, first=str(first), last=str(last))
        run(operations, [batch])
        _log.info("audit log: %d of %d activities converted", last, last_id)


def _record_keys(old: OldLog) -> str:
    """The rows of a VALUES list: schema, table and key columns."""
    rows = [
        f"({quote_literal(schema)}, {quote_literal(table)}, ARRAY[{', '.join(map(quote_literal, columns))}]::text[])"
        for schema, table, columns in old.record_keys
    ]
    return ", ".join(rows) or "(NULL::text, NULL::text, NULL::text[])"


def _in_batches(statement: str, schema: str) -> str:
    return "\n".join(
        [
            "DO $convert$",
            "DECLARE",
            "    batch bigint;",
            f"    size bigint := {BATCH};",
            f"    last_id bigint := (SELECT max(id) FROM {quote_ident(schema)}.activity);",  # noqa: S608 - quoted
            "BEGIN",
            "    FOR batch IN SELECT generate_series(1, last_id, size) LOOP",
            f"{statement};",
            "        RAISE NOTICE 'audit log: % of % activities converted', least(batch + size - 1, last_id), last_id;",
            "    END LOOP;",
            "END;",
            "$convert$",
        ]
    )


def _sql(name: str, old: OldLog, schema: str, **identifiers: str) -> str:
    quoted = quote_ident(schema).replace("'", "''")
    return render(name, old.version, schema, quoted_schema=quoted, **identifiers)


class _NamedOp(AuditOperation):
    """An operation that has one name as its argument."""

    def __init__(self, named: str) -> None:
        self.named = named


@operation("init_audit_logger_extension")
class InitAuditLoggerExtensionOp(_NamedOp):
    """Install an extension that the tables of release 2.0.0 need."""

    @classmethod
    def init_audit_logger_extension(cls, operations: Operations, extension: str) -> Any:
        """Install an extension that the tables of release 2.0.0 need.

        :param extension: its name.
        """
        return operations.invoke(cls(extension))

    def execute(self, operations: Operations) -> None:
        run(operations, [f"CREATE EXTENSION IF NOT EXISTS {quote_ident(self.named)} WITH SCHEMA public"])


@operation("remove_audit_logger_extension")
class RemoveAuditLoggerExtensionOp(_NamedOp):
    """Drop an extension."""

    @classmethod
    def remove_audit_logger_extension(cls, operations: Operations, extension: str) -> Any:
        """Drop an extension.

        :param extension: its name.
        """
        return operations.invoke(cls(extension))

    def execute(self, operations: Operations) -> None:
        run(operations, [f"DROP EXTENSION IF EXISTS {quote_ident(self.named)}"])


@operation("init_audit_logger_function")
class InitAuditLoggerFunctionOp(_NamedOp):
    """Nothing: the functions of release 2.0.0 are not made any more."""

    @classmethod
    def init_audit_logger_function(cls, operations: Operations, function_signature: str) -> Any:
        """Do nothing: the functions of release 2.0.0 are not made any more.

        :param function_signature: which function.
        """
        return operations.invoke(cls(function_signature))

    def execute(self, operations: Operations) -> None:
        """Nothing to do."""


@operation("remove_audit_logger_function")
class RemoveAuditLoggerFunctionOp(_NamedOp):
    """Drop a function of release 2.0.0 with the triggers that call it."""

    @classmethod
    def remove_audit_logger_function(cls, operations: Operations, function_signature: str) -> Any:
        """Drop a function of release 2.0.0 with the triggers that call it.

        :param function_signature: which function.
        """
        return operations.invoke(cls(function_signature))

    def execute(self, operations: Operations) -> None:
        schema = quote_ident(declared_schema(operations) or default_schema(operations))
        run(operations, [f"DROP FUNCTION IF EXISTS {schema}.{self.named} CASCADE"])
