"""A database with a log and one audited table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.capture.tables import audited, run
from tests.support.server import Server, plain_engine


@pytest.fixture(scope="session")
def item_database(server: Server) -> Iterator[str]:
    """Name of a database with an audited table ``item`` and an empty log, to be copied."""
    with server.database() as url:
        engine = plain_engine(url)
        make_item(engine)
        engine.dispose()
        yield url.database or ""


def make_item(engine: Engine) -> None:
    """Make the table and the log."""
    run(engine, "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)")
    audited(engine, "item")


@pytest.fixture
def engine(server: Server, item_database: str) -> Iterator[Engine]:
    """An engine for a database of this test alone."""
    with server.database(template=item_database) as url:
        engine = plain_engine(url)
        yield engine
        engine.dispose()
