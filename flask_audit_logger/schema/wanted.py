"""What should exist in a database: the declared triggers, against the tables that are there."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection, MetaData, text

from ..exceptions import ConfigurationError
from .catalog import default_schema, unless_default
from .declared import declared_triggers
from .objects import Triggers
from .options import TableOptions

_TABLES = text(
    """
    SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS is_partitioned,
        root_schema.nspname AS root_schema, root.relname AS root
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS root ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)
    LEFT JOIN pg_catalog.pg_namespace AS root_schema ON root_schema.oid = root.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relname = ANY(CAST(:names AS text[]))
    """
)


def wanted_triggers(connection: Connection, metadata: MetaData) -> list[Triggers]:
    """The triggers that should exist, named as :func:`~.catalog.existing_triggers` names them.

    A model may stand for a partition of an audited table. That has the triggers of its table, so none of its own.

    :raises ConfigurationError: if such a model asks for other options than its table.
    """
    default = default_schema(connection)
    declared = {(t.schema, t.table): t for t in (in_catalog(t, default) for t in declared_triggers(metadata))}
    rows = connection.execute(_TABLES, {"names": [name for _, name in declared]})
    tables = {(unless_default(row.schema, default), row.name): row for row in rows}
    wanted = []
    for name, triggers in declared.items():
        table = tables.get(name)
        if table is None:
            wanted.append(triggers)
            continue
        triggers = _partitioned(triggers, is_partitioned=table.is_partitioned)
        root = declared.get((unless_default(table.root_schema, default), table.root))
        if root is None:
            wanted.append(triggers)
        elif _asked_for(root) != _asked_for(triggers):
            raise ConfigurationError(
                f"The audited table {triggers.table!r} is a partition of {root.table!r}, so it is logged with the "
                "options of that one. Give it the same, or don't mark it."
            )
    return wanted


def in_catalog(triggers: Triggers, default: str) -> Triggers:
    """The same triggers, named as :func:`~.catalog.existing_triggers` names them."""
    return dataclasses.replace(triggers, schema=unless_default(triggers.schema, default))


def _partitioned(triggers: Triggers, *, is_partitioned: bool) -> Triggers:
    options = dataclasses.replace(triggers.options, partitioned=is_partitioned)
    return dataclasses.replace(triggers, options=options)


def _asked_for(triggers: Triggers) -> TableOptions:
    """What the application says; key and partitions are facts of each table."""
    return dataclasses.replace(triggers.options, key=(), partitioned=False)
