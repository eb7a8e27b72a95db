"""Another type of the actors' keys: the application has got its model of users, or keys them otherwise.

Alembic writes the change as one of a column, which PostgreSQL refuses as soon as no cast is automatic, and which fails
at the first actor that isn't such a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import AlterColumnOp, ModifyTableOps
from sqlalchemy import Connection, text

from ..schema.catalog import default_schema
from ..sql import CURRENT_VERSION, render
from .execute import lock, log_schema, run

_EXISTING = text(
    """
    SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = 'transaction' AND a.attname = 'actor_id' AND NOT a.attisdropped
    """
)


@dataclass(frozen=True)
class ActorType:
    """The type of the actors' keys in one log, and the one before, as PostgreSQL writes them."""

    type: str
    existing: str
    schema: str | None
    version: int


@Operations.register_operation("change_audit_logger_actor_type")
class ChangeAuditLoggerActorTypeOp(MigrateOperation):
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

    def to_diff_tuple(self) -> tuple[str, ActorType]:
        return ("change_audit_logger_actor_type", self.change)


@Operations.implementation_for(ChangeAuditLoggerActorTypeOp)
def _change_type(operations: Operations, operation: ChangeAuditLoggerActorTypeOp) -> None:
    c = operation.change
    lock(operations, [(c.schema, "transaction")], exclusive=True)
    run(operations, [render("change_actor_type", c.version, log_schema(operations, c.schema), type=c.type)])


@renderers.dispatch_for(ChangeAuditLoggerActorTypeOp)
def _render(context: AutogenContext, op: ChangeAuditLoggerActorTypeOp) -> str:
    c = op.change
    given = {"existing_type": c.existing, "schema": c.schema, "version": c.version}
    named = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    prefix = context.opts.get("alembic_module_prefix") or ""
    return f"{prefix}change_audit_logger_actor_type({', '.join([repr(c.type), *named])})"


def replace_actor_type(
    connection: Connection, schema: str | None, ops: list[MigrateOperation]
) -> list[MigrateOperation]:
    """The same operations, with ours in place of Alembic's on the type of the actors' keys.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    """
    default = default_schema(connection)
    replaced: list[MigrateOperation] = []
    for op in ops:
        if not isinstance(op, ModifyTableOps) or not _is_on_transaction(op, schema, default):
            replaced.append(op)
            continue
        parts: list[MigrateOperation] = []
        for part in op.ops:
            if isinstance(part, AlterColumnOp) and part.column_name == "actor_id" and part.modify_type is not None:
                replaced.append(_ours(connection, part, schema))
                part.modify_type = None
                if not part.has_changes():
                    continue
            parts.append(part)
        op.ops[:] = parts
        if parts:
            replaced.append(op)
    return replaced


def _is_on_transaction(op: ModifyTableOps, schema: str | None, default: str) -> bool:
    return (op.schema or default, op.table_name) == (schema or default, "transaction")


def _ours(connection: Connection, change: Any, schema: str | None) -> ChangeAuditLoggerActorTypeOp:
    existing = connection.scalar(_EXISTING, {"schema": schema or default_schema(connection)})
    wanted = change.modify_type.compile(dialect=connection.dialect)
    return ChangeAuditLoggerActorTypeOp(ActorType(wanted, str(existing), schema, CURRENT_VERSION))
