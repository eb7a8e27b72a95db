"""What should exist: the log of one MetaData, its functions and its triggers.

It is kept in ``metadata.info``, so that several applications and loggers in one process never see each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, MetaData, Table

from ..exceptions import ConfigurationError
from ..sql import CURRENT_VERSION
from .catalog import default_schema, partitioning, placed, tables_in, unless_default
from .objects import Functions, Tables, Triggers
from .table_options import TableOptions, audited_tables, audits_all, table_options

_INFO_KEY = "audit_logger"
_COMPLETE_KEY = "audit_logger_complete"
_COPY_KEY = "audit_logger_copy"


@dataclass(frozen=True)
class Declaration:
    """The settings of the log of one MetaData.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    :param exclude: patterns of columns that are excluded in every table.
    :param mask: patterns of columns that are masked in every table.
    :param partition: ``"month"`` if the tables of the log are partitioned.
    :param archive: the folder of its months that are over, if they are archived.
    :param keep: how long the entries of which table are kept.
    :param actor_type: tells the type of the actors' keys, as PostgreSQL writes it.
    :param attributes: finds the mapped attributes of a table and the columns they stand for.
    :param prepare: completes the log before it is made or compared; raises if it can't be.
    """

    schema: str | None = None
    exclude: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    partition: str | None = None
    archive: str | None = None
    keep: tuple[tuple[str, str], ...] = ()
    actor_type: Callable[[], str] = field(default=lambda: "TEXT", compare=False)
    attributes: Callable[[Table], Mapping[str, str]] = field(default=lambda table: {}, compare=False)
    prepare: Callable[[], None] = field(default=lambda: None, compare=False)


def patterns(option: str, given: Iterable[str]) -> tuple[str, ...]:
    """Check a list of names or patterns.

    :raises ConfigurationError: if it is a single text, which is a list of letters to Python.
    """
    if isinstance(given, str):
        raise ConfigurationError(f"{option} is {given!r}; give a list, like [{given!r}].")
    return tuple(given)


def declare(metadata: MetaData, declaration: Declaration) -> None:
    """Let ``metadata`` have a log."""
    metadata.info[_INFO_KEY] = declaration


def undeclare(metadata: MetaData) -> None:
    """Let ``metadata`` have no log."""
    metadata.info.pop(_INFO_KEY, None)


def is_declared(metadata: MetaData) -> bool:
    """Whether ``metadata`` has a log by now."""
    return _INFO_KEY in metadata.info


def is_watched(metadata: MetaData) -> bool:
    """Whether a logger looks after ``metadata``."""
    return _COMPLETE_KEY in metadata.info


def watch(metadata: MetaData, complete: Callable[[], Any]) -> None:
    """Let ``complete`` be called where it matters whether ``metadata`` has a log.

    :param complete: declares logs for the audited tables that were imported since.
    """
    metadata.info[_COMPLETE_KEY] = complete


def unwatch(metadata: MetaData) -> None:
    """Stop what :func:`watch` started."""
    metadata.info.pop(_COMPLETE_KEY, None)


def declare_copy(metadata: MetaData, schema: str | None) -> None:
    """Let the database of ``metadata`` have a copy of a log, which is not ours to make, change or drop.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    """
    metadata.info[_COPY_KEY] = (schema,)


def undeclare_copy(metadata: MetaData) -> None:
    """Stop what :func:`declare_copy` started."""
    metadata.info.pop(_COPY_KEY, None)


def copied_logs(metadata: MetaData) -> tuple[str | None, ...]:
    """The schemas of the logs of which the database of ``metadata`` has a copy."""
    found: tuple[str | None, ...] = metadata.info.get(_COPY_KEY, ())
    return found


def declaration_of(metadata: MetaData) -> Declaration | None:
    """The declaration of ``metadata``, if it has a log."""
    if not is_declared(metadata) and is_watched(metadata):
        metadata.info[_COMPLETE_KEY]()
    return metadata.info.get(_INFO_KEY)


def declared_tables(metadata: MetaData) -> Tables | None:
    """The tables that should exist, if ``metadata`` has a log."""
    declaration = declaration_of(metadata)
    return None if declaration is None else tables_of(declaration)


def tables_of(declaration: Declaration) -> Tables:
    """The tables that a declaration asks for."""
    return Tables(declaration.schema, CURRENT_VERSION, declaration.actor_type(), declaration.partition)


def declared_functions(metadata: MetaData) -> Functions | None:
    """The functions that should exist, if ``metadata`` has a log."""
    declaration = declaration_of(metadata)
    return None if declaration is None else Functions(schema=declaration.schema, version=CURRENT_VERSION)


def declared_triggers(metadata: MetaData) -> list[Triggers]:
    """The triggers that should exist, looked up anew: a model imported a moment ago counts.

    :raises UnknownOptionError: if a table has options that don't exist.
    """
    declaration = declaration_of(metadata)
    if declaration is None:
        return []
    return [
        Triggers(
            table=table.name,
            schema=table.schema,
            audit_schema=declaration.schema,
            version=CURRENT_VERSION,
            options=table_options(
                table,
                attributes=declaration.attributes(table),
                exclude=declaration.exclude,
                mask=declaration.mask,
            ),
        )
        for table in audited_tables(metadata)
    ]


def wanted_triggers(connection: Connection, metadata: MetaData) -> list[Triggers]:
    """The triggers that should exist, named as :func:`~.catalog.existing_triggers` names them.

    A model may stand for a partition of an audited table. That has the triggers of its table, so none of its own.

    :raises ConfigurationError: if such a model asks for other options than its table.
    """
    default = default_schema(connection)
    described = [placed(connection, triggers) for triggers in declared_triggers(metadata)]
    if audits_all(metadata):
        views = tables_in(connection, "vmf")
        described = [triggers for triggers in described if triggers.name(default) not in views]
    declared = {t.name(default): in_catalog(t, default) for t in described}
    tables = partitioning(connection, declared)
    wanted = []
    for name, triggers in declared.items():
        table = tables.get(name)
        if table is None:
            wanted.append(triggers)
            continue
        triggers = _partitioned(triggers, is_partitioned=table.is_partitioned)
        root = None if table.root is None else declared.get(table.root)
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
