"""A reading list on Flask-SQLAlchemy-Lite: Flask-Login, models of a base of their own, views that are coroutines."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from sqlalchemy import orm
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.pool import NullPool

from flask_audit_logger import AuditLogger, AuditUI
from flask_audit_logger.ui import RevertPolicy
from tests.apps.stranger import Own, Stranger, Visit, created, new_app

LOG = [
    ("insert", "readers", None),
    ("insert", "readers", None),
    ("insert", "books", "ann"),
    ("insert", "marks", "ann"),
    ("insert", "books", "ann"),
    ("insert", "books", "ben"),
    ("update", "books", "ben"),
    ("delete", "marks", None),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application. Where the database is SQLite, its coroutines use the session of its functions."""
    lite = pytest.importorskip("flask_sqlalchemy_lite", reason="Flask-SQLAlchemy-Lite is not installed")
    pytest.importorskip("asgiref", reason="Flask is installed without its extra async")
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    has_async = sa.make_url(url).get_backend_name() == "postgresql"
    app = new_app("lite", url, SQLALCHEMY_ENGINES={"default": url})
    if has_async:
        # Each request of a coroutine has an event loop of its own, and a connection is of one loop.
        asynchronous = {"url": sa.make_url(url).set(drivername="postgresql+asyncpg"), "poolclass": NullPool}
        app.config["SQLALCHEMY_ASYNC_ENGINES"] = {"default": asynchronous}
    db = lite.SQLAlchemy(app)
    login_manager = LoginManager(app)

    class Model(orm.DeclarativeBase):
        pass

    class Reader(UserMixin, Model):
        __tablename__ = "readers"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    marks = sa.Table(
        "marks",
        Model.metadata,
        sa.Column("reader_id", sa.ForeignKey("readers.id"), primary_key=True),
        sa.Column("book_id", sa.ForeignKey("books.id"), primary_key=True),
        info={"audit_logged": True},
    )

    class Book(Model):
        __tablename__ = "books"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(unique=True)

    @login_manager.user_loader
    def load(key: str) -> Any:
        return db.session.get(Reader, int(key))

    @app.before_request
    def look_at_the_session() -> None:
        """To load the user is to look at it, which an answer says in a header."""
        session.get("theme")

    @app.post("/login")
    def login() -> Any:
        found = db.session.scalars(sa.select(Reader).filter_by(name=request.form["name"])).one()
        login_user(found)
        return jsonify(found.name)

    @app.post("/books")
    async def add() -> Any:
        """Nobody has asked for the user before: the session of functions loads it, in a coroutine as well."""
        db.session.add(book := Book(title=request.form["title"]))
        try:
            db.session.commit()
        except sa.exc.IntegrityError as error:
            db.session.rollback()
            return jsonify(str(error.orig)), 409
        return jsonify(book.id)

    @app.post("/marks/<int:key>")
    @login_required
    def mark(key: int) -> Any:
        db.session.execute(sa.insert(marks).values(reader_id=current_user.id, book_id=key))
        db.session.commit()
        return jsonify(key)

    async def keep(statement: Any) -> Any:
        """Write in the session of coroutines, if there is one."""
        if not has_async:
            db.session.execute(statement)
            db.session.commit()
            return
        await db.async_session.execute(statement)
        await db.async_session.commit()

    @app.post("/async/books")
    @login_required
    async def add_and_rename() -> Any:
        """Two commits in one view."""
        await keep(sa.insert(Book).values(title=request.form["title"]))
        if "then" in request.form:
            await keep(sa.update(Book).filter_by(title=request.form["title"]).values(title=request.form["then"]))
        return jsonify("kept")

    @app.delete("/async/marks/<int:key>")
    async def unmark(key: int) -> Any:
        """Nobody has asked for the user before, and a session of coroutines loads none."""
        await keep(sa.delete(marks).filter_by(book_id=key))
        return jsonify("gone")

    @app.get("/")
    @login_required
    async def index() -> Any:
        return jsonify([(book.id, book.title) for book in db.session.scalars(sa.select(Book).order_by(Book.id))])

    def journey(visit: Visit) -> None:
        visit("POST", "/marks/1")
        visit("POST", "/login", data={"name": "ann"})
        visit("POST", "/books", data={"title": "Emma"})
        visit("POST", "/marks/1")
        visit("POST", "/books", data={"title": "Emma"})
        visit("POST", "/books", data={"title": "Dracula"})
        visit("POST", "/login", data={"name": "ben"})
        visit("POST", "/async/books", data={"title": "Ulises", "then": "Ulysses"})
        visit("GET", "/")
        visit("POST", "/login", data={"name": "ann"})
        visit("DELETE", "/async/marks/1")

    def reader() -> Any:
        client = app.test_client()
        client.post("/login", data={"name": "ann"})
        return client

    with app.app_context():
        stranger = Stranger(app, Own(Model.metadata, db.engine), journey, reader)
    if audited:
        ui = AuditUI(permission=lambda action, target: current_user.is_authenticated, revert=RevertPolicy())
        stranger.audit_logger = AuditLogger(db, metadata=Model.metadata, actor_cls="Reader", ui=ui)
        stranger.audit_logger.init_app(app)
    return created(stranger, Reader(name="ann"), Reader(name="ben"))
