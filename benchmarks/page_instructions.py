"""``python -m benchmarks.page_instructions [page …]``: what the server computes for a page, in instructions.

Time grows with a log for reasons that no query can change: what no longer fits a cache. Instructions don't. The
statements of a warm page are run once and twice by a single-user server under callgrind; the difference is the page.
It needs ``valgrind``, and the logs that ``make bench-pages`` keeps.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import sqlalchemy as sa

from benchmarks.page_log import LargeLog, open_log
from benchmarks.pages import KEPT, SETTINGS, ask, pages
from tests.support.cluster import Cluster

SIZES = (1_000_000, 10_000_000)


def main(wanted: list[str]) -> None:
    """Print for each page the instructions on both logs and their ratio."""
    statements: dict[str, dict[int, list[str]]] = {}
    with Cluster(settings=SETTINGS, in_memory=False, kept=KEPT) as cluster:
        for size in SIZES:
            log = open_log(cluster, size)
            for name, path in pages(log).items():
                if not name.startswith("export") and (not wanted or name in wanted):
                    statements.setdefault(name, {})[size] = sent(log, path)
    for name, of_size in statements.items():
        small, large = (instructions(cluster, f"pages_{size}", of_size[size]) for size in SIZES)
        print(f"{large / small:5.2f} {small / 1e6:8.1f} {large / 1e6:8.1f} million {name}", flush=True)


def sent(log: LargeLog, path: str) -> list[str]:
    """The statements of a page that was asked for before, with their values, one line each."""
    app, seen = log.application, []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        text = cursor.mogrify(statement, parameters).decode() if parameters else statement
        seen.append(" ".join(text.split("\n")) + ";\n")

    with app.app.app_context():
        engine = app.db.engine
    ask(app, path)
    sa.event.listen(engine, "before_cursor_execute", note)
    ask(app, path)
    sa.event.remove(engine, "before_cursor_execute", note)
    engine.dispose()
    return seen


def instructions(cluster: Cluster, database: str, statements: list[str]) -> int:
    """How many instructions the statements take a server that has run them once."""
    counted = []
    for times in (1, 2):
        server = [str(cluster.bindir / "postgres"), "--single", "-D", str(cluster.data), database]
        options = {"autovacuum": "off", "shared_buffers": "1GB", "max_parallel_workers_per_gather": "0"}
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *server[:-1]]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")] + server[-1:]
        if cluster.user:
            command = ["runuser", "-u", cluster.user, "--", *command]
        text = "".join(statements * times).replace("'statement_timeout', '3000'", "'statement_timeout', '0'")
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        if found is None or "ERROR" in done.stderr:
            raise SystemExit(done.stderr[-1000:])
        counted.append(int(found[1]))
    return counted[1] - counted[0]


if __name__ == "__main__":
    main(sys.argv[1:])
