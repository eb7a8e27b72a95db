"""Promise: ``tables="all"`` audits each table of the application but those that are named, with its own options."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations.ops import CreateTableOp
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from flask_audit_logger import AuditLogger, ConfigurationError, UnknownOptionError
from flask_audit_logger.migrations.operations import InitAuditLoggerTriggersOp
from tests.apps.seventy_five import UNAUDITED, make


@pytest.mark.slow
def test_every_table_but_those_that_are_named(database_url):
    """One journey through the life of the application: made, written to, checked, extended, reflected, dropped."""
    app, db, audit_logger = make(database_url)
    assert {t.fullname for t in audit_logger.audit_logged_tables} == set(db.metadata.tables) - set(UNAUDITED)
    with app.app_context():
        with db.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA archive")
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
            connection.exec_driver_sql("CREATE VIEW seen AS SELECT 1 AS id")
        # A model of a view, and the table of another tool, as a reflected metadata has them.
        sa.Table("seen", db.metadata, autoload_with=db.engine)
        sa.Table("alembic_version", db.metadata, autoload_with=db.engine)
        made = [t for t in db.metadata.sorted_tables if t.name not in ("seen", "alembic_version")]
        db.metadata.create_all(db.engine, tables=made)
        with audit_logger.context(actor=7), db.engine.begin() as connection:
            for table in [*made, db.metadata.tables["alembic_version"]]:
                values = {c.name: 1 if isinstance(c.type, sa.Integer) else "x" for c in table.columns}
                connection.execute(table.insert().values(values))
            connection.execute(db.metadata.tables["refined"].update().values(text="y"))
        activity = audit_logger.activity_cls
        with Session(db.engine) as session:
            logged = session.scalars(sa.select(activity)).all()
            assert Counter(f"{a.schema}.{a.table_name}".removeprefix("public.") for a in logged) == Counter(
                {t.fullname: 1 for t in made if t.fullname not in UNAUDITED}
            )
            assert {a.transaction.actor_id for a in logged} == {7}
            (refined,) = (a for a in logged if a.table_name == "refined")
            assert refined.changed_data["text"] != "x"

        status = app.test_cli_runner().invoke(args=["audit", "status"])
        assert status.exit_code == 0, status.output
        assert status.output.count("ok    ") == len(made) - len(UNAUDITED) + 1
        assert "seen" not in status.output

        # A model that comes later needs no word of it.
        sa.Table("late", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_schemas": True})
            found = produce_migrations(context, db.metadata).upgrade_ops.ops
        assert [op.table_name for op in found if isinstance(op, CreateTableOp)] == ["late", "seen"]
        assert [op.triggers.table for op in found if isinstance(op, InitAuditLoggerTriggersOp)] == ["late"]
        db.metadata.drop_all(db.engine, tables=made)
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"tables": "some"}, ConfigurationError, "tables is 'some'; choose from 'marked', 'all'"),
        ({"tables": "marked", "except_tables": ["jobs"]}, ConfigurationError, 'goes with tables="all"'),
        ({"except_tables": "jobs"}, ConfigurationError, r"give a list, like \['jobs'\]"),
    ],
)
def test_what_can_not_be_meant_is_refused_at_once(options, error, said):
    with pytest.raises(error, match=said):
        make("postgresql://nowhere/x", **options)


def test_a_name_that_no_table_has_is_refused_where_tables_are_made_or_compared(database_url):
    """Not before, as its model may be imported yet."""
    app, db, _ = make(database_url, except_tables=["sesions", "alembic_version"])
    said = "except_tables names the unknown table 'sesions'. Did you mean 'sessions'?"
    with app.app_context():
        with pytest.raises(UnknownOptionError, match=said):
            db.create_all()
        with db.engine.connect() as connection, pytest.raises(UnknownOptionError, match=said):
            produce_migrations(MigrationContext.configure(connection), db.metadata)
        assert said in app.test_cli_runner().invoke(args=["audit", "status"]).output
        db.engine.dispose()


def test_the_tables_of_every_bind(caplog):
    """Those of a database that can have no log are told of once, as ever; a newer logger decides anew."""
    app = Flask("binds")
    app.config.update(SQLALCHEMY_DATABASE_URI="postgresql://nowhere/x", SQLALCHEMY_BINDS={"cache": "sqlite://"})
    db = SQLAlchemy(app)
    one = db.Table("one", sa.Column("id", sa.Integer, primary_key=True))
    two = db.Table("two", sa.Column("id", sa.Integer, primary_key=True), bind_key="cache")
    audit_logger = AuditLogger(db, tables="all")
    with app.app_context():
        assert audit_logger.audit_logged_tables == {one, two}
        assert "this database is sqlite" in caplog.text
        assert AuditLogger(db, tables="all", except_tables=["two"]).audit_logged_tables == {one}
        newest = AuditLogger(db)
        assert newest.audit_logged_tables == set()
        newest.detach()
