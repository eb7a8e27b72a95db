"""A log of millions of changes with the skew of real ones, written by SQL and kept between runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditUI
from flask_audit_logger.ui import RevertPolicy, Viewer
from tests.support.apps import Application, make_app
from tests.support.cluster import Cluster
from tests.support.models import AUDITED, Models

DAYS = 730
#: Transactions for each change, versions of the record that is changed most, rows of a large transaction; the largest
#: one has a share of all changes.
PER_CHANGE, VERSIONS, LARGE, BULK_SHARE = 0.4, 100_000, 20_000, 0.05
#: What is as rare in a large log as in a small one: changes of a small table, transactions of a command, from an
#: address or on behalf of another, times a table was emptied.
RARE = {"currency": 200, "command": 20, "address": 12, "impersonated": 30, "emptied": 5}
#: Keys of products: the one changed most, one made and changed a few times, and one that is deleted.
BUSIEST, ORDINARY, DELETED = 42, 77, 78
RARE_ADDRESS = "198.51.100.7"

#: Evenly distributed from 0 to 1, always the same for a number.
RANDOM = """
CREATE FUNCTION pg_temp.rnd(bigint, bigint) RETURNS float8 LANGUAGE sql IMMUTABLE
RETURN (hashint8extended($1, $2) & 1073741823) / 1073741824.0
"""
TRANSACTIONS = """
INSERT INTO transaction (native_transaction_id, issued_at, actor_id, actor_label, client_addr, db_user,
                         application_name, context)
SELECT n, now() - make_interval(secs => (:last - n) * {seconds}),
       CASE WHEN is_user THEN actor::text END, CASE WHEN is_user THEN 'Person ' || actor END,
       CASE WHEN n % (:last / {address}) = 3 THEN '{rare_address}'::inet
            WHEN is_user THEN '192.0.2.0'::inet + (250 * pg_temp.rnd(n, 3) ^ 3)::int END,
       CASE WHEN kind < 0.995 THEN 'app' ELSE 'admin' END, CASE WHEN kind < 0.995 THEN 'shop' ELSE 'psql' END,
       CASE WHEN n % (:last / {command}) = 7 THEN '{{"command": "flask reindex"}}'
            WHEN is_user THEN jsonb_build_object(
                'method', 'POST', 'path', '/orders/' || n || '/edit', 'url_rule', '/orders/<int:number>/edit',
                'endpoint', 'orders.edit', 'request_id', md5(n::text),
                'user_agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0')
                || CASE WHEN n % (:last / {impersonated}) = 5
                        THEN '{{"impersonator": {{"id": "2", "label": "Support"}}}}'::jsonb ELSE '{{}}' END
            WHEN kind < 0.995 THEN '{{"job": "stock.refresh"}}' ELSE '{{}}' END
FROM generate_series(1, :last) AS n
CROSS JOIN LATERAL (SELECT pg_temp.rnd(n, 1) AS kind, 1 + (400 * pg_temp.rnd(n, 2) ^ 4)::int AS actor) AS r
CROSS JOIN LATERAL (SELECT kind < 0.93 AND n % (:last / {command}) <> 7 AS is_user) AS k
"""
ACTIVITIES = """
INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, changed_data,
                      transaction_id, record_key)
SELECT 'public', table_name, 0, t.issued_at, t.native_transaction_id, verb,
       CASE WHEN verb IN ('update', 'delete') THEN whole ELSE '{{}}' END,
       CASE verb WHEN 'insert' THEN whole WHEN 'update' THEN
           CASE WHEN table_name = 'products' THEN jsonb_build_object('price', round(whole['price']::numeric * 1.1, 2))
                WHEN table_name = 'orders' THEN '{{"state": "sent", "carrier": "Post"}}'
                WHEN table_name = 'customers' THEN jsonb_build_object('email', 'new' || row || '@example.org')
                WHEN table_name = 'settings' THEN '{{"value": "on"}}'
                WHEN table_name = 'currencies' THEN jsonb_build_object('rate', row % 90 / 100.0)
                ELSE jsonb_build_object('quantity', row % 9 + 2) END
       ELSE '{{}}' END,
       t.id, CASE WHEN verb <> 'truncate' THEN record::text END
FROM transaction AS t
CROSS JOIN LATERAL generate_series(1, CASE t.id WHEN :bulk THEN :bulk_rows WHEN :large THEN :large_rows
                                                ELSE 1 + (4 * pg_temp.rnd(t.id, 4) - 0.5)::int END) AS n
CROSS JOIN LATERAL (SELECT t.id * 1000003 + n AS row, t.id NOT IN (:bulk, :large) AS is_small) AS r
CROSS JOIN LATERAL (SELECT pg_temp.rnd(row, 5) AS which, pg_temp.rnd(row, 6) AS whose, pg_temp.rnd(row, 7) AS what) AS x
CROSS JOIN LATERAL (SELECT
    is_small AND n = 1 AND t.id % (:last / {currency}) = 11 AS is_currency,
    is_small AND n = 1 AND t.id % (:last / {emptied}) = 13 AS is_emptied,
    is_small AND n = 1 AND t.id % (:last / 13) = 17 AS is_ordinary,
    is_small AND n = 1 AND t.id % (:last / 4) = 19 AS is_deleted,
    is_small AND pg_temp.rnd(row, 8) < :busy AS is_busy) AS s
CROSS JOIN LATERAL (SELECT CASE
    WHEN is_currency THEN 'currencies'
    WHEN is_ordinary OR is_deleted OR is_busy THEN 'products'
    WHEN NOT is_small THEN 'order_lines'
    WHEN which < 0.55 OR is_emptied THEN 'order_lines'
    WHEN which < 0.80 THEN 'orders' WHEN which < 0.94 THEN 'products'
    WHEN which < 0.99 THEN 'customers' ELSE 'settings' END AS table_name) AS t2
CROSS JOIN LATERAL (SELECT CASE
    WHEN is_emptied THEN 'truncate' WHEN is_ordinary THEN CASE WHEN t.id < :last / 13 THEN 'insert' ELSE 'update' END
    WHEN is_deleted THEN CASE WHEN t.id < :last / 4 THEN 'insert'
                              WHEN t.id > :last * 3 / 4 THEN 'delete' ELSE 'update' END
    WHEN is_currency OR is_busy OR NOT is_small THEN 'update'
    WHEN what < 0.2 THEN 'insert' WHEN what < 0.21 THEN 'delete' ELSE 'update' END AS verb) AS v
CROSS JOIN LATERAL (SELECT CASE
    WHEN is_ordinary THEN {ordinary} WHEN is_deleted THEN {deleted} WHEN is_busy THEN {busiest}
    WHEN table_name = 'currencies' THEN row % 20 WHEN table_name = 'settings' THEN row % 300
    WHEN table_name = 'products' THEN 100 + (50000 * whose ^ 2)::int
    WHEN table_name = 'customers' THEN (:last / 20 * whose)::int
    WHEN table_name = 'orders' THEN (:last / 4 * whose)::int
    ELSE (:last * whose)::int END AS record) AS k
CROSS JOIN LATERAL (SELECT CASE table_name
    WHEN 'products' THEN jsonb_build_object(
        'id', record, 'name', 'Product ' || record, 'price', row % 500 + 0.99, 'stock', row % 50, 'active', true,
        'description', repeat('soft, warm and made to last; ', 4), 'category_id', record % 12)
    WHEN 'orders' THEN jsonb_build_object(
        'id', record, 'customer_id', record % 1000, 'state', 'paid', 'carrier', NULL, 'total', row % 900 + 0.5,
        'placed_at', t.issued_at, 'note', NULL)
    WHEN 'customers' THEN jsonb_build_object(
        'id', record, 'name', 'Customer ' || record, 'email', 'c' || record || '@example.org',
        'city', 'Town ' || row % 90)
    WHEN 'settings' THEN jsonb_build_object('id', record, 'name', 'setting.' || record, 'value', 'off')
    WHEN 'currencies' THEN jsonb_build_object('id', record, 'name', 'C' || record, 'rate', row % 90 / 100.0 + 0.05)
    ELSE jsonb_build_object(
        'id', record, 'order_id', record % 5000, 'product_id', 100 + record % 50000, 'quantity', row % 9 + 1,
        'price', row % 500 + 0.99) END AS whole) AS w
"""
#: The indexes and keys of the log, to be made when the rows are there.
INDEXES = """
SELECT CASE WHEN o.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
            ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', i.indrelid::regclass, o.conname) END,
       CASE WHEN o.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
            ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, o.conname,
                        pg_get_constraintdef(o.oid)) END
FROM pg_index AS i
LEFT JOIN pg_constraint AS o ON o.conindid = i.indexrelid
WHERE i.indrelid IN ('activity'::regclass, 'transaction'::regclass)
"""


@dataclass(frozen=True)
class LargeLog:
    """An application with such a log."""

    application: Application
    #: What it is made of, in words.
    text: str
    #: Its last transaction, the one of many rows, and the one of most.
    last: int
    large: int
    bulk: int


def open_log(cluster: Cluster, activities: int, *, keep: bool = True) -> LargeLog:
    """The application on a log of so many activities, which is made unless there is one that is still fresh.

    :param keep: whether a log made earlier will do.
    """
    name = f"pages_{activities}"
    admin = sa.create_engine(cluster.url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        known = sa.text("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :name")
        found = connection.execute(known, {"name": name}).first()
        # the last 30 days must not be empty
        fresh = sa.text("SELECT :made > now() - interval '2 days'")
        if found is not None and not (keep and found[0] and connection.scalar(fresh, {"made": found[0]})):
            connection.exec_driver_sql(f"DROP DATABASE {name}")
            found = None
        if found is None:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    ui = AuditUI(permission=lambda action, target: True, viewer=lambda: Viewer("1", "Reader"), revert=RevertPolicy())
    # one connection, so that one process of the server does all the work
    options = {"pool_size": 1, "max_overflow": 0, "connect_args": {"options": "-c max_parallel_workers_per_gather=0"}}
    config = {
        "SQLALCHEMY_ENGINE_OPTIONS": options,
        "AUDIT_UI_EXPORT_MAX_ROWS": 10_000_000,
        "AUDIT_UI_EXPORT_TIMEOUT_MS": 600_000,
    }
    app = make_app(cluster.url(name), declare=declare, create_all=found is None, ui=ui, config=config)
    log = planned(app, activities)
    if found is None:
        fill(log, activities)
        with admin.connect() as connection:  # last, so that a log that is half made is not taken for one
            made = connection.scalar(sa.text("SELECT now()::text"))
            connection.exec_driver_sql(f"COMMENT ON DATABASE {name} IS '{made}'")
    return replace(log, text=_described(app))


def planned(app: Application, activities: int) -> LargeLog:
    """A log of so many changes that is still to be filled."""
    last = int(activities * PER_CHANGE)
    return LargeLog(app, "", last, large=last - last // 20, bulk=last - last // 240)


def declare(db: SQLAlchemy) -> Models:
    """A shop of six audited tables."""
    integer, text, number = sa.Integer, sa.Text, sa.Numeric

    def table(cls: str, called: str, /, **columns: object) -> type:
        made = {"__tablename__": called, "__table_args__": (AUDITED,), "id": sa.Column(integer, primary_key=True)}
        return type(cls, (db.Model,), {**made, **columns})

    column = sa.Column
    return Models(
        Product=table(
            "Product", "products", name=column(text), price=column(number), stock=column(integer),
            active=column(sa.Boolean), description=column(text), category_id=column(integer),
        ),
        Customer=table("Customer", "customers", name=column(text), email=column(text), city=column(text)),
        Order=table(
            "Order", "orders", customer_id=column(sa.ForeignKey("customers.id")), state=column(text),
            carrier=column(text), total=column(number), placed_at=column(sa.DateTime(timezone=True)), note=column(text),
        ),
        OrderLine=table(
            "OrderLine", "order_lines", order_id=column(sa.ForeignKey("orders.id")),
            product_id=column(sa.ForeignKey("products.id")), quantity=column(integer), price=column(number),
        ),
        Setting=table("Setting", "settings", name=column(text), value=column(text)),
        Currency=table("Currency", "currencies", name=column(text), rate=column(number)),
    )  # fmt: skip


def fill(log: LargeLog, activities: int) -> None:
    """Write so many changes into an empty log."""
    values = {"last": log.last, "bulk": log.bulk, "large": log.large, "large_rows": min(LARGE, activities // 10)}
    values |= {"bulk_rows": int(activities * BULK_SHARE), "busy": min(VERSIONS / activities, 0.3)}
    words = RARE | {"ordinary": ORDINARY, "deleted": DELETED, "busiest": BUSIEST, "rare_address": RARE_ADDRESS}
    with log.application.app.app_context(), log.application.db.engine.begin() as connection:
        indexes = connection.execute(sa.text(INDEXES)).all()
        for drop, _ in indexes:
            connection.exec_driver_sql(drop)
        connection.exec_driver_sql(RANDOM)
        connection.execute(sa.text(TRANSACTIONS.format(seconds=DAYS * 86400 / log.last, **words)), {"last": log.last})
        connection.execute(sa.text(ACTIVITIES.format(**words)), values)
        for _, make in indexes:
            connection.exec_driver_sql(make.replace(" ON ONLY ", " ON "))  # of a partitioned table, on its parts, too
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for number in (BUSIEST, ORDINARY):
            state = sa.text("INSERT INTO products (id, name) VALUES (:id, :name)")
            connection.execute(state, {"id": number, "name": f"Product {number}"})
    with log.application.app.app_context(), log.application.db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM (FREEZE, ANALYZE)")


def _described(app: Application) -> str:
    sizes = sa.text(
        "SELECT (SELECT count(*) FROM activity), (SELECT count(*) FROM transaction),"
        " pg_size_pretty(pg_total_relation_size('activity') + pg_total_relation_size('transaction'))"
    )
    with app.app.app_context(), app.db.engine.connect() as connection:
        changes, transactions, size = connection.execute(sizes).one()
    return f"{changes:,} changes in {transactions:,} transactions over {DAYS} days, {size}"
