"""What an application of a stranger offers to the tests, and how it is driven."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session, joinedload
from werkzeug.test import TestResponse

from flask_audit_logger import AuditLogger
from tests.support.server import plain_engine

#: Headers that differ from one run to the next.
_VARYING = {"Date", "Set-Cookie"}
_TOKEN = re.compile(r'"csrf_token":"[^"]*"|<input[^>]*csrf_token[^>]*>')

Visit = Callable[..., TestResponse]


@dataclass
class Stranger:
    """One application.

    :param db: its database object, or whatever has ``metadata`` and ``engines`` as that of Flask-SQLAlchemy does.
    :param journey: what its users do, in requests.
    :param reader: makes a client who may read the pages of the log.
    :param audit_logger: its logger; ``None`` if auditing is off.
    """

    app: Flask
    db: Any
    journey: Callable[[Visit], None]
    reader: Callable[[], FlaskClient]
    audit_logger: AuditLogger | None = None
    #: Of each request of the journey: method, path, status, headers and body of the answer.
    answers: list[tuple[Any, ...]] = field(default_factory=list)

    def drive(self) -> None:
        """Let its users do what they do."""
        client = self.app.test_client()

        def visit(method: str, path: str, **options: Any) -> TestResponse:
            response = client.open(path, method=method, **options)
            headers = sorted((name, value) for name, value in response.headers if name not in _VARYING)
            cookies = sorted(cookie.partition("=")[0] for cookie in response.headers.getlist("Set-Cookie"))
            body = _TOKEN.sub("", response.text)
            self.answers.append((method, path, response.status_code, headers, cookies, body))
            return response

        self.journey(visit)

    def data(self) -> dict[str, list[Any]]:
        """All rows of the application's own tables, without the times and random numbers in them."""
        ours = () if self.audit_logger is None else (self._models.activity, self._models.transaction)
        with self._reading() as connection:
            return {
                table.name: sorted(repr(_comparable(row)) for row in connection.execute(sa.select(table)))
                for table in self.db.metadata.sorted_tables
                if table not in ours
            }

    def log(self) -> list[tuple[str, str, str | None]]:
        """Verb, table and name of the actor of each entry, in their order."""
        activity = self._models.activity_cls
        query = sa.select(activity).options(joinedload(activity.transaction)).order_by(activity.id)
        with self._reading() as connection, Session(connection) as session:
            return [(a.verb, a.table_name, a.transaction.actor_label) for a in session.scalars(query)]

    def dispose(self) -> None:
        """Close every connection."""
        with self.app.app_context():
            if isinstance(self.db, SQLAlchemy):
                self.db.session.remove()
            for engine in self.db.engines.values():
                engine.dispose()

    @property
    def _models(self) -> Any:
        assert self.audit_logger is not None
        return self.audit_logger.models

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with plain_engine(sa.make_url(self.app.config["SQLALCHEMY_DATABASE_URI"])).connect() as connection:
            yield connection


def _comparable(row: Any) -> list[Any]:
    return [
        None if isinstance(value, dt.datetime) or re.fullmatch("[0-9a-f]{32}", str(value)) else value for value in row
    ]


def new_app(name: str, url: Any, **config: Any) -> Flask:
    """An application with the configuration that all of them have."""
    app = Flask(name, root_path=__file__.rpartition("/")[0])
    configure(app, url, **config)
    return app


def configure(app: Flask, url: Any, **config: Any) -> None:
    """Give an application what all of them have."""
    options: Mapping[str, Any] = {"TESTING": True, "SECRET_KEY": "a secret of thirty-two characters"}
    app.config.update(options, SQLALCHEMY_DATABASE_URI=url, **config)


@dataclass
class Own:
    """Tables and engines of an application without Flask-SQLAlchemy."""

    metadata: sa.MetaData
    engine: sa.Engine

    @property
    def engines(self) -> dict[str, sa.Engine]:
        """The engines by name."""
        return {"default": self.engine}


def created(stranger: Stranger, *rows: Any) -> Stranger:
    """Make the tables, and add what is there before anybody comes."""
    with stranger.app.app_context():
        engine = stranger.db.engine
        stranger.db.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all(rows)
            session.commit()
    return stranger
