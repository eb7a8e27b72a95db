"""What the operations do: run SQL, online or into a script."""

from __future__ import annotations

from dataclasses import replace

from alembic.operations import Operations

from ..schema.objects import snapshot
from ..sql import quote_ident, quote_literal
from .execute import declared_schema, default_schema, lock, log_schema, run, unless_old_log
from .ops import (
    InitAuditLoggerFunctionsOp,
    InitAuditLoggerSchemaOp,
    InitAuditLoggerTriggersOp,
    RemoveAuditLoggerFunctionsOp,
    RemoveAuditLoggerSchemaOp,
    RemoveAuditLoggerTriggersOp,
    SnapshotAuditLoggerTableOp,
)


@Operations.implementation_for(InitAuditLoggerSchemaOp)
def _init_schema(operations: Operations, operation: InitAuditLoggerSchemaOp) -> None:
    schema = operation.schema or declared_schema(operations)
    if schema is not None:
        # CREATE SCHEMA IF NOT EXISTS asks for the right to make one even where somebody else has made it.
        named = quote_literal(quote_ident(schema))
        run(
            operations,
            [
                "DO $audit_logger$\nBEGIN\n"
                f"    IF to_regnamespace({named}) IS NULL THEN\n"
                f"        CREATE SCHEMA {quote_ident(schema)};\n"
                "    END IF;\n"
                "END;\n$audit_logger$"
            ],
        )


@Operations.implementation_for(RemoveAuditLoggerSchemaOp)
def _remove_schema(operations: Operations, operation: RemoveAuditLoggerSchemaOp) -> None:
    schema = operation.schema or declared_schema(operations)
    if schema is not None:
        run(
            operations,
            [
                "DO $audit_logger$\nBEGIN\n"
                f"    DROP SCHEMA IF EXISTS {quote_ident(schema)};\n"
                "EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN\n"
                "    NULL;  -- something else lives in it, or somebody else made it\n"
                "END;\n$audit_logger$"
            ],
        )


@Operations.implementation_for(InitAuditLoggerFunctionsOp)
def _init_functions(operations: Operations, operation: InitAuditLoggerFunctionsOp) -> None:
    run(operations, operation.functions.create(default_schema(operations)))


@Operations.implementation_for(RemoveAuditLoggerFunctionsOp)
def _remove_functions(operations: Operations, operation: RemoveAuditLoggerFunctionsOp) -> None:
    run(operations, operation.functions.drop(default_schema(operations)))


@Operations.implementation_for(InitAuditLoggerTriggersOp)
def _init_triggers(operations: Operations, operation: InitAuditLoggerTriggersOp) -> None:
    triggers = operation.triggers
    lock(operations, [(triggers.schema, triggers.table)], exclusive=operation.drops_triggers)
    if operation.is_of_old_migration:
        triggers = replace(triggers, audit_schema=triggers.audit_schema or declared_schema(operations))
        log = log_schema(operations, triggers.audit_schema)
        run(operations, [unless_old_log(triggers.create(default_schema(operations)), log)])
    else:
        run(operations, triggers.create(default_schema(operations)))


@Operations.implementation_for(RemoveAuditLoggerTriggersOp)
def _remove_triggers(operations: Operations, operation: RemoveAuditLoggerTriggersOp) -> None:
    triggers = operation.triggers
    lock(operations, [(triggers.schema, triggers.table)], exclusive=True)
    run(operations, triggers.drop(default_schema(operations)))


@Operations.implementation_for(SnapshotAuditLoggerTableOp)
def _snapshot_table(operations: Operations, operation: SnapshotAuditLoggerTableOp) -> None:
    run(operations, [snapshot(operation.triggers, default_schema(operations))])
