"""The two operations that turn an old log into one of this package, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alembic.operations import MigrateOperation, Operations

#: What wrote an old log. postgresql-audit calls one column otherwise and has another type of transaction ids.
ORIGINS = ("flask-audit-logger 2.0", "postgresql-audit 0.18")

#: Schema, table and key columns.
RecordKey = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class OldLog:
    """An old log: what it takes to convert it and to make it again.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    :param origin: one of :data:`ORIGINS`.
    :param record_keys: the key columns of each table that it may have entries of.
    :param functions: signatures of the old functions that go.
    :param operators: signatures of the old operators that go.
    :param statements: SQL that makes what went: constraints, indexes, functions, operators, triggers.
    :param version: version of the SQL.
    """

    schema: str | None
    origin: str
    record_keys: tuple[RecordKey, ...]
    functions: tuple[str, ...]
    operators: tuple[str, ...]
    statements: tuple[str, ...]
    version: int

    def tables(self) -> list[tuple[str | None, str]]:
        """Schema and name of what a conversion locks: the tables that the log has entries of, and its own two."""
        audited: list[tuple[str | None, str]] = [(schema, table) for schema, table, _ in self.record_keys]
        return [*audited, (self.schema, "activity"), (self.schema, "transaction")]


@Operations.register_operation("convert_audit_logger_log")
class ConvertAuditLoggerLogOp(MigrateOperation):
    """Turn the log of another release or package into one of this package."""

    def __init__(self, old: OldLog) -> None:
        self.old = old

    @classmethod
    def convert_audit_logger_log(
        cls,
        operations: Operations,
        *,
        origin: str,
        version: int,
        schema: str | None = None,
        record_keys: Sequence[tuple[str, str, Sequence[str]]] = (),
        functions: Sequence[str] = (),
        operators: Sequence[str] = (),
    ) -> Any:
        """Turn the log of another release or package into one of this package. Every entry stays.

        :param origin: ``"flask-audit-logger 2.0"`` or ``"postgresql-audit 0.18"``.
        :param version: version of the SQL.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param record_keys: ``(schema, table, key columns)`` of the tables whose entries get a record key.
        :param functions: signatures of old functions to drop.
        :param operators: signatures of old operators to drop.
        """
        keys = tuple((key[0], key[1], tuple(key[2])) for key in record_keys)
        return operations.invoke(cls(OldLog(schema, origin, keys, tuple(functions), tuple(operators), (), version)))

    def reverse(self) -> MigrateOperation:
        return RestoreAuditLoggerLogOp(self.old)

    def to_diff_tuple(self) -> tuple[str, OldLog]:
        return ("convert_audit_logger_log", self.old)


@Operations.register_operation("restore_audit_logger_log")
class RestoreAuditLoggerLogOp(MigrateOperation):
    """Turn a converted log back into what it was."""

    def __init__(self, old: OldLog) -> None:
        self.old = old

    @classmethod
    def restore_audit_logger_log(
        cls,
        operations: Operations,
        *,
        origin: str,
        version: int,
        schema: str | None = None,
        statements: Sequence[str] = (),
    ) -> Any:
        """Turn a converted log back into what it was.

        Old logs have no place for some things: record keys, labels of actors, contexts and the rows of transactions
        nobody was known for are lost, and a database transaction in which the actor changed gets back one row.

        :param origin: ``"flask-audit-logger 2.0"`` or ``"postgresql-audit 0.18"``.
        :param version: version of the SQL.
        :param schema: schema of the log; the default schema of the connection if not given.
        :param statements: SQL that makes the old constraints, indexes, functions and triggers.
        """
        return operations.invoke(cls(OldLog(schema, origin, (), (), (), tuple(statements), version)))

    def reverse(self) -> MigrateOperation:
        return ConvertAuditLoggerLogOp(self.old)

    def to_diff_tuple(self) -> tuple[str, OldLog]:
        return ("restore_audit_logger_log", self.old)
