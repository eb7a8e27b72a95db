"""``python -m tests.torture --seconds 60 --threads 16 [--kill]``: exits with 1 unless the log is exactly right."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path

from tests.support.cluster import Cluster
from tests.torture.run import switch_interval, torture


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="printed; the same one draws the same")
    parser.add_argument("--kill", action="store_true", help="kill the server with SIGKILL, again and again")
    options = parser.parse_args()
    # Users that can't be loaded because of a killed connection are told of at length.
    logging.getLogger("flask_audit_logger").setLevel(logging.ERROR)
    bindir = os.environ.get("AUDIT_TEST_PG_BINDIR")
    with Cluster(Path(bindir) if bindir else None) as cluster, switch_interval(0.001):
        print(f"seed {options.seed}", flush=True)
        report = torture(
            cluster.url(),
            seconds=options.seconds,
            threads=options.threads,
            seed=options.seed,
            cluster=cluster if options.kill else None,
        )
    print(report)
    lets_go = report.ancient == 0 or report.jobs == 0
    return 0 if report.verdict.is_clean and lets_go else 1


if __name__ == "__main__":
    raise SystemExit(main())
