"""The commands of a growing log: ``flask audit maintain``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import Engine, MetaData

from ..databases import Database, default_engine
from ..exceptions import ConfigurationError
from ..schema.declared import declaration_of
from ..schema.dialects import is_supported
from ..schema.table_options import audited_tables
from .maintain import has_job, maintain


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
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


@click.command("maintain")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def maintain_command(dry_run: bool, as_json: bool) -> None:
    """Do what a growing log needs: begin the month of a log that is kept in months.

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
