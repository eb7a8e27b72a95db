"""The server the tests run on, and a database of its own for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.pool import NullPool

#: Names of the two PostgreSQL drivers as SQLAlchemy's URLs have them.
DRIVERS = ("psycopg2", "psycopg")

#: Those of this run: a run with ``AUDIT_TEST_ONE_DRIVER=1`` has its own driver only.
TESTED_DRIVERS = (
    (os.environ.get("AUDIT_TEST_DRIVER") or DRIVERS[0],) if os.environ.get("AUDIT_TEST_ONE_DRIVER") else DRIVERS
)

#: Marks a test that has to hold with each driver: ``@both_drivers def test_…(create_app)``.
both_drivers = pytest.mark.parametrize("driver", TESTED_DRIVERS, indirect=True)


def default_driver() -> str:
    """The driver of tests that don't ask for one."""
    return os.environ.get("AUDIT_TEST_DRIVER") or DRIVERS[0]


@dataclass
class Server:
    """A running PostgreSQL server on which the tests may make databases.

    :param admin_url: a superuser's URL of the maintenance database; its driver does not matter.
    :param prefix: makes the names of databases and roles unique among the processes of a run.
    """

    admin_url: URL
    prefix: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._admin = create_engine(
            self.url(self.admin_url.database or "postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )

    def url(self, database: str, driver: str | None = None) -> URL:
        """The URL of a database for one driver."""
        return self.admin_url.set(drivername=f"postgresql+{driver or default_driver()}", database=database)

    def unique_name(self, kind: str = "name") -> str:
        """A name that nothing on this server has: for roles, tablespaces and other things that databases share."""
        return f"{self.prefix}_{kind}_{next(self._numbers)}"

    @property
    def version(self) -> int:
        """The major version: 15, 18."""
        with self._admin.connect() as connection:
            return int(connection.scalar(text("SHOW server_version_num"))) // 10000

    @contextmanager
    def database(self, driver: str | None = None, template: str = "template1") -> Iterator[URL]:
        """A new database that is dropped at the end, whoever is still connected to it."""
        name = self.unique_name("db")
        self.copy(template, name)
        try:
            yield self.url(name, driver)
        finally:
            self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def copy(self, template: str, name: str) -> None:
        """Make a database anew as a copy."""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            # Copying files costs half of what writing each page into the WAL costs.
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')

    @contextmanager
    def role(self, options: str = "LOGIN") -> Iterator[str]:
        """A new role; what it owns and was granted in the maintenance database goes with it.

        Ask for it before the database in which it gets privileges, so that this database is dropped first.
        """
        name = self.unique_name("role")
        self.execute(f'CREATE ROLE "{name}" {options}')
        try:
            yield name
        finally:
            self.execute(f'DROP ROLE IF EXISTS "{name}"')

    def execute(self, sql: str) -> None:
        """Run one statement in the maintenance database, outside a transaction."""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(sql)


def plain_engine(url: URL) -> Engine:
    """An engine that no application knows: what psql or another program would be."""
    return create_engine(url, poolclass=NullPool)


def pooled_engine(url: URL) -> Engine:
    """As :func:`plain_engine`, to be disposed of: it keeps its connections, each as good as new.

    A new one takes as long as a dozen statements, and compiles again what the triggers call.
    """
    engine = create_engine(url)
    event.listen(engine, "checkin", _forget_settings)
    return engine


def _forget_settings(connection: Any, record: Any) -> None:
    if connection is not None and not connection.closed:
        with suppress(Exception), connection.cursor() as cursor:  # the server may have ended it
            cursor.execute("RESET SESSION AUTHORIZATION; RESET ALL")
            connection.commit()


def server_version(url: str) -> str:
    """What the server calls its version."""
    engine = plain_engine(make_url(url).set(drivername=f"postgresql+{default_driver()}"))
    with engine.connect() as connection:
        return str(connection.scalar(text("SHOW server_version")))
