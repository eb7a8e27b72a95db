"""An AuditLogger works with Flask-SQLAlchemy-Lite and with an engine alone, and says what it lacks."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, g
from flask_login import LoginManager, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Mapped, Session, mapped_column

from flask_audit_logger import AuditLogger, AuditUI, ConfigurationError, NotInitializedError
from tests.support.leaks import only_new_objects
from tests.support.server import plain_engine

lite = pytest.importorskip("flask_sqlalchemy_lite", reason="Flask-SQLAlchemy-Lite is not installed")


def engine() -> sa.Engine:
    return sa.create_engine("postgresql+psycopg://nowhere/x")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: {"db": lite.SQLAlchemy()}, "doesn't know the tables: AuditLogger\\(db, metadata=Model.metadata\\)"),
        (lambda: {"db": lite.SQLAlchemy(), "metadata": {"other": sa.MetaData()}}, "has no key 'default'"),
        (lambda: {"db": SQLAlchemy(), "metadata": sa.MetaData()}, "Flask-SQLAlchemy has its own"),
        (lambda: {"db": SQLAlchemy(), "engine": engine(), "metadata": sa.MetaData()}, "watch\\(engine\\)"),
        (lambda: {"db": SQLAlchemy(), "session": orm.sessionmaker()}, "session= goes with engine="),
        (lambda: {"ui": True}, "ui is True; give AuditUI"),
        (lambda: {"ui": AuditUI}, "give AuditUI"),
        (lambda: {"schema": ""}, "schema is ''"),
        (lambda: {"get_actor_id": 7}, "get_actor_id is 7; give a function"),
        (lambda: {"get_actor_label": "name"}, "get_actor_label is 'name'; give a function"),
        (lambda: {"db": object()}, "is no database object of Flask-SQLAlchemy"),
        (lambda: {"engine": engine()}, "needs metadata="),
        (lambda: {"engine": engine(), "metadata": {"default": sa.MetaData()}}, "needs metadata="),
        (
            lambda: {"engine": create_async_engine("postgresql+psycopg://nowhere/x"), "metadata": sa.MetaData()},
            "is async.*this one to watch",
        ),
    ],
)
def test_arguments_that_do_not_fit_together(given, said):
    with pytest.raises(ConfigurationError, match=said):
        AuditLogger(**given())


def test_what_is_no_session_and_no_connection_is_not_taken_for_one():
    audit_logger = AuditLogger(engine=engine(), metadata=sa.MetaData())
    for thing in (None, engine(), SQLAlchemy()):
        with pytest.raises(ConfigurationError, match="stamp\\(\\) takes a session or a connection"):
            audit_logger.stamp(thing)
    with pytest.raises(ConfigurationError, match="disable\\(\\) takes a session"), audit_logger.disable(SQLAlchemy()):
        pass


def test_nothing_of_an_extension_is_needed_for_an_engine():
    """Neither Flask-SQLAlchemy nor Flask-SQLAlchemy-Lite is imported, nor asyncpg."""
    code = """
import sys
for name in ("flask_sqlalchemy", "flask_sqlalchemy_lite", "asyncpg", "asgiref", "greenlet"):
    sys.modules[name] = None
import sqlalchemy, flask_audit_logger
metadata = sqlalchemy.MetaData()
engine = sqlalchemy.create_engine("sqlite://")
flask_audit_logger.AuditLogger(engine=engine, metadata=metadata).init_app(__import__("flask").Flask("x"))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_application_without_a_database_object(database_url):
    app = Flask("bare")
    with pytest.raises(NotInitializedError):
        AuditLogger().init_app(app)
    with pytest.raises(NotInitializedError):
        AuditLogger(metadata=sa.MetaData()).init_app(app)


def test_commands_and_pages_need_an_engine_that_is_not_async(database_url):
    metadata = sa.MetaData()
    sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True), info={"audit_logged": True})
    app = Flask("asynchronous")
    app.config["SQLALCHEMY_ASYNC_ENGINES"] = {"default": database_url.set(drivername="postgresql+psycopg")}
    db = lite.SQLAlchemy(app)
    AuditLogger(db, metadata=metadata).init_app(app)
    result = app.test_cli_runner().invoke(args=["audit", "status"])
    assert (result.exit_code, "define SQLALCHEMY_ENGINES['default']" in result.output) == (1, True)
    with pytest.raises(ConfigurationError, match="define SQLALCHEMY_ENGINES"):
        AuditLogger(db, metadata=metadata, ui=AuditUI()).init_app(app)


def test_databases_of_flask_sqlalchemy_lite(server, database_url):
    """Each engine has the log of its metadata; status sees both; what nobody watches is no business of ours."""
    with server.database() as other_url:
        app = Flask("two")
        app.config["SQLALCHEMY_ENGINES"] = {"default": database_url, "other": other_url}
        one, two = sa.MetaData(), sa.MetaData()
        users, books = (
            sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), info={"audit_logged": True})
            for name, metadata in (("users", one), ("books", two))
        )
        db = lite.SQLAlchemy(app)
        audit_logger = AuditLogger(metadata={"default": one, "other": two})
        audit_logger.init_app(app)
        assert audit_logger.audit_logged_tables == {users, books}
        with app.app_context():
            for name, metadata in (("default", one), ("other", two)):
                metadata.create_all(db.get_engine(name))
            with audit_logger.context(actor="7"):
                for name, table in (("default", users), ("other", books)):
                    with db.get_engine(name).begin() as connection:
                        connection.execute(table.insert())
            for name, bind in (("default", None), ("other", "other")):
                transaction = audit_logger.models_of(bind).transaction
                with db.get_engine(name).connect() as connection:
                    assert connection.scalars(sa.select(transaction.c.actor_id)).all() == ["7"]
                db.get_engine(name).dispose()
        result = app.test_cli_runner().invoke(args=["audit", "status"])
        assert result.exit_code == 0, result.output
        assert {"ok    users", "ok    books"} <= set(result.output.splitlines())
        with app.app_context():
            for each in db.engines.values():
                each.dispose()
        audit_logger.detach()


def test_engines_of_applications_that_are_gone_are_not_kept_alive(database_url):
    """Five create_app() with one database object of Flask-SQLAlchemy-Lite, as a test suite makes them."""
    metadata = sa.MetaData()
    sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True), info={"audit_logged": True})
    db = lite.SQLAlchemy()
    audit_logger = AuditLogger(db, metadata=metadata)
    left = []

    def create_app() -> None:
        app = Flask("factory")
        app.config["SQLALCHEMY_ENGINES"] = {"default": database_url}
        db.init_app(app)
        audit_logger.init_app(app)
        with app.app_context():
            assert db.session.scalar(sa.text("SELECT 1")) == 1
            db.session.close()
            db.engine.dispose()
            left.extend([weakref.ref(app), weakref.ref(db.engine), weakref.ref(db.sessionmaker)])

    with only_new_objects():
        for _ in range(5):
            create_app()
        for _ in range(3):
            gc.collect()
    assert [kept for ref in left if (kept := ref()) is not None] == []
    audit_logger.detach()


class Shop:
    """An application with an engine of its own, whose sessions load the user."""

    def __init__(self, url: Any, sessions: Any) -> None:
        class Base(orm.DeclarativeBase):
            pass

        class User(Base):
            __tablename__ = "users"
            __table_args__ = ({"info": {"audit_logged": True}},)
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]
            is_authenticated = is_active = True

            def get_id(self) -> str:
                return str(self.id)

        self.user_cls = User
        self.engine = plain_engine(url)
        self.sessions = sessions(self.engine)
        self.app = Flask("shop")
        self.app.config.update(SECRET_KEY="x", TESTING=True)
        self.audit_logger = AuditLogger(engine=self.engine, metadata=Base.metadata, session=self.sessions)
        self.audit_logger.init_app(self.app)
        self.loads = 0
        Base.metadata.create_all(self.engine)

        @LoginManager(self.app).user_loader
        def load(key: str) -> Any:
            self.loads += 1
            with Session(self.engine) as session:
                return session.get(User, int(key))

        @self.app.post("/login/<int:key>")
        def login(key: int) -> str:
            with Session(self.engine) as session:
                login_user(session.get(User, key))
            return "hello"

        @self.app.post("/rename/<int:key>/<name>")
        def rename(key: int, name: str) -> str:
            assert "_login_user" not in g
            with self.sessions() as session:
                session.get(User, key).name = name
                session.commit()
            return "done"

    def log(self) -> list[tuple[str, str | None, Any]]:
        """Verb, name and id of the actor of each change."""
        activity = self.audit_logger.activity_cls
        with Session(self.engine) as session:
            found = session.scalars(sa.select(activity).order_by(activity.id))
            return [(a.verb, a.transaction.actor_label, a.transaction.actor_id) for a in found]


@pytest.mark.parametrize(
    "sessions", [orm.sessionmaker, lambda engine: orm.scoped_session(orm.sessionmaker(engine))], ids=["maker", "scoped"]
)
def test_sessions_of_an_engine_load_the_user_before_they_write(database_url, sessions):
    """And without any Flask, what a script says counts."""
    shop = Shop(database_url, sessions)
    with shop.audit_logger.context(actor=9), shop.sessions() as session:
        session.add(shop.user_cls(id=1, name="Ann"))
        session.commit()
    client = shop.app.test_client()
    client.post("/login/1")
    shop.loads = 0
    assert client.post("/rename/1/Anna").status_code == 200
    assert shop.loads == 1
    assert shop.log() == [("insert", None, 9), ("update", "Ann", 1)]
    shop.audit_logger.detach()
    client.post("/rename/1/Anne")
    assert (shop.loads, shop.log()[2:]) == (1, [("update", None, None)])


def test_loggers_of_several_engines_with_the_same_tables(server, database_url):
    """As create_app() called twice with a module of models makes them: each goes on with its own engine."""
    with server.database() as other_url:
        metadata = sa.MetaData()
        notes = sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True), info={"audit_logged": True})
        engines = [plain_engine(database_url), plain_engine(other_url)]
        loggers = [AuditLogger(engine=engine, metadata=metadata) for engine in engines]
        for engine, audit_logger, actor in zip(engines, loggers, ("1", "2"), strict=True):
            metadata.create_all(engine)
            with audit_logger.context(actor=actor), engine.begin() as connection:
                connection.execute(notes.insert())
        for engine, audit_logger, actor in zip(engines, loggers, ("1", "2"), strict=True):
            with engine.connect() as connection:
                assert connection.scalars(sa.select(audit_logger.models.transaction.c.actor_id)).all() == [actor]
        newest = AuditLogger(engine=engines[0], metadata=metadata)
        with loggers[0].context(actor="3"), engines[0].begin() as connection:
            connection.execute(notes.insert())
        with engines[0].connect() as connection:
            query = sa.select(newest.models.transaction.c.actor_id).order_by(sa.text("id"))
            assert connection.scalars(query).all() == ["1", "3"]
        newest.detach()
        loggers[1].detach()
