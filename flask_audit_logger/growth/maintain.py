"""The job of a growing log, ``flask audit maintain``: its steps, in which order, and that only one host does them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, text

from ..exceptions import ConfigurationError
from ..schema.catalog import log_partition, placed
from ..schema.declared import Declaration, declaration_of, declared_triggers
from ..schema.names import TableName
from .archive import Archive
from .archive import faults as archive_faults
from .holds import holds
from .keep import check_names
from .months import DAYS_OF_GRACE, months, rotate, this_month
from .months import faults as month_faults
from .notices import Log, check_owner, is_readable, log_of
from .prune import Pruning, Removed, logged_tables

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
    :param removed: of which table how many changes were removed, and by which rule.
    :param kept: why months that are due were not touched: their archive is not as it was written.
    :param dropped: the months that were dropped.
    :param is_dry: whether all this would only be done.
    """

    url: str
    schema: str
    is_elsewhere: bool = False
    month: str | None = None
    begun: bool = False
    archived: list[str] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    is_dry: bool = False

    def lines(self) -> Iterator[str]:
        """The report in words."""
        if self.is_elsewhere:
            yield f"log in schema {self.schema}: another one is at it"
            return
        if self.month is not None:
            begun = "would begin" if self.is_dry else "begun"
            yield f"month {self.month}: {begun if self.begun else 'has begun before'}"
        would = "would be " if self.is_dry else ""
        for month in self.archived:
            yield f"month {month}: {would}archived"
        for table in self.removed:
            changes = f"{table.changes} change{'' if table.changes == 1 else 's'}"
            yield f"{table.schema}.{table.table}: {changes} from before {table.until} {would}removed ({table.rule})"
        for month, why in self.kept.items():
            yield f"FAIL  month {month}: nothing of it is removed. {why}"
        for month in self.dropped:
            yield f"month {month}: {would}dropped"


def has_job(metadata: MetaData) -> bool:
    """Whether the log of ``metadata`` needs the job."""
    declaration = declaration_of(metadata)
    return declaration is not None and bool(declaration.partition or declaration.keep)


def maintain(
    engine: Engine,
    metadata: MetaData,
    *,
    dry_run: bool = False,
    on_step: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Do what the log of ``metadata`` needs. Each step can be repeated, and goes on where one was killed.

    :param engine: of the log's owner.
    :param dry_run: only say what would be done.
    :param on_step: is told after each step what was done so far.
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
        kept = dict(declaration.keep)
        audited = (placed(connection, table) for table in declared_triggers(metadata))
        check_names(kept, (table.name(log.default) for table in audited), logged_tables(connection, log))
        begins = all(month.name < this_month() for month in months(connection, log.schema))
    report = Report(engine.url.render_as_string(), log.schema, is_dry=dry_run)
    with alone(engine, log) as is_alone:
        if not is_alone:
            report.is_elsewhere = True
            return report
        if declaration.partition is not None:
            report.month = this_month()
            report.begun = begins if dry_run else rotate(engine, declaration.schema, report.month)
        archive = None if declaration.archive is None else Archive(Path(declaration.archive), log.schema)
        if archive is not None:
            _archive(engine, archive, report)
        if kept:
            is_safe = None if archive is None else partial(_is_safe, engine, archive, report)
            _prune(Pruning(engine, log, kept, dt.datetime.now(dt.UTC), is_safe), report, on_step)
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


def _is_safe(engine: Engine, archive: Archive, report: Report, month: str) -> bool:
    """Whether a month may go: this run would have archived it, or the files still have each row of it."""
    if report.is_dry and month in report.archived:
        return True
    with engine.begin() as connection:
        fault = archive.fault(connection, month)
    if fault is not None:
        report.kept[month] = fault
    return fault is None


def _prune(pruning: Pruning, report: Report, on_step: Callable[[Report], None]) -> None:
    """Let go of what is due, or say what is."""
    changes: dict[TableName, int] = {}
    if report.is_dry:
        found, report.dropped = pruning.preview()
        report.removed = [pruning.describe(table, number) for table, number in sorted(found.items())]
    for gone in () if report.is_dry else pruning.run():
        for table, number in gone.changes.items():
            changes[table] = changes.get(table, 0) + number
        report.dropped += gone.months
        report.removed = [pruning.describe(table, number) for table, number in sorted(changes.items())]
        on_step(report)


def overdue(connection: Connection, declaration: Declaration, now: dt.datetime) -> Iterator[str]:
    """What is wrong with a log that grows: its job does not run, or a hold is over, as far as the role may read it.

    :param declaration: in the schemas of the connection.
    :param now: in UTC.
    """
    log = log_of(connection, declaration)
    yield from month_faults(connection, log.schema, now.date())
    if declaration.archive is not None:
        yield from archive_faults(connection, Archive(Path(declaration.archive), log.schema), now.date())
    if not is_readable(connection, log):
        return
    if declaration.keep:
        pruning = Pruning(connection.engine, log, dict(declaration.keep), now - dt.timedelta(days=DAYS_OF_GRACE))
        for table in pruning.overdue(connection, in_archive=declaration.archive is not None):
            yield (
                f"entries of {table} are due for more than {DAYS_OF_GRACE} days: let cron or another scheduler run "
                "`flask audit maintain` each day"
            )
    for hold in holds(connection, log):
        if not hold.is_in_force(now.date()):
            yield (
                f"the hold {hold.address} of {hold.covers(log.default)} is over since {hold.until} ({hold.reason}): "
                "`flask audit hold release`, or make another one"
            )


@contextmanager
def alone(engine: Engine, log: Log) -> Iterator[bool]:
    """Whether nobody else is at this log while the block runs."""
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield bool(connection.scalar(_LOCK, {"schema": log.schema}))
        connection.rollback()
