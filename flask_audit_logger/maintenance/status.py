"""Whether every change that should be logged is: what the database has, against what the models say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData

from ..schema.catalog import (
    ExistingTriggers,
    are_current,
    default_schema,
    existing_triggers,
    installed_version,
    tables_in,
    triggers_of_other_logs,
    unless_default,
)
from ..schema.declared import declaration_of, declared_functions
from ..schema.objects import Triggers
from ..schema.wanted import wanted_triggers


@dataclass(frozen=True)
class Status:
    """What was found out about one thing.

    :param name: the log or a table, with its schema unless it is the default one.
    :param problems: what is wrong, in words.
    :param triggers: the triggers that a table should have.
    :param note: what is worth knowing, and no fault: nothing is missing in the log.
    """

    name: str
    problems: tuple[str, ...] = ()
    triggers: Triggers | None = None
    note: str | None = None


def status(connection: Connection, metadata: MetaData) -> list[Status]:
    """The log of ``metadata``, each audited table in order of schema and name, and the tables that are too many."""
    declaration = declaration_of(metadata)
    functions = declared_functions(metadata)
    if declaration is None or functions is None:
        return []
    declaration.prepare()
    default = default_schema(connection)
    log = declaration.schema or default
    there = tables_in(connection)
    existing = {(f.triggers.schema, f.triggers.table): f for f in existing_triggers(connection, declaration.schema)}
    elsewhere = {(t.schema, t.table): t for t in triggers_of_other_logs(connection, declaration.schema)}
    problems = []
    if not {(unless_default(log, default), name) for name in ("activity", "transaction")} <= there:
        problems.append("its tables are missing")
    elif installed_version(connection, log) is None:
        problems.append("its functions are missing")
    elif not are_current(connection, functions):
        problems.append("its functions are of another version or were changed")
    found = [Status(f"log in schema {log}", tuple(problems))]
    for wanted in wanted_triggers(connection, metadata):
        name = (wanted.schema, wanted.table)
        differences = tuple(_differences(wanted, existing.pop(name, None)))
        if name in elsewhere:
            differences = (f"its changes are logged in schema {elsewhere[name].audit_schema or default}",)
        missing = differences if name in there else ("the table is missing",)
        found.append(Status(".".join(filter(None, name)), missing, wanted))
    note = "no audited model has this table, but its triggers write to the log"
    return found + [Status(".".join(filter(None, name)), note=note) for name in existing]


def _differences(wanted: Triggers, found: ExistingTriggers | None) -> Iterator[str]:
    there = () if found is None else found.triggers.options.verbs
    for verb in wanted.options.verbs:
        if verb not in there:
            yield f"no trigger for {verb} works"
    if found is None:
        return
    for verb in there:
        if verb not in wanted.options.verbs:
            yield f"a trigger for {verb} is too many"
    for field in dataclasses.fields(wanted.options):
        is_other = getattr(wanted.options, field.name) != getattr(found.triggers.options, field.name)
        if there and is_other and field.name not in ("verbs", "partitioned"):
            yield f"the option {field.name} is another one"
    if found.triggers.version != wanted.version:
        yield f"the triggers are of version {found.triggers.version}"
    if not found.is_complete:
        yield "a partition has other triggers, or one captures twice"
