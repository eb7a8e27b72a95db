"""The operations on the two tables of a log: they are made, dropped, and get another type for the keys of actors.

The tables are in no metadata that Alembic compares, so it would drop them; :func:`hide` keeps it from seeing them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection

from ..schema import catalog
from ..schema.names import TableName
from ..schema.objects import LOG_TABLES, Tables
from ..sql import CURRENT_VERSION, render
from .operations import AuditOperation, Table, default_schema, lock, operation, run


class _TablesOp(AuditOperation):
    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        tables = self.tables
        named = {"version": tables.version, "schema": tables.schema, "actor_type": tables.actor_type}
        return [], named | {"partition": tables.partition}

    def locks(self) -> tuple[list[Table], bool]:
        return [(self.tables.schema, name) for name in reversed(LOG_TABLES)], False


@operation("create_audit_logger_tables")
class CreateAuditLoggerTablesOp(_TablesOp):
    """Make the tables of a log."""

    @classmethod
    def create_audit_logger_tables(
        cls,
        operations: Operations,
        *,
        version: int,
        schema: str | None = None,
        actor_type: str = "text",
        partition: str | None = None,
    ) -> Any:
        """Make the tables of a log, unless they are there, as those of a log that several tenants share.

        :param version: version of the SQL; its text is the same for ever.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param actor_type: the type of the actors' keys as PostgreSQL writes it.
        :param partition: ``"month"`` partitions them; ``flask audit maintain`` begins each month.
        """
        return operations.invoke(cls(Tables(schema, version, actor_type, partition)))

    def reverse(self) -> MigrateOperation:
        return DropAuditLoggerTablesOp(self.tables)

    def execute(self, operations: Operations) -> None:
        run(operations, self.tables.create(default_schema(operations)))


@operation("drop_audit_logger_tables")
class DropAuditLoggerTablesOp(_TablesOp):
    """Drop the tables of a log with all its entries."""

    @classmethod
    def drop_audit_logger_tables(
        cls,
        operations: Operations,
        *,
        version: int,
        schema: str | None = None,
        actor_type: str = "text",
        partition: str | None = None,
    ) -> Any:
        """Drop the tables of a log with all its entries.

        :param version: version of the SQL that made them.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param actor_type: the type of the actors' keys, for the way back.
        :param partition: whether they are partitioned, for the way back.
        """
        return operations.invoke(cls(Tables(schema, version, actor_type, partition)))

    def reverse(self) -> MigrateOperation:
        return CreateAuditLoggerTablesOp(self.tables)

    def locks(self) -> tuple[list[Table], bool]:
        return super().locks()[0], True

    def execute(self, operations: Operations) -> None:
        lock(operations, *self.locks())
        run(operations, self.tables.drop(default_schema(operations)))


class _LayoutOp(_TablesOp):
    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        named = super().arguments()[1]
        del named["partition"]
        return [], named

    def locks(self) -> tuple[list[Table], bool]:
        return super().locks()[0], True


@operation("partition_audit_logger_tables")
class PartitionAuditLoggerTablesOp(_LayoutOp):
    """Partition the tables of a log; all entries stay in the first partition."""

    @classmethod
    def partition_audit_logger_tables(
        cls, operations: Operations, *, version: int, schema: str | None = None, actor_type: str = "text"
    ) -> Any:
        """Partition the tables of a log by months. All entries stay where they are, in the first partition.

        Nothing is copied, but PostgreSQL reads the log once, and nobody writes meanwhile.

        :param version: version of the SQL.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param actor_type: the type of the actors' keys, for the way back.
        """
        return operations.invoke(cls(Tables(schema, version, actor_type)))

    def reverse(self) -> MigrateOperation:
        return UnpartitionAuditLoggerTablesOp(self.tables)

    def execute(self, operations: Operations) -> None:
        lock(operations, *self.locks())
        run(operations, self.tables.split(default_schema(operations)))


@operation("unpartition_audit_logger_tables")
class UnpartitionAuditLoggerTablesOp(_LayoutOp):
    """Make the partitioned tables of a log plain ones again, which copies all entries."""

    @classmethod
    def unpartition_audit_logger_tables(
        cls, operations: Operations, *, version: int, schema: str | None = None, actor_type: str = "text"
    ) -> Any:
        """Make the partitioned tables of a log plain ones again, which copies all entries; nobody writes meanwhile.

        :param version: version of the SQL.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param actor_type: the type of the actors' keys as PostgreSQL writes it.
        """
        return operations.invoke(cls(Tables(schema, version, actor_type)))

    def reverse(self) -> MigrateOperation:
        return PartitionAuditLoggerTablesOp(self.tables)

    def execute(self, operations: Operations) -> None:
        lock(operations, *self.locks())
        run(operations, self.tables.unite(default_schema(operations)))


def compare_layout(connection: Connection, tables: Tables) -> list[MigrateOperation]:
    """The operation that partitions the tables of a log, or makes them plain again, if they should be.

    :param tables: those that should exist.
    """
    schema = tables.schema or catalog.default_schema(connection)
    if catalog.log_partition(connection, schema) == tables.partition:
        return []
    changed = replace(tables, partition=None)
    return [(UnpartitionAuditLoggerTablesOp if tables.partition is None else PartitionAuditLoggerTablesOp)(changed)]


def hide(context: AutogenContext, logs: Collection[TableName], default: str) -> None:
    """Let a comparison pass over the tables of logs: they are in no metadata, so Alembic would drop them.

    :param logs: the tables, with their partitions.
    """
    asked = context.run_name_filters

    def is_seen(name: str | None, type_: Any, parent_names: Any) -> bool:
        is_log = type_ == "table" and TableName(parent_names.get("schema_name") or default, str(name)) in logs
        return not is_log and asked(name, type_, parent_names)

    context.run_name_filters = is_seen  # type: ignore[method-assign]  # Alembic takes filters from env.py only


@dataclass(frozen=True)
class ActorType:
    """The type of the actors' keys in one log, and the one before, as PostgreSQL writes them."""

    type: str
    existing: str
    schema: str | None
    version: int


@operation("change_audit_logger_actor_type")
class ChangeAuditLoggerActorTypeOp(AuditOperation):
    """Give the keys of actors in the log another type.

    A change of the column's type alone would be refused unless there is an automatic cast, and would fail at the first
    actor whose key doesn't fit.
    """

    def __init__(self, change: ActorType) -> None:
        self.change = change

    @classmethod
    def change_audit_logger_actor_type(
        cls,
        operations: Operations,
        type_: str,
        *,
        existing_type: str,
        schema: str | None = None,
        version: int = 1,
    ) -> Any:
        """Give the keys of actors in the log another type.

        A key that this type can't hold becomes the label of the actor, unless there is one, and stays in the context.
        A later change to a type that can hold it, as the downgrade is, takes it back.

        :param type_: the type as PostgreSQL writes it.
        :param existing_type: the type that it has now, for the way back.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param version: version of the SQL.
        """
        return operations.invoke(cls(ActorType(type_, existing_type, schema, version)))

    def reverse(self) -> MigrateOperation:
        c = self.change
        return ChangeAuditLoggerActorTypeOp(ActorType(c.existing, c.type, c.schema, c.version))

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        c = self.change
        return [c.type], {"existing_type": c.existing, "schema": c.schema, "version": c.version}

    def locks(self) -> tuple[list[Table], bool]:
        return [(self.change.schema, "transaction")], True

    def execute(self, operations: Operations) -> None:
        c = self.change
        lock(operations, *self.locks())
        run(operations, [render("change_actor_type", c.version, c.schema or default_schema(operations), type=c.type)])


def compare_actor_type(connection: Connection, tables: Tables) -> list[MigrateOperation]:
    """The operation that gives the actors' keys the type that they should have, if they have another one.

    :param tables: those that should exist.
    """
    schema = tables.schema or catalog.default_schema(connection)
    if catalog.has_actor_type(connection, schema, tables.actor_type):
        return []
    existing = catalog.actor_type(connection, schema)
    return [ChangeAuditLoggerActorTypeOp(ActorType(tables.actor_type, existing, tables.schema, CURRENT_VERSION))]
