"""The operations. Each carries its whole state in its arguments, and its reverse restores what was there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations

from ..schema.objects import Functions, Triggers
from ..schema.options import TableOptions
from ..sql import CURRENT_VERSION, VERBS

#: Names of arguments in a migration, and of the options they stand for.
COLUMN_ARGUMENTS = {
    "key_columns": "key",
    "excluded_columns": "exclude",
    "only_columns": "only",
    "ignored_columns": "ignore",
    "masked_columns": "mask",
}


@Operations.register_operation("init_audit_logger_schema")
class InitAuditLoggerSchemaOp(MigrateOperation):
    """Create the schema of a log, if it isn't there."""

    def __init__(self, schema: str | None = None) -> None:
        self.schema = schema

    @classmethod
    def init_audit_logger_schema(cls, operations: Operations, schema: str | None = None) -> Any:
        """Create the schema of a log, if it isn't there.

        :param schema: its name. Without one, as in migrations of release 2.0.0, there is nothing to do.
        """
        return operations.invoke(cls(schema))

    def reverse(self) -> MigrateOperation:
        return RemoveAuditLoggerSchemaOp(self.schema)

    def to_diff_tuple(self) -> tuple[str, str | None]:
        return ("init_audit_logger_schema", self.schema)


@Operations.register_operation("remove_audit_logger_schema")
class RemoveAuditLoggerSchemaOp(MigrateOperation):
    """Drop the schema of a log, unless something else is in it."""

    def __init__(self, schema: str | None = None) -> None:
        self.schema = schema

    @classmethod
    def remove_audit_logger_schema(cls, operations: Operations, schema: str | None = None) -> Any:
        """Drop the schema of a log, unless something else is in it.

        :param schema: its name.
        """
        return operations.invoke(cls(schema))

    def reverse(self) -> MigrateOperation:
        return InitAuditLoggerSchemaOp(self.schema)

    def to_diff_tuple(self) -> tuple[str, str | None]:
        return ("remove_audit_logger_schema", self.schema)


@Operations.register_operation("init_audit_logger_functions")
class InitAuditLoggerFunctionsOp(MigrateOperation):
    """Make the functions of a log, or replace them by another version."""

    def __init__(self, functions: Functions, previous: Functions | None = None) -> None:
        self.functions = functions
        self.previous = previous

    @classmethod
    def init_audit_logger_functions(cls, operations: Operations, *, version: int, schema: str | None = None) -> Any:
        """Make the functions of a log, or replace them by this version.

        :param version: version of the SQL; its text is the same for ever.
        :param schema: schema of the log; the default schema of the connection if not given.
        """
        return operations.invoke(cls(Functions(schema=schema, version=version)))

    def reverse(self) -> MigrateOperation:
        if self.previous is not None:
            return InitAuditLoggerFunctionsOp(self.previous, previous=self.functions)
        return RemoveAuditLoggerFunctionsOp(self.functions)

    def to_diff_tuple(self) -> tuple[str, Functions]:
        return ("init_audit_logger_functions", self.functions)


@Operations.register_operation("remove_audit_logger_functions")
class RemoveAuditLoggerFunctionsOp(MigrateOperation):
    """Drop the functions of a log."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions

    @classmethod
    def remove_audit_logger_functions(cls, operations: Operations, *, version: int, schema: str | None = None) -> Any:
        """Drop the functions of a log.

        :param version: version of the SQL that made them.
        :param schema: schema of the log; the default schema of the connection if not given.
        """
        return operations.invoke(cls(Functions(schema=schema, version=version)))

    def reverse(self) -> MigrateOperation:
        return InitAuditLoggerFunctionsOp(self.functions)

    def to_diff_tuple(self) -> tuple[str, Functions]:
        return ("remove_audit_logger_functions", self.functions)


@Operations.register_operation("init_audit_logger_triggers")
class InitAuditLoggerTriggersOp(MigrateOperation):
    """Make the triggers of one table, or replace them by ones with other options."""

    def __init__(
        self, triggers: Triggers, previous: Triggers | None = None, *, is_of_old_migration: bool = False
    ) -> None:
        self.triggers = triggers
        self.previous = previous
        self.is_of_old_migration = is_of_old_migration

    @property
    def drops_triggers(self) -> bool:
        """Whether a trigger may go, of a verb that is not captured: that locks out readers, too."""
        return set(self.triggers.options.verbs) != set(VERBS)

    @classmethod
    def init_audit_logger_triggers(
        cls,
        operations: Operations,
        table_name: str,
        *,
        schema: str | None = None,
        key_columns: Sequence[str] | None = None,
        excluded_columns: Sequence[str] | None = None,
        only_columns: Sequence[str] | None = None,
        ignored_columns: Sequence[str] = (),
        masked_columns: Sequence[str] = (),
        verbs: Sequence[str] = VERBS,
        truncate: str = "marker",
        old_data: str = "row",
        partitioned: bool = False,
        audit_schema: str | None = None,
        version: int | None = None,
    ) -> Any:
        """Let the changes of a table be logged, or change how they are.

        :param table_name: the table.
        :param schema: its schema; the default schema of the connection if not given.
        :param key_columns: columns of the record key in order. If not given, the trigger looks up the primary key.
        :param excluded_columns: columns that are neither stored nor a cause.
        :param only_columns: the only columns that are stored.
        :param ignored_columns: columns that are stored, but no cause.
        :param masked_columns: columns whose change is logged, but never a value.
        :param verbs: any of insert, update, delete, truncate.
        :param truncate: ``marker``, ``rows`` or ``refuse``.
        :param old_data: ``row`` or ``changed``.
        :param partitioned: whether the partitions of the table get the triggers, too.
        :param audit_schema: schema of the log; the default schema of the connection if not given.
        :param version: version of the SQL of the triggers. Migrations of release 2.0.0 name none; then this is version
            1, and does nothing as long as the log is one of that release.
        """
        options = TableOptions(
            key=None if key_columns is None else tuple(key_columns),
            exclude=tuple(excluded_columns or ()),
            only=None if only_columns is None else tuple(only_columns),
            ignore=tuple(ignored_columns),
            mask=tuple(masked_columns),
            verbs=tuple(verb for verb in VERBS if verb in verbs),
            truncate=truncate,
            old_data=old_data,
            partitioned=partitioned,
        )
        triggers = Triggers(table_name, schema, audit_schema, version or 1, options)
        return operations.invoke(cls(triggers, is_of_old_migration=version is None))

    def reverse(self) -> MigrateOperation:
        if self.previous is not None:
            return InitAuditLoggerTriggersOp(self.previous, previous=self.triggers)
        return RemoveAuditLoggerTriggersOp(self.triggers)

    def to_diff_tuple(self) -> tuple[str, Triggers]:
        return ("init_audit_logger_triggers", self.triggers)


@Operations.register_operation("remove_audit_logger_triggers")
class RemoveAuditLoggerTriggersOp(MigrateOperation):
    """Drop the triggers of one table."""

    def __init__(self, triggers: Triggers) -> None:
        self.triggers = triggers

    @classmethod
    def remove_audit_logger_triggers(
        cls, operations: Operations, table_name: str, *, schema: str | None = None, partitioned: bool = False
    ) -> Any:
        """Stop to log the changes of a table. What was logged stays.

        :param table_name: the table.
        :param schema: its schema; the default schema of the connection if not given.
        :param partitioned: whether its partitions have the triggers, too.
        """
        options = TableOptions(partitioned=partitioned)
        return operations.invoke(cls(Triggers(table_name, schema, None, CURRENT_VERSION, options)))

    def reverse(self) -> MigrateOperation:
        return InitAuditLoggerTriggersOp(self.triggers)

    def to_diff_tuple(self) -> tuple[str, Triggers]:
        return ("remove_audit_logger_triggers", self.triggers)


@Operations.register_operation("snapshot_audit_logger_table")
class SnapshotAuditLoggerTableOp(MigrateOperation):
    """Record the rows of a table that the log knows nothing of."""

    def __init__(self, triggers: Triggers) -> None:
        self.triggers = triggers

    @classmethod
    def snapshot_audit_logger_table(
        cls,
        operations: Operations,
        table_name: str,
        *,
        schema: str | None = None,
        key_columns: Sequence[str] | None = None,
        excluded_columns: Sequence[str] = (),
        only_columns: Sequence[str] | None = None,
        masked_columns: Sequence[str] = (),
        audit_schema: str | None = None,
        version: int = 1,
    ) -> Any:
        """Record the rows of a table that the log knows nothing of, with the verb ``snapshot``.

        Repeating it is harmless. A downgrade leaves these entries, as it leaves all others.

        :param table_name: the table.
        :param schema: its schema; the default schema of the connection if not given.
        :param key_columns: columns of the record key in order. If not given, the primary key.
        :param excluded_columns: columns that are not stored.
        :param only_columns: the only columns that are stored.
        :param masked_columns: columns whose values are not stored.
        :param audit_schema: schema of the log; the default schema of the connection if not given.
        :param version: version of the SQL.
        """
        options = TableOptions(
            key=None if key_columns is None else tuple(key_columns),
            exclude=tuple(excluded_columns),
            only=None if only_columns is None else tuple(only_columns),
            mask=tuple(masked_columns),
        )
        return operations.invoke(cls(Triggers(table_name, schema, audit_schema, version, options)))
