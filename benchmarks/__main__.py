"""``python -m benchmarks``: every variant does every piece of work, in turns, on one embedded PostgreSQL."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg2
import sqlalchemy as sa

from benchmarks import orm, report
from benchmarks.variants import VARIANTS, Variant
from benchmarks.workloads import WORK, Bench, Work
from tests.support.cluster import Cluster

#: Durability off: a ratio should compare the work, not the disk. Autovacuum off: it would hit one variant by chance.
SETTINGS = {"autovacuum": "off", "synchronous_commit": "off", "shared_buffers": "512MB", "max_wal_size": "1GB"}
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    works = [work for work in WORK if options.only in work.name]
    with Cluster(settings=SETTINGS) as cluster:
        benches = [prepare(cluster, variant) for variant in VARIANTS]
        results = report.Results(
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            machine=machine(benches[0]),
            load=[round(os.getloadavg()[0], 1)],
            rounds=0,
            variants=[variant.name for variant in VARIANTS],
            targets={work.name: work.target for work in works},
        )
        servers = {} if options.only else start(benches)
        for number in range(options.rounds):
            for work in works:
                if number < (work.rounds or options.rounds):
                    measure_all(work, benches, number, results)
            measure_requests(servers, number, results)
            results.load.append(round(os.getloadavg()[0], 1))
            results.rounds = number + 1
            if options.save:
                results.save(RESULTS)
        for pair in servers.values():
            for server in pair:
                server.stop()
    print(results.markdown())


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each piece of work is measured (default: 7)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only work with TEXT in its name")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args(arguments)


def prepare(cluster: Cluster, variant: Variant) -> Bench:
    name = "bench_" + re.sub("[^a-z0-9]", "_", variant.name)
    admin = sa.create_engine(cluster.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    url = cluster.url(name)
    return Bench(variant.installed(url), url)


def measure_all(work: Work, benches: list[Bench], number: int, results: report.Results) -> None:
    """One round of one piece of work; each round starts with another variant."""
    first = number % len(benches)
    for bench in benches[first:] + benches[:first]:
        name = bench.variant.name
        if (work.name, name) in results.given_up:
            continue
        bench.reset()
        empty = bench.log_size()
        with bench.connect() as connection:
            try:
                measured = work.run(bench, connection.cursor())
            except psycopg2.errors.QueryCanceled:
                results.given_up.add((work.name, name))
                continue
        check(work, bench)
        results.add(work.name, name, "seconds", measured.computed)
        results.add(work.name, name, "wal", measured.wal / (work.changes or 1))
        results.add(work.name, name, "log", (bench.log_size() - empty) / (work.changes or 1))
        progress = f"round {number + 1}  {work.name:46} {name:24} {measured.computed * 1000:10,.1f} ms"
        print(progress, file=sys.stderr, flush=True)


def start(benches: list[Bench]) -> dict[str, tuple[orm.Server, orm.Server]]:
    """The applications of each package, without it and with it."""
    plain = benches[0]
    return {
        bench.variant.name: (
            orm.start(bench.variant, "plain", plain.url),
            orm.start(bench.variant, "audited", bench.url),
        )
        for bench in benches
        if bench.variant.peer
    }


def measure_requests(servers: dict[str, tuple[orm.Server, orm.Server]], number: int, results: report.Results) -> None:
    """One round of requests: each package's application without it and with it, in processes of their own."""
    names = list(servers)
    for name in names[number % 5 :] + names[: number % 5]:
        for server, mode in zip(servers[name], ("plain", "audited"), strict=True):
            server.measure()  # plans are made anew after the tables were emptied
            results.add("request", name, mode, min(server.measure() for _ in range(3)))


def check(work: Work, bench: Bench) -> None:
    """A variant that logs less than it should is not fast but wrong."""
    logged = bench.logged()
    if bench.variant.log and work.changes and logged != work.changes:
        sys.exit(f"{bench.variant.name} logged {logged} of {work.changes} changes of: {work.name}")


def machine(bench: Bench) -> str:
    """What it was measured on."""
    with bench.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores ({name}), PostgreSQL {version}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
