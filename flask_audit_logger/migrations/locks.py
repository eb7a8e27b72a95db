"""The operation that takes the locks of a migration, and which tables a revision needs it for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import CreateForeignKeyOp, CreateTableOp, DropTableOp, ModifyTableOps
from sqlalchemy import Connection, ForeignKeyConstraint

from ..schema.catalog import default_schema, tables_in, unless_default
from ..schema.names import TableName
from ..schema.objects import LOG_TABLES
from .operations import AuditOperation, Table, lock, operation, translated


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
        lock(operations, [(translated(operations, schema), name) for schema, name in self.tables], self.exclusive)


def lock_first(connection: Connection, schemas: set[str | None], ops: list[MigrateOperation]) -> list[MigrateOperation]:
    """The same operations after one that takes their locks, if some of them are ours and need any.

    :param schemas: the schemas of logs; ``None`` is the default one.
    """
    default = default_schema(connection)
    locks = [op.locks() for op in ops if isinstance(op, AuditOperation)]
    tables = {TableName.resolve(name, schema, default) for locked, _ in locks for schema, name in locked}
    if not tables:
        return ops
    for op in ops:
        if isinstance(op, CreateTableOp | ModifyTableOps | DropTableOp):
            tables |= {TableName.resolve(name, schema, default) for schema, name in _locked_by(op)}
    is_exclusive = any(exclusive for _, exclusive in locks)
    is_exclusive |= any(isinstance(op, ModifyTableOps | DropTableOp) for op in ops)
    logs = {schema or default for schema in schemas}
    gone = {TableName.resolve(op.table_name, op.schema, default) for op in ops if isinstance(op, DropTableOp)}
    before = _arguments(tables & tables_in(connection), logs, default)
    after = _arguments(tables - gone, logs, default)
    first = [LockAuditLoggerTablesOp(before, exclusive=is_exclusive)] if before else []
    return [*first, *ops, LockAuditLoggerTablesOp(backward=after)]


def _locked_by(op: CreateTableOp | ModifyTableOps | DropTableOp) -> Iterator[Table]:
    """The tables that one of Alembic's operations locks: its own, and those to which a new foreign key refers."""
    yield op.schema, op.table_name
    if isinstance(op, CreateTableOp):
        for key in op.columns:
            if isinstance(key, ForeignKeyConstraint):
                yield key.referred_table.schema, key.referred_table.name
    elif isinstance(op, ModifyTableOps):
        for part in op.ops:
            if isinstance(part, CreateForeignKeyOp):
                yield part.kw.get("referent_schema"), part.referent_table


def _arguments(tables: Iterable[TableName], logs: Collection[str], default: str) -> list[Table]:
    """One order for all migrations. Writers lock an audited table first and then the log, so the log comes last."""
    ordered = sorted(tables, key=lambda table: (table.name in LOG_TABLES and table.schema in logs, table))
    return [(unless_default(table.schema, default), table.name) for table in ordered]
