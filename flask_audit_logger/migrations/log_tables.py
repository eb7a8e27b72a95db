"""The operations that make and drop the two tables of a log, in place of Alembic's own.

The tables are in no metadata that Alembic compares, so it would drop them; :func:`hide` keeps it from seeing them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations

from ..schema.objects import LOG_TABLES, Tables
from .operations import AuditOperation, Table, default_schema, lock, operation, run


class _TablesOp(AuditOperation):
    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        tables = self.tables
        return [], {"version": tables.version, "schema": tables.schema, "actor_type": tables.actor_type}

    def locks(self) -> tuple[list[Table], bool]:
        return [(self.tables.schema, name) for name in reversed(LOG_TABLES)], False


@operation("create_audit_logger_tables")
class CreateAuditLoggerTablesOp(_TablesOp):
    """Make the tables of a log."""

    @classmethod
    def create_audit_logger_tables(
        cls, operations: Operations, *, version: int, schema: str | None = None, actor_type: str = "text"
    ) -> Any:
        """Make the tables of a log, unless they are there, as those of a log that several tenants share.

        :param version: version of the SQL; its text is the same for ever.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param actor_type: the type of the actors' keys as PostgreSQL writes it.
        """
        return operations.invoke(cls(Tables(schema, version, actor_type)))

    def reverse(self) -> MigrateOperation:
        return DropAuditLoggerTablesOp(self.tables)

    def execute(self, operations: Operations) -> None:
        run(operations, self.tables.create(default_schema(operations)))


@operation("drop_audit_logger_tables")
class DropAuditLoggerTablesOp(_TablesOp):
    """Drop the tables of a log with all its entries."""

    @classmethod
    def drop_audit_logger_tables(
        cls, operations: Operations, *, version: int, schema: str | None = None, actor_type: str = "text"
    ) -> Any:
        """Drop the tables of a log with all its entries.

        :param version: version of the SQL that made them.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param actor_type: the type of the actors' keys, for the way back.
        """
        return operations.invoke(cls(Tables(schema, version, actor_type)))

    def reverse(self) -> MigrateOperation:
        return CreateAuditLoggerTablesOp(self.tables)

    def locks(self) -> tuple[list[Table], bool]:
        return super().locks()[0], True

    def execute(self, operations: Operations) -> None:
        lock(operations, *self.locks())
        run(operations, self.tables.drop(default_schema(operations)))


def hide(context: AutogenContext, schemas: Collection[str], default: str) -> None:
    """Let a comparison pass over the tables of logs: they are in no metadata, so Alembic would drop them.

    :param schemas: the schemas of the logs.
    """
    asked = context.run_name_filters

    def is_seen(name: str | None, type_: Any, parent_names: Any) -> bool:
        is_log = type_ == "table" and name in LOG_TABLES and (parent_names.get("schema_name") or default) in schemas
        return not is_log and asked(name, type_, parent_names)

    context.run_name_filters = is_seen  # type: ignore[method-assign]  # Alembic takes filters from env.py only
