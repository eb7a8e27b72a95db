"""A library of server-rendered pages, whose style sheet makes a rem ten pixels as Bootstrap 3 does."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import redirect, render_template, request, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from tests.apps.stranger import Stranger, Visit, created, new_app

LOG = [
    ("insert", "librarian", None),
    ("insert", "book", "Ann Reed"),
    ("insert", "book", "Ann Reed"),
    ("update", "book", "Ann Reed"),
    ("insert", "loan", "Ann Reed"),
    ("delete", "book", "Ann Reed"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    app = new_app("bootstrap3", url)
    db = SQLAlchemy(app)
    login_manager = LoginManager(app)
    login_manager.login_view = "login"

    class Librarian(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        full_name: Mapped[str]

    class Book(db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        isbn: Mapped[str] = mapped_column(primary_key=True)
        title: Mapped[str]
        shelf: Mapped[str | None]

    class Loan(db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        isbn: Mapped[str] = mapped_column(primary_key=True)
        reader: Mapped[str] = mapped_column(primary_key=True)

    login_manager.user_loader(lambda key: db.session.get(Librarian, int(key)))

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        login_user(db.session.get(Librarian, 1))
        return redirect(url_for("books"))

    @app.get("/")
    def books() -> Any:
        return render_template("library/books.html", books=db.session.scalars(sa.select(Book).order_by(Book.title)))

    @app.post("/books")
    @login_required
    def add() -> Any:
        db.session.add(Book(**request.form.to_dict()))
        db.session.commit()
        return redirect(url_for("books"))

    @app.route("/books/<isbn>", methods=["GET", "POST"])
    @login_required
    def book(isbn: str) -> Any:
        found = db.get_or_404(Book, isbn)
        if request.method == "POST":
            if "delete" in request.form:
                db.session.delete(found)
            else:
                found.title, found.shelf = request.form["title"], request.form["shelf"] or None
            db.session.commit()
            return redirect(url_for("books"))
        return render_template("library/book.html", book=found)

    @app.post("/loans")
    @login_required
    def lend() -> Any:
        db.session.execute(sa.insert(Loan).values(**request.form.to_dict()))
        db.session.commit()
        return redirect(url_for("books"))

    def journey(visit: Visit) -> None:
        visit("GET", "/books/1-1")
        visit("POST", "/login")
        visit("POST", "/books", data={"isbn": "1-1", "title": "Seas"})
        visit("POST", "/books", data={"isbn": "2/2", "title": "Winds"})
        visit("POST", "/books/1-1", data={"title": "The seas", "shelf": "A"})
        visit("POST", "/loans", data={"isbn": "1-1", "reader": "Cleo"})
        visit("GET", "/books/1-1")
        visit("POST", "/books/1-1", data={"delete": ""})
        visit("GET", "/")

    def reader() -> Any:
        client = app.test_client()
        client.post("/login")
        return client

    stranger = Stranger(app, db, journey, reader)
    if audited:
        ui = AuditUI(permission=lambda action, target: current_user.is_authenticated, layout="library/layout.html")
        stranger.audit_logger = AuditLogger(db, actor_cls="Librarian", ui=ui)
        stranger.audit_logger.init_app(app)
    return created(stranger, Librarian(id=1, full_name="Ann Reed"))
