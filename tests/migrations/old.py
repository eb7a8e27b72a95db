"""An application that ran with an older package for a while, in that package's own environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import flask_audit_logger
from tests.support.commands import Done, run_python

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("AUDIT_TEST_OLD_PYTHON") or ROOT / ".venv-old" / "bin" / "python")

needs_old_packages = pytest.mark.skipif(
    not PYTHON.exists(),
    reason=f"no flask-audit-logger 2.0.0 and postgresql-audit 0.18 at {PYTHON}: `make old-packages` installs them",
)

#: The same file runs with release 2.0.0 and with this package.
SHOP = """
import os
import sqlalchemy as sa
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, joinedload, mapped_column
from flask_audit_logger import AuditLogger

db = SQLAlchemy()
schema = os.environ.get("AUDIT_SCHEMA")

class User(db.Model):
    __tablename__ = "users"
    __table_args__ = ({"info": {"audit_logged": {"exclude": ["hair_color"]}}},)
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    name: Mapped[str]
    hair_color: Mapped[str | None]

class Line(db.Model):
    __tablename__ = "order lines"
    __table_args__ = ({"info": {"audit_logged": True}},)
    order_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    text: Mapped[str | None]

actor = {"id": None}
audit_logger = AuditLogger(
    db, get_actor_id=lambda: actor["id"], get_client_addr=lambda: "10.1.2.3", schema=schema
)

def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["URL"]
    db.init_app(app)
    Migrate(app, db, include_schemas=schema is not None)
    return app
"""

#: A life: with an actor, without one because of plain SQL, and both in one database transaction.
LIFE = """
from shop import *
with create_app().app_context():
    ann, ben = User(name="Ann", hair_color="red"), User(name="Ben")
    db.session.add_all([ann, ben])
    db.session.commit()
    actor["id"] = ann.id
    order = 2 * ann.id
    for number in range(3):
        db.session.add(Line(order_id=order, number=number, text="a"))
        db.session.commit()
        db.session.execute(sa.text(f"UPDATE \\"order lines\\" SET text = text || 'b' WHERE order_id = {order}"))
        db.session.commit()
    db.session.execute(sa.text("UPDATE users SET name = 'Benjamin' WHERE name = 'Ben'"))
    db.session.add(Line(order_id=order + 1, number=1))
    db.session.commit()
    db.session.delete(db.session.get(Line, (order, 2)))
    db.session.commit()
    ann.hair_color = "blue"
    db.session.commit()
    actor["id"] = None
"""

READ = """
from shop import *
import datetime
import json

def in_utc(time):
    return str(time if time.tzinfo is None else time.astimezone(datetime.timezone.utc).replace(tzinfo=None))

with create_app().app_context():
    activity = audit_logger.activity_cls
    for a in db.session.scalars(sa.select(activity).options(joinedload(activity.transaction)).order_by(activity.id)):
        t = a.transaction if a.transaction is not None and a.transaction.client_addr else None
        print(json.dumps({
            "id": a.id, "schema": a.schema, "table": a.table_name, "relid": a.relid, "verb": a.verb,
            "issued_at": in_utc(a.issued_at), "xid": a.native_transaction_id,
            "old": a.old_data, "changed": a.changed_data,
            "actor": t and t.actor and t.actor.name,
            "addr": t and str(t.client_addr).partition("/")[0],
            "started_at": t and in_utc(t.issued_at),
        }))
"""


class OldShop:
    """A folder with one application, which either package runs."""

    def __init__(self, folder: Path, shop: str = SHOP, **env: str) -> None:
        self.folder = folder
        self.env = env
        (folder / "shop.py").write_text(shop)

    def old(self, *words: str) -> str:
        """Run Python with the old packages."""
        done = subprocess.run(
            [PYTHON, *words],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return self._output(done)

    def new(self, *words: str, **env: str) -> str:
        """Run Python with this package."""
        env = {"PYTHONPATH": str(Path(flask_audit_logger.__file__).parents[1]), **env}
        return self._output(run_python(words, self.folder, self._environment() | env))

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return {**inherited, "FLASK_APP": "shop", **self.env}

    def _output(self, done: Done | subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def versions(self) -> list[Path]:
        """The migrations in the order in which they were written."""
        return sorted((self.folder / "migrations" / "versions").glob("*.py"), key=lambda path: path.stat().st_mtime_ns)
