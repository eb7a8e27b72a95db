"""``python -m benchmarks``: every variant does every piece of work, in turns, on one embedded PostgreSQL."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence

import sqlalchemy as sa

from benchmarks.report import Timings, rows_not_below, table
from benchmarks.variants import ITEM_TABLE, RELEASE, VARIANTS, Variant, run
from benchmarks.workloads import WORK, Bench, Work
from tests.support.cluster import Cluster

#: Durability off: a ratio should compare the work, not the disk. Autovacuum off: it would hit one variant by chance.
SETTINGS = {"autovacuum": "off", "synchronous_commit": "off", "shared_buffers": "512MB", "max_wal_size": "16GB"}
BASE = VARIANTS[0].name


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    works = [work for work in WORK if options.only in work.name]
    passed, computed = empty(works), empty(works)
    with Cluster(settings=SETTINGS, in_memory=False) as cluster:
        benches = [prepare(cluster, variant) for variant in VARIANTS]
        print(machine(benches[0]), flush=True)
        for number in range(options.rounds):
            for work in works:
                if number < (work.rounds or options.rounds):
                    measure_all(work, benches, number, passed, computed)
    print(f"\nRatios of the minimum, in brackets of the median, of {options.rounds} interleaved rounds.")
    report("Time that passed", passed)
    if all(times for measured in computed.values() for times in measured.values()):
        report("Time that the server's process computed", computed)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each piece of work is measured (default: 5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only work with TEXT in its name")
    return parser.parse_args(arguments)


def prepare(cluster: Cluster, variant: Variant) -> Bench:
    name = "bench_" + "".join(letter if letter.isalnum() else "_" for letter in variant.name)
    admin = sa.create_engine(cluster.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    url = cluster.url(name)
    run(url, [ITEM_TABLE])
    variant.install(url)
    return Bench(variant, url)


def empty(works: list[Work]) -> Timings:
    return {work.name: {variant.name: [] for variant in VARIANTS} for work in works}


def report(title: str, timings: Timings) -> None:
    print(f"\n{title}:\n\n{table(timings, BASE)}\n")
    slower = rows_not_below(timings, "ours", f"release {RELEASE}")
    print(f"Not below release {RELEASE}: {', '.join(slower)}" if slower else f"Below release {RELEASE} in every row.")


def measure_all(work: Work, benches: list[Bench], number: int, passed: Timings, computed: Timings) -> None:
    """One round of one piece of work; each round starts with another variant."""
    first = number % len(benches)
    for bench in benches[first:] + benches[:first]:
        bench.reset()
        with bench.connect() as connection:
            measured = work.run(bench, connection.cursor())
        check(work, bench)
        passed[work.name][bench.variant.name].append(measured.passed)
        if measured.computed is not None:
            computed[work.name][bench.variant.name].append(measured.computed)
        print(
            f"round {number + 1}  {work.name:46} {bench.variant.name:14} {measured.passed * 1000:10,.1f} ms", flush=True
        )


def check(work: Work, bench: Bench) -> None:
    """A variant that logs less than it should is not fast but wrong."""
    logged = bench.logged()
    if bench.variant.log and work.changes and logged != work.changes:
        sys.exit(f"{bench.variant.name} logged {logged} of {work.changes} changes of: {work.name}")


def machine(bench: Bench) -> str:
    with bench.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0]}, Python {platform.python_version()}, {platform.machine()}"


if __name__ == "__main__":
    main()
