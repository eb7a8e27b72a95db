"""The two tables of a log in a schema that the migration environment doesn't look at.

Without ``include_schemas`` Alembic looks only into the default schema of the connection: it would create tables in
other schemas again and again. The log must not depend on that setting.
"""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, UpgradeOps
from sqlalchemy import Connection, MetaData

from ..schema.catalog import default_schema
from ..schema.declared import Declaration
from ..schema.objects import LOG_TABLES
from .tables import is_looked_after

#: Option of a comparison inside another one, whose operations are looked at further.
INSIDE = "audit_logger_inside"


def compare_log_tables(
    context: AutogenContext,
    connection: Connection,
    metadata: MetaData,
    declaration: Declaration,
    upgrade_ops: UpgradeOps,
    schemas: Any,
) -> list[MigrateOperation]:
    """What has to be done to the tables of the log, in place of what Alembic thinks without having looked."""
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
