"""The operation that gives the keys of actors another type.

A change of the column's type alone would be refused unless there is an automatic cast, and would fail at the first
actor whose key doesn't fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection

from ..schema import catalog
from ..schema.objects import Tables
from ..sql import CURRENT_VERSION, render
from .operations import AuditOperation, Table, default_schema, lock, operation, run


@dataclass(frozen=True)
class ActorType:
    """The type of the actors' keys in one log, and the one before, as PostgreSQL writes them."""

    type: str
    existing: str
    schema: str | None
    version: int


@operation("change_audit_logger_actor_type")
class ChangeAuditLoggerActorTypeOp(AuditOperation):
    """Give the keys of actors in the log another type."""

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
