"""Partitions of audited tables. No model has them, so Alembic would drop each that was made since."""

from __future__ import annotations

import logging
from typing import Any

from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from sqlalchemy import Connection, text

from ..schema.catalog import default_schema, unless_default
from ..schema.objects import Triggers
from .tables import dropped_tables

_PARTITIONS = text(
    """
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class AS root
    JOIN pg_catalog.pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid) AS part
    JOIN pg_catalog.pg_class AS c ON c.oid = part.relid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE root_schema.nspname = :schema AND root.relname = :table AND root.relkind = 'p' AND c.oid <> root.oid
    """
)

_log = logging.getLogger("alembic.autogenerate")


def keep_partitions(connection: Connection, audited: list[Triggers], upgrade_ops: UpgradeOps) -> None:
    """Take out what drops a partition of an audited table that stays.

    :param audited: the triggers that should exist.
    """
    default = default_schema(connection)
    dropped = dropped_tables(upgrade_ops, default)
    kept = {
        (row.schema, row.name): triggers.table
        for triggers in audited
        if (triggers.schema, triggers.table) not in dropped
        for row in connection.execute(_PARTITIONS, {"schema": triggers.schema or default, "table": triggers.table})
        if (unless_default(row.schema, default), row.name) in dropped
    }
    for (_, name), table in sorted(kept.items()):
        _log.info("Kept partition %r of the audited table %r", name, table)
    upgrade_ops.ops[:] = [op for op in upgrade_ops.ops if not _is_on(op, kept, default)]


def _is_on(op: MigrateOperation, tables: Any, default: str) -> bool:
    return isinstance(op, DropTableOp | ModifyTableOps) and (op.schema or default, op.table_name) in tables
