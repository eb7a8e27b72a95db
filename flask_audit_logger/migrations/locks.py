"""The operation that takes the locks of a migration, and which tables a revision needs it for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import CreateForeignKeyOp, CreateTableOp, DropTableOp, ModifyTableOps
from sqlalchemy import Connection, ForeignKeyConstraint

from ..schema.catalog import default_schema, tables_in, unless_default
from ..schema.objects import LOG_TABLES
from .actor_type import ChangeAuditLoggerActorTypeOp
from .from_2.conversion import ConvertAuditLoggerLogOp
from .operations import AuditOperation, InitAuditLoggerTriggersOp, RemoveAuditLoggerTriggersOp, lock, operation

#: Schema and name of a table; the schema is ``None`` for the default one.
Table = tuple[str | None, str]


@operation("lock_audit_logger_tables")
class LockAuditLoggerTablesOp(AuditOperation):
    """Take the locks of a migration before its first operation.

    :param tables: those to lock here.
    :param exclusive: whether they are locked against reading, too.
    :param backward: what the reverse locks. A downgrade begins with the reverse of the last operation, so autogenerate
        puts two of these around a migration: the first has only tables, the last only this.
    """

    def __init__(
        self, tables: Sequence[Table] = (), *, exclusive: bool = False, backward: Sequence[Table] = ()
    ) -> None:
        self.tables = tuple(tables)
        self.exclusive = exclusive
        self.backward = tuple(backward)

    @classmethod
    def lock_audit_logger_tables(
        cls, operations: Operations, *tables: str | tuple[str, str], exclusive: bool = False
    ) -> Any:
        """Lock tables so that no write of an application waits longer than a moment.

        All locks are taken within 300 ms, or given back and tried again, for up to 5 minutes. Tables that don't exist
        are left out. The operations after it wait for no lock on these tables.

        :param tables: names of tables, or ``(schema, name)``.
        :param exclusive: lock out readers as well, as dropping a trigger or altering a table does.
        """
        named = [(None, table) if isinstance(table, str) else table for table in tables]
        return operations.invoke(cls(named, exclusive=exclusive))

    def reverse(self) -> MigrateOperation:
        return LockAuditLoggerTablesOp(self.backward, exclusive=True, backward=self.tables)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        tables = [name if schema is None else (schema, name) for schema, name in self.tables]
        return tables, {"exclusive": self.exclusive or None}

    def render(self, context: AutogenContext) -> str | list[str]:
        return super().render(context) if self.tables else []

    def execute(self, operations: Operations) -> None:
        lock(operations, self.tables, exclusive=self.exclusive)


def lock_first(connection: Connection, schemas: set[str | None], ops: list[MigrateOperation]) -> list[MigrateOperation]:
    """The same operations after one that takes their locks, if some of them are ours and need any.

    :param schemas: the schemas of logs; ``None`` is the default one.
    """
    ours: set[Table] = set()
    others: set[Table] = set()
    is_exclusive = False
    for op in ops:
        if isinstance(op, InitAuditLoggerTriggersOp):
            ours.add((op.triggers.schema, op.triggers.table))
            is_exclusive |= op.drops_triggers
        elif isinstance(op, RemoveAuditLoggerTriggersOp):
            ours.add((op.triggers.schema, op.triggers.table))
            is_exclusive = True
        elif isinstance(op, ChangeAuditLoggerActorTypeOp):
            ours.add((op.change.schema, "transaction"))
            is_exclusive = True
        elif isinstance(op, ConvertAuditLoggerLogOp):
            ours.update(op.old.tables())
            is_exclusive = True
        elif isinstance(op, ModifyTableOps | DropTableOp):
            others |= {(op.schema, op.table_name), *_referred(op)}
            is_exclusive = True
        elif isinstance(op, CreateTableOp):
            others |= {(op.schema, op.table_name), *_referred(op)}
    if not ours:
        return ops
    default = default_schema(connection)
    tables = {(unless_default(schema, default), name) for schema, name in ours | others}
    dropped = {(unless_default(op.schema, default), op.table_name) for op in ops if isinstance(op, DropTableOp)}
    forward = _ordered(tables & tables_in(connection), schemas)
    backward = _ordered(tables - dropped, schemas)
    first = [LockAuditLoggerTablesOp(forward, exclusive=is_exclusive)] if forward else []
    return [*first, *ops, LockAuditLoggerTablesOp(backward=backward)]


def _referred(op: MigrateOperation) -> set[Table]:
    """The tables to which a new foreign key refers; PostgreSQL locks them, too."""
    if isinstance(op, CreateTableOp):
        keys = [part for part in op.columns if isinstance(part, ForeignKeyConstraint)]
        return {(key.referred_table.schema, key.referred_table.name) for key in keys}
    made = [part for part in op.ops if isinstance(part, CreateForeignKeyOp)] if isinstance(op, ModifyTableOps) else []
    return {(part.kw.get("referent_schema"), part.referent_table) for part in made}


def _ordered(tables: Iterable[Table], schemas: set[str | None]) -> list[Table]:
    """One order for all migrations. Writers lock an audited table first and then the log, so the log comes last."""

    def position(table: Table) -> tuple[bool, str, str]:
        schema, name = table
        return (name in LOG_TABLES and schema in schemas, schema or "", name)

    return sorted(tables, key=position)
