"""What stands beside our operations in a migration: the log's tables, partitions, objects of other packages."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from sqlalchemy import Connection, MetaData, Table, Text

from ..schema.catalog import default_schema, partitions_of
from ..schema.declared import Declaration
from ..schema.names import TableName
from ..schema.objects import LOG_TABLES, Triggers
from ..sql import FUNCTIONS, TRIGGER_FUNCTIONS, VERBS

#: Option of a comparison inside another one, whose operations are looked at further.
INSIDE = "audit_logger_inside"

_FUNCTIONS = tuple(f"audit_logger_{name}(" for name, _ in FUNCTIONS)
_TRIGGERS = tuple(f"audit_logger_{verb}" for verb in VERBS)

_log = logging.getLogger("alembic.autogenerate")


def metadatas(context: AutogenContext) -> list[MetaData]:
    """The metadata that is compared; an environment may have several."""
    metadata = context.metadata
    if metadata is None:
        return []
    return [metadata] if isinstance(metadata, MetaData) else list(metadata)


def is_looked_after(context: AutogenContext, table: Table, *, reflected: bool = False) -> bool:
    """Whether the environment doesn't leave the table out.

    :param reflected: whether it is one of the database, and not of the models.
    """
    return context.run_object_filters(table, table.name, "table", reflected, None)


def dropped_tables(upgrade_ops: UpgradeOps, default: str) -> set[TableName]:
    """The tables that a migration drops."""
    drops = (op for op in upgrade_ops.ops if isinstance(op, DropTableOp))
    return {TableName.resolve(op.table_name, op.schema, default) for op in drops}


def restore_collations(upgrade_ops: UpgradeOps, schema: str, default: str) -> None:
    """Let the log that a downgrade makes again sort as it did: SQLAlchemy before 2.1 doesn't reflect a collation."""
    for position, op in enumerate(upgrade_ops.ops):
        if not isinstance(op, DropTableOp) or op.table_name != "activity":
            continue
        if (op.schema or default) == schema:
            table = op.to_table()
            for name in ("table_name", "record_key"):
                if name in table.c:
                    table.c[name].type = Text(collation="C")
            upgrade_ops.ops[position] = DropTableOp.from_table(table)


def compare_log_tables(
    context: AutogenContext,
    connection: Connection,
    metadata: MetaData,
    declaration: Declaration,
    upgrade_ops: UpgradeOps,
    schemas: Any,
) -> list[MigrateOperation]:
    """What has to be done to the tables of a log in a schema that the environment doesn't look at.

    Without ``include_schemas`` Alembic looks only into the default schema of the connection, and would create tables in
    other schemas again and again.
    """
    schema = declaration.schema
    if schema is None or schema == default_schema(connection) or schema in schemas:
        return []
    upgrade_ops.ops[:] = [op for op in upgrade_ops.ops if not is_on_log(op, schema)]
    alone = MetaData(naming_convention=metadata.naming_convention)
    for name in LOG_TABLES:
        metadata.tables[f"{schema}.{name}"].to_metadata(alone)
    return _compare_alone(context, connection, alone, schema)


def remove_log(context: AutogenContext, connection: Connection, schema: str) -> list[MigrateOperation]:
    """What drops the tables of a log and all that goes with them, unless the environment leaves them out."""
    ops = _compare_alone(context, connection, MetaData(), schema)
    tables = [op.to_table() for op in ops if isinstance(op, DropTableOp)]
    return ops if all(is_looked_after(context, table, reflected=True) for table in tables) else []


def _compare_alone(
    context: AutogenContext, connection: Connection, alone: MetaData, schema: str
) -> list[MigrateOperation]:
    opts = {key: value for key, value in context.opts.items() if key in ("compare_type", "compare_server_default")}
    opts |= {
        "target_metadata": alone,
        "include_schemas": True,
        INSIDE: True,
        "include_name": lambda name, type_, parents: _is_log(name, type_, parents, schema),
    }
    migration = produce_migrations(MigrationContext.configure(connection, opts=opts), alone)
    return list(migration.upgrade_ops.ops) if migration.upgrade_ops is not None else []


def is_on_log(op: Any, schema: str | None) -> bool:
    """Whether an operation is about one of the two tables, or their columns, indexes and constraints."""
    return getattr(op, "table_name", None) in LOG_TABLES and getattr(op, "schema", None) == schema


def _is_log(name: str | None, type_: str, parents: Any, schema: str) -> bool:
    if type_ == "schema":
        return name == schema
    return type_ != "table" or name in LOG_TABLES


def keep_partitions(connection: Connection, audited: list[Triggers], upgrade_ops: UpgradeOps) -> None:
    """Take out what drops a partition of an audited table that stays.

    :param audited: the triggers that should exist.
    """
    default = default_schema(connection)
    dropped = dropped_tables(upgrade_ops, default)
    kept = {
        partition: triggers.table
        for triggers in audited
        if triggers.name(default) not in dropped
        for partition in partitions_of(connection, triggers.name(default))
        if partition in dropped
    }
    for partition, table in sorted(kept.items()):
        _log.info("Kept partition %r of the audited table %r", partition.name, table)
    upgrade_ops.ops[:] = [op for op in upgrade_ops.ops if not _is_on(op, kept, default)]


def _is_on(op: MigrateOperation, tables: Collection[TableName], default: str) -> bool:
    if not isinstance(op, DropTableOp | ModifyTableOps):
        return False
    return TableName.resolve(op.table_name, op.schema, default) in tables


def leave_alone(upgrade_ops: UpgradeOps) -> None:
    """Take out what alembic_utils wants to drop because it finds it in the database and not among its entities."""
    upgrade_ops.ops[:] = [op for op in upgrade_ops.ops if not _drops_ours(op)]


def _drops_ours(op: Any) -> bool:
    # by name: the package need not be installed
    if not type(op).__module__.startswith("alembic_utils.") or type(op).__name__ != "DropOp":
        return False
    signature = str(op.target.signature).replace('"', "")
    if signature in _TRIGGERS:
        return any(f"audit_logger_{name}(" in op.target.definition for name in TRIGGER_FUNCTIONS)
    return signature.startswith(_FUNCTIONS)
