"""The commands ``flask audit status``, ``baseline`` and ``compile``, and where those of other rooms hang in."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy import Connection, Engine, MetaData, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .exceptions import ConfigurationError
from .growth.commands import archive_group, erase_command, hold_group, logs, maintain_command, plain_errors
from .growth.follower import follower_faults, statements
from .health.baseline import baseline
from .health.status import Finding, ProbeResult, check, missing_indexes, probe, risks
from .history.log_commands import (
    as_of_command,
    export_command,
    history_command,
    log_command,
    revert_command,
    show_command,
)
from .schema.catalog import default_schema
from .schema.declared import wanted_triggers
from .schema.names import is_supported, reason
from .schema.objects import Triggers

audit_cli = AppGroup("audit", help="Read the audit log, check it and complete it, and take back what it tells.")


@audit_cli.command("status")
@click.option(
    "--probe",
    "with_probe",
    is_flag=True,
    help="Also change a row of each audited table, roll it back, and look for engines.",
)
@click.option("--strict", is_flag=True, help="Also fail if the application's role could tamper with the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def status_command(with_probe: bool, strict: bool, as_json: bool) -> None:
    """Check that all changes of audited tables are logged. Exits with 1 if not."""
    reports = [_report(engine, metadata, with_probe) for engine, metadata in logs()] + _copies()
    if with_probe:
        unwatched = current_app.extensions["audit_logger"].unwatched_engines()
        reports += [_Report(e.url.render_as_string(), findings=[_unwatched(e)]) for e in unwatched]
    is_right = all(report.is_right(strict=strict) for report in reports)
    if as_json:
        databases = [report.as_json() for report in reports]
        click.echo(json.dumps({"ok": is_right, "databases": databases}, indent=2))
    else:
        for report in reports:
            report.show()
        _advise(reports, strict)
    if not is_right:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True)
class _Report:
    """What the command found in one database.

    :param url: the database, without its password.
    :param unsupported: why it has no log, if it can't have one.
    :param probes: by the name of the table.
    """

    url: str
    unsupported: str | None = None
    findings: list[Finding] = field(default_factory=list)
    probes: list[tuple[str, ProbeResult]] = field(default_factory=list)
    risks: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        lost = sum(result.is_logged is False for _, result in self.probes)
        return lost + sum(len(finding.problems) for finding in self.findings)

    def is_right(self, *, strict: bool) -> bool:
        return not (self.unsupported or self.faults or (strict and self.risks))

    def as_json(self) -> dict[str, Any]:
        """What scripts read; names and meaning stay as they are, more may come."""
        findings = [{"name": f.name, "problems": list(f.problems), "note": f.note} for f in self.findings]
        probes = [{"table": name, **dataclasses.asdict(result)} for name, result in self.probes]
        report = {"url": self.url, "unsupported": self.unsupported, "risks": self.risks}
        return report | {"findings": findings, "probes": probes}

    def show(self) -> None:
        if self.unsupported:
            click.echo(f"FAIL  {self.url}\n        {self.unsupported}")
        for finding in self.findings:
            word = "FAIL" if finding.problems else "note" if finding.note else "ok  "
            click.echo(f"{word}  {finding.name}")
            for line in finding.problems + ((finding.note,) if finding.note else ()):
                click.echo(f"        {line}")
        for name, result in self.probes:
            if result.is_logged is None:
                click.echo(f"  --    {name}: {result.verb} was not tried, {result.reason}")
            else:
                click.echo(f"  {'ok  ' if result.is_logged else 'FAIL'}  {name}: {result.verb}")
        for risk in self.risks:
            click.echo(f"  {risk}")


def _report(engine: Engine, metadata: MetaData, with_probe: bool) -> _Report:
    url = engine.url.render_as_string()
    if not is_supported(engine):
        return _Report(url, unsupported=reason(engine))
    with plain_errors(), _connected(engine) as connection:
        findings = check(connection, metadata)
        tried = [f for f in findings if with_probe and f.triggers and not f.problems]
        probes = [(f.name, result) for f in tried if f.triggers for result in probe(connection, f.triggers)]
        found = risks(connection, metadata)
        connection.rollback()  # of the probes
    return _Report(url, None, findings, probes, found)


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A connection; why there is none is said in one line, in place of a traceback."""
    try:
        connection = engine.connect()
    except (OperationalError, PoolTimeout) as error:
        refused = str(error.orig if isinstance(error, OperationalError) else error).strip().partition("\n")[0]
        raise click.ClickException(f"{engine.url.render_as_string()}: {refused}") from error
    with connection:
        yield connection


def _copies() -> list[_Report]:
    """The state of the server that pages read from, if that is another one."""
    audit_logger = current_app.extensions["audit_logger"]
    if audit_logger.read_bind is None:
        return []
    there = audit_logger.read_engine
    faults, note = follower_faults(there, audit_logger.engine, audit_logger.models, missing_indexes)
    return [_Report(there.url.render_as_string(), findings=[Finding("copy of the log", tuple(faults), note=note)])]


def _unwatched(engine: Engine) -> Finding:
    note = "nobody is named for what is written on it; audit_logger.watch(engine) changes that"
    return Finding(f"engine {engine.url.render_as_string()}", note=note)


def _advise(reports: list[_Report], strict: bool) -> None:
    faults = sum(report.faults for report in reports)
    if faults:
        count = f"{faults} fault" if faults == 1 else f"{faults} faults"
        click.echo(
            f"{count}. Where no statement is named that mends it: `flask db upgrade`, if a migration that makes or "
            "repairs functions and triggers is waiting; else `flask db migrate` writes it."
        )
    if strict and any(report.risks for report in reports):
        click.echo("Let the application use a role without these rights; REVOKE them or change the owner.")
    if all(report.is_right(strict=strict) for report in reports):
        click.echo("All changes of audited tables are logged.")


@contextmanager
def _as_owner() -> Iterator[None]:
    """Say who may do this, in place of a traceback, where the role of the application may not."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", getattr(error.orig, "pgcode", None)) != "42501":
            raise
        refused = str(error.orig).partition("\n")[0]
        raise click.ClickException(f"{refused}. Run this as the role that migrates: it owns the log.") from error


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
    for name in dict.fromkeys(tables) or [name for name, (_, triggers) in audited.items() if _has_key(triggers)]:
        recorded = 0
        # in a file click would print the label alone, and then our line below has the name again
        file = None if sys.stdout.isatty() else io.StringIO()
        bar = click.progressbar(length=1000, label=name, file=file)
        with _as_owner(), audit_logger.context(job="baseline"), bar:
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
    for name in dict.fromkeys(tables) or audited:
        engine, triggers = audited[name]
        with _as_owner(), engine.begin() as connection:
            if not connection.scalar(text(triggers.can_compile(default_schema(connection)).replace(":", "\\:"))):
                raise click.ClickException("Functions of the log are missing. Run `flask audit status`.")
            for statement in triggers.compile_again(default_schema(connection)):
                connection.execute(text(statement.replace(":", "\\:")))
        click.echo(f"{name}: compiled")


@audit_cli.command("reader")
@click.option("--connection", required=True, help="How the other server connects: 'host=db1 dbname=shop …'.")
def reader_command(connection: str) -> None:
    """Print the SQL that lets another server follow the log, so that pages can read there."""
    audit_logger = current_app.extensions["audit_logger"]
    with audit_logger.engine.connect() as asked:
        schema = audit_logger.models.activity.schema or default_schema(asked)
    here, there = statements(schema, audit_logger.models.actor_type, connection)
    for heading, made in (("On this server", here), ("On the other one", there)):
        click.echo(f"-- {heading}:")
        for statement in made:
            click.echo(statement.rstrip().removesuffix(";") + ";")


audit_cli.add_command(maintain_command)
audit_cli.add_command(archive_group)
audit_cli.add_command(hold_group)
audit_cli.add_command(erase_command)
audit_cli.add_command(log_command)
audit_cli.add_command(show_command)
audit_cli.add_command(history_command)
audit_cli.add_command(as_of_command)
audit_cli.add_command(revert_command)
audit_cli.add_command(export_command)


def _audited() -> tuple[dict[str, tuple[Engine, Triggers]], list[str]]:
    """The audited tables by name, and why other databases have none."""
    audited: dict[str, tuple[Engine, Triggers]] = {}
    unsupported: list[str] = []
    for engine, metadata in logs():
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
