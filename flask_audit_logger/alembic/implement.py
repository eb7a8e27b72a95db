"""What the operations do: run SQL, online or into a script."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.operations import Operations
from sqlalchemy import text

from ..schema.catalog import default_schema
from ..schema.objects import DEFAULT_SCHEMA
from ..sql import quote_ident
from .ops import (
    InitAuditLoggerFunctionsOp,
    InitAuditLoggerSchemaOp,
    InitAuditLoggerTriggersOp,
    RemoveAuditLoggerFunctionsOp,
    RemoveAuditLoggerSchemaOp,
    RemoveAuditLoggerTriggersOp,
)


@Operations.implementation_for(InitAuditLoggerSchemaOp)
def _init_schema(operations: Operations, operation: InitAuditLoggerSchemaOp) -> None:
    if operation.schema is not None:
        _run(operations, [f"CREATE SCHEMA IF NOT EXISTS {quote_ident(operation.schema)}"])


@Operations.implementation_for(RemoveAuditLoggerSchemaOp)
def _remove_schema(operations: Operations, operation: RemoveAuditLoggerSchemaOp) -> None:
    if operation.schema is not None:
        dropped = f"DROP SCHEMA IF EXISTS {quote_ident(operation.schema)}"
        _run(
            operations,
            [
                "DO $audit_logger$\nBEGIN\n"
                f"    {dropped};\n"
                "EXCEPTION WHEN dependent_objects_still_exist THEN\n"
                "    NULL;  -- something else lives in it\n"
                "END;\n$audit_logger$"
            ],
        )


@Operations.implementation_for(InitAuditLoggerFunctionsOp)
def _init_functions(operations: Operations, operation: InitAuditLoggerFunctionsOp) -> None:
    _run(operations, operation.functions.create(_default_schema(operations)))


@Operations.implementation_for(RemoveAuditLoggerFunctionsOp)
def _remove_functions(operations: Operations, operation: RemoveAuditLoggerFunctionsOp) -> None:
    _run(operations, operation.functions.drop(_default_schema(operations)))


@Operations.implementation_for(InitAuditLoggerTriggersOp)
def _init_triggers(operations: Operations, operation: InitAuditLoggerTriggersOp) -> None:
    _run(operations, operation.triggers.create(_default_schema(operations)))


@Operations.implementation_for(RemoveAuditLoggerTriggersOp)
def _remove_triggers(operations: Operations, operation: RemoveAuditLoggerTriggersOp) -> None:
    _run(operations, operation.triggers.drop(_default_schema(operations)))


def _default_schema(operations: Operations) -> str:
    connection = operations.migration_context.connection
    return DEFAULT_SCHEMA if connection is None else default_schema(connection)


def _run(operations: Operations, statements: Iterable[str]) -> None:
    impl = operations.migration_context.impl
    for statement in statements:
        if operations.migration_context.as_sql:
            # As a statement it would have each % doubled, for a driver that is not there.
            impl.static_output(statement + impl.command_terminator)
        else:
            operations.execute(text(statement.replace(":", "\\:")))
