"""What the operations do: run SQL, online or into a script."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.operations import Operations
from sqlalchemy import MetaData, text

from ..schema.catalog import default_schema
from ..schema.declared import declaration_of
from ..schema.objects import DEFAULT_SCHEMA
from ..sql import quote_ident, quote_literal
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
    run(operations, operation.functions.create(_default_schema(operations)))


@Operations.implementation_for(RemoveAuditLoggerFunctionsOp)
def _remove_functions(operations: Operations, operation: RemoveAuditLoggerFunctionsOp) -> None:
    run(operations, operation.functions.drop(_default_schema(operations)))


@Operations.implementation_for(InitAuditLoggerTriggersOp)
def _init_triggers(operations: Operations, operation: InitAuditLoggerTriggersOp) -> None:
    run(operations, operation.triggers.create(_default_schema(operations)))


@Operations.implementation_for(RemoveAuditLoggerTriggersOp)
def _remove_triggers(operations: Operations, operation: RemoveAuditLoggerTriggersOp) -> None:
    run(operations, operation.triggers.drop(_default_schema(operations)))


def _default_schema(operations: Operations) -> str:
    connection = operations.migration_context.connection
    return DEFAULT_SCHEMA if connection is None else default_schema(connection)


def declared_schema(operations: Operations) -> str | None:
    """The schema of the log of today's models, for migrations of release 2.0.0, which name none."""
    metadata = operations.migration_context.opts.get("target_metadata")
    declaration = declaration_of(metadata) if isinstance(metadata, MetaData) else None
    return None if declaration is None else declaration.schema


def run(operations: Operations, statements: Iterable[str]) -> None:
    impl = operations.migration_context.impl
    for statement in statements:
        if operations.migration_context.as_sql:
            # As a statement it would have each % doubled, for a driver that is not there.
            impl.static_output(statement + impl.command_terminator)
        else:
            operations.execute(text(statement.replace(":", "\\:")))
