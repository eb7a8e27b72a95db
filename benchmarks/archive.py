"""``python -m benchmarks.archive``: what a month weighs as Parquet, and what it costs to save and verify it."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine

from benchmarks.page_log import open_log
from flask_audit_logger.growth.archive import Archive
from flask_audit_logger.growth.months import months, rotate
from flask_audit_logger.schema.catalog import actor_type
from flask_audit_logger.schema.objects import Tables
from tests.capture.tables import run
from tests.support.cluster import Cluster

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("--changes", type=int, default=300_000, help="how many changes the month has")
    options = parser.parse_args()
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        log = open_log(cluster, options.changes, keep=False)
        engine = create_engine(log.application.app.config["SQLALCHEMY_DATABASE_URI"])
        with engine.connect() as connection:
            actors = actor_type(connection, "public")
        run(engine, *Tables(None, 1, actors).split())
        rotate(engine, None, "2099_01")
        log.application.dispose()
        report(engine, Archive(Path(folder), "public"))
        engine.dispose()


def report(engine: Engine, archive: Archive) -> None:
    with engine.begin() as connection:
        month = months(connection, "public")[0]
        rows = connection.exec_driver_sql(f"SELECT count(*) FROM activity_{month.name}").scalar_one()
        with costs(connection, "save and compare", rows):
            manifest = archive.save(connection, month.name)
        with costs(connection, "verify", rows):
            archive.verify(connection, month.name)
    print(f"changes: {rows:,}, transactions: {manifest.tables['transaction'].rows:,}")
    print(f"in the log, with indexes: {month.bytes / rows:.0f} bytes a change")
    print(f"as Parquet: {manifest.bytes / rows:.0f} bytes a change")


@contextmanager
def costs(connection: Connection, what: str, rows: int) -> Iterator[None]:
    """Print the processor time of this process and of the server's, which other work on the machine leaves as it is."""
    backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    here, there = time.process_time(), of_process(backend)
    yield
    seconds = time.process_time() - here + of_process(backend) - there
    print(f"{what}: {seconds:.1f} s of processor time, {rows / seconds:,.0f} changes a second")


def of_process(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
