"""The commands of Flask-Migrate, as a reader types them, on one database and on two."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flask_audit_logger
from tests.migrations.catalog import catalog
from tests.migrations.project import upgrade_part
from tests.support.commands import run_python
from tests.support.server import plain_engine

APP = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column
from flask_audit_logger import AuditLogger

db = SQLAlchemy()

class User(db.Model):
    __tablename__ = "users"
    __table_args__ = ({"info": {"audit_logged": eval(os.environ.get("USERS", "True"))}},)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    hair_color: Mapped[str | None]

if "OTHER_URL" in os.environ:
    class Book(db.Model):
        __bind_key__ = "other"
        __tablename__ = "books"
        __table_args__ = ({"info": {"audit_logged": {"exclude": ["title"]}}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

audit_logger = AuditLogger(db, schema=os.environ.get("AUDIT_SCHEMA"))

def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["URL"]
    if "OTHER_URL" in os.environ:
        app.config["SQLALCHEMY_BINDS"] = {"other": os.environ["OTHER_URL"]}
    db.init_app(app)
    Migrate(app, db)
    audit_logger.init_app(app)
    return app
"""


class Shop:
    """A folder with an application, in which somebody types ``flask …``."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(APP)
        package = str(Path(flask_audit_logger.__file__).parent.parent)
        self.env = {**os.environ, "FLASK_APP": "shop", "PYTHONPATH": package, **env}

    def flask(self, *words: str, **env: str) -> str:
        done = run_python(("-m", "flask", *words), self.folder, {**self.env, **env})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def migrate(self, **env: str) -> str:
        versions = self.folder / "migrations" / "versions"
        before = set(versions.glob("*.py"))
        self.said = self.flask("db", "migrate", **env)
        written = set(versions.glob("*.py")) - before
        return written.pop().read_text().partition("def upgrade(")[2] if written else ""


@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_flask_db_migrate_upgrade_downgrade(tmp_path, database_url, dump, execute, query, schema):
    env = {"AUDIT_SCHEMA": schema} if schema else {}
    shop = Shop(tmp_path, URL=database_url.render_as_string(hide_password=False), **env)
    empty = dump()
    shop.flask("db", "init")
    assert "op.init_audit_logger_triggers('users'" in shop.migrate()
    for found in (
        f"audit log in schema '{schema or 'public'}'",
        f"functions of the audit log in schema '{schema or 'public'}'",
        "audit triggers on table 'public.users'",
    ):
        assert f"[alembic.autogenerate] Detected added {found}\n" in shop.said
    shop.flask("db", "upgrade")
    assert shop.migrate() == "" and "audit" not in shop.said.replace(schema or "public", "")
    shop.flask("db", "check")
    execute("INSERT INTO users (name) VALUES ('Ann')")
    assert query(f"SELECT verb, record_key FROM {schema or 'public'}.activity") == [("insert", "1")]
    written = shop.migrate(USERS="{'exclude': ['hair_color']}")
    assert len(upgrade_part(written)) == 1
    shop.flask("db", "upgrade")
    assert "CREATE OR REPLACE TRIGGER" in shop.flask("db", "upgrade", "base:head", "--sql")
    shop.flask("db", "downgrade", "base")
    assert dump() == empty


def test_two_databases(tmp_path, server, database_url, outside):
    with server.database() as other_url:
        other = plain_engine(other_url)
        urls = {"URL": database_url, "OTHER_URL": other_url}
        shop = Shop(tmp_path, **{key: url.render_as_string(hide_password=False) for key, url in urls.items()})
        empty = catalog(outside), catalog(other)
        shop.flask("db", "init", "--multidb")
        written = shop.migrate()
        one, two = written.split("def upgrade_other():")
        assert "op.init_audit_logger_triggers('users'" in one
        assert "op.init_audit_logger_triggers('books', key_columns=['id'], excluded_columns=['title']" in two
        shop.flask("db", "upgrade")
        assert shop.migrate() == ""
        for engine, table in ((outside, "users (name, id)"), (other, "books (title, id)")):
            with engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ('x', 7)")
                assert connection.exec_driver_sql("SELECT record_key FROM activity").scalar_one() == "7"
        shop.flask("db", "downgrade", "base")
        assert (catalog(outside), catalog(other)) == empty


LITE = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from flask_audit_logger import AuditLogger

class Model(DeclarativeBase):
    pass

class User(Model):
    __tablename__ = "users"
    __table_args__ = ({"info": {"audit_logged": True}},)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

db = SQLAlchemy()
db.metadata = Model.metadata  # what Flask-Migrate looks for
audit_logger = AuditLogger(db, metadata=Model.metadata)

def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_ENGINES"] = {"default": os.environ["URL"]}
    db.init_app(app)
    Migrate(app, db)
    audit_logger.init_app(app)
    return app
"""


@pytest.mark.slow
def test_flask_sqlalchemy_lite(tmp_path, database_url, execute, query):
    pytest.importorskip("flask_sqlalchemy_lite", reason="Flask-SQLAlchemy-Lite is not installed")
    shop = Shop(tmp_path, URL=database_url.render_as_string(hide_password=False))
    (tmp_path / "shop.py").write_text(LITE)
    shop.flask("db", "init")
    assert "op.init_audit_logger_triggers('users'" in shop.migrate()
    shop.flask("db", "upgrade")
    shop.flask("db", "check")
    execute("INSERT INTO users (name) VALUES ('Ann')")
    assert query("SELECT verb, record_key FROM activity") == [("insert", "1")]
    assert "ok    users" in shop.flask("audit", "status")


PLAIN = """
import sqlalchemy as sa
from flask_audit_logger import AuditLogger

metadata = sa.MetaData()
sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True), info={"audit_logged": True})
audit_logger = AuditLogger(engine=sa.create_engine("postgresql+{driver}://"), metadata=metadata)
"""


@pytest.mark.slow
@pytest.mark.parametrize("template", ["generic", "async"])
def test_alembic_alone(tmp_path, database_url, execute, query, template):
    """Its own env.py imports the metadata and nothing else of ours; that of the template async runs on asyncpg."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    url = database_url.set(drivername="postgresql+asyncpg") if template == "async" else database_url
    (tmp_path / "models.py").write_text(PLAIN.replace("{driver}", database_url.get_driver_name()))

    def alembic(*words: str) -> str:
        env = {**os.environ, "PYTHONPATH": f"{Path(flask_audit_logger.__file__).parent.parent}:{tmp_path}"}
        done = run_python(("-m", "alembic", *words), tmp_path, env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    alembic("init", "-t", template, "here")
    for name, old, new in (
        ("here/env.py", "target_metadata = None", "from models import metadata as target_metadata"),
        ("alembic.ini", "driver://user:pass@localhost/dbname", url.render_as_string(False).replace("%", "%%")),
    ):
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
    alembic("revision", "--autogenerate", "-m", "start")
    alembic("upgrade", "head")
    alembic("check")
    execute("INSERT INTO users VALUES (7)")
    assert query("SELECT verb, record_key FROM activity") == [("insert", "7")]
    alembic("downgrade", "base")
