"""The shop of a module that has a function ``fill``: its tests read one together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.apps import make_app
from tests.support.copies import Copies
from tests.support.server import Server
from tests.ui.shop import Shop, make_shop


@pytest.fixture(scope="module")
def read_shop(request: pytest.FixtureRequest, server: Server, copied: Copies) -> Iterator[Shop]:
    """The shop that the tests of a module share."""
    with server.role("LOGIN IN ROLE pg_read_all_data") as role, server.database() as url:
        writing = make_shop(partial(copied.make_app, url))
        request.module.fill(writing)
        writing.application.dispose()
        shop = make_shop(partial(make_app, url.set(username=role)), is_copy=True)
        yield shop
        shop.application.dispose()


@pytest.fixture
def own_shop(request: pytest.FixtureRequest, create_app: Callable[..., Any]) -> Shop:
    """The same shop for one test, which may write."""
    shop = make_shop(create_app)
    request.module.fill(shop)
    return shop


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    """A shop that takes no writes, unless the test has one of its own."""
    chosen: Shop = request.getfixturevalue("own_shop" if "own_shop" in request.fixturenames else "read_shop")
    return chosen
