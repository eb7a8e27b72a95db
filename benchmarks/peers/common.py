"""What the scripts of this folder share. Each runs in the environment of its package::

python benchmarks/peers/<package>.py install <URL>   # make the tables; print what is sent before a write, as JSON
python benchmarks/peers/<package>.py audited <URL>   # serve requests; a line with their number on stdin starts them
python benchmarks/peers/<package>.py plain <URL>     # the same without the package
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import JSONB

ACTOR = 1
ADDRESS = "192.0.2.1"

#: What packages send that make the row of a transaction by themselves.
INSERT_TRANSACTION = (
    "INSERT INTO {table} (native_transaction_id, issued_at, client_addr, actor_id)"
    " VALUES ({xid}, now() AT TIME ZONE 'UTC', '192.0.2.1', {actor}) ON CONFLICT ON CONSTRAINT {constraint} DO NOTHING"
)


def columns() -> dict[str, Any]:
    """The ten columns of the table ``item``."""
    return {
        "id": sa.Column(sa.BigInteger, primary_key=True, autoincrement=False),
        "name": sa.Column(sa.Text, nullable=False),
        "description": sa.Column(sa.Text),
        "price": sa.Column(sa.Numeric(10, 2), nullable=False),
        "stock": sa.Column(sa.Integer, nullable=False),
        "active": sa.Column(sa.Boolean, nullable=False),
        "weight": sa.Column(sa.Float(53)),
        "attributes": sa.Column(JSONB),
        "created_at": sa.Column(sa.DateTime(timezone=True), nullable=False),
        "updated_at": sa.Column(sa.DateTime(timezone=True)),
    }


def model(db: Any, *bases: Any, **extra: Any) -> Any:
    """The class ``Item``."""
    return type(db.Model)("Item", (*bases, db.Model), {"__tablename__": "item", **columns(), **extra})


def user(db: Any) -> Any:
    """The class of actors that some packages insist on."""
    return type(db.Model)(
        "User", (db.Model,), {"__tablename__": "users", "id": sa.Column(sa.BigInteger, primary_key=True)}
    )


def main(audit: Callable[[Flask, Any], tuple[Any, Callable[[], None]]], said: list[str], log: list[str]) -> None:
    """
    :param audit: sets the package up; gives the class ``Item`` and what makes the tables.
    :param said: the statements that the package sends before the first write of a transaction.
    :param log: the tables that it fills, the one with a row per change first.
    """
    command, url = sys.argv[1:]
    app = Flask("bench")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 1, "max_overflow": 0}
    db = SQLAlchemy(app)
    item, create = (model(db), db.create_all) if command == "plain" else audit(app, db)
    with app.app_context():
        sa.orm.configure_mappers()
        if command == "install":
            create()
            print(json.dumps({"said": said, "log": log}))
            return
    serve(app, db, item)


def serve(app: Flask, db: Any, item: Any) -> None:
    """Answer each line "<first id> <number>" with the processor time of that many requests, in nanoseconds."""

    @app.post("/items/<int:number>")
    def create(number: int) -> Any:
        db.session.add(
            item(
                id=number, name="New", description="A description", price=9, stock=1, active=True, weight=0.5,
                attributes={"colour": "red"}, created_at="2026-01-01T00:00:00Z",
            )
        )  # fmt: skip
        db.session.commit()
        return {"id": number}

    with app.app_context():
        print(db.session.scalar(sa.text("SELECT pg_backend_pid()")), flush=True)
    client = app.test_client()
    for line in sys.stdin:
        first, count = map(int, line.split())
        started = time.process_time_ns()
        for number in range(first, first + count):
            response = client.post(f"/items/{number}")
            assert response.status_code == 200, response.text
        print(time.process_time_ns() - started, flush=True)
