"""``metadata.create_all()`` and ``drop_all()`` make and drop the log, too: its tables, functions and triggers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, MetaData, event, text
from sqlalchemy.schema import CreateSchema

from ..exceptions import ConfigurationError
from .catalog import (
    default_schema,
    existing_triggers,
    has_schema,
    placed,
    tables_in,
    triggers_of_other_logs,
)
from .declared import declaration_of, declared_functions, declared_tables, wanted_triggers
from .names import is_supported
from .table_options import is_audited


def attach(metadata: MetaData) -> None:
    """Start to follow ``create_all()`` and ``drop_all()`` of this MetaData. Twice is once."""
    for name, listener in _LISTENERS:
        if not event.contains(metadata, name, listener):
            event.listen(metadata, name, listener)


def detach(metadata: MetaData) -> None:
    """Stop what :func:`attach` started."""
    for name, listener in _LISTENERS:
        if event.contains(metadata, name, listener):
            event.remove(metadata, name, listener)


def _create_schema(metadata: MetaData, connection: Connection, **kw: Any) -> None:
    """Make the schema of the log first, as the application may have tables in it."""
    declaration = declaration_of(metadata)
    if declaration is None or not _is_meant(connection, kw["_ddl_runner"]):
        return
    declaration.prepare()
    schema = placed(connection, declaration).schema
    if schema is not None and not has_schema(connection, schema):
        # IF NOT EXISTS asks for the right to make one even where somebody else has made it.
        connection.execute(CreateSchema(schema))


def _create_log(metadata: MetaData, connection: Connection, **kw: Any) -> None:
    tables, functions = declared_tables(metadata), declared_functions(metadata)
    if tables is None or functions is None or not _is_meant(connection, kw["_ddl_runner"]):
        return
    tables, functions = placed(connection, tables), placed(connection, functions)
    default = default_schema(connection)
    _run(connection, tables.create(default) + functions.create(default))
    there = tables_in(connection)
    elsewhere = {t.name(default): t for t in triggers_of_other_logs(connection, functions.schema)}
    for triggers in wanted_triggers(connection, metadata):
        if triggers.name(default) in there:
            other = elsewhere.get(triggers.name(default))
            if other is not None:
                raise ConfigurationError(
                    f"Changes of {triggers.table!r} are logged in schema {other.audit_schema or default!r}, and no "
                    "table has two logs. Use that one, or drop its triggers first if nobody needs them."
                )
            _run(connection, triggers.create(default))


def _drop_log(metadata: MetaData, connection: Connection, **kw: Any) -> None:
    """Drop the log while its tables are still there: a table may survive ``drop_all()``, its log doesn't."""
    tables, functions = declared_tables(metadata), declared_functions(metadata)
    if tables is None or functions is None or not is_supported(connection) or kw["_ddl_runner"].tables is not None:
        return
    tables, functions = placed(connection, tables), placed(connection, functions)
    default = default_schema(connection)
    wanted = {triggers.name(default): triggers for triggers in wanted_triggers(connection, metadata)}
    existing = [found.triggers.name(default) for found in existing_triggers(connection, functions.schema)]
    named = {table.name for table in wanted}
    if any(table not in wanted and table.name in named for table in existing):
        # The tables of another tenant write to the same log.
        for table in wanted.keys() & set(existing):
            _run(connection, wanted[table].drop(default))
        return
    # With the functions go their triggers, and those of no other log.
    _run(connection, functions.drop(default) + tables.drop(default))


def _is_meant(connection: Connection, runner: Any) -> bool:
    """Whether the log is made: with all tables, or if some of those that were asked for are audited."""
    asked = runner.tables
    return is_supported(connection) and (asked is None or any(is_audited(table) for table in asked))


def _run(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        # a colon in a name is no parameter
        connection.execute(text(statement.replace(":", "\\:")))


_LISTENERS = (
    ("before_create", _create_schema),
    ("after_create", _create_log),
    ("before_drop", _drop_log),
)
