"""The operations of flask-audit-logger 2.0 that this package has no use for, so that its migrations still run.

Its functions and triggers are not made: what old migrations write into audited tables while a database is made from
nothing is not logged, until the migration that converts the log makes the new ones.
"""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation, Operations

from ...sql import quote_ident
from ..execute import declared_schema, log_schema, run


class _NamedOp(MigrateOperation):
    def __init__(self, name: str) -> None:
        self.name = name


@Operations.register_operation("init_audit_logger_extension")
class InitAuditLoggerExtensionOp(_NamedOp):
    """Install an extension that the tables of release 2.0.0 need."""

    @classmethod
    def init_audit_logger_extension(cls, operations: Operations, extension: str) -> Any:
        """Install an extension that the tables of release 2.0.0 need.

        :param extension: its name.
        """
        return operations.invoke(cls(extension))


@Operations.register_operation("remove_audit_logger_extension")
class RemoveAuditLoggerExtensionOp(_NamedOp):
    """Drop an extension."""

    @classmethod
    def remove_audit_logger_extension(cls, operations: Operations, extension: str) -> Any:
        """Drop an extension.

        :param extension: its name.
        """
        return operations.invoke(cls(extension))


@Operations.register_operation("init_audit_logger_function")
class InitAuditLoggerFunctionOp(_NamedOp):
    """Nothing: the functions of release 2.0.0 are not made any more."""

    @classmethod
    def init_audit_logger_function(cls, operations: Operations, function_signature: str) -> Any:
        """Do nothing: the functions of release 2.0.0 are not made any more.

        :param function_signature: which function.
        """
        return operations.invoke(cls(function_signature))


@Operations.register_operation("remove_audit_logger_function")
class RemoveAuditLoggerFunctionOp(_NamedOp):
    """Drop a function of release 2.0.0 with the triggers that call it."""

    @classmethod
    def remove_audit_logger_function(cls, operations: Operations, function_signature: str) -> Any:
        """Drop a function of release 2.0.0 with the triggers that call it.

        :param function_signature: which function.
        """
        return operations.invoke(cls(function_signature))


@Operations.implementation_for(InitAuditLoggerExtensionOp)
def _init_extension(operations: Operations, operation: InitAuditLoggerExtensionOp) -> None:
    run(operations, [f"CREATE EXTENSION IF NOT EXISTS {quote_ident(operation.name)} WITH SCHEMA public"])


@Operations.implementation_for(RemoveAuditLoggerExtensionOp)
def _remove_extension(operations: Operations, operation: RemoveAuditLoggerExtensionOp) -> None:
    run(operations, [f"DROP EXTENSION IF EXISTS {quote_ident(operation.name)}"])


@Operations.implementation_for(InitAuditLoggerFunctionOp)
def _init_function(operations: Operations, operation: InitAuditLoggerFunctionOp) -> None:
    """Nothing to do."""


@Operations.implementation_for(RemoveAuditLoggerFunctionOp)
def _remove_function(operations: Operations, operation: RemoveAuditLoggerFunctionOp) -> None:
    schema = quote_ident(log_schema(operations, declared_schema(operations)))
    run(operations, [f"DROP FUNCTION IF EXISTS {schema}.{operation.name} CASCADE"])
