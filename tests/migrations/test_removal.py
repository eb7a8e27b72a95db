"""The package goes: with its triggers, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import sqlalchemy as sa

from tests.migrations.conftest import declare_table
from tests.migrations.project import upgrade_part
from tests.support.models import Models

USERS = {"audit": True, "columns": ["name"]}

#: What Alembic writes, and runs, in an application that doesn't import the package any more.
WITHOUT_IMPORT = """
import os, sys
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import OpContainer

metadata = sa.MetaData()
sa.Table("users", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text))

def operations(op):
    return [part for each in op.ops for part in operations(each)] if isinstance(op, OpContainer) else [op]

with sa.create_engine(os.environ["URL"]).begin() as connection:
    context = MigrationContext.configure(connection, opts={"include_schemas": True})
    dropped = operations(produce_migrations(context, metadata).upgrade_ops)
    assert {op.table_name for op in dropped} == {"activity", "transaction"}
    assert "flask_audit_logger" not in sys.modules
    for op in dropped:
        Operations(context).invoke(op)
"""


def migrate_without_import(url):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_IMPORT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "URL": url.render_as_string(hide_password=False)},
    )


@pytest.mark.parametrize("schema", [None, "audit_logs", 'Odd "schema"'])
def test_without_the_import_the_migration_fails_as_a_whole_and_says_what_to_do(
    project, release, dump, execute, database_url, schema
):
    project.options["include_schemas"] = True
    application = release(users=USERS, logger={"schema": schema})
    empty = dump()
    project.migrate_and_upgrade(application)
    before = dump()
    done = migrate_without_import(database_url)
    assert done.returncode == 1
    assert "audit_logger_import_flask_audit_logger_and_migrate_again() depends on " in done.stderr
    assert dump() == before
    execute("INSERT INTO users VALUES (1, 'Ann')")
    assert len(application.activities()) == 1
    # and what it says helps
    written = project.migrate_and_upgrade(release(users=USERS, audited=False))
    assert "op.remove_audit_logger_triggers('users')" in upgrade_part(written)
    assert [line for line in dump() if "audit" in line] == []
    execute("INSERT INTO users VALUES (2, 'Ben')")
    project.downgrade("-1")
    assert dump() == before
    project.downgrade()
    assert dump() == empty


@pytest.mark.parametrize("table", ["activity", "transaction"])
def test_no_table_of_the_log_can_be_dropped_alone(blog, execute, query, table):
    with pytest.raises(sa.exc.DBAPIError, match="import_flask_audit_logger_and_migrate_again"):
        execute(f"DROP TABLE {table}")
    assert query(
        "SELECT obj_description('audit_logger_import_flask_audit_logger_and_migrate_again'::regproc) "
        "LIKE 'flask-audit-logger, version _. %flask db migrate%'"
    ) == [(True,)]


def test_a_guard_that_is_missing_is_made_anew(project, release, execute, dump):
    application = release(users=USERS)
    project.migrate_and_upgrade(application)
    before = dump()
    execute("DROP FUNCTION audit_logger_import_flask_audit_logger_and_migrate_again()")
    assert upgrade_part(project.migrate_and_upgrade(application)) == ["op.init_audit_logger_functions(version=1)"]
    assert dump() == before


def test_columns_of_the_log_can_be_changed_all_the_same(blog, execute):
    execute(
        "ALTER TABLE transaction ADD COLUMN note text",
        "ALTER TABLE activity ALTER COLUMN verb TYPE varchar(20)",
        "ALTER TABLE transaction ALTER COLUMN note TYPE jsonb USING note::jsonb",
        "ALTER TABLE transaction DROP COLUMN note",
        "INSERT INTO users VALUES (1, 'Ann', 30)",
    )
    assert len(blog.activities()) == 1


MEASURES = {"audit": True, "key": ["id", "year"], "columns": ["value"], "partition_by": "RANGE (year)"}

DETACHED = (
    "CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM (2026) TO (2027)",
    "CREATE TABLE measures_2027 PARTITION OF measures FOR VALUES FROM (2027) TO (2028)",
)
DETACH = "ALTER TABLE measures DETACH PARTITION measures_2026"


@pytest.fixture
def detached(project, release, execute):
    """An application whose audited table had a partition that is a table of its own now."""
    application = release(measures=MEASURES)
    project.options["include_name"] = lambda name, kind, parents: not (name or "").startswith("measures_")
    project.migrate_and_upgrade(application)
    execute(*DETACHED)
    project.migrate_and_upgrade(application)
    execute(DETACH)
    return application


def left(dump):
    """What is there besides the partition that was detached."""
    return [line for line in dump() if "measures_2026" not in line or "trigger" in line]


@pytest.mark.parametrize("is_offline", [False, True])
def test_a_downgrade_takes_the_triggers_of_a_detached_partition_along(
    project, detached, dump, execute, query, psql, is_offline
):
    assert project.migrate(detached) == ""
    execute("INSERT INTO measures_2026 VALUES (1, 2026, 'a')")
    assert [a.table_name for a in detached.activities()] == ["measures_2026"]
    if is_offline:
        psql(project.sql(down=True))
    else:
        project.downgrade()
    assert left(dump) == ["extension plpgsql", "schema public"]
    execute("INSERT INTO measures_2026 VALUES (2, 2026, 'b')")
    assert query("SELECT count(*) FROM measures_2026") == [(2,)]


def test_the_logger_removed_after_a_partition_was_detached(project, detached, release, dump):
    before = dump()
    written = project.migrate_and_upgrade(release(measures=MEASURES, audited=False))
    assert "op.remove_audit_logger_triggers('measures_2026')" in upgrade_part(written)
    assert [line for line in dump() if "audit" in line] == []
    project.downgrade("-1")
    # as those of a table of its own, which it is now
    assert [line for line in dump() if "measures_2026" not in line] == [
        line for line in before if "measures_2026" not in line
    ]


def test_that_a_log_is_dropped_is_said(project, release, caplog):
    """Another ``schema=`` is another log: who only wanted to move it reads that the entries go."""
    project.options["include_schemas"] = True
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "old"}))
    written = project.migrate(release(users=USERS, logger={"schema": "new"}))
    assert "op.drop_audit_logger_tables(version=1, schema='old'" in written
    assert "in schema 'old' any more; the migration drops it with all its entries" in caplog.text


def test_drop_all_takes_the_triggers_of_a_detached_partition_along(create_app, execute, dump):
    application = create_app(declare=lambda db: Models(measures=declare_table(db.metadata, "measures", **MEASURES)))
    execute(*DETACHED)
    with application.app.app_context():
        application.db.create_all()
        execute(DETACH)
        application.db.drop_all()
    assert left(dump) == ["extension plpgsql", "schema public"]
