"""Operations that carry a history on when a table or column is renamed. Alembic can't tell: people write them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations

from ..sql import quote_literal, render
from .execute import default_schema, log_schema, run


@dataclass(frozen=True)
class TableRename:
    """A table, its old and its new name."""

    old: str
    new: str
    schema: str | None
    new_schema: str | None
    audit_schema: str | None
    version: int


@dataclass(frozen=True)
class ColumnRename:
    """A column of a table, its old and its new name."""

    table: str
    old: str
    new: str
    schema: str | None
    audit_schema: str | None
    version: int


@Operations.register_operation("rename_audit_logger_table")
class RenameAuditLoggerTableOp(MigrateOperation):
    """Give the entries of a table its new name."""

    def __init__(self, rename: TableRename) -> None:
        self.rename = rename

    @classmethod
    def rename_audit_logger_table(
        cls,
        operations: Operations,
        old_table_name: str,
        new_table_name: str,
        *,
        schema: str | None = None,
        new_schema: str | None = None,
        audit_schema: str | None = None,
        version: int = 1,
    ) -> Any:
        """Give the entries of a table its new name, so that the history of its records goes on.

        The table itself is renamed by ``op.rename_table()``; its triggers go with it.

        :param old_table_name: what it was called.
        :param new_table_name: what it is called.
        :param schema: the schema it was in; the default schema of the connection if not given.
        :param new_schema: the schema it is in; the same if not given.
        :param audit_schema: schema of the log; the default schema of the connection if not given.
        :param version: version of the SQL.
        """
        return operations.invoke(
            cls(TableRename(old_table_name, new_table_name, schema, new_schema or schema, audit_schema, version))
        )

    def reverse(self) -> MigrateOperation:
        r = self.rename
        return RenameAuditLoggerTableOp(
            replace(r, old=r.new, new=r.old, schema=r.new_schema, new_schema=r.schema),
        )

    def to_diff_tuple(self) -> tuple[str, TableRename]:
        return ("rename_audit_logger_table", self.rename)


@Operations.register_operation("rename_audit_logger_column")
class RenameAuditLoggerColumnOp(MigrateOperation):
    """Give a column its new name in the entries of a table."""

    def __init__(self, rename: ColumnRename) -> None:
        self.rename = rename

    @classmethod
    def rename_audit_logger_column(
        cls,
        operations: Operations,
        table_name: str,
        old_column_name: str,
        new_column_name: str,
        *,
        schema: str | None = None,
        audit_schema: str | None = None,
        version: int = 1,
    ) -> Any:
        """Give a column its new name in the entries of a table.

        The column itself is renamed by ``op.alter_column(…, new_column_name=…)``. If it is named by an option of the
        table or belongs to the record key, ``op.init_audit_logger_triggers()`` follows.

        :param table_name: the table.
        :param old_column_name: what the column was called.
        :param new_column_name: what it is called.
        :param schema: schema of the table; the default schema of the connection if not given.
        :param audit_schema: schema of the log; the default schema of the connection if not given.
        :param version: version of the SQL.
        """
        return operations.invoke(
            cls(ColumnRename(table_name, old_column_name, new_column_name, schema, audit_schema, version))
        )

    def reverse(self) -> MigrateOperation:
        return RenameAuditLoggerColumnOp(replace(self.rename, old=self.rename.new, new=self.rename.old))

    def to_diff_tuple(self) -> tuple[str, ColumnRename]:
        return ("rename_audit_logger_column", self.rename)


@Operations.implementation_for(RenameAuditLoggerTableOp)
def _rename_table(operations: Operations, operation: RenameAuditLoggerTableOp) -> None:
    r = operation.rename
    default = default_schema(operations)
    names = {
        "old_schema": r.schema or default,
        "old_table": r.old,
        "new_schema": r.new_schema or default,
        "new_table": r.new,
    }
    _run(operations, "rename_table", r.version, r.audit_schema, names)


@Operations.implementation_for(RenameAuditLoggerColumnOp)
def _rename_column(operations: Operations, operation: RenameAuditLoggerColumnOp) -> None:
    r = operation.rename
    names = {
        "table_schema": r.schema or default_schema(operations),
        "table": r.table,
        "old_column": r.old,
        "new_column": r.new,
    }
    _run(operations, "rename_column", r.version, r.audit_schema, names)


def _run(operations: Operations, sql: str, version: int, audit_schema: str | None, names: dict[str, str]) -> None:
    quoted = {name: quote_literal(value) for name, value in names.items()}
    run(operations, [render(sql, version, log_schema(operations, audit_schema), **quoted)])


@renderers.dispatch_for(RenameAuditLoggerTableOp)
def _render_table(context: AutogenContext, op: RenameAuditLoggerTableOp) -> str:
    r = op.rename
    given = {"schema": r.schema, "new_schema": r.new_schema, "audit_schema": r.audit_schema, "version": r.version}
    return _call(context, "rename_audit_logger_table", [r.old, r.new], given)


@renderers.dispatch_for(RenameAuditLoggerColumnOp)
def _render_column(context: AutogenContext, op: RenameAuditLoggerColumnOp) -> str:
    r = op.rename
    given = {"schema": r.schema, "audit_schema": r.audit_schema, "version": r.version}
    return _call(context, "rename_audit_logger_column", [r.table, r.old, r.new], given)


def _call(context: AutogenContext, name: str, words: list[str], given: dict[str, Any]) -> str:
    prefix = context.opts.get("alembic_module_prefix") or ""
    named = [f"{key}={value!r}" for key, value in given.items() if value is not None]
    return f"{prefix}{name}({', '.join([*map(repr, words), *named])})"
