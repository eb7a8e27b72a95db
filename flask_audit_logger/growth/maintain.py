"""The job of a growing log, ``flask audit maintain``: its steps, in which order, and that only one host does them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, MetaData, text

from ..exceptions import ConfigurationError
from ..schema.catalog import log_partition
from ..schema.declared import declaration_of
from .archive import Archive
from .months import months, rotate, this_month
from .notices import Log, check_owner, log_of

# Of the database transaction, so that it also works through a pooler; without a snapshot it holds nothing back.
_LOCK = text(
    """
    SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('flask_audit_logger maintain'), c.oid::integer)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = 'transaction' AND c.relkind IN ('r', 'p')
    """
)


@dataclass
class Report:
    """What the job did to one log; scripts read it as JSON, so names and meaning stay as they are.

    :param url: the database, without its password.
    :param schema: schema of the log.
    :param is_elsewhere: whether another one was at it, so that nothing was done.
    :param month: the month of now, as ``2026_12``, if the log is kept in months.
    :param begun: whether that was begun now.
    :param archived: the months that were archived.
    :param is_dry: whether all this would only be done.
    """

    url: str
    schema: str
    is_elsewhere: bool = False
    month: str | None = None
    begun: bool = False
    archived: list[str] = field(default_factory=list)
    is_dry: bool = False

    def lines(self) -> Iterator[str]:
        """The report in words."""
        if self.is_elsewhere:
            yield f"log in schema {self.schema}: another one is at it"
            return
        if self.month is not None:
            begun = "would begin" if self.is_dry else "begun"
            yield f"month {self.month}: {begun if self.begun else 'has begun before'}"
        for month in self.archived:
            yield f"month {month}: {'would be archived' if self.is_dry else 'archived'}"


def has_job(metadata: MetaData) -> bool:
    """Whether the log of ``metadata`` needs the job."""
    declaration = declaration_of(metadata)
    return declaration is not None and declaration.partition is not None


def maintain(engine: Engine, metadata: MetaData, *, dry_run: bool = False) -> Report:
    """Do what the log of ``metadata`` needs. Each step can be repeated, and goes on where one was killed.

    :param engine: of the log's owner.
    :param dry_run: only say what would be done.
    :raises ConfigurationError: if it can't be done; the message says why and what helps.
    """
    declaration = declaration_of(metadata)
    if declaration is None:
        raise ConfigurationError("There is no audited table in this database.")
    with engine.connect() as connection:
        log = log_of(connection, declaration)
        check_owner(connection, log)
        if declaration.partition is not None and log_partition(connection, log.schema) is None:
            raise ConfigurationError(
                f"The log in schema {log.schema} is not kept in months yet: `flask db upgrade`, if the migration is "
                "waiting; else `flask db migrate` writes it."
            )
        begins = this_month() not in [month.name for month in months(connection, log.schema)]
    report = Report(engine.url.render_as_string(), log.schema, is_dry=dry_run)
    with alone(engine, log) as is_alone:
        if not is_alone:
            report.is_elsewhere = True
            return report
        if declaration.partition is not None:
            report.month = this_month()
            report.begun = begins if dry_run else rotate(engine, declaration.schema, report.month)
        if declaration.archive is not None:
            _archive(engine, Archive(Path(declaration.archive), log.schema), report)
    return report


def _archive(engine: Engine, archive: Archive, report: Report) -> None:
    """Save the months that are over; each is a transaction of its own."""
    with engine.connect() as connection:
        missing = archive.missing(connection)
    for month in missing:
        if not report.is_dry:
            with engine.begin() as connection:
                archive.save(connection, month)
        report.archived.append(month)


@contextmanager
def alone(engine: Engine, log: Log) -> Iterator[bool]:
    """Whether nobody else is at this log while the block runs."""
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield bool(connection.scalar(_LOCK, {"schema": log.schema}))
        connection.rollback()
