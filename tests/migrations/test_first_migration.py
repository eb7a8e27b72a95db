"""One migration installs the log, a second finds nothing, and a downgrade leaves nothing behind."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.migrations.project import downgrade_part, upgrade_part

USERS = {"audit": {"exclude": ["hair_color"]}, "columns": ["name", "hair_color"]}


def names(operations):
    return [line.partition("(")[0].removeprefix("op.") for line in operations]


@pytest.mark.parametrize("schema", [None, "audit_logs", "public", 'Odd "schema"'])
@pytest.mark.parametrize("include_schemas", [False, True])
def test_one_migration_installs_everything(project, release, dump, query, execute, schema, include_schemas):
    project.options["include_schemas"] = include_schemas
    application = release(users=USERS, logger={"schema": schema})
    empty = dump()
    project.migrate_and_upgrade(application)
    execute("INSERT INTO users VALUES (1, 'Ann', 'red')", "UPDATE users SET name = 'Anna'")
    assert [(a.verb, a.record_key, a.changed_data) for a in application.activities()] == [
        ("insert", "1", {"id": 1, "name": "Ann"}),
        ("update", "1", {"name": "Anna"}),
    ]
    full = dump()
    project.downgrade()
    assert dump() == empty
    project.upgrade()
    assert dump() == full


@pytest.mark.parametrize("include_schemas", [False, True])
def test_the_schema_of_the_metadata_is_the_one_of_the_log(project, release, dump, query, execute, include_schemas):
    project.options["include_schemas"] = include_schemas
    metadata = sa.MetaData(schema="app")
    users = {**USERS, "schema": "public"}  # Alembic finds other schemas only if it is told to
    application = release(users=users, logger={"db_options": {"metadata": metadata}})
    empty = dump()
    project.migrate_and_upgrade(application)
    execute("INSERT INTO users VALUES (1, 'Ann', 'red')")
    assert query("SELECT verb, record_key FROM app.activity") == [("insert", "1")]
    project.downgrade()
    assert dump() == empty


def test_the_operations_come_in_the_order_in_which_they_can_run(project, release):
    written = project.migrate(release(users=USERS, teams={"audit": True}, notes={}, logger={"schema": "audit_logs"}))
    assert [name for name in names(upgrade_part(written)) if "audit" in name] == [
        "init_audit_logger_schema",
        "create_audit_logger_tables",
        "init_audit_logger_functions",
        "init_audit_logger_triggers",
        "init_audit_logger_triggers",
    ]
    order = names(upgrade_part(written))
    assert order[0] == "init_audit_logger_schema"
    assert order[-3:] == ["init_audit_logger_functions", "init_audit_logger_triggers", "init_audit_logger_triggers"]
    order = names(downgrade_part(written))
    assert order[:4] == [
        "remove_audit_logger_triggers",
        "remove_audit_logger_triggers",
        "remove_audit_logger_functions",
        "drop_audit_logger_tables",
    ]
    assert order[-1] == "remove_audit_logger_schema"


def test_alembic_says_nothing_of_the_tables_of_the_log(project, release, caplog):
    """They are in no metadata, so it would announce each time that they are removed."""
    application = release(users=USERS)
    with caplog.at_level("INFO", "alembic.autogenerate"):
        written = project.migrate_and_upgrade(application)
        assert "op.create_audit_logger_tables(version=1, actor_type='TEXT')" in upgrade_part(written)
        assert "op.drop_audit_logger_tables(version=1, actor_type='TEXT')" in downgrade_part(written)
        assert project.migrate(application) == ""
    assert "'users'" in caplog.text
    assert "'activity'" not in caplog.text and "'transaction'" not in caplog.text


def test_a_migration_is_the_same_text_each_time(make_project, release):
    tables = {name: {"audit": True} for name in ("zebras", "apes", "mice", "owls", "bees")}
    texts = {make_project().migrate(release(**tables)) for _ in range(3)}
    assert len(texts) == 1
    lines = [line for line in upgrade_part(texts.pop()) if "init_audit_logger_triggers" in line]
    assert [line.split("'")[1] for line in lines] == ["apes", "bees", "mice", "owls", "zebras"]


def test_an_application_without_a_logger_gets_nothing(project, release):
    written = project.migrate(release(users=USERS, audited=False))
    assert "create_table" in written
    assert "audit_logger" not in written


def test_a_database_that_is_not_postgresql_is_left_alone(tmp_path, release):
    from tests.migrations.project import Project

    project = Project(tmp_path / "sqlite", sa.make_url(f"sqlite:///{tmp_path}/some.db"))
    application = release(users=USERS, audited=False)
    assert "create_table" in project.migrate(application)
