"""Promise: what is known of a table is what its model says and what PostgreSQL made of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from flask_audit_logger.diff.kinds import ValueKind
from flask_audit_logger.query.tables import TableCatalog, kind_of_type
from flask_audit_logger.schema.names import TableName
from flask_audit_logger.schema.objects import LOG_TABLES
from tests.query.reads import PRODUCTS
from tests.ui.shop import declare_shop

OTHER = TableName("other", "products")


def declare(db):
    """A table of the same name in another schema, and one with every option."""
    models = declare_shop(db)
    sa.Table("products", db.metadata, sa.Column("id", sa.Integer, primary_key=True), schema="other")
    sa.Table(
        "odd",
        db.metadata,
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("needed", sa.Text, nullable=False),
        sa.Column("given", sa.Text, nullable=False, server_default="x"),
        sa.Column("double", sa.Integer, sa.Computed("id * 2")),
        sa.Column("seen_at", sa.DateTime),
        sa.Column("token", sa.Text),
        sa.Column("elsewhere", sa.ForeignKey("other.products.id")),
        sa.Column("order_id", sa.Integer),
        sa.Column("code", sa.Text),
        sa.ForeignKeyConstraint(["order_id", "code"], ["order_items.order_id", "order_items.code"]),
        info={
            "audit_logged": {
                "exclude": ["given"],
                "mask": ["token"],
                "ignore": ["seen_at"],
                "verbs": ["update", "delete"],
            }
        },
    )
    return models


@pytest.fixture
def application(create_app, outside):
    with outside.begin() as connection:
        connection.execute(sa.schema.CreateSchema("other"))
    return create_app(declare=declare)


@pytest.fixture
def catalog(application):
    return TableCatalog([application.db.metadata])


IN_DATABASE = """
SELECT table_schema, table_name, array_agg(column_name::text ORDER BY ordinal_position),
  array_agg(column_name::text) FILTER (WHERE is_generated = 'ALWAYS'),
  array_agg(column_name::text) FILTER (WHERE identity_generation = 'ALWAYS'),
  array_agg(column_name::text) FILTER (WHERE is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO')
FROM information_schema.columns
WHERE table_schema IN ('public', 'other') AND table_name NOT IN ('activity', 'transaction') GROUP BY 1, 2"""
CONSTRAINTS = """
SELECT n.nspname, c.relname, k.contype, k.confrelid::regclass::text, ARRAY(
  SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
  JOIN pg_attribute ON attrelid = c.oid AND attnum = u.number ORDER BY u.place)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype IN ('p', 'f') AND n.nspname IN ('public', 'other') AND c.relname NOT IN ('activity', 'transaction')"""


def test_columns_keys_and_references_are_those_of_the_database(catalog, outside):
    with outside.connect() as connection:
        tables = connection.exec_driver_sql(IN_DATABASE).all()
        constraints = connection.exec_driver_sql(CONSTRAINTS).all()
    # The log's are no tables of the application.
    tables = [row for row in tables if not row[1].startswith(LOG_TABLES)]
    assert {TableName(*row[:2]) for row in tables} == set(catalog.names)
    for schema, name, columns, generated, numbered, required in tables:
        info = catalog.get(TableName(schema, name))
        named = {flag: [c.name for c in info.columns.values() if getattr(c, flag)] for flag in FLAGS}
        assert list(info.columns) == columns
        assert named["is_generated"] == (generated or []) and named["is_numbered"] == (numbered or [])
        assert set(named["is_required"]) - set(info.key) == set(required or []) - set(info.key), name
        own = [row[2:] for row in constraints if row[:2] == (schema, name)]
        assert [info.key] == [tuple(names) for kind, _, names in own if kind == "p"]
        targets = {c.name: str(c.target[0]).removeprefix("public.") for c in info.columns.values() if c.target}
        assert targets == {names[0]: to for kind, to, names in own if kind == "f" and len(names) == 1}
        assert catalog.ordered(info.name, sorted([*columns, "gone", "also gone"])) == [*columns, "also gone", "gone"]


FLAGS = ("is_generated", "is_numbered", "is_required")


def test_what_is_said_to_be_logged_is_what_is_logged(application, catalog, outside):
    """Every option is seen in the log."""
    info = catalog.get(TableName("public", "odd"))
    with outside.begin() as connection:
        for statement in (
            "INSERT INTO odd (needed, token) VALUES ('a', 't')",
            "UPDATE odd SET seen_at = now()",
            "UPDATE odd SET given = 'y'",
            "UPDATE odd SET needed = 'b', token = 'u'",
            "DELETE FROM odd",
        ):
            connection.exec_driver_sql(statement)
    entries = application.activities(table_name="odd")
    assert [entry.verb for entry in entries] == ["update", "delete"]
    assert info.verbs == {"update", "delete"} and info.ignored == {"seen_at"}
    for entry in entries:
        # a generated column may be a virtual one, which has no value of its own
        generated = {name for name, column in info.columns.items() if column.is_generated}
        assert set(info.columns) - info.excluded - generated == set(entry.old_data) - generated
        assert info.masked == {n for n, value in entry.old_data.items() if value == {"audit_logger": "masked"}}
    audited = [table.name for table in catalog.audited]
    names = ["categories", "odd", "order_items", "products", "users"]
    assert audited == [TableName("public", name) for name in names]


def test_a_text_is_read_as_the_table_it_was_written_for(catalog):
    for ref in catalog.names:
        assert catalog.named(catalog.text(ref)) == ref
    assert catalog.text(OTHER) == "other.products" and catalog.named("other.products") == OTHER
    assert catalog.named("products") == PRODUCTS == catalog.named("public.products")
    assert catalog.named("gone") == TableName("public", "gone") and catalog.get(catalog.named("gone")) is None


def test_a_dot_in_a_name_is_not_a_schema():
    metadatas = [sa.MetaData(), sa.MetaData()]
    for metadata, schema, name in zip(metadatas, (None, "other"), ("other.products", "products"), strict=True):
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), schema=schema)
    catalog = TableCatalog(metadatas, references={("other.products", "id"): "other.products"})
    dotted = TableName("public", "other.products")
    assert catalog.named("other.products") == dotted
    assert {catalog.text(ref) for ref in catalog.names} == {"other.products"}
    assert catalog.target(dotted, "id") == dotted


class Shouted(sa.TypeDecorator):
    impl = sa.Text
    cache_ok = True


@pytest.mark.parametrize(
    ("column_type", "kind"),
    [
        (sa.DateTime(timezone=True), ValueKind.INSTANT),
        (sa.DateTime(), ValueKind.TIMESTAMP),
        (sa.Float(), ValueKind.NUMBER),
        (sa.Enum("a"), ValueKind.PLAIN),
        (sa.ARRAY(sa.Integer), ValueKind.ARRAY),
        (JSONB(), ValueKind.JSON),
        (TSVECTOR(), ValueKind.DERIVED),
        (Shouted(), ValueKind.TEXT),
        (sa.Uuid(), ValueKind.PLAIN),
    ],
)
def test_the_kind_of_a_type(column_type, kind):
    assert kind_of_type(column_type) is kind
