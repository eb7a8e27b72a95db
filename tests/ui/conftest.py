"""Shops to read the log of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import pytest
from sqlalchemy import URL

from flask_audit_logger.ui import RevertPolicy
from tests.support.apps import Application, make_app
from tests.support.server import Server
from tests.ui.browsing import running_chromium
from tests.ui.shop import ANN, BOB, CLEO, Shop, make_history, make_shop, save_history


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
def own_shop(new_shop: Callable[..., Shop]) -> Shop:
    """As ``shop``, of this test alone: for a test that writes or that changes the application."""
    return make_history(new_shop())


@pytest.fixture(scope="session")
def read_shop(server: Server, shop_database: str) -> Iterator[Callable[[str], Shop]]:
    """The shop that tests share, by its driver."""
    with ExitStack() as stack:
        role = stack.enter_context(server.role("LOGIN IN ROLE pg_read_all_data"))

        @cache
        def made(driver: str) -> Shop:
            url = stack.enter_context(server.database(driver, template=shop_database))
            for user in (url.username, role):
                shop = make_shop(partial(make_app, url.set(username=user)), is_copy=True)
                stack.callback(shop.application.dispose)
                if user != role:
                    make_history(shop)
            return shop

        yield made


@pytest.fixture
def shop(request: pytest.FixtureRequest, driver: str, read_shop: Callable[[str], Shop]) -> Iterator[Shop]:
    """A shop with a history that Ann and Bob may read. Tests share it: it takes no writes."""
    if "own_shop" in request.fixturenames:
        yield request.getfixturevalue("own_shop")
        return
    shop = read_shop(driver)
    before = shop.state()
    yield shop
    assert shop.state() == before, "this test changes the application that others use: it needs own_shop"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running Chromium; see :mod:`tests.ui.browsing`."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def tenants(new_shop):
    """Keys that begin with a 7 belong to Bob, all others to Ann; each sees the own ones only."""

    def scope(select, viewer):
        is_bobs = shop.application.audit_logger.activity_cls.record_key.like("7%")
        return select.where(is_bobs if viewer.id == str(BOB) else ~is_bobs)

    shop = new_shop(scope=scope, revert=RevertPolicy())
    shop.sql("DELETE FROM activity; DELETE FROM transaction")
    with shop.acting(CLEO, addr="198.51.100.77") as session:
        session.add(shop.models.Category(id=7, name="Xylophones"))
        session.flush()
        session.add(shop.models.Product(id=77, name="Xylophone", price=777.77, stock=7, category_id=7))
    shop.change(CLEO, "Product", 77, addr="198.51.100.77", name="Xylophone, large", stock=8)
    with shop.acting(ANN) as session:
        session.add(shop.models.Product(id=42, name="Blue mug", price=10, category_id=7))
        session.add(shop.models.Product(id=43, name="Red mug", price=9))
        session.add(shop.models.Product(id=78, name="Xylophone, small", price=777.77))
    shop.change(ANN, "Product", 42, price=11)
    shop.remove(ANN, "Product", 78)
    return shop


@pytest.fixture
def blinded(new_shop):
    """Stock is hidden from Ann, the name of products from everybody, and so are addresses."""
    shop = new_shop(
        can_see_column=lambda table, column, viewer: (
            column != "client_addr" and ((table, column) != ("products", "stock") or viewer.id == str(BOB))
        ),
        mask=["products.name"],
        revert=RevertPolicy(),
    )
    shop = make_history(shop)
    shop.change(BOB, "Product", 42, stock=987654, price=14)
    return shop
