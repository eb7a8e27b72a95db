"""What the operations on an old log do, online or into a script."""

from __future__ import annotations

import logging

from alembic.operations import Operations
from sqlalchemy import text

from ...sql import quote_ident, quote_literal, render
from ..execute import lock, log_schema, run
from .ops import ConvertAuditLoggerLogOp, OldLog, RestoreAuditLoggerLogOp

#: Rows of one UPDATE: some seconds of work.
BATCH = 50_000

_log = logging.getLogger("alembic.runtime.migration")


@Operations.implementation_for(ConvertAuditLoggerLogOp)
def _convert(operations: Operations, operation: ConvertAuditLoggerLogOp) -> None:
    old = operation.old
    schema = log_schema(operations, old.schema)
    lock(operations, old.tables(), exclusive=True)
    run(operations, [_sql("convert_structure", old, schema)])
    run(operations, [f"DROP OPERATOR IF EXISTS {operator}" for operator in old.operators])
    run(operations, [f"DROP FUNCTION IF EXISTS {function}" for function in old.functions])
    run(operations, [_sql("convert_transactions", old, schema, origin=quote_literal(old.origin))])
    _convert_activities(operations, old, schema)
    run(operations, [_sql("convert_finish", old, schema)])


@Operations.implementation_for(RestoreAuditLoggerLogOp)
def _restore(operations: Operations, operation: RestoreAuditLoggerLogOp) -> None:
    old = operation.old
    lock(operations, old.tables(), exclusive=True)
    is_postgresql_audit = old.origin.startswith("postgresql-audit")
    back = _sql(
        "convert_back",
        old,
        log_schema(operations, old.schema),
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
