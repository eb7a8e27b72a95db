"""The databases that are compared: each has the same table ``item`` and another way of logging it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditLogger
from flask_audit_logger.capture.actors import Actor
from flask_audit_logger.capture.stamp import make_stamp

HERE = Path(__file__).parent
PEERS = HERE / "peers"

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
class Peer:
    """A package that records changes.

    :param script: the file of ``peers/`` that sets it up.
    :param wanted: what its environment ``.venv-bench-<name>`` has beside Flask-SQLAlchemy; nothing: the environment of
        this process.
    """

    script: str
    wanted: tuple[str, ...] = ()

    def python(self, name: str) -> str:
        """The interpreter of its environment, which is made if it is missing."""
        if not self.wanted:
            return sys.executable
        folder = HERE.parent / f".venv-bench-{name.replace(' ', '-')}"
        python = folder / "bin" / "python"
        if not (folder / ".ready").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            wanted = ["Flask-SQLAlchemy", "psycopg2-binary", *self.wanted]
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
            (folder / ".ready").touch()
        return str(python)

    def command(self, name: str, mode: str, url: sa.URL) -> list[str]:
        return [self.python(name), str(PEERS / self.script), mode, url.render_as_string(hide_password=False)]


@dataclass(frozen=True)
class Variant:
    """One way of logging.

    :param install: makes the log, and the table ``item`` if it is not there, in the database of a URL.
    :param said: the statements that the package sends before the first write of a transaction, to say who writes.
    :param prefix: what it sends in one query with that write instead.
    :param log: the tables that logging fills, the one with a row per change first.
    :param peer: how an application with it is run.
    """

    name: str
    install: Callable[[sa.URL], None] | None = None
    said: tuple[str, ...] = ()
    prefix: str = ""
    log: tuple[str, ...] = ()
    peer: Peer | None = None

    def installed(self, url: sa.URL) -> Variant:
        """Make its tables; what a package says is known when it has made them."""
        if self.install is not None:
            run(url, [ITEM_TABLE])
            self.install(url)
            return self
        assert self.peer is not None
        command = self.peer.command(self.name, "install", url)
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        told = json.loads(printed)
        return replace(self, said=tuple(told["said"]), log=tuple(told["log"]))


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


def run(url: sa.URL, statements: list[str]) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    engine.dispose()


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
    Variant("ours", install_ours, prefix=SAYING, log=("activity", "transaction"), peer=Peer("ours.py")),
    # Its migrations fail on Alembic 1.18; its SQL is the same on every version.
    Variant("2.0.0", peer=Peer("release_2.py", ("flask-audit-logger==2.0.0", "alembic<1.18"))),
    Variant("postgresql-audit", peer=Peer("per_postgresql_audit.py", ("postgresql-audit",))),
    Variant("flask-postgresql-audit", peer=Peer("per_flask_postgresql_audit.py", ("flask-postgresql-audit",))),
    Variant("continuum", peer=Peer("continuum.py", ("SQLAlchemy-Continuum",))),
)
