"""The history of a record goes on when its table or a column is renamed, and goes back with a downgrade."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

USERS = {"audit": True, "columns": ["name", "hair_color"]}


@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_a_renamed_table(project, release, execute, query, schema):
    logger = {"schema": schema}
    log = f"{schema or 'public'}.activity"
    project.migrate_and_upgrade(release(users=USERS, others=USERS, logger=logger))
    execute("INSERT INTO users VALUES (1, 'Ann', 'red')", "INSERT INTO others VALUES (1, 'x', 'y')")
    in_log = f", audit_schema={schema!r}" if schema else ""
    project.write(
        f"op.rename_table('users', 'people')\nop.rename_audit_logger_table('users', 'people'{in_log})",
        f"op.rename_audit_logger_table('people', 'users'{in_log})\nop.rename_table('people', 'users')",
    )
    project.upgrade()
    assert project.migrate(release(people=USERS, others=USERS, logger=logger)) == ""
    execute("UPDATE people SET name = 'Anna'")
    history = f"SELECT verb FROM {log} WHERE table_name = '{{}}' AND record_key = '1' ORDER BY id"
    assert query(history.format("people")) == [("insert",), ("update",)]
    assert query(history.format("others")) == [("insert",)]
    project.downgrade("-1")
    assert query(history.format("users")) == [("insert",), ("update",)]
    assert query(history.format("people")) == []


def test_a_table_moved_to_another_schema(project, release, execute, query):
    project.options["include_schemas"] = True
    project.migrate_and_upgrade(release(users=USERS))
    execute("CREATE SCHEMA hr", "INSERT INTO users VALUES (1, 'Ann', 'red')")
    project.write(
        "op.execute('ALTER TABLE users SET SCHEMA hr')\n"
        "op.rename_audit_logger_table('users', 'users', new_schema='hr')",
        "op.rename_audit_logger_table('users', 'users', schema='hr', new_schema='public')\n"
        "op.execute('ALTER TABLE hr.users SET SCHEMA public')",
    )
    project.upgrade()
    assert project.migrate(release(users={**USERS, "schema": "hr"})) == ""
    assert query("SELECT schema FROM activity") == [("hr",)]
    project.downgrade("-1")
    assert query("SELECT schema FROM activity") == [("public",)]


def test_a_renamed_column(project, release, execute, query):
    named = {"exclude": ["name"], "ignore": ["hair_color"]}
    project.migrate_and_upgrade(release(users={**USERS, "audit": named}))
    execute(
        "INSERT INTO users VALUES (1, 'Ann', 'red')",
        "UPDATE users SET id = 2, hair_color = 'blue'",
        "DELETE FROM users",
    )
    before = query("SELECT old_data, changed_data FROM activity ORDER BY id")
    project.write(
        "op.alter_column('users', 'hair_color', new_column_name='odd')\n"
        "op.rename_audit_logger_column('users', 'hair_color', 'odd')\n"
        "op.init_audit_logger_triggers('users', key_columns=['id'], excluded_columns=['name'], "
        "ignored_columns=['odd'], version=1)",
        "op.rename_audit_logger_column('users', 'odd', 'hair_color')\n"
        "op.alter_column('users', 'odd', new_column_name='hair_color')",
    )
    project.upgrade()
    renamed = {"audit": {"exclude": ["name"], "ignore": ["odd"]}, "columns": ["name", "odd"]}
    assert project.migrate(release(users=renamed)) == ""
    assert query("SELECT old_data, changed_data FROM activity ORDER BY id") == [
        ({}, {"id": 1, "odd": "red"}),
        ({"id": 1, "odd": "red"}, {"id": 2, "odd": "blue"}),
        ({"id": 2, "odd": "blue"}, {}),
    ]
    project.downgrade("-1")
    assert query("SELECT old_data, changed_data FROM activity ORDER BY id") == before


@pytest.mark.parametrize("log", [None, "audit_logs"])
def test_a_name_that_has_a_history_is_refused_until_that_has_another_name(project, release, execute, query, log):
    logger = {"schema": log}
    in_log = f", audit_schema={log!r}" if log else ""
    project.migrate_and_upgrade(release(users=USERS, people=USERS, logger=logger))
    execute("INSERT INTO users VALUES (1, 'Ann', 'red')", "INSERT INTO people VALUES (1, 'x', 'y')")
    entries = f"SELECT table_name, changed_data ->> 'name' FROM {log or 'public'}.activity ORDER BY id"
    before = query(entries)
    rename = f"op.rename_table('users', 'people')\nop.rename_audit_logger_table('users', 'people'{in_log})"
    back = f"op.rename_audit_logger_table('people', 'users'{in_log})\nop.rename_table('people', 'users')"
    project.write(f"op.drop_table('people')\n{rename}")
    with pytest.raises(DBAPIError, match=r"the log has entries of a table public.people already"):
        project.upgrade()
    assert query(entries) == before
    next(project.versions.glob("0002*")).unlink()
    project.write(
        f"op.drop_table('people')\nop.rename_audit_logger_table('people', 'former people'{in_log})\n{rename}",
        f"{back}\nop.rename_audit_logger_table('former people', 'people'{in_log})",
    )
    project.upgrade()
    assert query(entries) == [("people", "Ann"), ("former people", "x")]
    project.downgrade("-1")
    assert query(entries) == before
