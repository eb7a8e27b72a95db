"""The server, a database per test, applications, and the rule that nothing leaks.

Environment variables:

``AUDIT_TEST_DATABASE_URL``
    a running server (URL of a superuser) to use instead of starting one
``AUDIT_TEST_PG_BINDIR``
    folder with the binaries of the PostgreSQL to start instead of the embedded one
``AUDIT_TEST_DRIVER``
    ``psycopg2`` (default) or ``psycopg``: the driver of tests that don't name one
``AUDIT_TEST_LAYOUT``
    ``month``: logs are partitioned, unless a test says otherwise
``AUDIT_TEST_ONE_DRIVER``
    if set, tests that are written for both drivers run with that one only
"""

from __future__ import annotations

import gc
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, make_url

from tests.support.cluster import Cluster
from tests.support.leaks import leaks, shared_listeners
from tests.support.server import DRIVERS, Server, default_driver, pooled_engine, server_version
from tests.support.templates import compile_once

SHOWN_PACKAGES = ("Flask", "Flask-SQLAlchemy", "SQLAlchemy", "alembic", "Flask-Migrate", "psycopg2-binary", "psycopg")

_url_key = pytest.StashKey[str]()
_cluster_key = pytest.StashKey[Cluster]()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start one server for all processes of the run; the workers of xdist get its URL."""
    compile_once()
    # Each collection looks at what a process keeps; with Python's own limits that is a fifth of its time.
    gc.set_threshold(20_000, 10, 10)
    config = session.config
    if hasattr(config, "workerinput"):
        config.stash[_url_key] = config.workerinput["audit_test_url"]
    elif named := os.environ.get("AUDIT_TEST_DATABASE_URL"):
        config.stash[_url_key] = named
    elif not config.option.collectonly:
        bindir = os.environ.get("AUDIT_TEST_PG_BINDIR")
        cluster = config.stash[_cluster_key] = Cluster(Path(bindir) if bindir else None)
        cluster.start()
        config.stash[_url_key] = cluster.url().render_as_string(hide_password=False)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["audit_test_url"] = node.config.stash.get(_url_key, "")


def pytest_unconfigure(config: pytest.Config) -> None:
    cluster = config.stash.get(_cluster_key, None)
    if cluster is not None:
        cluster.remove()


def pytest_report_header(config: pytest.Config) -> list[str]:
    shown = [f"Python {platform.python_version()}"]
    for name in SHOWN_PACKAGES:
        try:
            shown.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            shown.append(f"no {name}")
    url = config.stash.get(_url_key, "")
    server = f"PostgreSQL {server_version(url)}" if url else "no server"
    return ["versions: " + ", ".join([*shown, server]), f"driver unless a test names one: {default_driver()}"]


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, worker_id: str) -> Server:
    """The running PostgreSQL server."""
    url = make_url(request.config.stash[_url_key])
    # The process number keeps two runs on one server apart.
    return Server(url, prefix=f"audit_test_{os.getpid()}_{worker_id}")


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    """The driver of this test; ``both_drivers`` of ``tests.support.server`` runs it with each."""
    chosen: str = getattr(request, "param", default_driver())
    assert chosen in DRIVERS
    return chosen


@pytest.fixture
def database_url(server: Server, driver: str) -> Iterator[URL]:
    """An empty database of this test alone."""
    with server.database(driver) as url:
        yield url


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the user of an embedded server can enter; pytest closes its own to others with each new run."""
    with tempfile.TemporaryDirectory(prefix="audit-shop-") as name:
        yield Path(name)


@pytest.fixture
def outside(database_url: URL) -> Iterator[Engine]:
    """An engine on the test's database that no application knows: what psql or another program does."""
    engine = pooled_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def copied(server: Server) -> Iterator[Any]:
    """See :mod:`tests.support.copies`."""
    from tests.support.copies import copies

    with copies(server) as found:
        yield found


@pytest.fixture
def create_app(database_url: URL, copied: Any) -> Iterator[Callable[..., Any]]:
    """Make applications: the arguments are those of :func:`tests.support.apps.make_app`, the URL optional."""
    from tests.support.apps import Application, make_app

    made: list[Application] = []

    def factory(url: URL | None = None, **options: Any) -> Application:
        made.append(make_app(url, **options) if url else copied.make_app(database_url, **options))
        return made[-1]

    yield factory
    for application in reversed(made):
        application.dispose()


@pytest.fixture
def blog(create_app: Callable[..., Any]) -> Any:
    """The usual application: audited users, articles and tags, tables and triggers made."""
    return create_app()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """A context still pushed or a listener left on a shared class fails the test that left it."""
    before = shared_listeners()
    yield
    found = leaks(before)
    assert not found, "; ".join(found)
