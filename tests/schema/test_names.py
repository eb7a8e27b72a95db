"""A table has one name, whichever way it was written."""

from __future__ import annotations

from flask_audit_logger.schema.names import TableName


def test_a_name_without_a_schema_is_in_the_default_one():
    assert TableName.resolve("users", None, "public") == TableName.resolve("users", "public", "app")
    assert TableName.resolve("users", None, "app") == TableName("app", "users")


def test_names_are_shown_as_people_write_them_and_quoted_in_sql():
    odd = TableName("app", 'odd "name".x')
    assert str(odd) == 'app.odd "name".x'
    assert (odd.short("app"), odd.short("public")) == ('odd "name".x', str(odd))
    assert odd.quoted == '"app"."odd ""name"".x"'
