"""A migration's arguments are its whole truth: it needs no application, and no model has a say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flask_audit_logger
from tests.migrations.project import upgrade_part

OPERATIONS = [
    "init_audit_logger_schema",
    "remove_audit_logger_schema",
    "init_audit_logger_functions",
    "remove_audit_logger_functions",
    "init_audit_logger_triggers",
    "remove_audit_logger_triggers",
    "snapshot_audit_logger_table",
    "rename_audit_logger_table",
    "rename_audit_logger_column",
    "change_audit_logger_actor_type",
    "convert_audit_logger_log",
    "restore_audit_logger_log",
    "create_audit_logger_tables",
    "drop_audit_logger_tables",
    # of release 2.0.0
    "init_audit_logger_extension",
    "remove_audit_logger_extension",
    "init_audit_logger_function",
    "remove_audit_logger_function",
]

USERS = {
    "audit": {"exclude": ["hair_color"], "mask": ["email"], "truncate": "rows"},
    "columns": ["name", "hair_color", "email", "odd: \\'odd\\'"],
}


def python(code, *path, **env):
    """Run code in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=path[0] if path else None,  # the folder of the run comes first on the path
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_operations_exist_as_soon_as_the_package_is_imported():
    python(
        "import flask_audit_logger\nfrom alembic import op\n"
        f"for name in {OPERATIONS!r}:\n    assert callable(getattr(op, name)), name\n",
        *filter(None, sys.path),
    )


def test_importing_the_operations_does_not_read_sql_or_need_flask():
    python(
        "import sys; sys.modules['flask'] = None\n"
        "import importlib.util, types\n"
        "package = types.ModuleType('flask_audit_logger')\n"
        "spec = importlib.util.find_spec('flask_audit_logger')\n"
        "package.__path__ = spec.submodule_search_locations\n"
        "sys.modules['flask_audit_logger'] = package\n"
        "import flask_audit_logger.migrations, flask_audit_logger.sql\n"
        "assert not flask_audit_logger.sql._read.cache_info().currsize\n",
        *filter(None, sys.path),
    )


def test_a_replay_with_other_models_gives_the_same_objects(project, release, dump):
    project.migrate_and_upgrade(release(users=USERS, pets={"audit": True}))
    first = dump()
    project.downgrade()
    release(users={"audit": {"verbs": ["insert"]}, "columns": ["name"]}, logger={"exclude": ["*"]})
    project.upgrade()
    assert dump() == first


@pytest.fixture
def newer(tmp_path):
    """The package as a later release: version 2 of the SQL has another body of one function."""
    folder = tmp_path / "newer" / "flask_audit_logger"
    shutil.copytree(Path(flask_audit_logger.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(folder / "sql" / "v1", folder / "sql" / "v2")
    for file in (folder / "sql" / "v2").glob("*.sql"):
        file.write_text(file.read_text().replace("-- version: 1", "-- version: 2"))
    capture = folder / "sql" / "v2" / "capture.sql"
    capture.write_text(capture.read_text().replace("<<capture>>", "-- new in version 2\n<<capture>>"))
    package = folder / "sql" / "__init__.py"
    package.write_text(package.read_text().replace("CURRENT_VERSION = 1", "CURRENT_VERSION = 2"))
    return folder.parent


NEWER = """
import os
from pathlib import Path
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from flask_audit_logger import AuditLogger
import flask_audit_logger
assert "newer" in flask_audit_logger.__file__
from tests.migrations.project import Project
from tests.migrations.catalog import catalog
from tests.migrations.conftest import declare_table
db = SQLAlchemy()
declare_table(db.metadata, "users", **eval(os.environ["USERS"]))
AuditLogger(db)
url = sa.make_url(os.environ["URL"])
project = Project(Path(os.environ["FOLDER"]), url)
"""


def with_newer(code, newer, project):
    url = project.url.render_as_string(hide_password=False)
    folder = str(project.versions.parent)
    return python(NEWER + code, newer, *filter(None, sys.path), URL=url, FOLDER=folder, USERS=repr(USERS))


def test_a_newer_library_replays_old_migrations_to_the_same_objects(project, release, dump, newer):
    project.migrate_and_upgrade(release(users=USERS))
    first = dump()
    project.downgrade()
    with_newer("project.upgrade()", newer, project)
    assert dump() == first


def test_a_newer_library_upgrades_the_functions_and_can_go_back(project, release, dump, newer):
    project.migrate_and_upgrade(release(users=USERS))
    first = dump()
    with_newer("project.migrate_and_upgrade(db.metadata)", newer, project)
    written = (project.versions / "0002_m.py").read_text()
    assert "op.init_audit_logger_functions(version=2)" in upgrade_part(written)
    assert any("new in version 2" in line for line in dump())
    with_newer("project.downgrade('-1')", newer, project)
    assert dump() == first


def test_an_older_library_does_not_undo_a_newer_one(project, release, execute, newer):
    application = release(users=USERS)
    project.migrate_and_upgrade(application)
    with_newer("project.migrate_and_upgrade(db.metadata)", newer, project)
    (project.versions / "0002_m.py").unlink()
    execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(flask_audit_logger.ConfigurationError, match="is of version 2"):
        project.migrate(application)


@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_an_offline_script_makes_the_same_as_the_migration(project, release, dump, psql, execute, schema):
    tables = {"users": USERS, "measures": {"audit": True, "key": ["id", "year"], "partition_by": "RANGE (year)"}}
    project.migrate_and_upgrade(release(**tables, logger={"schema": schema}))
    project.migrate_and_upgrade(release(users={**USERS, "audit": {"only": ["id", "name"]}}, logger={"schema": schema}))
    full = dump()
    project.downgrade()
    execute("DROP TABLE alembic_version")
    empty = dump()
    up, down = project.sql(), project.sql(down=True)
    psql(up)
    assert dump() == full
    psql(down)
    assert dump() == empty
