"""Promise: triggers are where the tables went, for each tenant, with a log of its own or a shared one."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.migrations.catalog import catalog
from tests.migrations.conftest import declare_table, make_project, project  # noqa: F401 - fixtures
from tests.support.models import Models
from tests.support.server import both_drivers

TENANTS = ("tenant_a", 'Tenant "B"')


def declare(db):
    return Models(users=declare_table(db.metadata, "users", audit={"exclude": ["name"]}))


def by_map(connection, tenant):
    return connection.execution_options(schema_translate_map={None: tenant})


def by_path(connection, tenant):
    connection.execute(
        sa.text("SELECT set_config('search_path', :path, false)"), {"path": f'"{quoted(tenant)}", public'}
    )
    return connection


def quoted(name):
    return name.replace('"', '""')


ways = pytest.mark.parametrize("way", [by_map, by_path], ids=["map", "path"])
logs = pytest.mark.parametrize("schema", [None, "audit"], ids=["a log each", "a shared log"])


@pytest.fixture
def tenants(outside):
    with outside.begin() as connection:
        for tenant in TENANTS:
            connection.execute(sa.schema.CreateSchema(tenant))
    return outside


def write(engine, number):
    with engine.begin() as connection:
        for tenant in TENANTS:
            connection.execute(sa.text(f"INSERT INTO \"{quoted(tenant)}\".users VALUES ({number}, 'x')"))


def entries(engine, schema, tenant):
    """Schema and key of what is logged for a tenant."""
    log = schema or tenant
    with engine.connect() as connection:
        found = connection.execute(sa.text(f'SELECT schema, record_key FROM "{quoted(log)}".activity ORDER BY id'))
        return [tuple(row) for row in found if row.schema == tenant or schema is None]


@both_drivers
@ways
@logs
def test_create_all_and_drop_all_for_each_tenant(create_app, tenants, way, schema):
    application = create_app(declare=declare, create_all=False, schema=schema)
    metadata = application.db.metadata
    before = catalog(tenants)
    for tenant in TENANTS:
        with tenants.begin() as connection:
            metadata.create_all(way(connection, tenant))
    write(tenants, 1)
    for tenant in TENANTS:
        assert entries(tenants, schema, tenant) == [(tenant, "1")]
        with tenants.begin() as connection:  # twice is once
            metadata.create_all(way(connection, tenant))
    first, other = TENANTS
    with tenants.begin() as connection:
        metadata.drop_all(way(connection, first))
    with tenants.begin() as connection:
        connection.execute(sa.text(f"INSERT INTO \"{quoted(other)}\".users VALUES (2, 'y')"))
    assert entries(tenants, schema, other) == [(other, "1"), (other, "2")]
    with tenants.begin() as connection:
        metadata.drop_all(way(connection, other))
    assert [line for line in catalog(tenants) if line != "schema audit"] == before


@both_drivers
@ways
@logs
def test_migrations_for_each_tenant(create_app, tenants, project, way, schema):  # noqa: F811
    application = create_app(declare=declare, create_all=False, schema=schema)
    empty = catalog(tenants)
    project.tenants = TENANTS[:1]
    project.place = by_path
    project.migrate(application)
    assert "tenant" not in next(project.versions.glob("*.py")).read_text()
    project.tenants, project.place = TENANTS, way
    project.upgrade()
    write(tenants, 1)
    for tenant in TENANTS:
        assert entries(tenants, schema, tenant) == [(tenant, "1")]
    project.tenants, project.place = TENANTS[1:], by_path
    assert project.migrate(application) == ""
    project.tenants, project.place = TENANTS, way
    if schema is None:
        project.downgrade()
        assert [line for line in catalog(tenants) if "alembic" not in line] == empty


def test_tables_that_name_a_schema_which_the_map_replaces(create_app, tenants):
    """So does the log, if its own is in the map."""
    application = create_app(
        declare=lambda db: Models(users=declare_table(db.metadata, "users", audit=True, schema="tenant")),
        create_all=False,
        schema="log",
    )
    with tenants.begin() as connection:
        options = {"tenant": "tenant_a", "log": "tenant_a"}
        application.db.metadata.create_all(connection.execution_options(schema_translate_map=options))
        connection.execute(sa.text("INSERT INTO tenant_a.users VALUES (1, 'x')"))
    assert entries(tenants, None, "tenant_a") == [("tenant_a", "1")]
    assert not [line for line in catalog(tenants) if line.startswith(("schema log", "relation r log."))]
