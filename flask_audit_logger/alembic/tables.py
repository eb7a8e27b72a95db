"""Small questions about the tables of a migration."""

from __future__ import annotations

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import DropTableOp, UpgradeOps
from sqlalchemy import MetaData, Table, Text

from ..schema.catalog import unless_default


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


def dropped_tables(upgrade_ops: UpgradeOps, default: str) -> set[tuple[str | None, str]]:
    """The tables that a migration drops by schema and name; the schema is ``None`` for the default one."""
    return {
        (unless_default(op.schema, default), op.table_name) for op in upgrade_ops.ops if isinstance(op, DropTableOp)
    }


def restore_collations(upgrade_ops: UpgradeOps, schema: str | None, default: str) -> None:
    """Let the log that a downgrade makes again sort as it did: SQLAlchemy before 2.1 doesn't reflect a collation."""
    for position, op in enumerate(upgrade_ops.ops):
        if not isinstance(op, DropTableOp) or op.table_name != "activity":
            continue
        if unless_default(op.schema, default) == schema:
            table = op.to_table()
            for name in ("table_name", "record_key"):
                if name in table.c:
                    table.c[name].type = Text(collation="C")
            upgrade_ops.ops[position] = DropTableOp.from_table(table)
