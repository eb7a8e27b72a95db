"""An application with the shop's tables per driver, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask_login import current_user
from sqlalchemy import URL

from tests.capture.paths import PATHS
from tests.capture.shop import DATABASE_SIDE, declare_shop
from tests.capture.tables import install, run
from tests.support.apps import Application, make_app
from tests.support.server import TESTED_DRIVERS, Server, plain_engine


@pytest.fixture(scope="session")
def log_database(server: Server) -> Iterator[str]:
    """Name of a database with an empty log: a module that uses this fixture has a copy of it for each test."""
    with server.database() as url:
        install(plain_engine(url))
        yield url.database or ""


@pytest.fixture
def database_url(request: pytest.FixtureRequest, server: Server, driver: str) -> Iterator[URL]:
    """A database of this test alone."""
    template = request.getfixturevalue("log_database") if "log_database" in request.fixturenames else "template1"
    with server.database(driver, template=template) as url:
        yield url


@pytest.fixture(scope="module", params=TESTED_DRIVERS)
def shop_app(request: pytest.FixtureRequest, server: Any) -> Iterator[Application]:
    with server.database(request.param) as url:
        application = make_app(url, declare=declare_shop)

        @application.app.login_manager.user_loader  # type: ignore[attr-defined]
        def load_user(user_id: str) -> Any:
            return application.db.session.get(application.models.User, int(user_id))

        @application.app.post("/run/<name>")
        def run(name: str) -> str:
            if flask.request.args.get("load"):
                assert current_user.name == "Grace"
            PATHS[name].act(application)
            return "done"

        with plain_engine(url).begin() as connection:
            connection.exec_driver_sql(DATABASE_SIDE.replace("%", "%%"))
            connection.exec_driver_sql("INSERT INTO users (name) VALUES ('Grace'), ('Ada'), ('Joan')")
        yield application
        application.dispose()


#: All that was made, the log included, but the users. TRUNCATE makes new files: it takes two to four times as long.
EMPTY = """
SET LOCAL session_replication_role = replica;  -- as a replica applies changes: no trigger fires
DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'users'
    LOOP
        EXECUTE format('DELETE FROM %s', name);
    END LOOP;
    FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' LOOP
        PERFORM setval(name, 1, false) WHERE name <> to_regclass('users_id_seq');
    END LOOP;
END $$;
INSERT INTO things (name) VALUES ('a'), ('b')
"""


@pytest.fixture
def shop(shop_app: Application) -> Application:
    """The shop with the things ``1: a`` and ``2: b``, an empty log, and the users Grace, Ada and Joan."""
    run(plain_engine(shop_app.app.config["SQLALCHEMY_DATABASE_URI"]), EMPTY)
    return shop_app
