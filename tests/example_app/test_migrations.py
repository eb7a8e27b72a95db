"""The committed migrations make exactly what the models say, and leave nothing behind."""

from __future__ import annotations

import re

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from example_app.extensions import db
from tests.example_app.shops import open_shop, rows

OBJECTS = """
SELECT 'relation ' || c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'warehouse')
UNION ALL
SELECT 'function ' || p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('public', 'warehouse')
UNION ALL
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'warehouse'
"""


def test_nothing_is_left_to_migrate(shop):
    result = shop.test_cli_runner().invoke(args=["db", "check"])
    assert result.exit_code == 0, result.output


def test_a_second_migrate_finds_nothing(shop):
    with shop.app_context(), db.engine.connect() as connection:
        options = shop.extensions["migrate"].configure_args
        context = MigrationContext.configure(connection, opts={"target_metadata": db.metadata, **options})
        assert compare_metadata(context, db.metadata) == []


def test_a_downgrade_leaves_nothing_behind(shop):
    with shop.app_context():
        flask_migrate.downgrade(revision="base")
    left = {name for (name,) in rows(shop, text(OBJECTS))}
    assert left == {"relation alembic_version", "relation alembic_version_pkc"}
    with shop.app_context():
        flask_migrate.upgrade()
    assert "relation products" in {name for (name,) in rows(shop, text(OBJECTS))}


def test_tables_of_others_are_left_alone(shop):
    with shop.app_context(), db.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA elsewhere"))
        connection.execute(text("CREATE TABLE elsewhere.thing (id int PRIMARY KEY)"))
    result = shop.test_cli_runner().invoke(args=["db", "check"])
    assert result.exit_code == 0, result.output


def test_the_upgrade_can_be_written_as_sql(shop, capsys):
    with shop.app_context():
        flask_migrate.upgrade(revision="head", sql=True)
    sql = capsys.readouterr().out
    assert "CREATE TABLE products" in sql
    assert re.search(r"CREATE (OR REPLACE )?TRIGGER", sql)


@pytest.mark.parametrize("name", ["users", "products", "product_categories", "stock_levels", "order_items"])
def test_the_migrated_tables_have_triggers(name, shop):
    triggers = text(
        "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE c.relname = :name AND NOT t.tgisinternal"
    )
    assert rows(shop, triggers.bindparams(name=name))[0][0] >= 3


def test_the_factory_makes_several_applications(shop, database_url):
    with open_shop(database_url) as other:
        assert other.extensions["audit_logger"] is shop.extensions["audit_logger"]
        assert other.test_client().get("/login").status_code == 200
