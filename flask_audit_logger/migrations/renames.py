"""The operations that carry a history on under a new name.

Alembic can't tell a rename, so people write them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from alembic.operations import MigrateOperation, Operations

from ..schema.names import TableName
from ..schema.objects import Triggers
from ..schema.table_options import TableOptions
from ..sql import quote_literal, render
from .operations import AuditOperation, default_schema, operation, run, translated


@dataclass(frozen=True)
class Rename:
    """A table or column of the log, its old and its new name."""

    old: str
    new: str
    schema: str | None
    audit_schema: str | None
    version: int


class _RenameOp(AuditOperation):
    rename: Rename

    def _run(self, operations: Operations, sql: str, renamed: TableName, **names: str) -> None:
        """Run it, and make the functions of the table's triggers for the new name, if it is there by now."""
        quoted = {name: quote_literal(value) for name, value in names.items()}
        r, log = self.rename, self.rename.audit_schema or default_schema(operations)
        triggers = Triggers(renamed.name, renamed.schema, log, r.version, TableOptions())
        run(operations, [render(sql, r.version, log, **quoted), *triggers.compile_again()])


@operation("rename_audit_logger_table")
class RenameAuditLoggerTableOp(_RenameOp):
    """Give the entries of a table its new name."""

    def __init__(self, rename: Rename, new_schema: str | None) -> None:
        self.rename = rename
        self.new_schema = new_schema

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
        rename = Rename(old_table_name, new_table_name, schema, audit_schema, version)
        return operations.invoke(cls(rename, new_schema or schema))

    def reverse(self) -> MigrateOperation:
        r = self.rename
        return RenameAuditLoggerTableOp(replace(r, old=r.new, new=r.old, schema=self.new_schema), r.schema)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        r = self.rename
        named = {"new_schema": self.new_schema, "audit_schema": r.audit_schema, "version": r.version}
        return [r.old, r.new], {"schema": r.schema, **named}

    def execute(self, operations: Operations) -> None:
        r, default = self.rename, default_schema(operations)
        old = {"old_schema": r.schema or default, "old_table": r.old}
        new = TableName.resolve(r.new, translated(operations, self.new_schema), default)
        self._run(operations, "rename_table", new, **old, new_schema=new.schema, new_table=new.name)


@operation("rename_audit_logger_column")
class RenameAuditLoggerColumnOp(_RenameOp):
    """Give a column its new name in the entries of a table; Alembic can't tell a rename, so people write it."""

    def __init__(self, table: str, rename: Rename) -> None:
        self.table = table
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
        rename = Rename(old_column_name, new_column_name, schema, audit_schema, version)
        return operations.invoke(cls(table_name, rename))

    def reverse(self) -> MigrateOperation:
        return RenameAuditLoggerColumnOp(self.table, replace(self.rename, old=self.rename.new, new=self.rename.old))

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        r = self.rename
        named = {"schema": r.schema, "audit_schema": r.audit_schema, "version": r.version}
        return [self.table, r.old, r.new], named

    def execute(self, operations: Operations) -> None:
        r = self.rename
        table = TableName.resolve(self.table, r.schema, default_schema(operations))
        names = {"table_schema": table.schema, "table": table.name, "old_column": r.old, "new_column": r.new}
        self._run(operations, "rename_column", table, **names)
