"""The command ``flask audit``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy import Engine, MetaData

from .exceptions import ConfigurationError
from .maintenance.baseline import baseline
from .maintenance.powers import creators, powers
from .maintenance.probe import probe
from .maintenance.status import Status, status
from .schema.declared import declaration_of
from .schema.dialects import is_supported, reason
from .schema.objects import Triggers
from .schema.tables import audited_tables
from .schema.wanted import wanted_triggers

audit_cli = AppGroup("audit", help="Look after the audit log.")


@audit_cli.command("status")
@click.option("--probe", "with_probe", is_flag=True, help="Also try a change of each audited table, and take it back.")
@click.option("--strict", is_flag=True, help="Also fail if the role of the application can change the log.")
def status_command(with_probe: bool, strict: bool) -> None:
    """Say whether every change that should be logged is. Fails (1) if not, so that CI notices."""
    faults = dangers = unsupported = 0
    for engine, metadata in _logs():
        if not is_supported(engine):
            unsupported += 1
            click.echo(f"FAIL  {engine.url.render_as_string()}\n        {reason(engine)}")
            continue
        with engine.connect() as connection:
            found = status(connection, metadata)
            for item in found:
                faults += _show(item)
            if with_probe:
                faults += _probe_all(connection, found)
            role = connection.exec_driver_sql("SELECT current_user").scalar_one()
            can = [f"role {role} can do {power}" for power in powers(connection, metadata)]
            can += creators(connection, metadata)
            # Everything above was only read or tried.
            connection.rollback()
        for power in can:
            click.echo(f"  {power}")
        dangers += len(can) if strict else 0
    if faults:
        count = f"{faults} fault" if faults == 1 else f"{faults} faults"
        click.echo(f"{count}. `flask db migrate` writes a migration that makes functions and triggers right.")
    if dangers:
        click.echo("The application should not be able to do that: give it a role that owns nothing of it, and REVOKE.")
    if faults or dangers or unsupported:
        raise click.exceptions.Exit(1)
    click.echo("Everything that should be logged is.")


@audit_cli.command("baseline")
@click.argument("tables", nargs=-1)
def baseline_command(tables: tuple[str, ...]) -> None:
    """Record the rows that existed before auditing began, of TABLES or of every audited table with a key.

    Safe to interrupt and to repeat: only rows that the log knows nothing of are recorded.
    """
    audit_logger = current_app.extensions["audit_logger"]
    found: dict[str, tuple[Engine, Triggers]] = {}
    unsupported: list[str] = []
    for engine, metadata in _logs():
        if not is_supported(engine):
            unsupported.append(reason(engine))
            continue
        with engine.connect() as connection:
            found |= {_name(triggers): (engine, triggers) for triggers in wanted_triggers(connection, metadata)}
    if not found and unsupported:
        raise click.ClickException(unsupported[0])
    for name in tables:
        if name not in found:
            raise click.BadParameter(f"{name!r} is no audited table; there are {', '.join(found)}.")
        if found[name][1].options.key == ():
            raise click.BadParameter(
                f"The rows of {name!r} have no record key, so they can't be told apart in the log."
            )
    for name in tables or [name for name, (_, triggers) in found.items() if triggers.options.key != ()]:
        recorded = 0
        with audit_logger.context(job="baseline"), click.progressbar(length=1000, label=name) as bar:
            try:
                for step in baseline(*found[name]):
                    recorded += step.recorded
                    bar.update(round(step.done * 1000) - bar.pos)
            except ConfigurationError as error:
                raise click.ClickException(str(error)) from error
        click.echo(f"{name}: {recorded} rows recorded")


def _name(triggers: Triggers) -> str:
    return f"{triggers.schema}.{triggers.table}" if triggers.schema else triggers.table


def _show(item: Status) -> int:
    word = "FAIL" if item.problems else "note" if item.note else "ok  "
    click.echo(f"{word}  {item.name}")
    for line in item.problems or filter(None, [item.note]):
        click.echo(f"        {line}")
    return len(item.problems)


def _probe_all(connection: Any, found: list[Status]) -> int:
    faults = 0
    for item in found:
        for tried in probe(connection, item.triggers) if item.triggers and not item.problems else ():
            if tried.is_logged is None:
                click.echo(f"  --    {item.name}: {tried.verb} was not tried, {tried.reason}")
            else:
                click.echo(f"  {'ok  ' if tried.is_logged else 'FAIL'}  {item.name}: {tried.verb}")
                faults += not tried.is_logged
    return faults


def _logs() -> Iterator[tuple[Engine, MetaData]]:
    """The databases of the application that have a log."""
    db = current_app.extensions["audit_logger"].db
    for bind, engine in db.engines.items():
        metadata = db.metadatas.get(bind)
        if metadata is None or declaration_of(metadata) is None:
            continue
        # The default database has a log as soon as somebody asks for one: no fault if nothing in it is audited.
        if is_supported(engine) or any(True for _ in audited_tables(metadata)):
            yield engine, metadata
