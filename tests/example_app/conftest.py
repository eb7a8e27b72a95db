"""The shop on an empty database, and the shop with its whole history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask_migrate
import jinja2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import URL

import example_app
from example_app.extensions import db
from example_app.seed import ensure_history
from example_app.seed.visitor import Visitor
from tests.support.server import Server

ADDRESS = "198.51.100.7"
PASSWORD = "demo"
AGENT = "Test browser"


def make_shop(url: URL) -> Flask:
    """The shop on a database whose tables are up to date."""
    app = example_app.create_app({"TESTING": True, "SECRET_KEY": "tests", "SQLALCHEMY_DATABASE_URI": url})
    app.jinja_env.undefined = jinja2.StrictUndefined
    with app.app_context():
        flask_migrate.upgrade()
    return app


def dispose(app: Flask) -> None:
    """Close every connection of the shop."""
    with app.app_context():
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.fixture
def shop_without_accounts(database_url: URL) -> Iterator[Flask]:
    """The shop with empty tables."""
    app = make_shop(database_url)
    yield app
    dispose(app)


@pytest.fixture
def shop(shop_without_accounts: Flask) -> Flask:
    """The shop with its accounts and nothing else."""
    result = shop_without_accounts.test_cli_runner().invoke(args=["shop", "create-accounts"])
    assert result.exit_code == 0, result.output
    return shop_without_accounts


@pytest.fixture(scope="session")
def seeded(server: Server) -> Iterator[Flask]:
    """The shop with the history of the demo. Tests that share it must not depend on what others add."""
    with server.database() as url:
        app = make_shop(url)
        ensure_history(app, echo=lambda text: None)
        yield app
        dispose(app)


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
