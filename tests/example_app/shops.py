"""Opening the shop, browsing it, and reading what it stored."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_migrate
import jinja2
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import URL

import example_app
from example_app.extensions import db
from example_app.seed.visitor import Visitor

ADDRESS = "198.51.100.7"
PASSWORD = "demo"
AGENT = "Test browser"


class History:
    """The name of a database that the processes of a run share, kept in a file.

    :param file: its path; a lock is kept beside it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time makes, copies or drops the database."""
        with self.file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def database(self) -> str | None:
        """The name, or ``None`` if there is no such database."""
        return self.file.read_text() if self.file.exists() else None

    @database.setter
    def database(self, name: str) -> None:
        self.file.write_text(name)

    def forget(self) -> None:
        """Say that the database goes away; waits until nobody copies it."""
        with self.locked():
            self.file.unlink()


def make_shop(url: URL) -> Flask:
    """The shop on a database."""
    app = example_app.create_app({"TESTING": True, "SECRET_KEY": "tests", "SQLALCHEMY_DATABASE_URI": url})
    app.jinja_env.undefined = jinja2.StrictUndefined
    return app


@contextmanager
def open_shop(url: URL, *, upgrade: bool = False) -> Iterator[Flask]:
    """The shop on a database, its connections closed at the end."""
    app = make_shop(url)
    try:
        if upgrade:
            with app.app_context():
                flask_migrate.upgrade()
        yield app
    finally:
        with app.app_context():
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


def browser(app: Flask, username: str, address: str = ADDRESS, password: str = PASSWORD) -> Visitor:
    """Somebody at a browser, who logs in before the first form is sent."""
    return Visitor(app, username, password, address, AGENT)


def log_in(app: Flask, username: str, address: str = ADDRESS) -> FlaskClient:
    """A client that is logged in."""
    visitor = browser(app, username, address)
    visitor.log_in()
    return visitor.client


def rows(app: Flask, statement: Any) -> list[Any]:
    """What a select finds, on a connection of its own."""
    with app.app_context(), db.engine.connect() as connection:
        return list(connection.execute(statement))
