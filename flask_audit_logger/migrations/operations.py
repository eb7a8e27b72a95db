"""The operations that migrations call as ``op.…()``: arguments, statements, reverse and written form of each.

Each carries its whole state in its arguments, so a migration does the same for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import is_dataclass, replace
from typing import Any, ClassVar, TypeVar

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection, MetaData, text

from ..schema import catalog
from ..schema.declared import declaration_of
from ..schema.names import TableName, is_supported
from ..schema.objects import DEFAULT_SCHEMA, Functions, Triggers, snapshot
from ..schema.table_options import TableOptions
from ..sql import CURRENT_VERSION, VERBS, quote_ident, quote_literal, render

#: Names of arguments in a migration, and of the options they stand for.
COLUMN_ARGUMENTS = {
    "key_columns": "key",
    "excluded_columns": "exclude",
    "only_columns": "only",
    "ignored_columns": "ignore",
    "masked_columns": "mask",
}
_OPTION_ARGUMENTS = {option: argument for argument, option in COLUMN_ARGUMENTS.items()}

#: Schema and name of a table as an operation has them; the schema may be ``None`` for the default one.
Table = tuple[str | None, str]


class AuditOperation(MigrateOperation):
    """Base of our operations."""

    #: Name of the call in a migration.
    name: ClassVar[str]

    def execute(self, operations: Operations) -> Any:
        """Run the statements, or write them into the script of ``--sql``; what it returns is what the call returns."""
        raise NotImplementedError

    def placed(self, operations: Operations) -> AuditOperation:
        """The same operation in the schemas that ``schema_translate_map`` of the connection gives."""
        connection = _connection(operations)
        if connection is None:
            return self
        moved = copy(self)
        for name, value in vars(self).items():
            if is_dataclass(value):
                setattr(moved, name, catalog.placed(connection, value))
        return moved

    def locks(self) -> tuple[list[Table], bool]:
        """The tables that the operation locks, and whether readers are locked out, too."""
        return [], False

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments by position and by name, as a migration has them; a name whose value is None is left out."""
        raise NotImplementedError

    def render(self, context: AutogenContext) -> str | list[str]:
        """The call as it is written into a migration."""
        prefix = context.opts.get("alembic_module_prefix") or ""
        by_position, by_name = self.arguments()
        named = [f"{name}={value!r}" for name, value in by_name.items() if value is not None]
        return f"{prefix}{self.name}({', '.join([*map(repr, by_position), *named])})"

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.name, *self.arguments())


_Op = TypeVar("_Op", bound=type[AuditOperation])


def operation(name: str) -> Callable[[_Op], _Op]:
    """Register an operation with Alembic; the class has a class method of that name, which is the call."""

    def register(cls: _Op) -> _Op:
        cls.name = name
        Operations.register_operation(name)(cls)
        Operations.implementation_for(cls)(lambda operations, op: op.placed(operations).execute(operations))
        renderers.dispatch_for(cls)(lambda context, op: op.render(context))
        return cls

    return register


def default_schema(operations: Operations) -> str:
    """The schema of a name without one: that of the connection, or the usual one in a script for any database."""
    connection = _connection(operations)
    return DEFAULT_SCHEMA if connection is None else catalog.default_schema(connection)


def _connection(operations: Operations) -> Connection | None:
    """The connection to PostgreSQL that runs the operations, if that is not a script or another database."""
    context = operations.migration_context
    return context.connection if is_supported(context) and not context.as_sql else None


def translated(operations: Operations, schema: str | None) -> str | None:
    """A schema as ``schema_translate_map`` of the connection gives it."""
    connection = _connection(operations)
    return schema if connection is None else catalog.translated(connection, schema)


def declared_schema(operations: Operations) -> str | None:
    """The schema of the log of today's models, for migrations of release 2.0.0, which name none."""
    metadata = operations.migration_context.opts.get("target_metadata")
    declaration = declaration_of(metadata) if isinstance(metadata, MetaData) else None
    return None if declaration is None else declaration.schema


def run(operations: Operations, statements: Iterable[str]) -> None:
    """Run statements, or write them into the script; on another database than PostgreSQL do nothing."""
    if not is_supported(operations.migration_context):
        return
    impl = operations.migration_context.impl
    for statement in statements:
        if operations.migration_context.as_sql:
            # As a statement it would have each % doubled, for a driver that is not there.
            impl.static_output(statement + impl.command_terminator)
        else:
            operations.execute(text(statement.replace(":", "\\:")))


def lock(operations: Operations, tables: Iterable[Table], exclusive: bool) -> None:
    """Take the locks of an operation; see ``lock_tables.sql``. Those that the migration has already cost nothing.

    :param exclusive: whether readers are locked out, too.
    """
    default = default_schema(operations)
    quoted = [TableName.resolve(name, schema, default).quoted for schema, name in tables]
    names = ", ".join(map(quote_literal, quoted))
    mode = "ACCESS EXCLUSIVE" if exclusive else "SHARE ROW EXCLUSIVE"
    run(operations, [render("lock_tables", 1, default, tables=names, mode=mode)])


class _SchemaOp(AuditOperation):
    def __init__(self, schema: str | None = None) -> None:
        self.schema = schema

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        return [self.schema], {}


@operation("init_audit_logger_schema")
class InitAuditLoggerSchemaOp(_SchemaOp):
    """Create the schema of a log, if it isn't there."""

    @classmethod
    def init_audit_logger_schema(cls, operations: Operations, schema: str | None = None) -> Any:
        """Create the schema of a log, if it isn't there.

        :param schema: its name. Without one, as in migrations of release 2.0.0, it is that of the models, if any.
        """
        return operations.invoke(cls(schema))

    def reverse(self) -> MigrateOperation:
        return RemoveAuditLoggerSchemaOp(self.schema)

    def execute(self, operations: Operations) -> None:
        schema = translated(operations, self.schema or declared_schema(operations))
        if schema is not None:
            # CREATE SCHEMA IF NOT EXISTS asks for the right to make one even where somebody else has made it.
            made = (
                "DO $audit_logger$\nBEGIN\n"
                f"    IF pg_catalog.to_regnamespace({quote_literal(quote_ident(schema))}) IS NULL THEN\n"
                f"        CREATE SCHEMA {quote_ident(schema)};\n"
                "    END IF;\n"
                "END;\n$audit_logger$"
            )
            run(operations, [made])


@operation("remove_audit_logger_schema")
class RemoveAuditLoggerSchemaOp(_SchemaOp):
    """Drop the schema of a log, unless something else is in it."""

    @classmethod
    def remove_audit_logger_schema(cls, operations: Operations, schema: str | None = None) -> Any:
        """Drop the schema of a log, unless something else is in it.

        :param schema: its name.
        """
        return operations.invoke(cls(schema))

    def reverse(self) -> MigrateOperation:
        return InitAuditLoggerSchemaOp(self.schema)

    def execute(self, operations: Operations) -> None:
        schema = translated(operations, self.schema or declared_schema(operations))
        if schema is not None:
            dropped = (
                "DO $audit_logger$\nBEGIN\n"
                f"    DROP SCHEMA IF EXISTS {quote_ident(schema)};\n"
                "EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN\n"
                "    NULL;  -- something else lives in it, or somebody else made it\n"
                "END;\n$audit_logger$"
            )
            run(operations, [dropped])


class _FunctionsOp(AuditOperation):
    functions: Functions

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        return [], {"version": self.functions.version, "schema": self.functions.schema}


@operation("init_audit_logger_functions")
class InitAuditLoggerFunctionsOp(_FunctionsOp):
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

    def execute(self, operations: Operations) -> None:
        run(operations, self.functions.create(default_schema(operations)))


@operation("remove_audit_logger_functions")
class RemoveAuditLoggerFunctionsOp(_FunctionsOp):
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

    def execute(self, operations: Operations) -> None:
        run(operations, self.functions.drop(default_schema(operations)))


@operation("init_audit_logger_triggers")
class InitAuditLoggerTriggersOp(AuditOperation):
    """Make the triggers of one table, or replace them by ones with other options."""

    def __init__(
        self, triggers: Triggers, previous: Triggers | None = None, *, is_of_old_migration: bool = False
    ) -> None:
        self.triggers = triggers
        self.previous = previous
        self.is_of_old_migration = is_of_old_migration

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
        require: Sequence[str] = (),
        partitioned: bool = False,
        audit_schema: str | None = None,
        version: int | None = None,
    ) -> Any:
        """Log changes to a table, or change how they are logged.

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
        :param require: what a change is refused without: ``actor``, ``reason``.
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
            require=tuple(require),
            partitioned=partitioned,
        )
        triggers = Triggers(table_name, schema, audit_schema, version or 1, options)
        return operations.invoke(cls(triggers, is_of_old_migration=version is None))

    def locks(self) -> tuple[list[Table], bool]:
        # the trigger of a verb that is not captured may have to go
        return [(self.triggers.schema, self.triggers.table)], set(self.triggers.options.verbs) != set(VERBS)

    def reverse(self) -> MigrateOperation:
        if self.previous is not None:
            return InitAuditLoggerTriggersOp(self.previous, previous=self.triggers)
        return RemoveAuditLoggerTriggersOp(self.triggers)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        options = self.triggers.options.changed_from_default()
        named = {_OPTION_ARGUMENTS.get(option, option): value for option, value in options.items()}
        more = {"audit_schema": self.triggers.audit_schema, "version": self.triggers.version}
        return [self.triggers.table], {"schema": self.triggers.schema, **named, **more}

    def execute(self, operations: Operations) -> None:
        triggers = self.triggers
        default = default_schema(operations)
        lock(operations, *self.locks())
        if self.is_of_old_migration:
            triggers = replace(triggers, audit_schema=triggers.audit_schema or declared_schema(operations))
            run(operations, [_unless_old_log(triggers.create(default), triggers.audit_schema or default)])
        else:
            run(operations, triggers.create(default))


def _unless_old_log(statements: list[str], schema: str) -> str:
    """Run statements unless the log is one of release 2.0.0.

    Its migrations make triggers by a call of the same name, and only the missing version tells the two apart.
    """
    executed = "\n".join(f"        EXECUTE {quote_literal(statement)};" for statement in statements)
    relation = quote_literal(quote_ident(schema, "activity"))
    return "\n".join(
        [
            "DO $old_migration$",
            "BEGIN",
            f"    IF to_regclass({relation}) IS NULL OR EXISTS (",
            "        SELECT FROM pg_catalog.pg_attribute",
            f"        WHERE attrelid = to_regclass({relation}) AND attname = 'record_key' AND NOT attisdropped",
            "    ) THEN",
            executed,
            "    END IF;",
            "END;",
            "$old_migration$",
        ]
    )


@operation("compile_audit_logger_triggers")
class CompileAuditLoggerTriggersOp(AuditOperation):
    """Make the functions of a table's triggers anew, after the table was altered; ``backward``: in the reverse only."""

    def __init__(self, triggers: Triggers, *, backward: bool = False) -> None:
        self.triggers = triggers
        self.backward = backward

    @classmethod
    def compile_audit_logger_triggers(
        cls,
        operations: Operations,
        table_name: str,
        *,
        schema: str | None = None,
        audit_schema: str | None = None,
        version: int = 1,
    ) -> Any:
        """Make the functions of a table's triggers anew, after its columns or key were altered; else it is slower.

        :param table_name: the table.
        :param schema: its schema; the default schema of the connection if not given.
        :param audit_schema: schema of the log; the default schema of the connection if not given.
        :param version: version of the SQL of the triggers.
        """
        return operations.invoke(cls(Triggers(table_name, schema, audit_schema, version, TableOptions())))

    def reverse(self) -> MigrateOperation:
        return CompileAuditLoggerTriggersOp(self.triggers, backward=not self.backward)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        named = {name: getattr(self.triggers, name) for name in ("schema", "audit_schema", "version")}
        return [self.triggers.table], named

    def render(self, context: AutogenContext) -> str | list[str]:
        return [] if self.backward else super().render(context)

    def execute(self, operations: Operations) -> None:
        if not self.backward:
            run(operations, self.triggers.compile_again(default_schema(operations)))


@operation("remove_audit_logger_triggers")
class RemoveAuditLoggerTriggersOp(AuditOperation):
    """Drop the triggers of one table."""

    def __init__(self, triggers: Triggers) -> None:
        self.triggers = triggers

    @classmethod
    def remove_audit_logger_triggers(
        cls, operations: Operations, table_name: str, *, schema: str | None = None, partitioned: bool = False
    ) -> Any:
        """Stop logging changes to a table. What was logged stays.

        :param table_name: the table.
        :param schema: its schema; the default schema of the connection if not given.
        :param partitioned: whether its partitions have the triggers, too.
        """
        options = TableOptions(partitioned=partitioned)
        return operations.invoke(cls(Triggers(table_name, schema, None, CURRENT_VERSION, options)))

    def reverse(self) -> MigrateOperation:
        return InitAuditLoggerTriggersOp(self.triggers)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        named = {"schema": self.triggers.schema, "partitioned": self.triggers.options.partitioned or None}
        return [self.triggers.table], named

    def locks(self) -> tuple[list[Table], bool]:
        return [(self.triggers.schema, self.triggers.table)], True

    def execute(self, operations: Operations) -> None:
        lock(operations, *self.locks())
        run(operations, self.triggers.drop(default_schema(operations)))


@operation("snapshot_audit_logger_table")
class SnapshotAuditLoggerTableOp(AuditOperation):
    """Record the rows of a table that the log knows nothing of; written by hand only."""

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

    def execute(self, operations: Operations) -> None:
        run(operations, [snapshot(self.triggers, default_schema(operations))])
