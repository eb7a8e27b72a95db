"""``metadata.create_all()`` and ``drop_all()`` make and drop functions and triggers, too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, MetaData, Table, event, inspect, text
from sqlalchemy.schema import CreateSchema

from ..exceptions import ConfigurationError
from .catalog import default_schema, has_schema, triggers_of_other_logs
from .declared import declaration_of, declared_functions, wanted_triggers
from .dialects import is_supported
from .objects import LOG_TABLES


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
    if not is_supported(connection):
        _leave_out_log(metadata, kw["_ddl_runner"])
        return
    late = _late_tables(metadata)
    declaration = declaration_of(metadata)
    if declaration is None:
        return
    declaration.prepare()
    if declaration.schema is not None and not has_schema(connection, declaration.schema):
        # IF NOT EXISTS asks for the right to make one even where somebody else has made it.
        connection.execute(CreateSchema(declaration.schema))
    for table in late:
        table.create(connection, checkfirst=True)


def _create_objects(metadata: MetaData, connection: Connection, **kw: Any) -> None:
    functions = declared_functions(metadata)
    if not is_supported(connection) or functions is None:
        return
    existing = inspect(connection)
    if not existing.has_table("activity", schema=functions.schema):
        return  # create_all() was asked for other tables only
    default = default_schema(connection)
    _run(connection, functions.create(default))
    elsewhere = {t.name(default): t for t in triggers_of_other_logs(connection, functions.schema)}
    for triggers in wanted_triggers(connection, metadata):
        if existing.has_table(triggers.table, schema=triggers.schema):
            other = elsewhere.get(triggers.name(default))
            if other is not None:
                raise ConfigurationError(
                    f"Changes of {triggers.table!r} are logged in schema {other.audit_schema or default!r}, and no "
                    "table has two logs. Use that one, or drop its triggers first if nobody needs them."
                )
            _run(connection, triggers.create(default))


def _drop_objects(metadata: MetaData, connection: Connection, **kw: Any) -> None:
    """Drop the triggers while their tables are still there: a table may survive ``drop_all()``, its log doesn't."""
    if not is_supported(connection):
        _leave_out_log(metadata, kw["_ddl_runner"])
        return
    late = _late_tables(metadata)
    functions = declared_functions(metadata)
    if functions is None:
        return
    dropped = [*(kw.get("tables") or metadata.tables.values()), *late]
    if not any(table.name == "activity" and table.schema == functions.schema for table in dropped):
        return
    # With the function go its triggers, and those of no other log.
    _run(connection, functions.drop(default_schema(connection)))
    for table in late:
        table.drop(connection, checkfirst=True)


def _late_tables(metadata: MetaData) -> list[Table]:
    """The tables of a log that comes into being now: SQLAlchemy made its list of tables before it told us."""
    before = set(metadata.tables)
    declaration_of(metadata)
    return [table for name, table in metadata.tables.items() if name not in before]


def _run(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        # a colon in a name is no parameter
        connection.execute(text(statement.replace(":", "\\:")))


def _leave_out_log(metadata: MetaData, runner: Any) -> None:
    """Let SQLAlchemy pass over the tables of the log in a database that can't have one.

    It has made its list of tables before it told us, so they can't be taken out of that.
    """
    declaration = declaration_of(metadata)
    if declaration is None:
        return
    visit_table = runner.visit_table

    def visit(table: Table, **kw: Any) -> Any:
        is_of_log = table.name in LOG_TABLES and table.schema == declaration.schema
        return None if is_of_log else visit_table(table, **kw)

    runner.visit_table = visit


_LISTENERS = (
    ("before_create", _create_schema),
    ("after_create", _create_objects),
    ("before_drop", _drop_objects),
)
