"""The months of a partitioned log: which there are, and the job that begins a new one."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from ..exceptions import ConfigurationError
from ..schema.catalog import default_schema, translated
from ..schema.objects import LOG_TABLES
from ..sql import quote_ident

#: How long a job tries to get a moment in which nobody holds the log, in seconds, and how long it rests in between.
#: Each try waits 400 ms for each table at most (``sql/v1/rotate.sql``), and writers wait behind it.
PATIENCE = 60.0
REST = 0.5

#: Days of a month after which its job is missed.
DAYS_OF_GRACE = 3

#: SQLSTATE of a lock that was not there in time, and of a deadlock.
_BUSY = ("55P03", "40P01")

_PARTS = text(
    """
    SELECT c.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bounds,
        pg_catalog.pg_total_relation_size(c.oid) AS bytes
    FROM pg_catalog.pg_class AS log
    JOIN pg_catalog.pg_namespace AS n ON n.oid = log.relnamespace
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = log.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
    WHERE n.nspname = :schema AND log.relname = :log AND log.relkind = 'p'
    """
)


@dataclass(frozen=True)
class Month:
    """The entries that were written while a month was the newest one.

    :param name: as ``2026_12``; the tables are ``transaction_2026_12`` and ``activity_2026_12``. The first one also has
        all that was there before, each one what came after its end until the job began the next.
    :param bytes: size of both tables with their indexes.
    """

    name: str
    bytes: int


def months(connection: Connection, schema: str) -> list[Month]:
    """The months of a log, oldest first; none if its tables are plain.

    :param schema: schema of the log.
    """
    sizes: dict[str, int] = {}
    for log in LOG_TABLES:
        for part in connection.execute(_PARTS, {"schema": schema, "log": log}):
            name = part.relname.removeprefix(f"{log}_")
            sizes[name] = sizes.get(name, 0) + part.bytes
    sizes.pop("spare", None)
    return [Month(name, sizes[name]) for name in sorted(sizes)]


def faults(connection: Connection, schema: str, today: dt.date) -> list[str]:
    """What is wrong with the months of a log: the job does not run, or somebody took a part away.

    :param schema: schema of the log.
    :param today: in UTC.
    """
    there = months(connection, schema)
    if not there:
        return []
    found = []
    due = today - dt.timedelta(days=DAYS_OF_GRACE)
    if there[-1].name < due.strftime("%Y_%m"):
        found.append(
            f"its newest month is {there[-1].name}: let cron or another scheduler run `flask audit maintain` each day"
        )
    spares = {part.relname for log in LOG_TABLES for part in connection.execute(_PARTS, {"schema": schema, "log": log})}
    found += [f"its part {log}_spare is missing" for log in LOG_TABLES if f"{log}_spare" not in spares]
    return found


def this_month() -> str:
    """The month of now, in UTC, as partitions are called."""
    return dt.datetime.now(dt.UTC).strftime("%Y_%m")


def rotate(engine: Engine, schema: str | None, month: str, patience: float = PATIENCE) -> bool:
    """Begin a month, unless it has begun or the log has no months.

    No write fails meanwhile, and none waits for a second.

    :param engine: of the log's owner.
    :param schema: schema of the log; ``None`` is the default schema of the connection.
    :param month: as ``2026_12``.
    :param patience: how long a moment is waited for in which nobody holds the log, in seconds.
    :returns: whether it was begun now.
    :raises ConfigurationError: if there was no such moment.
    """
    gives_up_at = time.monotonic() + patience
    while True:
        try:
            with engine.begin() as connection:
                log = quote_ident(translated(connection, schema) or default_schema(connection)).replace(":", "\\:")
                return (
                    connection.scalar(text(f"SELECT {log}.audit_logger_rotate(:month)"), {"month": month}) is not None
                )
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", getattr(error.orig, "pgcode", None)) not in _BUSY:
                raise
            if time.monotonic() > gives_up_at:
                raise ConfigurationError(
                    f"For {patience:.0f} seconds there was no moment to begin the month {month}: a transaction that is "
                    "open for long has read or written the log; pg_stat_activity shows it. Entries go on in the month "
                    "before; run this again."
                ) from error
        time.sleep(REST)
