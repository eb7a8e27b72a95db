"""Autogenerate: what differs between the log that should exist and the one that does.

Reads only what belongs to the log of the metadata at hand, and writes operations in the order in which they can run.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreatePrimaryKeyOp,
    CreateTableOp,
    DropColumnOp,
    DropConstraintOp,
    ModifyTableOps,
    UpgradeOps,
)
from sqlalchemy import Connection, MetaData, Table

from ..schema.catalog import (
    ExistingTriggers,
    actor_type,
    are_current,
    default_schema,
    existing_triggers,
    has_log_tables,
    has_schema,
    installed_version,
    log_partition,
    parts_of_log,
    tables_in,
    triggers_of_other_logs,
    uncompiled_tables,
    unless_default,
)
from ..schema.declared import (
    Declaration,
    copied_logs,
    declaration_of,
    declared_functions,
    tables_of,
    wanted_triggers,
)
from ..schema.names import TableName, is_supported, reason
from ..schema.objects import LOG_TABLES, Functions, Tables, Triggers
from ..sql import CURRENT_VERSION
from .from_2.conversion import may_have_old_log
from .locks import lock_first
from .log_tables import CreateAuditLoggerTablesOp, DropAuditLoggerTablesOp, compare_actor_type, compare_layout, hide
from .neighbours import dropped_tables, is_looked_after, keep_partitions, leave_alone, leave_out_log, metadatas
from .operations import (
    CompileAuditLoggerTriggersOp,
    InitAuditLoggerFunctionsOp,
    InitAuditLoggerSchemaOp,
    InitAuditLoggerTriggersOp,
    RemoveAuditLoggerFunctionsOp,
    RemoveAuditLoggerSchemaOp,
    RemoveAuditLoggerTriggersOp,
)

_log = logging.getLogger("alembic.autogenerate")


# Where our comparators stand among those of Alembic and of other packages: one before the first, one after the last.
# Alembic 1.18 and newer sort comparators by a declared priority. Before, they ran in the order in which they were
# registered, in a list that only those versions have.

#: Nobody else's comparator can stop ours: Alembic lets one stop those of its own group only.
_GROUP = "flask_audit_logger"

FIRST: dict[str, Any] = {}
LAST: dict[str, Any] = {}
CONTINUE: Any = None

try:
    from alembic.util import DispatchPriority, PriorityDispatchResult
except ImportError:
    IS_SORTED = False
else:
    IS_SORTED = True
    FIRST = {"priority": DispatchPriority.FIRST, "subgroup": _GROUP}
    LAST = {"priority": DispatchPriority.LAST, "subgroup": _GROUP}
    CONTINUE = PriorityDispatchResult.CONTINUE


def _put_first(comparator: Callable[..., Any]) -> None:
    """Let a registered comparator run before all others."""
    if not IS_SORTED:
        _unsorted().remove(comparator)
        _unsorted().insert(0, comparator)


def _put_last(comparator: Callable[..., Any]) -> None:
    """Let a registered comparator run after all others; the first comparator may call this while they run."""
    if not IS_SORTED:
        _unsorted().remove(comparator)
        _unsorted().append(comparator)


def _unsorted() -> list[Callable[..., Any]]:
    registered: list[Callable[..., Any]] = comparators._registry["schema", "default"]
    return registered


@comparators.dispatch_for("schema", **FIRST)
def prepare_audit_logger(context: AutogenContext, upgrade_ops: UpgradeOps, schemas: Any) -> Any:
    """Complete the declarations of the logs, and hide their tables, before Alembic compares."""
    _put_last(compare_audit_logger)
    if context.connection is not None and is_supported(context.connection):
        declarations = [d for metadata in metadatas(context) if (d := declaration_of(metadata)) is not None]
        for declaration in declarations:
            declaration.prepare()
        default = default_schema(context.connection)
        logs = {declaration.schema or default for declaration in declarations}
        logs |= {schema or default for metadata in metadatas(context) for schema in copied_logs(metadata)}
        hide(context, {part for log in logs for part in parts_of_log(context.connection, log)}, default)
    return CONTINUE


@comparators.dispatch_for("schema", **LAST)
def compare_audit_logger(context: AutogenContext, upgrade_ops: UpgradeOps, schemas: Any) -> Any:
    """Add the operations that bring the log up to date."""
    connection = context.connection
    if connection is None:
        return CONTINUE
    if not is_supported(connection):
        if any(declaration_of(metadata) is not None for metadata in metadatas(context)):
            _log.warning(
                "This revision says nothing about auditing: %s. Let `flask db migrate` write it on PostgreSQL",
                reason(connection),
            )
        return CONTINUE
    leave_alone(upgrade_ops)
    for metadata in metadatas(context):
        if copied_logs(metadata):
            continue
        first, last = _abandoned(connection, upgrade_ops)
        declaration = declaration_of(metadata)
        if declaration is None:
            before, after = _unseen(context, connection, metadata, upgrade_ops, schemas)
        else:
            gone = {op.tables.schema for op in first if isinstance(op, DropAuditLoggerTablesOp)}
            before, after = _compare(context, connection, metadata, declaration, upgrade_ops, gone)
        for op in (*first, *before, *after, *last):
            _tell(op, default_schema(connection))
        upgrade_ops.ops[:] = [*first, *before, *upgrade_ops.ops, *after, *last]
    upgrade_ops.ops[:] = lock_first(connection, _logs(context, upgrade_ops), upgrade_ops.ops)
    return CONTINUE


_put_first(prepare_audit_logger)


def _tell(op: MigrateOperation, default: str) -> None:
    """Say what was found, as Alembic does of the tables; of a log that goes, its removal says it."""
    match op:
        case CreateAuditLoggerTablesOp():
            _log.info("Detected added audit log in schema %r", op.tables.schema or default)
        case InitAuditLoggerFunctionsOp():
            how = "added" if op.previous is None else "changed"
            _log.info("Detected %s functions of the audit log in schema %r", how, op.functions.schema or default)
        case InitAuditLoggerTriggersOp():
            how = "added" if op.previous is None else "changed"
            _log.info("Detected %s audit triggers on table %r", how, str(op.triggers.name(default)))
        case RemoveAuditLoggerTriggersOp():
            _log.info("Detected removed audit triggers on table %r", str(op.triggers.name(default)))


def _logs(context: AutogenContext, upgrade_ops: UpgradeOps) -> set[str | None]:
    """The schemas of the logs that are compared, and of those that are dropped."""
    declared = {declaration.schema for m in metadatas(context) if (declaration := declaration_of(m)) is not None}
    return declared | {op.functions.schema for op in upgrade_ops.ops if isinstance(op, RemoveAuditLoggerFunctionsOp)}


def _compare(
    context: AutogenContext,
    connection: Connection,
    metadata: MetaData,
    declaration: Declaration,
    upgrade_ops: UpgradeOps,
    gone: Collection[str | None],
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """Operations that come before and after those on tables.

    :param gone: schemas of logs that the migration drops.
    """
    first: list[MigrateOperation] = []
    last: list[MigrateOperation] = []
    if declaration.schema is not None and not has_schema(connection, declaration.schema):
        first.append(InitAuditLoggerSchemaOp(declaration.schema))
    default = default_schema(connection)
    tables = tables_of(declaration)
    if may_have_old_log(connection):
        from .from_2 import detect  # of no use to anybody else

        first += detect.conversion_of(connection, metadata, declaration)
    if has_log_tables(connection, declaration.schema or default):
        first += compare_actor_type(connection, tables) + compare_layout(connection, tables)
    else:
        last.append(CreateAuditLoggerTablesOp(tables))
    functions = declared_functions(metadata)
    if functions is not None and not are_current(connection, functions):
        last.append(_functions_op(connection, functions))
    existing = {found.triggers.name(default): found for found in existing_triggers(connection, declaration.schema)}
    wanted = _wanted(context, connection, metadata, upgrade_ops)
    keep_partitions(connection, wanted, upgrade_ops)
    moved = _in_other_logs(connection, declaration, gone)
    altered = _altered(upgrade_ops, default)
    if functions is not None and not last:
        altered |= set(uncompiled_tables(connection, functions))
    for triggers in wanted:
        name = triggers.name(default)
        found = existing.pop(name, None)
        if found is not None and name in altered:
            # What comes first is reversed last.
            first.append(CompileAuditLoggerTriggersOp(triggers, backward=True))
        if _is_same(found, triggers):
            if name in altered:
                last.append(CompileAuditLoggerTriggersOp(triggers))
        else:
            previous = moved.get(name) if found is None else found.triggers
            last.append(InitAuditLoggerTriggersOp(triggers, previous=_former(previous, triggers, connection)))
    ours = _ours_to_remove(context, connection, metadata, upgrade_ops)
    # Before the table is dropped, so that a downgrade makes them after the table is back.
    first += [RemoveAuditLoggerTriggersOp(found.triggers) for name, found in existing.items() if name in ours]
    return first, last


def _former(previous: Triggers | None, wanted: Triggers, connection: Connection) -> Triggers | None:
    """What a downgrade goes back to; nothing if nothing worked before."""
    if previous is None or not previous.options.verbs:
        return None
    if previous.audit_schema != wanted.audit_schema:
        _log.warning(
            "Changes of %r are logged in schema %r; the migration lets them be logged in schema %r instead",
            wanted.table,
            previous.audit_schema or default_schema(connection),
            wanted.audit_schema or default_schema(connection),
        )
    return previous


def _in_other_logs(
    connection: Connection, declaration: Declaration, gone: Collection[str | None]
) -> dict[TableName, Triggers]:
    """The triggers of logs that stay; those of a log that is dropped go with it."""
    default = default_schema(connection)
    return {
        triggers.name(default): triggers
        for triggers in triggers_of_other_logs(connection, declaration.schema)
        if triggers.audit_schema not in gone
    }


def _altered(upgrade_ops: UpgradeOps, default: str) -> set[TableName]:
    """Tables whose columns or primary key a migration changes."""
    altering = AddColumnOp | DropColumnOp | AlterColumnOp | CreatePrimaryKeyOp | DropConstraintOp
    return {
        TableName.resolve(op.table_name, op.schema, default)
        for op in upgrade_ops.ops
        if isinstance(op, ModifyTableOps) and any(isinstance(part, altering) for part in op.ops)
    }


def _functions_op(connection: Connection, functions: Functions) -> MigrateOperation:
    version = installed_version(connection, functions.schema or default_schema(connection))
    previous = None if version is None else dataclasses.replace(functions, version=version)
    return InitAuditLoggerFunctionsOp(functions, previous=previous)


def _is_same(found: ExistingTriggers | None, wanted: Triggers) -> bool:
    return found is not None and found.triggers == wanted and found.is_complete


def _wanted(
    context: AutogenContext, connection: Connection, metadata: MetaData, upgrade_ops: UpgradeOps
) -> list[Triggers]:
    """The triggers that should exist on tables that are there, or about to be, and that the environment looks after."""
    default = default_schema(connection)
    made = (op for op in upgrade_ops.ops if isinstance(op, CreateTableOp))
    there = tables_in(connection) | {TableName.resolve(op.table_name, op.schema, default) for op in made}
    there -= _of_models(context, metadata, default, looked_after=False)
    return [t for t in wanted_triggers(connection, metadata) if t.name(default) in there]


def _of_models(context: AutogenContext, metadata: MetaData, default: str, *, looked_after: bool) -> set[TableName]:
    """The tables of the models, those that the environment looks after or those that it leaves out."""
    return {
        TableName.resolve(table.name, table.schema, default)
        for table in metadata.tables.values()
        if is_looked_after(context, table) is looked_after
    }


def _ours_to_remove(
    context: AutogenContext, connection: Connection, metadata: MetaData, upgrade_ops: UpgradeOps
) -> set[TableName]:
    """Tables that are models without audit, or about to be dropped. On any other the triggers are somebody else's."""
    default = default_schema(connection)
    return _of_models(context, metadata, default, looked_after=True) | dropped_tables(upgrade_ops, default)


def _unseen(
    context: AutogenContext, connection: Connection, metadata: MetaData, upgrade_ops: UpgradeOps, schemas: Any
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """What removes the log of a logger that is gone, if Alembic doesn't look at its schema.

    It was ours if all its triggers are on tables of ours.
    """
    ours = _ours_to_remove(context, connection, metadata, upgrade_ops)
    tables: dict[str, set[TableName]] = defaultdict(set)
    for triggers in triggers_of_other_logs(connection, None):
        tables[str(triggers.audit_schema)].add(triggers.name(default_schema(connection)))
    first: list[MigrateOperation] = []
    last: list[MigrateOperation] = []
    for schema, names in tables.items():
        if schema in schemas or not names <= ours or not has_log_tables(connection, schema):
            continue
        if all(is_looked_after(context, Table(n, MetaData(), schema=schema), reflected=True) for n in LOG_TABLES):
            _remove(connection, schema, first, last)
    return first, last


def _abandoned(
    connection: Connection, upgrade_ops: UpgradeOps
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """What removes a log whose tables Alembic drops: its logger is gone from the application, or has another schema."""
    default = default_schema(connection)
    dropped = dropped_tables(upgrade_ops, default)
    first: list[MigrateOperation] = []
    last: list[MigrateOperation] = []
    for name in sorted(table.schema for table in dropped if table.name == "activity"):
        if TableName(name, "transaction") in dropped and installed_version(connection, name) is not None:
            leave_out_log(upgrade_ops, parts_of_log(connection, name), default)
            _remove(connection, name, first, last)
    return first, last


def _remove(connection: Connection, name: str, first: list[MigrateOperation], last: list[MigrateOperation]) -> None:
    """Add what drops a log with its triggers."""
    _log.warning(
        "No AuditLogger writes to the log in schema %r any more; the migration drops it with all its entries", name
    )
    schema = unless_default(name, default_schema(connection))
    version = installed_version(connection, name) or CURRENT_VERSION
    first += [RemoveAuditLoggerTriggersOp(found.triggers) for found in existing_triggers(connection, schema)]
    first.append(RemoveAuditLoggerFunctionsOp(Functions(schema=schema, version=version)))
    partition = log_partition(connection, name)
    first.append(DropAuditLoggerTablesOp(Tables(schema, version, actor_type(connection, name), partition)))
    if schema is not None:
        last.append(RemoveAuditLoggerSchemaOp(schema))
