"""Migration environments and applications whose models change from one release of the application to the next."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine

from tests.migrations.catalog import catalog
from tests.migrations.project import Project
from tests.support.apps import Application
from tests.support.cluster import embedded_bindir
from tests.support.models import Models


@pytest.fixture
def make_project(tmp_path: Path, database_url: URL) -> Callable[..., Project]:
    """A migration environment; options are those of ``context.configure()``."""
    numbers = itertools.count(1)

    def make(url: URL | None = None, **options: Any) -> Project:
        return Project(tmp_path / f"migrations{next(numbers)}", url or database_url, **options)

    return make


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A migration environment with Alembic's defaults."""
    return make_project()


@pytest.fixture
def release(create_app: Callable[..., Any]) -> Callable[..., Application]:
    """A release of an application: its tables as keyword arguments, nothing made in the database.

    ``release(users={"audit": True, "columns": ["name", "hair_color"]})``; options of the AuditLogger are given as
    ``logger={…}``, and ``logger=None`` means that it has none.
    """

    def make(*, logger: dict[str, Any] | None = None, audited: bool = True, **tables: dict[str, Any]) -> Application:
        def declare(db: Any) -> Models:
            return Models(**{name: declare_table(db.metadata, name, **given) for name, given in tables.items()})

        return create_app(declare=declare, create_all=False, audited=audited, **(logger or {}))

    return make


def declare_table(
    metadata: sa.MetaData,
    name: str,
    *,
    audit: Any = None,
    columns: list[str] | None = None,
    schema: str | None = None,
    key: list[str] | None = None,
    partition_by: str | None = None,
) -> sa.Table:
    """A table with text columns."""
    keys = ["id"] if key is None else key
    return sa.Table(
        name,
        metadata,
        *(sa.Column(column, sa.BigInteger, primary_key=True, autoincrement=False) for column in keys),
        *(sa.Column(column, sa.Text) for column in (["name"] if columns is None else columns)),
        schema=schema,
        info={} if audit is None else {"audit_logged": audit},
        **({"postgresql_partition_by": partition_by} if partition_by else {}),
    )


@pytest.fixture
def dump(outside: Engine) -> Callable[[], list[str]]:
    """What is in the test's database now."""
    return lambda: catalog(outside)


@pytest.fixture
def execute(outside: Engine) -> Callable[..., Any]:
    """Do something in the database behind everybody's back."""

    def run(*statements: str) -> None:
        with outside.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    return run


@pytest.fixture
def query(outside: Engine) -> Callable[..., Any]:
    """The rows of a query."""

    def run(statement: str) -> Any:
        with outside.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    return run


@pytest.fixture
def psql(database_url: URL) -> Callable[[str], None]:
    """Run a script by psql, which stops at the first error."""
    program = embedded_bindir() / "psql"
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)

    def run(script: str) -> None:
        done = subprocess.run(
            [program, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", url],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run
