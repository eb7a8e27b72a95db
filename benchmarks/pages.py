"""``python -m benchmarks.pages``: what the pages cost on logs of one and of ten million changes."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import page_report
from benchmarks.page_log import BUSIEST, DELETED, ORDINARY, RARE_ADDRESS, LargeLog, open_log
from benchmarks.page_report import File, Measured
from benchmarks.workloads import computed
from flask_audit_logger.query.paging import END
from tests.support.apps import Application
from tests.support.cluster import Cluster
from tests.support.reads import explained

#: Where the logs are kept.
KEPT = Path(os.environ.get("AUDIT_BENCH_DATA", "/var/tmp/flask-audit-logger-pages"))  # noqa: S108 - 9 GB

SETTINGS = {
    "shared_buffers": "1GB",
    "synchronous_commit": "off",
    "max_wal_size": "16GB",
    "maintenance_work_mem": "512MB",
}
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    load = [os.getloadavg()[0]]
    figures: dict[str, dict[int, Measured]] = {}
    files: list[File] = []
    texts = []
    for size in options.sizes:
        with Cluster(settings=SETTINGS, in_memory=False, kept=options.data) as cluster:
            log = open_log(cluster, size, keep=not options.anew)
            texts.append(log.text)
            print(log.text, flush=True)
            machine = described(log.application)
            for name, path in pages(log).items():
                if not options.only or any(part in name for part in options.only):
                    measured = measure(cluster, log, path, options)
                    figures.setdefault(name, {})[size] = measured
                    print(f"{name:55} {measured}", flush=True)
                    load.append(os.getloadavg()[0])
            if size == options.sizes[0] and (not options.only or "files" in options.only):
                files = list(measured_files(log, options.lines))
            log.application.dispose()
    report = page_report.Report(
        date=time.strftime("%Y-%m-%d"),
        machine=machine,
        load=[round(min(load), 1), round(max(load), 1)],
        rounds=options.rounds,
        logs=texts,
        figures=figures,
        files=files,
    )
    print(report.markdown())
    if options.save:
        report.save(RESULTS)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000], help="changes of each log")
    parser.add_argument("--rounds", type=int, default=5, help="how often each page is asked for (default: 5)")
    parser.add_argument("--only", nargs="+", help="parts of the names of pages; 'files' for long files")
    parser.add_argument(
        "--lines", type=int, nargs="+", default=[100_000, 1_000_000], help="how long files of the smallest log get"
    )
    parser.add_argument(
        "--cold", action="store_true", help="also once after the server was started, files not in memory"
    )
    parser.add_argument("--anew", action="store_true", help="make the logs anew")
    parser.add_argument("--save", action="store_true", help="write results/")
    parser.add_argument("--data", type=Path, default=KEPT, help=f"folder of the logs (default: {KEPT})")
    return parser.parse_args(arguments)


def pages(log: LargeLog) -> dict[str, str]:
    """What is asked for, by name."""
    middle, in_bulk, early, late, request, old = _places(log)
    month = f"since={old}&until={old.replace(day=28)}"
    busiest, ordinary = f"/record/products/{BUSIEST}", f"/record/products/{ORDINARY}"
    found = {
        "list": "/",
        "list, last 24 hours": "/?period=24h",
        "list, last 90 days": "/?period=90d",
        "list, last year": "/?period=last-year",
        "list, an old month": f"/?{month}",
        "list, all time": "/?period=all",
        "list, from the middle": f"/?period=all&before={middle}",
        "list, oldest first": "/?period=all&sort=time",
        "list, oldest of 30 days": "/?sort=time",
        "list, last page of 30 days": "/?after=0.0",
        "list, 200 rows": "/?limit=200",
        "table, common": "/?table=order_lines",
        "table, small": "/?table=currencies",
        "table, small, all time": "/?table=currencies&period=all",
        "table, unknown": "/?table=nothing&period=all",
        "tables, two": "/?table=settings&table=customers&period=90d",
        "table and key": "/?table=products&key=77&period=all",
        "verb, common": "/?verb=update",
        "verb, rare": "/?verb=truncate&period=all",
        "verb, without hits": "/?verb=snapshot&period=all",
        "verb of a table": "/?verb=delete&table=products&period=all",
        "verb of a table, without hits": "/?verb=delete&table=currencies&period=all",
        "column": "/?table=orders&col=state",
        "column that never changed": "/?table=order_lines&col=order_id&verb=update&period=all",
        "column value": "/?table=order_lines&field=quantity&became=7",
        "column value, without hits": "/?table=order_lines&field=quantity&became=7777&period=all",
        "actor, busy": "/?actor=1&period=all",
        "actor, rare, 30 days": "/?actor=401",
        "actor, rare": "/?actor=401&period=all",
        "actor, unknown": "/?actor=999&period=all",
        "actor not recorded": "/?actor=~none&period=all",
        "actor and table": "/?actor=1&table=currencies&period=all",
        "kind, common": "/?kind=user",
        "kind, service": "/?kind=service",
        "kind, rare": "/?kind=system&period=all",
        "kind, rare, and small table": "/?kind=system&table=currencies&period=all",
        "kind, actor and table, without hits": "/?kind=system&actor=1&table=orders&period=all",
        "impersonated": "/?impersonated=1&period=all",
        "impersonator": "/?impersonator=2&period=all",
        "impersonator, unknown": "/?impersonator=777&period=all",
        "address, common": "/?addr=192.0.2.1&period=all",
        "address, rare": f"/?addr={RARE_ADDRESS}&period=all",
        "address, unknown": "/?addr=203.0.113.9&period=all",
        "network, rare": "/?addr=198.51.100.0/24&period=all",
        "transaction as a filter": f"/?tx={log.last // 3}",
        "request": f"/?req={request}",
        "request, unknown": "/?req=nothing",
        "breakdown, 30 days": "/breakdown/facets",
        "breakdown, all time": "/breakdown/facets?period=all",
        "breakdown of an actor": "/breakdown/facets?actor=1&period=all",
        "breakdown of a table and column": "/breakdown/facets?table=orders&col=state&period=all",
        "breakdown of a rare table": "/breakdown/facets?table=currencies&period=all",
        "chart, 30 days": "/breakdown/histogram",
        "chart, all time": "/breakdown/histogram?period=all",
        "chart of an actor": "/breakdown/histogram?actor=1&period=all",
        "chart of a table and column": "/breakdown/histogram?table=orders&col=state&period=all",
        "chart of a rare table": "/breakdown/histogram?table=currencies&period=all",
        "list with breakdown": "/?breakdown=1",
        "a change": f"/activity/{middle}",
        "a change of the largest transaction": f"/activity/{in_bulk}",
        "record": ordinary,
        "record, deleted": f"/record/products/{DELETED}",
        "record, unknown": "/record/products/99999999",
        "record of 100,000 versions": busiest,
        "record of 100,000 versions, a column": f"{busiest}?col=price",
        "record of 100,000 versions, a column that never changed": f"{busiest}?col=name",
        "record of 100,000 versions, 30 days": f"{busiest}?period=30d",
        "record of 100,000 versions, an actor": f"{busiest}?actor=1",
        "record of 100,000 versions, older page": f"{busiest}?before={early}",
        "record of 100,000 versions, oldest page": f"{busiest}?after=0.0",
        "as of, ordinary": f"{ordinary}/at?time={old}",
        "as of, 100,000 versions": f"{busiest}/at?time={old}",
        "as of now, 100,000 versions": f"{busiest}/at",
        "compare, 100,000 versions": f"{busiest}/compare?from={early}&to={late}",
        "compare with the first, 100,000 versions": f"{busiest}/compare?from=first&to=last",
        "put back, 100,000 versions": f"{busiest}/revert?to={late}&side=before",
        "transactions": "/transactions",
        "transactions, all time": "/transactions?period=all",
        "transactions, large": "/transactions?min_rows=1000&period=all",
        "transactions of an actor": "/transactions?actor=1&period=all",
        "transactions of a table": "/transactions?table=currencies&period=all",
        "transactions of a path": "/transactions?path=/orders/1&period=all",
        "transactions of a path, without hits": "/transactions?path=/nowhere&period=all",
        "transactions of a verb": "/transactions?verb=truncate&period=all",
        "transaction": f"/transaction/{log.last // 3}",
        "transaction of 20,000 rows": f"/transaction/{log.large}",
        "transaction of 20,000 rows, newest": f"/transaction/{log.large}?before={END}",
        "transaction of very many rows": f"/transaction/{log.bulk}",
        "transaction of very many rows, a verb": f"/transaction/{log.bulk}?verb=delete",
        "transaction, unknown": f"/transaction/{log.last + 9}",
        "actor page, busy": "/actor/1",
        "actor page, rare": "/actor/401",
        "actor page, not recorded": "/actor/~none",
        "actor page, unknown": "/actor/999",
        "actor page, 30 days": "/actor/1?period=30d",
        "export, what": "/export",
        "export, CSV of 20,000 rows": f"/export.csv?tx={log.large}&period=all",
        "export, JSON of 20,000 rows": f"/export.jsonl?tx={log.large}&period=all",
        "help": "/help",
    }
    return {name: f"/audit{path}" for name, path in found.items()}


def _places(log: LargeLog) -> Any:
    """Changes in the middle, of the largest transaction, and two of the busiest record; a request; an old day."""
    app = log.application
    a, t = app.audit_logger.models.activity.c, app.audit_logger.models.transaction.c
    address = sa.select(sa.func.concat(a.transaction_id, ".", a.id))
    busiest = address.where(a.table_name == "products", a.record_key == str(BUSIEST)).order_by(a.id)
    is_request = sa.and_(t.id > log.last // 2, t.context.has_key("request_id"))
    statements = (
        address.where(a.transaction_id == log.last // 2).limit(1),
        address.where(a.transaction_id == log.bulk).limit(1),
        busiest.offset(1000).limit(1),
        busiest.offset(20_000).limit(1),
        sa.select(t.context["request_id"].astext).where(is_request).limit(1),
        sa.select(sa.cast(t.issued_at, sa.Date)).where(t.id == log.last // 4),
    )
    with app.app.app_context(), app.db.engine.connect() as connection:
        return [connection.scalar(statement) for statement in statements]


def measure(cluster: Cluster, log: LargeLog, path: str, options: argparse.Namespace) -> Measured:
    """One page: first cold, if that is wanted, then warm, then what it reads."""
    app = log.application
    measured = Measured(path)
    with app.app.app_context():
        engine = app.db.engine
    if options.cold:
        engine.dispose()
        cluster.stop()
        forget(cluster.data)
        cluster.start()
        started = time.perf_counter()
        measured.cold_status = ask(app, path)
        measured.cold_ms = round((time.perf_counter() - started) * 1000, 1)
    with counted(engine) as statements:
        measured.status = ask(app, path)
    measured.statements = len(statements)
    rounds = options.rounds if "export" not in path else 2
    for _ in range(rounds):
        with engine.connect() as connection:
            pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        server, client = computed(pid), time.thread_time()
        ask(app, path)
        client, server = time.thread_time() - client, computed(pid) - server
        measured.server_ms.append(round(server * 1000, 2))
        measured.python_ms.append(round(client * 1000, 2))
    with explained(engine) as reads:
        ask(app, path)
    measured.blocks, measured.rows = reads.blocks, reads.rows
    measured.executed_ms = round(reads.milliseconds, 2)
    measured.plans = [(statement, plan) for statement, plan in reads.plans if plan["Execution Time"] > 10]
    return measured


#: Long files: all values, a line for each column, records that have names.
FILES = {
    "CSV": "csv?period=all",
    "CSV, a line for each column": "csv?period=all&shape=field",
    "CSV of records with names": "csv?period=all&table=products",
    "JSON Lines": "jsonl?period=all",
}


def measured_files(log: LargeLog, lengths: Sequence[int]) -> Iterator[File]:
    """Files of which so many lines are read, with the memory that the process has more than before them."""
    app = log.application
    with app.app.app_context():
        engine = app.db.engine
    for name, path in FILES.items():
        stream(app, path, 5000)
        before = resident()
        for most in lengths:
            with engine.connect() as connection:
                pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            server, client, wall = computed(pid), time.thread_time(), time.perf_counter()
            lines, peak = stream(app, path, most)
            client, wall = time.thread_time() - client, time.perf_counter() - wall
            found = File(name, lines, client, computed(pid) - server, wall, round((peak - before) / 1e6, 1))
            print(found, flush=True)
            yield found


def stream(app: Application, path: str, most: int) -> tuple[int, int]:
    """Read so many lines of a file, or all; how many it had, and the most memory meanwhile."""
    lines = peak = 0
    with app.app.test_client().get(f"/audit/export.{path}", buffered=False) as response:
        for part in response.response:
            lines += bytes(part).count(b"\n")
            peak = max(peak, resident())
            if lines >= most:
                break
    return lines, peak


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ask(app: Application, path: str) -> int:
    """Ask for a page and read all of it."""
    with app.app.test_client().get(path, buffered=False) as response:
        for _ in response.response:
            pass
        return response.status_code


@contextmanager
def counted(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that are sent."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


def forget(folder: Path) -> None:
    """Let the system drop from memory what it has read of the files in a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def described(app: Application) -> str:
    with app.app.app_context(), app.db.engine.connect() as connection:
        version: Any = connection.scalar(sa.text("SHOW server_version"))
    model = "processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
    return f"{os.cpu_count()} cores ({model}), PostgreSQL {version.split()[0]}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
