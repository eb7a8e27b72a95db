"""``python -m benchmarks.pages``: how long the pages take on a large log, through Flask's test client."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditUI
from flask_audit_logger.ui import Viewer
from tests.support.apps import Application, make_app
from tests.support.cluster import Cluster
from tests.support.models import AUDITED, Models

SETTINGS = {
    "shared_buffers": "1GB",
    "synchronous_commit": "off",
    "max_wal_size": "16GB",
    "maintenance_work_mem": "512MB",
}
DAYS = 730
#: Activities of a transaction, and of the one transaction that changed everything.
PER_TRANSACTION = 3
HUGE = 120_000

TRANSACTIONS = """
INSERT INTO transaction (native_transaction_id, issued_at, actor_id, actor_label, client_addr, db_user,
                         application_name, context)
SELECT n, now() - make_interval(secs => (:last - n) * {seconds}), nullif(n % 40, 0)::text, 'Person ' || n % 40,
       ('192.0.2.' || n % 250)::inet, 'app', 'shop', '{{"method": "POST", "path": "/products/1/edit"}}'
FROM generate_series(1, :last) AS n
"""
ACTIVITIES = """
INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, changed_data,
                      transaction_id, record_key)
SELECT 'public', CASE WHEN row % 10 < 7 THEN 'products' ELSE 'orders' END, 0, t.issued_at, t.native_transaction_id,
       'update',
       jsonb_build_object('id', record, 'name', 'Record ' || record, 'price', row % 500 + 0.99, 'stock', row % 50),
       CASE WHEN row % 3 = 0 THEN jsonb_build_object('price', row % 500 + 1.49)
            ELSE jsonb_build_object('stock', row % 50 + 1) END,
       t.id, record::text
FROM transaction AS t
CROSS JOIN LATERAL generate_series(1, CASE WHEN t.id = :huge THEN :rows ELSE :each END) AS n
CROSS JOIN LATERAL (SELECT t.id * :each + n AS row) AS r
CROSS JOIN LATERAL (SELECT CASE WHEN row % 20 = 0 THEN 1 ELSE row % 100000 END AS record) AS k
ORDER BY t.id
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    with Cluster(settings=SETTINGS, in_memory=False) as cluster:
        ui = AuditUI(permission=lambda action, target: True, viewer=lambda: Viewer("1", "Reader"))
        app = make_app(cluster.url(), declare=declare, ui=ui)
        log = fill(app, options.activities)
        pages = addresses(app)
        print(f"{machine(app)}; {log}; {options.rounds} rounds\n", flush=True)
        times: dict[str, list[float]] = {name: [] for name in pages}
        for _ in range(options.rounds + 1):
            for name, path in pages.items():
                times[name].append(timed(app, path))
        print("| page | median, ms | 95th percentile, ms | most, ms |\n|---|---|---|---|")
        for name, measured in times.items():
            kept = [seconds * 1000 for seconds in measured[1:]]  # the first one fills caches
            print(f"| {name} | {median(kept):.0f} | {quantiles(kept, n=20)[-1]:.0f} | {max(kept):.0f} |")
        app.dispose()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--activities", type=int, default=2_000_000, help="size of the log (default: 2,000,000)")
    parser.add_argument("--rounds", type=int, default=40, help="how often each page is asked for (default: 40)")
    return parser.parse_args(arguments)


def declare(db: SQLAlchemy) -> Models:
    """Two audited tables."""

    class Product(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "products"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)
        price = sa.Column(sa.Numeric)
        stock = sa.Column(sa.Integer)

    class Order(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "orders"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)
        price = sa.Column(sa.Numeric)
        stock = sa.Column(sa.Integer)

    return Models(Product=Product, Order=Order)


def fill(app: Application, activities: int) -> str:
    """Write two years of changes; one record has a twentieth of them, one transaction 120,000."""
    last = max((activities - HUGE) // PER_TRANSACTION, 10)
    with app.app.app_context(), app.db.engine.begin() as connection:
        connection.execute(sa.text(TRANSACTIONS.format(seconds=DAYS * 86400 / last)), {"last": last})
        values = {"huge": last // 2, "rows": HUGE, "each": PER_TRANSACTION}
        connection.execute(sa.text(ACTIVITIES), values)
    with app.app.app_context(), app.db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
        sizes = connection.execute(
            sa.text(
                "SELECT (SELECT count(*) FROM activity), (SELECT count(*) FROM transaction),"
                " pg_size_pretty(pg_total_relation_size('activity') + pg_total_relation_size('transaction'))"
            )
        ).one()
    return f"{sizes[0]:,} activities in {sizes[1]:,} transactions over {DAYS} days, {sizes[2]}"


def addresses(app: Application) -> dict[str, str]:
    """The pages that are timed."""
    a = app.audit_logger.models.activity.c
    with app.app.app_context(), app.db.engine.connect() as connection:
        middle = connection.scalar(sa.select(sa.func.max(a.id) // 2))
        old, huge = connection.execute(sa.select(a.record_key, a.transaction_id).where(a.id == middle)).one()
        address = sa.select(sa.func.concat(a.transaction_id, ".", a.id))
        versions = list(connection.scalars(address.where(a.record_key == old, a.table_name == "products").limit(2)))
    table = f"/audit/record/products/{old}"
    return {
        "list, last 30 days": "/audit/",
        "list, all time": "/audit/?period=all",
        "list, second page, all time": f"/audit/?period=all&before={huge}.{middle}",
        "list, one table and column, 90 days": "/audit/?period=90d&table=orders&col=price",
        "list, one actor, last year": "/audit/?period=last-year&actor=7",
        "list, a search that finds nothing, 30 days": "/audit/?col=name",
        "one change": f"/audit/activity/{huge}.{middle}",
        "a record": table,
        "a record with 5 % of all changes": "/audit/record/products/1",
        "a record as of a time": f"{table}/at?time=2026-01-01",
        "two versions compared": f"{table}/compare?from={versions[0]}&to={versions[-1]}",
        "transactions, last 30 days": "/audit/transactions",
        "transactions of 1,000 rows and more, all time": "/audit/transactions?period=all&min_rows=1000",
        "a transaction of 3 rows": f"/audit/transaction/{huge + 5}",
        "a transaction of 120,000 rows": f"/audit/transaction/{huge}",
        "an actor": "/audit/actor/7",
        "histogram, last 30 days": "/audit/breakdown/histogram",
        "breakdown, last 30 days": "/audit/breakdown/facets",
    }


def timed(app: Application, path: str) -> float:
    started = time.perf_counter()
    with app.app.test_client().get(path) as response:
        passed = time.perf_counter() - started
        if response.status_code not in (200, 503):
            raise SystemExit(f"{path}: {response.status}")
    return passed


def machine(app: Application) -> str:
    with app.app.app_context(), app.db.engine.connect() as connection:
        version: Any = connection.scalar(sa.text("SHOW server_version"))
    return f"PostgreSQL {version}, Python {platform.python_version()}, {platform.machine()}"


if __name__ == "__main__":
    main()
