"""The work that is timed, the same for each variant, on plain psycopg2 connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from benchmarks.variants import Variant

#: Rows of the table before each measurement.
ROWS = 100_000

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
            host=self.url.query["host"], dbname=self.url.database, user=self.url.username, application_name="bench"
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
            if self.variant.name.startswith("release"):
                cursor.execute("INSERT INTO users VALUES (1) ON CONFLICT DO NOTHING")
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

    def transaction(self, cursor: Any, statement: str) -> None:
        """What an application sends for one writing transaction."""
        if self.variant.attribution:
            self.variant.attribution(cursor.connection)
        cursor.execute(self.variant.prefix + statement)
        cursor.connection.commit()


class Stopwatch:
    """Measures a block: seconds that passed, and seconds that the server's process for this connection computed.

    The second is what a busy machine doesn't blur. It is missing (``None``) where the kernel doesn't tell.
    """

    def __init__(self, connection: Any) -> None:
        self._schedstat = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        self.passed = 0.0
        self.computed: float | None = None

    def __enter__(self) -> Stopwatch:
        self._computed_before = self._read()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.passed = time.perf_counter() - self._started
        computed = self._read()
        if computed is not None and self._computed_before is not None:
            self.computed = computed - self._computed_before

    def _read(self) -> float | None:
        try:
            return int(self._schedstat.read_text().split()[0]) / 1e9
        except OSError:
            return None


@dataclass(frozen=True)
class Work:
    """A named piece of work.

    :param run: does it on an open connection and measures what counts.
    :param changes: how many rows it changes, each of which has to be in the log.
    :param rounds: how often at most it is measured; for work that takes minutes on one of the variants.
    """

    name: str
    run: Callable[[Bench, Any], Stopwatch]
    changes: int
    rounds: int | None = None


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
UPDATE_5000 = "UPDATE item SET price = price + 1 WHERE id > 90000 AND id <= 95000"

WORK = (
    Work("500 transactions of one insert", one_by_one(INSERT_ONE, 500), 500),
    Work("500 transactions of one update", one_by_one("UPDATE item SET price = price + 1 WHERE id = {n}", 500), 500),
    Work("500 transactions of one delete", one_by_one("DELETE FROM item WHERE id = {n}", 500), 500),
    Work("insert 20,000 rows", at_once(FILL.format(first=ROWS + 1, last=ROWS + 20_000)), 20_000),
    Work("update 1 column of 100,000 rows", at_once("UPDATE item SET stock = stock + 1"), ROWS),
    Work("delete 20,000 rows", at_once("DELETE FROM item WHERE id <= 20000"), 20_000),
    Work("update of 100,000 rows that changes nothing", at_once("UPDATE item SET stock = stock"), 0),
    Work("update 5,000 rows, fresh connection", at_once(UPDATE_5000), 5_000),
    Work("update 5,000 rows after 7 updates of one row", at_once(UPDATE_5000, before=7), 5_007, rounds=1),
)
