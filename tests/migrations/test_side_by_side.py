"""Our migrations and other people's objects, settings and roles leave each other alone."""

from __future__ import annotations

import importlib
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import comparators

from tests.migrations.project import upgrade_part
from tests.support.server import plain_engine

USERS = {"audit": True, "columns": ["name", "email"]}

FOREIGN = [
    "CREATE FUNCTION audit_logger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE FUNCTION audit_logger_capture(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    "CREATE FUNCTION audit_logger_mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER audit_trigger_insert AFTER INSERT ON users EXECUTE FUNCTION audit_logger()",
    "CREATE TRIGGER audit_logger_mine AFTER DELETE ON users EXECUTE FUNCTION audit_logger_mine()",
    "CREATE SCHEMA other",
    "CREATE FUNCTION other.audit_logger_capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TABLE other.users (id int)",
    "CREATE TRIGGER audit_logger_insert AFTER INSERT ON other.users EXECUTE FUNCTION other.audit_logger_capture()",
]


@pytest.mark.parametrize("include_schemas", [False, True])
def test_functions_and_triggers_of_similar_names(project, release, dump, execute, include_schemas):
    project.options["include_schemas"] = include_schemas
    project.options["include_name"] = lambda name, kind, parents: kind != "schema" or name is None
    application = release(users=USERS)
    project.migrate_and_upgrade(application)
    execute(*FOREIGN)
    before = dump()
    assert project.migrate(application) == ""
    project.migrate_and_upgrade(release(users={**USERS, "audit": {"exclude": ["email"]}}))
    project.downgrade("-1")
    assert dump() == before
    project.upgrade()
    project.migrate_and_upgrade(release(users={**USERS, "audit": None}))
    assert [line for line in dump() if "mine" in line or "audit_trigger_insert" in line or "other." in line] == [
        line for line in before if "mine" in line or "audit_trigger_insert" in line or "other." in line
    ]


def test_naming_conventions(project, create_app, dump):
    from tests.migrations.conftest import declare_table
    from tests.support.models import Models

    convention = {
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
    for schema in (None, "audit_logs"):
        application = create_app(
            declare=lambda db: Models(users=declare_table(db.metadata, "users", **USERS)),
            create_all=False,
            db_options={"metadata": sa.MetaData(naming_convention=convention)},
            schema=schema,
        )
        project.migrate_and_upgrade(application)
        project.downgrade()
        for file in project.versions.glob("*.py"):
            file.unlink()
    assert not [line for line in dump() if "audit" in line]


def test_a_version_table_in_another_schema(make_project, release, dump, execute):
    execute("CREATE SCHEMA bookkeeping")
    project = make_project(version_table_schema="bookkeeping", include_schemas=True)
    before = dump()
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "audit_logs"}))
    project.downgrade()
    assert dump() == before


def test_the_version_table_in_the_schema_of_the_log(make_project, release, dump, execute):
    execute("CREATE SCHEMA audit_logs")
    project = make_project(version_table_schema="audit_logs")
    before = dump()
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "audit_logs"}))
    project.downgrade()
    assert dump() == before


@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_a_role_that_owns_its_tables_and_nothing_else(server, make_project, release, outside, schema):
    """No superuser, no extension, no right to make a schema: whoever runs the server made it."""
    with server.role("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE") as role, server.database() as url:
        admin = plain_engine(url)
        with admin.begin() as connection:
            connection.execute(sa.text(f'CREATE SCHEMA app AUTHORIZATION "{role}"'))
            connection.execute(sa.text(f'ALTER ROLE "{role}" SET search_path = app'))
            if schema:
                connection.execute(
                    sa.text(f'CREATE SCHEMA {schema}; GRANT USAGE, CREATE ON SCHEMA {schema} TO "{role}"')
                )
        project = make_project(url.set(username=role))
        application = release(users=USERS, logger={"schema": schema})
        project.migrate_and_upgrade(application)
        with plain_engine(url.set(username=role)).begin() as connection:
            connection.execute(sa.text("INSERT INTO users (id, name) VALUES (1, 'Ann')"))
        log = "app" if schema is None else schema
        with admin.connect() as connection:
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {log}.activity")) == 1
            assert connection.scalar(sa.text("SELECT count(*) FROM pg_extension WHERE extname <> 'plpgsql'")) == 0
        # The migration names the schema, as one written on a developer's machine does.
        for file in project.versions.glob("*.py"):
            source = file.read_text().replace(
                "def upgrade():\n", f"def upgrade():\n    op.init_audit_logger_schema({log!r})\n"
            )
            file.write_text(f"{source}\n    op.remove_audit_logger_schema({log!r})\n")
        project.downgrade()
        project.upgrade()
        project.downgrade()
        with admin.connect() as connection:
            left = sa.text("SELECT count(*) FROM pg_class WHERE relnamespace = CAST(:log AS regnamespace)")
            assert connection.scalar(left, {"log": log}) == (2 if schema is None else 0)
        admin.dispose()


@pytest.fixture(params=["before", "after"])
def alembic_utils(request):
    """alembic_utils with its comparators, registered before ours or after them; gone at the end."""
    pytest.importorskip("alembic_utils")
    registry = {key: list(value) for key, value in comparators._registry.items()}
    for name in [name for name in sys.modules if name.startswith("alembic_utils")]:
        del sys.modules[name]
    module = importlib.import_module("alembic_utils.replaceable_entity")
    if request.param == "before":
        for value in comparators._registry.values():
            value.sort(key=lambda item: "alembic_utils" not in str(getattr(item, "__module__", item)))
    yield module
    module.registry.clear()
    comparators._registry.clear()
    comparators._registry.update(registry)


@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_alembic_utils(alembic_utils, project, release, dump, execute, schema):
    from alembic_utils.pg_function import PGFunction
    from alembic_utils.pg_trigger import PGTrigger
    from alembic_utils.pg_view import PGView

    project.options["include_schemas"] = schema is not None
    application = release(users=USERS, logger={"schema": schema})
    project.migrate_and_upgrade(application)
    alembic_utils.register_entities(
        [
            PGFunction("public", "shout(word text)", "RETURNS text LANGUAGE sql AS $$ SELECT upper(word) $$"),
            PGFunction("public", "watch()", "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"),
            PGTrigger(
                "public",
                "watch_users",
                "AFTER INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.watch()",
                on_entity="public.users",
            ),
            PGView("public", "names", "SELECT name FROM public.users"),
        ]
    )
    written = project.migrate(application)
    assert "audit_logger" not in written
    assert len(upgrade_part(written)) == 4
    (project.versions / "0002_m.py").unlink()
    execute(
        "CREATE FUNCTION public.shout(word text) RETURNS text LANGUAGE sql AS $$ SELECT upper(word) $$",
        "CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER watch_users AFTER INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.watch()",
        "CREATE VIEW public.names AS SELECT name FROM public.users",
    )
    assert project.migrate(application) == "", "neither wants to change what the other made"
    changed = project.migrate(release(users={**USERS, "audit": {"exclude": ["email"]}}, logger={"schema": schema}))
    assert [line.partition("(")[0] for line in upgrade_part(changed)] == ["op.init_audit_logger_triggers"]
