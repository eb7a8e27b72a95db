"""The work that is timed, the same for each variant, on plain psycopg2 connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from benchmarks.variants import Variant

#: Milliseconds after which the server gives a statement up, because it would take minutes.
LIMIT = 10_000

#: Rows of the table before each measurement.
ROWS = 20_000

FILL = """
INSERT INTO item
SELECT n, 'Item ' || n, repeat('A description of some length. ', 3), n % 1000 + 0.99, n % 50, true, n / 7.0,
       jsonb_build_object('colour', 'red', 'size', n % 10), '2026-01-01', NULL
FROM generate_series({first}, {last}) AS n
"""


@dataclass
class Bench:
    """One variant's database, with what a piece of work needs of it."""

    variant: Variant
    url: sa.URL

    @contextmanager
    def connect(self) -> Iterator[Any]:
        connection = psycopg2.connect(
            host=self.url.query["host"],
            dbname=self.url.database,
            user=self.url.username,
            application_name="bench",
            options=f"-c statement_timeout={LIMIT}",
        )
        try:
            yield connection
        finally:
            connection.close()

    def reset(self) -> None:
        """Fill the table anew and empty the log, outside any measurement."""
        with self.connect() as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("SET session_replication_role = replica")
            for table in ("item", *self.variant.log):
                cursor.execute(f"TRUNCATE {table} CASCADE")
            cursor.execute(FILL.format(first=1, last=ROWS))
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def logged(self) -> int:
        """How many changes the log has."""
        if not self.variant.log:
            return 0
        with self.connect() as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT count(*) FROM {self.variant.log[0]}")
            return int(cursor.fetchone()[0])

    def log_size(self) -> int:
        """Bytes of the log on disk, with its indexes."""
        with self.connect() as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT coalesce(sum(pg_total_relation_size(n::regclass)), 0) FROM unnest(%s::text[]) AS n",
                [[*self.variant.log]],
            )
            return int(cursor.fetchone()[0])

    def transaction(self, cursor: Any, statement: str) -> None:
        """What an application sends for one writing transaction."""
        for said in self.variant.said:
            cursor.execute(said)
        cursor.execute(self.variant.prefix + statement)
        cursor.connection.commit()


class Stopwatch:
    """Measures a block: seconds that the server's process for this connection computed, and bytes of WAL.

    Of the time that passed a busy machine makes more; of this one only a little.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._pid = connection.info.backend_pid
        self.computed = 0.0
        self.wal = 0

    def __enter__(self) -> Stopwatch:
        self._wal_before = self._written()
        self._computed_before = computed(self._pid)
        return self

    def __exit__(self, error: object, *exc_info: object) -> None:
        if error is not None:
            return
        self.computed = computed(self._pid) - self._computed_before
        self.wal = self._written() - self._wal_before

    def _written(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            written = int(cursor.fetchone()[0])
        self._connection.commit()
        return written


def computed(pid: int) -> float:
    """Seconds for which a process has had a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@dataclass(frozen=True)
class Work:
    """A named piece of work.

    :param run: does it on an open connection and measures what counts.
    :param changes: how many rows it changes, each of which has to be in the log.
    :param rounds: how often at most it is measured; for work that takes long on some of the variants.
    :param target: how many times the floor it is meant to take at most.
    """

    name: str
    run: Callable[[Bench, Any], Stopwatch]
    changes: int
    rounds: int | None = None
    target: float | None = None


def one_by_one(statement: str, times: int) -> Callable[[Bench, Any], Stopwatch]:
    """Many transactions of one statement on one connection; ``{n}`` counts them."""

    def run(bench: Bench, cursor: Any) -> Stopwatch:
        with Stopwatch(cursor.connection) as stopwatch:
            for n in range(1, times + 1):
                bench.transaction(cursor, statement.format(n=n, new=ROWS + n))
        return stopwatch

    return run


def at_once(statement: str, before: int = 0) -> Callable[[Bench, Any], Stopwatch]:
    """One transaction of one statement, after ``before`` updates of one row on the same connection."""

    def run(bench: Bench, cursor: Any) -> Stopwatch:
        for n in range(1, before + 1):
            bench.transaction(cursor, f"UPDATE item SET stock = stock + 1 WHERE id = {n}")
        with Stopwatch(cursor.connection) as stopwatch:
            bench.transaction(cursor, statement)
        return stopwatch

    return run


NEW_ROW = "{new}, 'New', 'A description', 9.99, 1, true, 0.5, '{{\"colour\": \"red\"}}', now(), NULL"
INSERT_ONE = f"INSERT INTO item VALUES ({NEW_ROW})"
UPDATE_5000 = "UPDATE item SET price = price + 1 WHERE id > 10000 AND id <= 15000"

WORK = (
    Work("500 transactions of one insert", one_by_one(INSERT_ONE, 500), 500, target=2.0),
    Work(
        "500 transactions of one update",
        one_by_one("UPDATE item SET price = price + 1 WHERE id = {n}", 500),
        500,
        target=2.6,
    ),
    Work("500 transactions of one delete", one_by_one("DELETE FROM item WHERE id = {n}", 500), 500),
    Work("insert 20,000 rows", at_once(FILL.format(first=ROWS + 1, last=ROWS + 20_000)), 20_000, target=1.35),
    Work("update 1 column of 20,000 rows", at_once("UPDATE item SET stock = stock + 1"), ROWS, target=2.2),
    Work("delete 20,000 rows", at_once("DELETE FROM item"), ROWS, target=1.5),
    Work("update of 20,000 rows that changes nothing", at_once("UPDATE item SET stock = stock"), 0, target=0.8),
    Work("update 5,000 rows after 7 updates of one row", at_once(UPDATE_5000, before=7), 5_007, rounds=1),
)
