"""The four databases that are compared: each has the same table ``item`` and another way of logging it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditLogger
from flask_audit_logger.capture.actors import Actor
from flask_audit_logger.capture.stamp import make_stamp

HERE = Path(__file__).parent
RELEASE = "2.0.0"
RELEASE_VENV = HERE.parent / f".venv-bench-{RELEASE}"

#: Ten columns of the kinds that a web application has.
ITEM_TABLE = """
CREATE TABLE item (
    id bigint PRIMARY KEY, name text NOT NULL, description text, price numeric(10, 2) NOT NULL,
    stock integer NOT NULL, active boolean NOT NULL, weight double precision, attributes jsonb,
    created_at timestamptz NOT NULL, updated_at timestamptz
)
"""

FLOOR = [
    "CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, row_data jsonb NOT NULL)",
    """
    CREATE FUNCTION log_new() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO log (row_data) SELECT to_jsonb(n) FROM new_table n; RETURN NULL; END $$
    """,
    """
    CREATE FUNCTION log_old() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO log (row_data) SELECT to_jsonb(o) FROM old_table o; RETURN NULL; END $$
    """,
    "CREATE TRIGGER log_insert AFTER INSERT ON item REFERENCING NEW TABLE AS new_table EXECUTE FUNCTION log_new()",
    "CREATE TRIGGER log_update AFTER UPDATE ON item REFERENCING NEW TABLE AS new_table EXECUTE FUNCTION log_new()",
    "CREATE TRIGGER log_delete AFTER DELETE ON item REFERENCING OLD TABLE AS old_table EXECUTE FUNCTION log_old()",
]


@dataclass(frozen=True)
class Variant:
    """One way of logging.

    :param install: makes the log for the table ``item``, which is there, in the database of a URL.
    :param attribution: says who is writing, as the package does it in an application; once per transaction.
    :param prefix: what the package sends in one query with the first statement of a transaction, to say the same.
    :param log: the tables that logging fills, the one with a row per change first.
    """

    name: str
    install: Callable[[sa.URL], None]
    attribution: Callable[[Any], None] | None = None
    prefix: str = ""
    log: tuple[str, ...] = field(default=())


def install_nothing(url: sa.URL) -> None:
    """No audit at all."""


def install_floor(url: sa.URL) -> None:
    """The least that a trigger can do: a copy of the row as JSON."""
    run(url, FLOOR)


def install_ours(url: sa.URL) -> None:
    """This package, as ``db.create_all()`` sets it up."""
    app = Flask("benchmark")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)

    class User(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        id = sa.Column(sa.BigInteger, primary_key=True)

    with app.app_context():
        sa.Table("item", db.metadata, autoload_with=db.engine, info={"audit_logged": True})
        AuditLogger(db).init_app(app)
        db.create_all()
        db.engine.dispose()


def install_release(url: sa.URL) -> None:
    """The published release, with the SQL that it would put into a migration."""
    python = RELEASE_VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(RELEASE_VENV)], check=True)
        # Its migrations fail on Alembic 1.18; its SQL is the same on every version.
        wanted = [f"flask-audit-logger=={RELEASE}", "alembic<1.18"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    printed = subprocess.run([str(python), str(HERE / "release_ddl.py")], check=True, capture_output=True, text=True)
    run(url, json.loads(printed.stdout))


def run(url: sa.URL, statements: list[str]) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    engine.dispose()


def say_release(connection: Any) -> None:
    """What the release sends before a flush."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO transaction (native_transaction_id, issued_at, client_addr, actor_id)"
            " VALUES (txid_current(), now() AT TIME ZONE 'UTC', %s, %s)"
            " ON CONFLICT ON CONSTRAINT transaction_unique_native_tx_id DO NOTHING",
            ("192.0.2.1", 1),
        )


STAMP = make_stamp(
    Actor(id="1", label="Ann"),
    "192.0.2.1",
    {"method": "POST", "path": "/products/1", "endpoint": "products.edit", "user_agent": "Mozilla/5.0"},
    is_captured=True,
)

#: As psycopg2 sends it: together with the statement.
SAYING = f"SELECT set_config('flask_audit_logger.context', '{STAMP.context.replace(chr(39), chr(39) * 2)}', true);\n"

VARIANTS = (
    Variant("no audit", install_nothing),
    Variant("floor", install_floor, log=("log",)),
    Variant(
        "ours",
        install_ours,
        prefix=SAYING,
        log=("activity", "transaction"),
    ),
    Variant(
        f"release {RELEASE}",
        install_release,
        attribution=say_release,
        log=("activity", "transaction"),
    ),
)
