"""The whole run: a server, threads, kills, and the comparison at the end."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.growth.maintain import maintain
from flask_audit_logger.growth.months import rotate
from tests.support.apps import LAYOUT, Application, make_app
from tests.support.cluster import Cluster
from tests.support.server import DRIVERS, plain_engine
from tests.torture.model import BY_HAND, Verdict, by_transaction, compare, entry_of, replay
from tests.torture.wilder import ALTERATIONS, PICKY, THREADS, draw_options, stored
from tests.torture.work import DATABASE_SIDE, SHARED_ROWS, Worker, declare_torture

APPLICATION_NAME = "torture"

_LOG = sa.text(
    """
    SELECT a.verb, a.table_name, a.record_key, a.old_data, a.changed_data, a.native_transaction_id, t.actor_id
    FROM activity AS a
    LEFT JOIN transaction AS t ON t.id = a.transaction_id AND t.native_transaction_id = a.native_transaction_id
    WHERE a.id > :start AND a.verb <> 'pruned' AND a.table_name <> 'ancient'
    ORDER BY a.id
    """
)
#: Entries of years ago, in a log that is kept in months: the job lets go of them.
_ANCIENT = """
    WITH old AS (
        INSERT INTO transaction (native_transaction_id, issued_at) VALUES (0, now() - interval '3 years') RETURNING *
    )
    INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, transaction_id)
    SELECT 'public', 'ancient', 0, issued_at, native_transaction_id, 'insert', id FROM old, generate_series(1, 20000)
"""


@dataclass
class Report:
    """What happened, and what the log has of it."""

    verdict: Verdict
    threads: int
    rolled_back: int
    in_doubt: int
    kills: int
    altered: int
    months: int
    jobs: int
    ancient: int

    def __str__(self) -> str:
        v = self.verdict
        return "\n".join(
            [
                f"threads {self.threads}, transactions {v.transactions} committed and {self.rolled_back} rolled back, "
                f"{self.in_doubt} in doubt, activities {v.activities}, kills {self.kills}, "
                f"altered by hand {self.altered}, months begun {self.months}, "
                f"jobs of maintain {self.jobs}, entries left that are due {self.ancient}",
                f"missed {v.missed}, extra {v.extra}, wrong actor {v.wrong_actor}, wrong order {v.wrong_order} "
                f"(unknown actor {v.unknown})",
                *v.examples,
            ]
        )


def torture(
    url: URL,
    *,
    seconds: float,
    threads: int,
    seed: int,
    cluster: Cluster | None = None,
    app_url: URL | None = None,
) -> Report:
    """Run threads on an empty database and compare the log with what they did.

    :param cluster: the server, if it is to be killed; else single connections are.
    :param app_url: where the applications connect, if not directly.
    """
    folder = tempfile.TemporaryDirectory(prefix="audit-torture-")
    applications = _applications(url, app_url or url, seed, folder.name)
    with plain_engine(url).begin() as connection:
        connection.exec_driver_sql(DATABASE_SIDE)
        if LAYOUT == "month":
            connection.exec_driver_sql(_ANCIENT)
        for id_ in SHARED_ROWS:
            connection.exec_driver_sql("INSERT INTO shared VALUES (%s, '')", (id_,))
        start = connection.scalar(sa.text("SELECT max(id) FROM activity"))
    kills = altered = jobs = 0
    months = _begin_month(url, 0) if LAYOUT == "month" else 0  # so that there is a month to archive
    workers = [Worker(applications, number, seed) for number in range(1, threads + 1)]
    until = time.monotonic() + seconds
    failures: list[BaseException] = []
    running = [threading.Thread(target=_guarded, args=(worker.run, until, failures)) for worker in workers]
    for thread in running:
        thread.start()
    disturb = _kill_server(cluster) if cluster else _kill_connections(url)
    rng = random.Random(seed)
    while time.monotonic() < until and not failures:
        time.sleep(rng.uniform(1, 3) if cluster else rng.uniform(0.05, 0.4))
        kills += next(disturb)
        altered += _alter_by_hand(url, rng)
        if LAYOUT == "month" and rng.random() < 0.3:
            months += _begin_month(url, months)
            jobs += _do_the_job(url, applications[0])
        if rng.random() < 0.1:
            with (app := rng.choice(applications)).app.app_context():
                app.db.engine.dispose()
    for thread in running:
        thread.join()
    for app in applications:
        app.dispose()
    folder.cleanup()
    # A connection that was in use when its engine was disposed of went back to a pool that nobody has any more.
    gc.collect()
    if failures:
        raise failures[0]
    return Report(
        verdict=_judge(url, workers, start or 0),
        threads=threads,
        rolled_back=sum(worker.rolled_back for worker in workers),
        in_doubt=sum(worker.in_doubt for worker in workers),
        kills=kills,
        altered=altered,
        months=months,
        jobs=jobs,
        ancient=_ancient(url),
    )


def _applications(url: URL, app_url: URL, seed: int, archive: str) -> list[Application]:
    made = []
    growth = {"keep": {"*": "1y"}, "archive": archive} if LAYOUT == "month" else {}
    for driver in DRIVERS:
        arguments: dict[str, Any] = {"application_name": APPLICATION_NAME}
        if driver == "psycopg" and app_url is not url:
            arguments["prepare_threshold"] = None  # a pooler may give each transaction another connection
        options = {"pool_size": 20, "max_overflow": 40, "connect_args": arguments}
        made.append(
            make_app(
                app_url.set(drivername=f"postgresql+{driver}"),
                declare=partial(declare_torture, seed=seed),
                create_all=False,
                db_options={"engine_options": options},
                **growth,
            )
        )
    with made[0].app.app_context():
        made[0].db.create_all()
    return made


def _guarded(work: Callable[[float], None], until: float, failures: list[BaseException]) -> None:
    try:
        work(until)
    except BaseException as error:
        failures.append(error)


def _kill_connections(url: URL) -> Iterator[int]:
    query = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = :name ORDER BY random() LIMIT 1"
    )
    engine = plain_engine(url)
    while True:
        with engine.connect() as connection:
            yield len(connection.execute(query, {"name": APPLICATION_NAME}).all())


def _kill_server(cluster: Cluster) -> Iterator[int]:
    while True:
        cluster.kill()
        cluster.start()
        yield 1


def _alter_by_hand(url: URL, rng: random.Random) -> int:
    """Change a table while others write it, unless it can't be had at once."""
    with contextlib.suppress(sa.exc.DBAPIError), plain_engine(url).begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '300ms'")
        connection.exec_driver_sql(rng.choice(ALTERATIONS))
        return 1
    return 0


def _begin_month(url: URL, number: int) -> int:
    """Begin months that are yet to come, one after the other."""
    with contextlib.suppress(ConfigurationError):
        return rotate(plain_engine(url), None, f"{2100 + number // 12}_{number % 12 + 1:02}", patience=1)
    return 0


def _do_the_job(url: URL, app: Application) -> int:
    """What ``flask audit maintain`` does: archive the months that are over, let go of what is due."""
    with contextlib.suppress(ConfigurationError, sa.exc.DBAPIError):
        maintain(plain_engine(url), app.db.metadata)
        return 1
    return 0


def _ancient(url: URL) -> int:
    """How many of the entries are left that the job should have let go of."""
    with plain_engine(url).connect() as connection:
        left = "SELECT count(*) FROM activity WHERE table_name = 'ancient' AND verb <> 'pruned'"
        return int(connection.exec_driver_sql(left).scalar() or 0)


def _judge(url: URL, workers: list[Worker], start: int) -> Verdict:
    expected = [transaction for worker in workers for transaction in worker.committed]
    with plain_engine(url).connect() as connection:
        rows = connection.execute(_LOG, {"start": start}).all()
        verdict = compare(expected, dict(by_transaction(rows)))
        options = {f"picky_{number}": draw_options(workers[0].seed, number) for number in PICKY}
        # what a change of an ignored column alone left is not in the log
        ignored = {table: {BY_HAND, *drawn.get("ignore", ())} for table, drawn in options.items()}
        begin = [
            entry_of(row).without(ignored.get(row.table_name, set()))
            for row in connection.execute(_LOG, {"start": 0}).all()
        ]
        found = replay(begin, verdict)
        scratch = [f"scratch_{number}" for number in THREADS]
        for table in ("items", "shared", "marks", "parts", *scratch, *options):
            there = {
                (table, str(row["id"])): stored(
                    options.get(table, {}),
                    {name: value for name, value in row.items() if name not in ignored.get(table, {BY_HAND})},
                )
                for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()
            }
            logged = {key: row for key, row in found.items() if key[0] == table}
            verdict.complain("missed", sum(logged.get(key) != row for key, row in there.items()), f"rows of {table}")
            verdict.complain("extra", len(logged.keys() - there.keys()), f"rows of {table}")
    return verdict


@contextlib.contextmanager
def switch_interval(seconds: float) -> Iterator[None]:
    """Let threads take turns more often than they usually do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
