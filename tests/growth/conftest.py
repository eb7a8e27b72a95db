"""A database with a log and one audited table."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def writers(engine: Engine, number: int) -> Iterator[list[int]]:
    """So many threads insert into ``item`` while the block runs; afterwards gives how often each did. None may fail."""
    ended = threading.Event()
    failed: list[BaseException] = []
    written = [0] * number

    def write(place: int) -> None:
        try:
            with engine.connect() as connection:
                while not ended.is_set():
                    connection.exec_driver_sql("INSERT INTO item (name) VALUES ('x')")
                    connection.commit()
                    written[place] += 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failed == []
