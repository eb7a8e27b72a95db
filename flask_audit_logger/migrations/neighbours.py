"""What Alembic and alembic_utils would propose and must not: the log's tables, partitions, functions."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from sqlalchemy import Connection, MetaData, Table

from ..schema.catalog import default_schema, partitions_of
from ..schema.names import TableName
from ..schema.objects import Triggers
from ..sql import APPEND_ONLY, CALLED, COMPILED, FUNCTIONS, VERBS

_FUNCTIONS = tuple(f"audit_logger_{name}(" for name, _ in FUNCTIONS)
_TRIGGERS = tuple(f"audit_logger_{name}" for name in (*VERBS, APPEND_ONLY))

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


def leave_out_log(upgrade_ops: UpgradeOps, tables: Collection[TableName], default: str) -> None:
    """Take out what Alembic does to the tables of a log.

    :param tables: the tables, with their partitions.
    """
    upgrade_ops.ops[:] = [op for op in upgrade_ops.ops if not _is_on(op, tables, default)]


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
        definition = op.target.definition.replace('"', "")
        return re.search(rf"\b({CALLED.strip('^$')}|audit_logger_{APPEND_ONLY})\(", definition) is not None
    return signature.startswith(_FUNCTIONS) or re.fullmatch(COMPILED, signature.removesuffix("()")) is not None
