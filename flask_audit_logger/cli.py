"""The commands ``flask audit status``, ``flask audit baseline`` and ``flask audit compile``."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy import Connection, Engine, MetaData, text

from .databases import Database, default_engine
from .exceptions import ConfigurationError
from .health.baseline import baseline
from .health.status import Finding, check, probe, risks
from .schema.catalog import default_schema
from .schema.declared import declaration_of, wanted_triggers
from .schema.dialects import is_supported, reason
from .schema.objects import Triggers
from .schema.table_options import audited_tables

audit_cli = AppGroup("audit", help="Check the audit log and complete it.")


@audit_cli.command("status")
@click.option(
    "--probe",
    "with_probe",
    is_flag=True,
    help="Also change a row of each audited table, roll it back, and look for engines.",
)
@click.option("--strict", is_flag=True, help="Also fail if the application's role could tamper with the log.")
def status_command(with_probe: bool, strict: bool) -> None:
    """Check that all changes of audited tables are logged. Exits with 1 if not."""
    faults = dangers = unsupported = 0
    for engine, metadata in _logs():
        if not is_supported(engine):
            unsupported += 1
            click.echo(f"FAIL  {engine.url.render_as_string()}\n        {reason(engine)}")
            continue
        with engine.connect() as connection:
            findings = check(connection, metadata)
            for finding in findings:
                faults += _show(finding)
            if with_probe:
                faults += _probe_all(connection, findings)
            found = risks(connection, metadata)
            connection.rollback()  # of the probes
        for risk in found:
            click.echo(f"  {risk}")
        dangers += len(found) if strict else 0
    for engine in current_app.extensions["audit_logger"].unwatched_engines() if with_probe else ():
        click.echo(f"note  engine {engine.url.render_as_string()}")
        click.echo("        nobody is named for what is written on it; audit_logger.watch(engine) changes that")
    if faults:
        count = f"{faults} fault" if faults == 1 else f"{faults} faults"
        click.echo(f"{count}. `flask db migrate` writes a migration that repairs functions and triggers.")
    if dangers:
        click.echo("Let the application use a role without these rights; REVOKE them or change the owner.")
    if faults or dangers or unsupported:
        raise click.exceptions.Exit(1)
    click.echo("All changes of audited tables are logged.")


@audit_cli.command("baseline")
@click.argument("tables", nargs=-1)
def baseline_command(tables: tuple[str, ...]) -> None:
    """Record existing rows of TABLES, by default of all audited tables with a key.

    Only rows without an entry in the log are recorded, so an interrupted run can be repeated.
    """
    audit_logger = current_app.extensions["audit_logger"]
    audited, unsupported = _audited()
    if not audited and unsupported:
        raise click.ClickException(unsupported[0])
    for name in tables:
        if name not in audited:
            raise click.BadParameter(f"{name!r} is no audited table; there are {', '.join(audited)}.")
        if not _has_key(audited[name][1]):
            raise click.BadParameter(f"The rows of {name!r} have no key to tell them apart in the log.")
    for name in tables or [name for name, (_, triggers) in audited.items() if _has_key(triggers)]:
        recorded = 0
        with audit_logger.context(job="baseline"), click.progressbar(length=1000, label=name) as bar:
            try:
                for step in baseline(*audited[name]):
                    recorded += step.recorded
                    bar.update(round(step.done * 1000) - bar.pos)
            except ConfigurationError as error:
                raise click.ClickException(str(error)) from error
        click.echo(f"{name}: {recorded} rows recorded")


@audit_cli.command("compile")
@click.argument("tables", nargs=-1)
def compile_command(tables: tuple[str, ...]) -> None:
    """Make the functions that capture changes of TABLES anew, by default of all audited tables.

    A table that was altered by hand is logged as completely as before, only slower, until this or a migration is run.
    """
    audited, unsupported = _audited()
    if not audited and unsupported:
        raise click.ClickException(unsupported[0])
    for name in tables:
        if name not in audited:
            raise click.BadParameter(f"{name!r} is no audited table; there are {', '.join(audited)}.")
    for name in tables or audited:
        engine, triggers = audited[name]
        with engine.begin() as connection:
            for statement in triggers.compile_again(default_schema(connection)):
                connection.execute(text(statement.replace(":", "\\:")))
        click.echo(f"{name}: compiled")


def _audited() -> tuple[dict[str, tuple[Engine, Triggers]], list[str]]:
    """The audited tables by name, and why other databases have none."""
    audited: dict[str, tuple[Engine, Triggers]] = {}
    unsupported: list[str] = []
    for engine, metadata in _logs():
        if not is_supported(engine):
            unsupported.append(reason(engine))
            continue
        with engine.connect() as connection:
            audited |= {_name(triggers): (engine, triggers) for triggers in wanted_triggers(connection, metadata)}
    return audited, unsupported


def _has_key(triggers: Triggers) -> bool:
    return triggers.options.key != ()


def _name(triggers: Triggers) -> str:
    return f"{triggers.schema}.{triggers.table}" if triggers.schema else triggers.table


def _show(finding: Finding) -> int:
    """Print a finding; returns the number of its problems."""
    word = "FAIL" if finding.problems else "note" if finding.note else "ok  "
    click.echo(f"{word}  {finding.name}")
    for line in finding.problems or filter(None, [finding.note]):
        click.echo(f"        {line}")
    return len(finding.problems)


def _probe_all(connection: Connection, findings: list[Finding]) -> int:
    """Try the tables without problems; returns the number of changes that were not logged."""
    faults = 0
    for finding in findings:
        for result in probe(connection, finding.triggers) if finding.triggers and not finding.problems else ():
            if result.is_logged is None:
                click.echo(f"  --    {finding.name}: {result.verb} was not tried, {result.reason}")
            else:
                click.echo(f"  {'ok  ' if result.is_logged else 'FAIL'}  {finding.name}: {result.verb}")
                faults += not result.is_logged
    return faults


def _logs() -> Iterator[tuple[Engine, MetaData]]:
    """The application's databases that have a log, or audited tables but no support for a log."""
    database: Database = current_app.extensions["audit_logger"].database
    engines = database.engines()
    for bind, metadata in database.metadatas.items():
        if declaration_of(metadata) is None:
            continue
        try:
            engine = default_engine(database) if bind is None else engines.get(bind)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from error
        if engine is None:
            continue
        # Asking for the models declares a log of the default database, even if nothing in it is audited.
        if is_supported(engine) or any(True for _ in audited_tables(metadata)):
            yield engine, metadata
