"""What attribution costs in Python: ``python -m benchmarks.first_write [requests]``.

An application whose user is loaded writes a row, and then more rows in the same transaction, in one request after the
other; with auditing and without, in turns. Counted is the processor time of the thread, so that waiting for the server
is not in it. Of each figure it is the minimum of all requests. There are no triggers: they cost the server, not Python.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_login import LoginManager, UserMixin, current_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL

from flask_audit_logger import AuditLogger
from tests.support.cluster import Cluster

MORE = 20


def make_app(url: URL, *, is_audited: bool) -> Flask:
    app = Flask("first_write")
    app.config.update(SQLALCHEMY_DATABASE_URI=url)
    app.secret_key = "x"  # noqa: S105
    db = SQLAlchemy(app)

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text)

    @LoginManager(app).request_loader
    def load_user(request: Any) -> Any:
        return db.session.get(User, int(request.headers["X-User"]))

    if is_audited:
        AuditLogger(db).init_app(app)

    @app.post("/users/<int:number>/<word>")
    def write(number: int, word: str) -> Any:
        assert current_user.name
        times = [time.thread_time_ns()]
        for statement in (sa.insert(User.__table__), *[sa.update(User.__table__).where(User.id == 0)] * MORE):
            db.session.execute(statement.values(name=word))
            times.append(time.thread_time_ns())
        db.session.rollback()
        return {"first": times[1] - times[0], "more": (times[-1] - times[1]) / MORE}

    return app


def measure(apps: list[Flask], requests: int) -> list[dict[str, float]]:
    """The minimum of each figure for each application, in microseconds."""
    best: list[dict[str, float]] = [{} for _ in apps]
    headers = {"X-User": "1", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "X-Request-ID": "01HZX5"}
    for _ in range(requests):
        for app, figures in zip(apps, best, strict=True):
            response = app.test_client().post("/users/7/some-words", headers=headers)
            for name, nanoseconds in response.get_json().items():
                figures[name] = min(figures.get(name, 1e9), nanoseconds / 1000)
    return best


def main(requests: int) -> None:
    with Cluster() as cluster:
        for driver in ("psycopg2", "psycopg"):
            url = cluster.url().set(drivername=f"postgresql+{driver}")
            engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS users (id bigserial PRIMARY KEY, name text)")
                connection.exec_driver_sql("INSERT INTO users (name) VALUES ('Grace')")
            plain, audited = measure([make_app(url, is_audited=False), make_app(url, is_audited=True)], requests)
            for name, title in (("first", "first write of a request"), ("more", "each further statement")):
                added = audited[name] - plain[name]
                print(
                    f"{driver:9} {title:25} {plain[name]:7.1f} µs without, {audited[name]:7.1f} with: {added:+6.1f} µs"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
