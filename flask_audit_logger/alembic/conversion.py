"""Autogenerate for the log of flask-audit-logger 2.0 (not yet)."""

from __future__ import annotations

from alembic.operations import MigrateOperation
from alembic.operations.ops import UpgradeOps
from sqlalchemy import Connection, MetaData

from ..schema.declared import Declaration


def compare_old_log(
    connection: Connection, metadata: MetaData, declaration: Declaration, upgrade_ops: UpgradeOps
) -> list[MigrateOperation]:
    return []
