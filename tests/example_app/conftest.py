"""The shop on an empty database, and the shop with its whole history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask
from sqlalchemy import URL

from example_app.seed import ensure_history
from tests.example_app.shops import History, open_shop
from tests.support.server import Server


@pytest.fixture
def empty_shop(database_url: URL) -> Iterator[Flask]:
    """The shop with empty tables, just migrated."""
    with open_shop(database_url, upgrade=True) as app:
        yield app


@pytest.fixture(scope="session")
def with_accounts(server: Server) -> Iterator[str]:
    """Name of a database to copy: the shop with its accounts and nothing else."""
    with server.database() as url:
        with open_shop(url, upgrade=True) as app:
            result = app.test_cli_runner().invoke(args=["shop", "create-accounts"])
            assert result.exit_code == 0, result.output
        yield url.database or ""


@pytest.fixture
def shop(server: Server, driver: str, with_accounts: str) -> Iterator[Flask]:
    """The shop with its accounts and nothing else."""
    with server.database(driver, template=with_accounts) as url, open_shop(url) as app:
        yield app


@pytest.fixture(scope="session")
def with_history(server: Server, testrun_uid: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A database to copy: the shop with the history of the demo, made by the first process that needs it."""
    history = History(tmp_path_factory.getbasetemp().parent / f"history-{testrun_uid}")
    with ExitStack() as stack:
        with history.locked():
            if history.database is None:
                url = stack.enter_context(server.database())
                with open_shop(url, upgrade=True) as app:
                    ensure_history(app, echo=lambda text: None)
                stack.callback(history.forget)
                history.database = url.database
        yield history


@pytest.fixture(scope="session")
def seeded(server: Server, with_history: History) -> Iterator[Flask]:
    """The shop with the history of the demo. Tests that share it must not depend on what others add."""
    with ExitStack() as stack:
        with with_history.locked():
            url = stack.enter_context(server.database(template=with_history.database))
        yield stack.enter_context(open_shop(url))


@pytest.fixture
def own_seeded(server: Server, with_history: History) -> Iterator[Flask]:
    """The same, for one test that changes it."""
    with ExitStack() as stack:
        with with_history.locked():
            url = stack.enter_context(server.database(template=with_history.database))
        yield stack.enter_context(open_shop(url))
