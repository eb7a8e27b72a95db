"""The commands of a growing log: ``flask audit maintain``, ``hold``, ``erase`` and ``archive``."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import Connection, Engine, MetaData

from ..databases import Database, default_engine
from ..exceptions import ArchiveError, ConfigurationError, HeldError
from ..schema.catalog import placed
from ..schema.declared import declaration_of, declared_triggers
from ..schema.names import TableName, is_supported
from ..schema.table_options import audited_tables
from . import manifest as manifests
from .archive import Archive
from .erase import Erasure, Whom, erase
from .holds import add_hold, holds, release_hold
from .keep import before
from .maintain import Report, alone, has_job, maintain
from .months import months
from .notices import Log, check_owner, log_of
from .parquet import require_arrow


def logs() -> Iterator[tuple[Engine, MetaData]]:
    """The application's databases that have a log, or audited tables but no support for a log."""
    database: Database = current_app.extensions["audit_logger"].database
    engines = database.engines()
    for bind, metadata in database.metadatas.items():
        if declaration_of(metadata) is None:
            continue
        with plain_errors():
            engine = default_engine(database) if bind is None else engines.get(bind)
        if engine is None:
            continue
        # Asking for the models declares a log of the default database, even if nothing in it is audited.
        if is_supported(engine) or any(True for _ in audited_tables(metadata)):
            yield engine, metadata


@contextmanager
def plain_errors() -> Iterator[None]:
    """What can't be done is said without a traceback."""
    try:
        yield
    except (ConfigurationError, ArchiveError, HeldError) as error:
        raise click.ClickException(str(error)) from error


@click.command("maintain")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def maintain_command(dry_run: bool, as_json: bool) -> None:
    """Do what a growing log needs: begin the month of a log that is kept in months, archive those that are over, and
    remove what is due.

    Run it each day. It may run on several hosts, at the same time, and again at once.
    Exits with 1 if something is due and could not go.
    """
    reports = []
    for engine, metadata in logs():
        if is_supported(engine) and has_job(metadata):
            with plain_errors():
                reports.append(maintain(engine, metadata, dry_run=dry_run, on_step=_show_progress))
            for line in _told(reports[-1], metadata) if not as_json else ():
                click.echo(line)
    if as_json:
        click.echo(json.dumps({"databases": [dataclasses.asdict(report) for report in reports]}, indent=2))
    elif not reports:
        click.echo(
            'Nothing to do: the log is not kept in months, as AuditLogger(db, partition="month") says, and there is no '
            "keep= by which an entry would ever be due."
        )
    if any(report.kept for report in reports):
        raise click.exceptions.Exit(1)


def _told(report: Report, metadata: MetaData) -> Iterator[str]:
    """The report in words, and by which rules nothing had to go, so that a run is never silent."""
    yield from report.lines()
    declaration = declaration_of(metadata)
    has_work = report.is_elsewhere or report.removed or report.kept or report.dropped
    if declaration is not None and declaration.keep and not has_work:
        rules = ", ".join(f"{table} {period}" for table, period in declaration.keep)
        yield f"Nothing is due. Kept are: {rules}."


@click.group("archive")
def archive_group() -> None:
    """The months that are kept as files."""


@archive_group.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def archive_ls_command(as_json: bool) -> None:
    """List the archived months, by what their manifests say. Exits with 1 if one can't be read."""
    found = []
    for engine, log, archive in _archives():
        with engine.connect() as connection:
            there = {month.name for month in months(connection, log.schema)}
        for month in archive.months():
            found.append(_Listed.of(archive, month, month in there))
            if not as_json:
                click.echo(found[-1].line())
    if as_json:
        click.echo(json.dumps({"months": [dataclasses.asdict(month) for month in found]}, indent=2))
    elif not found:
        click.echo("The archive has no month yet; `flask audit maintain` saves those that are over.")
    if any(month.fault for month in found):
        raise click.exceptions.Exit(1)


@archive_group.command("verify")
@click.argument("names", metavar="[MONTH]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def archive_verify_command(names: tuple[str, ...], as_json: bool) -> None:
    """Read the files of MONTHS, as 2026_12, by default of all.

    Exits with 1 if one is not as it was written, or lacks a row that the log still has of the month.
    """
    found = []
    for engine, log, archive in _archives():
        for month in names or archive.months():
            fault = None
            with plain_errors(), _alone(engine, log), engine.begin() as connection:
                try:
                    archive.verify(connection, month)
                except ArchiveError as error:
                    fault = str(error)
            found.append({"folder": str(archive.folder), "month": month, "fault": fault})
            if not as_json:
                click.echo(f"FAIL  {month}\n        {fault}" if fault else f"ok    {month}")
    if as_json:
        click.echo(json.dumps({"months": found}, indent=2))
    if any(month["fault"] for month in found):
        raise click.exceptions.Exit(1)


@archive_group.command("restore")
@click.argument("month")
@click.option(
    "--for", "period", default="30d", show_default=True, help="How long nothing of it is removed: 90d, 6w, 2y."
)
@click.option("--reason", default="restored from the archive", show_default=True, help="Why, for the hold.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def archive_restore_command(month: str, period: str, reason: str, as_json: bool) -> None:
    """Make the archived MONTH, as 2026_12, a part of the log again, and hold it, as it is due again at once."""
    restored = []
    now = dt.datetime.now(dt.UTC)
    with plain_errors():
        until = (now + (now - before(period, now))).date()
    for engine, log, archive in _archives():
        with plain_errors(), _alone(engine, log), engine.begin() as connection:
            manifest = archive.restore(connection, month)
            hold = add_hold(connection, log, month=_month(connection, log, month), until=until, reason=reason)
        rows = {name: table.rows for name, table in manifest.tables.items()}
        restored.append({"url": engine.url.render_as_string(), "month": month, "rows": rows, "hold": hold})
        if not as_json:
            click.echo(f"month {month}: restored, {rows['activity']} changes, hold {hold} until {until}")
    if as_json:
        click.echo(json.dumps({"months": restored}, indent=2))


@dataclasses.dataclass(frozen=True)
class _Listed:
    """An archived month in a list.

    :param in_log: whether the log has it, too.
    :param fault: why its manifest or files are not as they were written, as far as this is seen without reading them.
    """

    folder: str
    month: str
    in_log: bool
    changes: int | None = None
    bytes: int | None = None
    saved_at: str | None = None
    fault: str | None = None

    @classmethod
    def of(cls, archive: Archive, month: str, in_log: bool) -> _Listed:
        folder = archive.month_folder(month)
        try:
            manifest = manifests.read(folder)
            manifests.check_sizes(folder, manifest)
        except ArchiveError as error:
            return cls(str(archive.folder), month, in_log, fault=str(error))
        changes = manifest.tables["activity"].rows
        return cls(str(archive.folder), month, in_log, changes, manifest.bytes, manifest.saved_at)

    def line(self) -> str:
        if self.fault:
            return f"FAIL  {self.month}\n        {self.fault}"
        where = "also in the log" if self.in_log else "only here"
        return f"ok    {self.month}  {self.changes:>12,} changes  {self.bytes:>14,} bytes  {where}"


def _archives() -> Iterator[tuple[Engine, Log, Archive]]:
    """The logs that have an archive."""
    found = 0
    for engine, metadata in logs():
        declaration = declaration_of(metadata)
        if declaration is None or declaration.archive is None or not is_supported(engine):
            continue
        with engine.connect() as connection, plain_errors():
            require_arrow()
            log = log_of(connection, declaration)
            check_owner(connection, log)
        found += 1
        yield engine, log, Archive(Path(declaration.archive), log.schema)
    if not found:
        raise click.ClickException(
            'There is no archive: AuditLogger(db, partition="month", archive="/path/of/a/folder").'
        )


@contextmanager
def _alone(engine: Engine, log: Log) -> Iterator[None]:
    """Nobody else touches the files while the block runs."""
    with alone(engine, log) as is_alone:
        if not is_alone:
            raise ConfigurationError("`flask audit maintain` or another command is at this log. Run it again later.")
        yield


def _show_progress(report: Report) -> None:
    """How much was removed so far, for who watches."""
    if sys.stderr.isatty():
        click.echo(f"\r{sum(table.changes for table in report.removed):,} changes removed", nl=False, err=True)


@click.group("hold")
def hold_group() -> None:
    """Keep entries for a case, although their time is over."""


@hold_group.command("add")
@click.option("--table", help="Hold the entries of this table.")
@click.option("--key", multiple=True, help="Only of the record with this key; of a composite key give each part.")
@click.option("--actor", help="Hold what the actor with this key did, or whoever did it in their name.")
@click.option("--month", help="Hold the entries of a month, as 2026_12.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day; without it until it is released.")
@click.option("--reason", required=True, help="Why; whoever is refused reads it.")
@with_appcontext
def hold_add_command(
    table: str | None,
    key: tuple[str, ...],
    actor: str | None,
    month: str | None,
    until: dt.datetime | None,
    reason: str,
) -> None:
    """Make a hold; of several options what is of all of them is held."""
    if until is not None and until.date() < dt.datetime.now(dt.UTC).date():
        raise click.BadParameter("that day is over", param_hint="--until")
    made = False
    for each in _tabled_logs():
        engine, log = each.engine, each.log
        of = None if table is None else each.tables.get(table)
        if table is not None and of is None:
            continue
        with plain_errors(), engine.begin() as connection:
            check_owner(connection, log)
            bounds = None if month is None else _month(connection, log, month)
            address = add_hold(
                connection,
                log,
                table=of,
                key=record_key(key),
                actor=actor,
                month=bounds,
                until=None if until is None else until.date(),
                reason=reason,
            )
        made = True
        click.echo(f"hold {address} in schema {log.schema}")
    if not made:
        known = sorted({name for each in _tabled_logs() for name in each.tables})
        raise click.BadParameter(f"{table!r} is no audited table; there are {', '.join(known) or 'none'}.")


@hold_group.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def hold_ls_command(as_json: bool) -> None:
    """List the holds that were not released, those that are over, too."""
    today = dt.datetime.now(dt.UTC).date()
    found = []
    for each in _tabled_logs():
        with each.engine.connect() as connection:
            found += [(each.log, hold) for hold in holds(connection, each.log)]
    if as_json:
        shown = [{**dataclasses.asdict(h), "schema": log.schema, "in_force": h.is_in_force(today)} for log, h in found]
        click.echo(json.dumps({"holds": shown}, indent=2, default=str))
        return
    for log, hold in found:
        over = "" if hold.is_in_force(today) else "OVER  "
        click.echo(f"{hold.address}  {over}{hold.covers(log.default)}: {hold.why()}")
    if not found:
        click.echo("There is no hold.")


@hold_group.command("release")
@click.argument("address")
@click.option("--reason", required=True, help="Why it is over.")
@with_appcontext
def hold_release_command(address: str, reason: str) -> None:
    """End the hold with an ADDRESS, as `flask audit hold ls` lists it."""
    refused: ConfigurationError | None = None
    for each in _tabled_logs():
        try:
            with each.engine.begin() as connection:
                check_owner(connection, each.log)
                release_hold(connection, each.log, address, reason=reason)
        except ConfigurationError as error:
            refused = error
        else:
            click.echo(f"hold {address} released")
            return
    raise click.ClickException(str(refused or "There is no log."))


@click.command("erase")
@click.option("--record", nargs=2, metavar="TABLE KEY", help="Whose record it is; a composite key as a JSON array.")
@click.option("--actor", help="The key of an actor: their name, address and user agent.")
@click.option("--columns", help="The columns of the record, by commas; by default those that are declared personal.")
@click.option("--reason", required=True, help="Why, without the person's name: the log keeps it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_appcontext
def erase_command(
    record: tuple[str, str] | None, actor: str | None, columns: str | None, reason: str, dry_run: bool, yes: bool
) -> None:
    """Forget a person: erase their personal values in all entries of the log and in its archive.

    It can't be taken back. What would be erased is shown before.
    """
    if record is None and actor is None:
        raise click.UsageError("Whom? Give --record, --actor or both.")
    found = [each for each in _tabled_logs() if record is None or record[0] in each.tables]
    if not found:
        raise click.BadParameter(f"{record[0] if record else ''!r} is no audited table.", param_hint="--record")
    for each in found:
        whom = Whom(
            tables=() if record is None else ((each.tables[record[0]].schema, each.tables[record[0]].name),),
            key="" if record is None else record[1],
            actor=actor,
            columns=None if columns is None else tuple(name.strip() for name in columns.split(",")),
        )
        with plain_errors():
            preview = erase(each.engine, each.metadata, whom, reason=reason, dry_run=True)
        for line in preview.lines():
            click.echo(line)
        if not preview.changes and not preview.transactions:
            click.echo("The log has no personal value of them.")
        if dry_run or not (yes or click.confirm("Erase this for good, in the archive, too?")):
            continue
        with plain_errors():
            done = erase(each.engine, each.metadata, whom, reason=reason)
        click.echo(f"erased: {done.address}")
        for line in Erasure(months=done.months, unreached=done.unreached).lines():
            click.echo(line)
        if done.unreached:
            raise click.exceptions.Exit(1)


def record_key(parts: tuple[str, ...]) -> str | None:
    """The key of a record as the log writes it: one value as it is, several as a JSON array."""
    if len(parts) <= 1:
        return parts[0] if parts else None
    return json.dumps(parts, ensure_ascii=False)


@dataclasses.dataclass(frozen=True)
class _TabledLog:
    """A log and the audited tables that it has, by the names that people write."""

    engine: Engine
    metadata: MetaData
    log: Log
    tables: dict[str, TableName]


def _tabled_logs() -> Iterator[_TabledLog]:
    for engine, metadata in logs():
        declaration = declaration_of(metadata)
        if declaration is None or not is_supported(engine):
            continue
        with engine.connect() as connection:
            log = log_of(connection, declaration)
            tables = [placed(connection, table).name(log.default) for table in declared_triggers(metadata)]
        yield _TabledLog(engine, metadata, log, {name: table for table in tables for name in (table.name, str(table))})


def _month(connection: Connection, log: Log, name: str) -> tuple[str, int, int]:
    there = {month.name: month for month in months(connection, log.schema)}
    if name not in there:
        raise ConfigurationError(
            f"The log in schema {log.schema} has no month {name!r}; there are {', '.join(there) or 'none'}."
        )
    return name, there[name].low, there[name].high
