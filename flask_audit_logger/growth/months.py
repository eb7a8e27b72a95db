"""The months of a partitioned log: which there are, and the job that begins a new one."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from ..exceptions import ConfigurationError
from ..schema.catalog import default_schema, translated
from ..schema.objects import LOG_TABLES
from ..sql import quote_ident, quote_literal

#: How long a job tries to get a moment in which nobody holds the log, in seconds, and how long it rests in between.
#: Each try waits 400 ms for each table at most (``sql/v1/rotate.sql``), and writers wait behind it.
PATIENCE = 60.0
REST = 0.5

#: Days of a month after which its job is missed.
DAYS_OF_GRACE = 3

#: SQLSTATE of a lock that was not there in time, and of a deadlock.
_BUSY = ("55P03", "40P01")

_BOUNDS = re.compile(r"FOR VALUES FROM \((?:'?([0-9]+)'?|MINVALUE)\) TO \((?:'?([0-9]+)'?|MAXVALUE)\)")

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


Done = TypeVar("Done")


@dataclass(frozen=True)
class Month:
    """The entries that were written while a month was the newest one.

    :param name: as ``2026_12``; the tables are ``transaction_2026_12`` and ``activity_2026_12``. The first one also has
        all that was there before, each one what came after its end until the job began the next.
    :param bytes: size of both tables with their indexes.
    :param low: the first id of its transactions; 0 for the first month.
    :param high: the first one that is no longer its.
    """

    name: str
    bytes: int
    low: int
    high: int


def months(connection: Connection, schema: str) -> list[Month]:
    """The months of a log, oldest first; none if its tables are plain.

    :param schema: schema of the log.
    """
    found: dict[str, Month] = {}
    for log in LOG_TABLES:
        for part in connection.execute(_PARTS, {"schema": schema, "log": log}):
            name = part.relname.removeprefix(f"{log}_")
            low, high = (
                int(bound) if bound else default for bound, default in zip(_ends(part.bounds), (0, -1), strict=True)
            )
            found[name] = Month(name, part.bytes + (found[name].bytes if name in found else 0), low, high)
    found.pop("spare", None)
    return [found[name] for name in sorted(found)]


def _ends(bounds: str) -> tuple[int, int]:
    """Both bounds of a part; those that are open as the least and the greatest id."""
    found = _BOUNDS.fullmatch(bounds)
    low, high = found.groups() if found else (None, None)
    return int(low or 0), int(high or 2**63 - 1)


def faults(connection: Connection, schema: str, today: dt.date) -> list[str]:
    """What is wrong with the months of a log: the job does not run, or somebody took a part away.

    :param schema: schema of the log.
    :param today: in UTC.
    """
    parts = {log: _parts(connection, schema, log) for log in LOG_TABLES}
    if not any(parts.values()):
        return []
    found = []
    there = months(connection, schema)
    due = today - dt.timedelta(days=DAYS_OF_GRACE)
    if there and there[-1].name < due.strftime("%Y_%m"):
        found.append(
            f"its newest month is {there[-1].name}: let cron or another scheduler run `flask audit maintain` each day"
        )
    names = sorted({"spare"}.union(*parts.values()))
    found += [f"its part {log}_{name} is missing" for log in LOG_TABLES for name in names if name not in parts[log]]
    if any("spare" in bounds and not _is_written(connection, schema, bounds) for bounds in parts.values()):
        spare = max(low for bounds in parts.values() for low, _ in bounds.values())
        sequence = quote_literal(f"{quote_ident(schema)}.transaction_id_seq")
        found.append(
            "no part of the log takes the next entries, so audited tables can't be written; this lets them: "
            f"SELECT setval({sequence}, {spare}, false)"
        )
    return found


def _parts(connection: Connection, schema: str, log: str) -> dict[str, tuple[int, int]]:
    """The bounds of each part of one of the tables, by month or ``spare``."""
    found = connection.execute(_PARTS, {"schema": schema, "log": log})
    return {part.relname.removeprefix(f"{log}_"): _ends(part.bounds) for part in found}


def _is_written(connection: Connection, schema: str, bounds: dict[str, tuple[int, int]]) -> bool:
    """Whether there is the newest month, which has the next id; or the ids have got to the spare part by themselves."""
    spare, _ = bounds["spare"]
    if any(high == spare for _, high in bounds.values()):
        return True
    log = quote_ident(schema).replace(":", "\\:")
    ahead = text(f"SELECT EXISTS (SELECT FROM {log}.transaction WHERE id >= :spare)")  # noqa: S608 - quoted
    return bool(connection.scalar(ahead, {"spare": spare}))


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

    def begin(connection: Connection) -> bool:
        log = quote_ident(translated(connection, schema) or default_schema(connection)).replace(":", "\\:")
        return connection.scalar(text(f"SELECT {log}.audit_logger_rotate(:month)"), {"month": month}) is not None

    return in_a_moment(
        engine, begin, f"to begin the month {month}", "Entries go on in the month before", patience=patience
    )


def in_a_moment(
    engine: Engine, work: Callable[[Connection], Done], what: str, meanwhile: str, *, patience: float | None = None
) -> Done:
    """Do in one transaction what needs the log for itself, again and again until nobody holds it for a moment.

    :param work: sets a short ``lock_timeout``, as others wait behind it.
    :param what: what it is, for the error: "to begin …".
    :param meanwhile: how it is as long as it is not done.
    :param patience: for how long it is tried, in seconds; by default :data:`PATIENCE`.
    :raises ConfigurationError: if there was no such moment.
    """
    limit = PATIENCE if patience is None else patience
    gives_up_at = time.monotonic() + limit
    while True:
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", getattr(error.orig, "pgcode", None)) not in _BUSY:
                raise
            if time.monotonic() > gives_up_at:
                raise ConfigurationError(
                    f"For {limit:.0f} seconds there was no moment {what}: a transaction that is open for long has read "
                    f"or written the log; pg_stat_activity shows it. {meanwhile}; run this again."
                ) from error
        time.sleep(REST)
