"""Record the rows that existed before auditing began, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine, text

from ..exceptions import ConfigurationError
from ..schema.catalog import default_schema, tables_in
from ..schema.objects import Triggers, snapshot
from ..sql import quote_ident

#: Number of blocks (8 kB) per database transaction.
BATCH = 1000

_LEAVES = text(
    """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS leaf,
        pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::bigint AS blocks
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND (
        c.oid = to_regclass(:table)
        OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(to_regclass(:table)) AS p)
    )
    ORDER BY 1
    """
)

#: Number of snapshots this database transaction added, given the newest transaction before it.
_RECORDED = (
    "SELECT count(*) FROM {0} WHERE transaction_id > :newest AND verb = 'snapshot' "
    "AND native_transaction_id = CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
)


@dataclass(frozen=True)
class Step:
    """Progress after a committed batch.

    :param done: share of the table processed so far, from 0 to 1.
    :param recorded: number of rows the batch recorded.
    """

    done: float
    recorded: int


def baseline(engine: Engine, triggers: Triggers) -> Iterator[Step]:
    """Record the rows without an entry in the log, batch by batch.

    Each batch is committed, so an interrupted run can be repeated. The last batch covers the whole table, because an
    unlogged update may have moved rows behind a finished batch.

    :raises ConfigurationError: if the table does not exist.
    """
    with engine.connect() as connection:
        default = default_schema(connection)
        if triggers.name(default) not in tables_in(connection):
            raise ConfigurationError(f"There is no table {triggers.table!r} in the database.")
        table = quote_ident(triggers.schema or default, triggers.table)
        leaves = connection.execute(_LEAVES, {"table": table}).all()
        activity, transaction = (
            quote_ident(triggers.audit_schema or default, name).replace(":", "\\:")
            for name in ("activity", "transaction")
        )
    total = sum(2 * (leaf.blocks + 1) for leaf in leaves)
    done = 0
    for leaf in leaves:
        for first, last in [*_batches(leaf.blocks), (None, None)]:
            with engine.begin() as connection:
                newest = connection.scalar(text(f"SELECT max(id) FROM {transaction}")) or 0  # noqa: S608 - quoted
                statement = snapshot(triggers, default, leaf.leaf, first, last)
                connection.execute(text(statement.replace(":", "\\:")))
                recorded = connection.scalar(text(_RECORDED.format(activity)), {"newest": newest}) or 0
            done += leaf.blocks + 1 if first is None or last is None else last - first + 1
            yield Step(done / total, recorded)


def _batches(blocks: int) -> list[tuple[int | None, int | None]]:
    """First and last block of each batch."""
    return [(first, min(first + BATCH - 1, blocks)) for first in range(0, blocks + 1, BATCH)]
