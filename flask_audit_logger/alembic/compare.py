"""Autogenerate: what differs between the log that should exist and the one that does.

Reads only what belongs to the log of the metadata at hand, and writes operations in the order in which they can run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, UpgradeOps
from sqlalchemy import Connection, MetaData, Table

from ..schema.catalog import (
    ExistingTriggers,
    are_current,
    as_in_catalog,
    default_schema,
    existing_triggers,
    has_functions,
    has_schema,
    is_partitioned,
)
from ..schema.declared import Declaration, declaration_of, declared_functions, declared_triggers
from ..schema.objects import Functions, Triggers
from ..sql import CURRENT_VERSION
from .ops import (
    InitAuditLoggerFunctionsOp,
    InitAuditLoggerSchemaOp,
    InitAuditLoggerTriggersOp,
    RemoveAuditLoggerFunctionsOp,
    RemoveAuditLoggerTriggersOp,
)

try:  # Alembic 1.18 sorts comparators by priority; before, they run in the order of registration, ours after its own.
    from alembic.util import DispatchPriority, PriorityDispatchResult

    _REGISTRATION: dict[str, Any] = {"priority": DispatchPriority.LAST}
    _CONTINUE: Any = PriorityDispatchResult.CONTINUE
except ImportError:
    _REGISTRATION = {}
    _CONTINUE = None


@comparators.dispatch_for("schema", **_REGISTRATION)
def compare_audit_logger(context: AutogenContext, upgrade_ops: UpgradeOps, schemas: Any) -> Any:
    """Add the operations that bring the log up to date."""
    connection = context.connection
    if connection is None or connection.dialect.name != "postgresql":
        return _CONTINUE
    for metadata in _metadatas(context):
        declaration = declaration_of(metadata)
        if declaration is None:
            upgrade_ops.ops[:0] = _abandoned(connection, upgrade_ops)
        else:
            declaration.prepare()
            first, last = _compare(context, connection, metadata, declaration, upgrade_ops)
            upgrade_ops.ops[:] = [*first, *upgrade_ops.ops, *last]
    return _CONTINUE


def _compare(
    context: AutogenContext,
    connection: Connection,
    metadata: MetaData,
    declaration: Declaration,
    upgrade_ops: UpgradeOps,
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """Operations that come before and after those on tables."""
    first: list[MigrateOperation] = []
    last: list[MigrateOperation] = []
    if declaration.schema is not None and not has_schema(connection, declaration.schema):
        first.append(InitAuditLoggerSchemaOp(declaration.schema))
    functions = declared_functions(metadata)
    if functions is not None and not are_current(connection, functions):
        log = functions.schema or default_schema(connection)
        previous = functions if has_functions(connection, log) else None
        last.append(InitAuditLoggerFunctionsOp(functions, previous=previous))
    existing = {
        (found.triggers.schema, found.triggers.table): found
        for found in existing_triggers(connection, declaration.schema, CURRENT_VERSION)
    }
    for triggers in _wanted(context, connection, metadata):
        found = existing.pop((triggers.schema, triggers.table), None)
        if not _is_same(found, triggers):
            # Nothing worked before: then there is nothing to go back to.
            previous_triggers = found.triggers if found is not None and found.triggers.options.verbs else None
            last.append(InitAuditLoggerTriggersOp(triggers, previous=previous_triggers))
    for found in existing.values():
        if _is_ours_to_remove(found.triggers, metadata, connection, upgrade_ops):
            # Before the table is dropped, so that a downgrade makes them after the table is back.
            first.append(RemoveAuditLoggerTriggersOp(found.triggers))
    return first, last


def _is_same(found: ExistingTriggers | None, wanted: Triggers) -> bool:
    return found is not None and found.triggers == wanted and found.is_complete


def _wanted(context: AutogenContext, connection: Connection, metadata: MetaData) -> list[Triggers]:
    """The triggers that should exist on tables that the migration environment looks after."""
    default = default_schema(connection)
    wanted = []
    for triggers in declared_triggers(metadata):
        table = _table(metadata, triggers)
        if not context.run_object_filters(table, table.name, "table", False, None):
            continue
        partitioned = triggers.options.partitioned or is_partitioned(
            connection, triggers.schema or default, triggers.table
        )
        options = dataclasses.replace(triggers.options, partitioned=partitioned)
        wanted.append(as_in_catalog(dataclasses.replace(triggers, options=options), default))
    return wanted


def _is_ours_to_remove(triggers: Triggers, metadata: MetaData, connection: Connection, upgrade_ops: UpgradeOps) -> bool:
    """Whether the table is a model without audit, or about to be dropped. Else its triggers are somebody else's."""
    default = default_schema(connection)
    name = (triggers.schema, triggers.table)
    in_models = {(None if t.schema == default else t.schema, t.name) for t in metadata.tables.values()}
    return name in in_models or name in _dropped(upgrade_ops, default)


def _abandoned(connection: Connection, upgrade_ops: UpgradeOps) -> list[MigrateOperation]:
    """What goes with the tables of a log whose logger was taken out of the application."""
    default = default_schema(connection)
    dropped = _dropped(upgrade_ops, default)
    removed: list[MigrateOperation] = []
    for schema in sorted({schema for schema, name in dropped if name == "activity"}, key=lambda name: name or ""):
        if (schema, "transaction") in dropped and has_functions(connection, schema or default):
            removed += [
                RemoveAuditLoggerTriggersOp(found.triggers)
                for found in existing_triggers(connection, schema, CURRENT_VERSION)
            ]
            removed.append(RemoveAuditLoggerFunctionsOp(Functions(schema=schema, version=CURRENT_VERSION)))
    return removed


def _dropped(upgrade_ops: UpgradeOps, default: str) -> set[tuple[str | None, str]]:
    return {
        (None if op.schema == default else op.schema, op.table_name)
        for op in upgrade_ops.ops
        if isinstance(op, DropTableOp)
    }


def _table(metadata: MetaData, triggers: Triggers) -> Table:
    key = triggers.table if triggers.schema is None else f"{triggers.schema}.{triggers.table}"
    return metadata.tables[key]


def _metadatas(context: AutogenContext) -> list[MetaData]:
    metadata = context.metadata
    if metadata is None:
        return []
    return [metadata] if isinstance(metadata, MetaData) else list(metadata)
