"""The commands of a growing log: ``flask audit maintain`` and ``archive``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import Engine, MetaData

from ..databases import Database, default_engine
from ..exceptions import ArchiveError, ConfigurationError
from ..schema.declared import declaration_of
from ..schema.dialects import is_supported
from ..schema.table_options import audited_tables
from . import manifest as manifests
from .archive import Archive
from .maintain import alone, has_job, maintain
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
    except (ConfigurationError, ArchiveError) as error:
        raise click.ClickException(str(error)) from error


@click.command("maintain")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def maintain_command(dry_run: bool, as_json: bool) -> None:
    """Do what a growing log needs: begin the month of a log that is kept in months, archive those that are over.

    Run it each day. It may run on several hosts, at the same time, and again at once.
    """
    reports = []
    for engine, metadata in logs():
        if is_supported(engine) and has_job(metadata):
            with plain_errors():
                reports.append(maintain(engine, metadata, dry_run=dry_run))
            for line in reports[-1].lines() if not as_json else ():
                click.echo(line)
    if as_json:
        click.echo(json.dumps({"databases": [dataclasses.asdict(report) for report in reports]}, indent=2))
    elif not reports:
        click.echo('Nothing to do: the log is not kept in months, as AuditLogger(db, partition="month") says.')


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
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def archive_restore_command(month: str, as_json: bool) -> None:
    """Make the archived MONTH, as 2026_12, a part of the log again."""
    restored = []
    for engine, log, archive in _archives():
        with plain_errors(), _alone(engine, log), engine.begin() as connection:
            manifest = archive.restore(connection, month)
        rows = {name: table.rows for name, table in manifest.tables.items()}
        restored.append({"url": engine.url.render_as_string(), "month": month, "rows": rows})
        if not as_json:
            click.echo(f"month {month}: restored, {rows['activity']} changes")
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
