"""An application with the shop's tables per driver, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.capture.paths import PATHS
from tests.capture.shop import DATABASE_SIDE, declare_shop
from tests.support.apps import Application, make_app
from tests.support.server import TESTED_DRIVERS, plain_engine


@pytest.fixture(scope="module", params=TESTED_DRIVERS)
def shop_app(request: pytest.FixtureRequest, server: Any) -> Iterator[Application]:
    with server.database(request.param) as url:
        application = make_app(url, declare=declare_shop)

        @application.app.post("/run/<name>")
        def run(name: str) -> str:
            PATHS[name].act(application)
            return "done"

        with plain_engine(url).begin() as connection:
            connection.exec_driver_sql(DATABASE_SIDE.replace("%", "%%"))
            connection.exec_driver_sql("INSERT INTO users (name) VALUES ('Grace'), ('Ada'), ('Joan')")
        yield application
        application.dispose()


@pytest.fixture
def shop(shop_app: Application) -> Application:
    """The shop with the things ``1: a`` and ``2: b``, an empty log, and the users Grace, Ada and Joan."""
    tables = ", ".join(f'"{t.name}"' for t in shop_app.db.metadata.sorted_tables if t.name != "users")
    with plain_engine(shop_app.app.config["SQLALCHEMY_DATABASE_URI"]).begin() as connection:
        # as a replica applies changes: no trigger fires
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
        connection.exec_driver_sql("INSERT INTO things (name) VALUES ('a'), ('b')")
    return shop_app
