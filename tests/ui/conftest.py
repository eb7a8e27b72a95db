"""Shops to read the log of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import URL

from tests.support.apps import Application, make_app
from tests.support.server import Server
from tests.ui.browsing import running_chromium
from tests.ui.shop import Shop, make_history, make_shop, save_history


@pytest.fixture(scope="session")
def shop_database(server: Server) -> Iterator[str]:
    """Name of a database to copy: a shop without history but its users, and a history that is saved aside.

    Most tests begin with this shop; to make its tables, its log and its history anew takes longer than most tests.
    """
    with server.database() as url:
        made: list[Application] = []

        def create_app(**options: Any) -> Application:
            made.append(make_app(url, **options))
            return made[-1]

        save_history(make_shop(create_app))
        made[0].dispose()
        yield url.database or ""


@pytest.fixture
def database_url(request: pytest.FixtureRequest, server: Server, driver: str) -> Iterator[URL]:
    """A database of this test alone: a copy of the shop's if the test has one, else an empty one."""
    template = request.getfixturevalue("shop_database") if "new_shop" in request.fixturenames else "template1"
    with server.database(driver, template=template) as url:
        yield url


@pytest.fixture
def new_shop(create_app: Callable[..., Any]) -> Callable[..., Shop]:
    """Make a shop; the arguments are those of :class:`AuditUI` and ``config``."""
    return lambda **ui: make_shop(create_app, is_copy=True, **ui)


@pytest.fixture
def shop(new_shop: Callable[..., Shop]) -> Shop:
    """A shop with a history that Ann and Bob may read."""
    return make_history(new_shop())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running Chromium; see :mod:`tests.ui.browsing`."""
    with running_chromium() as browser:
        yield browser
