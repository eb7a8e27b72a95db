"""How operations run SQL, and what they may ask the environment."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.operations import Operations
from sqlalchemy import MetaData, text

from ..schema import catalog
from ..schema.declared import declaration_of
from ..schema.dialects import is_supported
from ..schema.objects import DEFAULT_SCHEMA
from ..sql import quote_ident, quote_literal, render


def default_schema(operations: Operations) -> str:
    """The schema in which a name without schema is; a script for nobody in particular takes the usual one."""
    connection = operations.migration_context.connection
    return DEFAULT_SCHEMA if connection is None else catalog.default_schema(connection)


def log_schema(operations: Operations, schema: str | None) -> str:
    """The name of the schema of a log."""
    return schema or default_schema(operations)


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


def lock(operations: Operations, tables: Iterable[tuple[str | None, str]], *, exclusive: bool) -> None:
    """Take the locks of an operation; see ``lock_tables.sql``. Those that the migration has already cost nothing.

    :param tables: schema and name; the schema may be ``None`` for the default one.
    :param exclusive: whether they are locked against reading, too.
    """
    default = default_schema(operations)
    names = ", ".join(quote_literal(quote_ident(schema or default, name)) for schema, name in tables)
    mode = "ACCESS EXCLUSIVE" if exclusive else "SHARE ROW EXCLUSIVE"
    run(operations, [render("lock_tables", 1, default, tables=names, mode=mode)])


def unless_old_log(statements: list[str], schema: str) -> str:
    """Run statements unless the log is one of release 2.0.0.

    Its migrations make triggers by an operation that this package has, too, and say nothing that would tell the two
    apart but that they name no version.
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
