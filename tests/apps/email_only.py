"""A guest book with forms: Flask-Login, people who have an e-mail address and no name, who come, move and leave."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import flash, redirect, render_template_string, request, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from tests.apps.stranger import Stranger, Visit, created, new_app

PAGE = """<title>Guest book</title>
{% for text in get_flashed_messages() %}<p>{{ text }}</p>{% endfor %}
{% for entry in entries %}<article id="{{ entry.id }}">{{ entry.text }}</article>{% endfor %}
{{ "signed in as " ~ current_user.email if current_user.is_authenticated }}"""
LOG = [
    ("insert", "guests", None),
    ("insert", "guests", None),
    ("insert", "entries", "ann@x.example"),
    ("update", "entries", "ann@x.example"),
    ("update", "guests", "ann@x.example"),
    ("insert", "entries", "ann@y.example"),
    ("delete", "entries", "ann@y.example"),
    ("delete", "guests", "ann@y.example"),
    ("update", "entries", "ann@y.example"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    app = new_app("email_only", url)
    db = SQLAlchemy(app)
    login_manager = LoginManager(app)
    login_manager.login_view = "login"

    class Guest(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "guests"
        __table_args__ = ({"info": {"audit_logged": {"mask": ["password"]}}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(unique=True)
        password: Mapped[str]
        is_keeper: Mapped[bool] = mapped_column(default=False)

    class Entry(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "entries"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        guest_id: Mapped[int | None] = mapped_column(sa.ForeignKey("guests.id", ondelete="SET NULL"))
        text: Mapped[str]
        guest = db.relationship("Guest", backref=db.backref("entries", passive_deletes=True))

    @login_manager.user_loader
    def load(key: str) -> Any:
        return db.session.get(Guest, int(key))

    @app.get("/")
    def index() -> Any:
        return render_template_string(PAGE, entries=db.session.scalars(sa.select(Entry).order_by(Entry.id)))

    @app.post("/join")
    def join() -> Any:
        guest = Guest(email=request.form["email"], password=request.form["password"])
        db.session.add(guest)
        try:
            db.session.commit()
        except sa.exc.IntegrityError:
            db.session.rollback()
            flash("This address is taken.")
            return redirect(url_for("index"))
        login_user(guest)
        return redirect(url_for("index"))

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "POST":
            guest = db.session.scalar(sa.select(Guest).filter_by(**request.form.to_dict()))
            if guest is not None:
                login_user(guest, remember=True)
                return redirect(url_for("index"))
            flash("Wrong address or password.")
        return render_template_string(PAGE, entries=[])

    @app.post("/logout")
    def logout() -> Any:
        logout_user()
        return redirect(url_for("index"))

    @app.post("/entries")
    @login_required
    def write() -> Any:
        current_user.entries.append(Entry(text=request.form["text"]))
        db.session.commit()
        return redirect(url_for("index"))

    @app.post("/entries/<int:key>")
    @login_required
    def edit(key: int) -> Any:
        entry = db.get_or_404(Entry, key)
        if request.form.get("delete"):
            db.session.delete(entry)
        else:
            entry.text = request.form["text"]
        db.session.commit()
        flash("Done.")
        return redirect(url_for("index"))

    @app.post("/move")
    @login_required
    def move() -> Any:
        current_user.email = request.form["email"]
        db.session.commit()
        return redirect(url_for("index"))

    @app.post("/leave")
    @login_required
    def leave() -> Any:
        guest = current_user._get_current_object()
        logout_user() if request.form.get("first") else None
        db.session.delete(guest)
        db.session.commit()
        return redirect(url_for("index"))

    def journey(visit: Visit) -> None:
        ann = {"email": "ann@x.example", "password": "one"}
        visit("POST", "/entries", data={"text": "by nobody"})
        visit("POST", "/join", data=ann)
        visit("POST", "/logout")
        visit("POST", "/join", data=ann)
        visit("POST", "/login", data=ann | {"password": "two"})
        visit("POST", "/login", data=ann)
        visit("POST", "/entries", data={"text": "Nice."})
        visit("POST", "/entries/1", data={"text": "Very nice."})
        visit("POST", "/entries/9", data={"text": "no such entry"})
        visit("GET", "/")
        visit("POST", "/move", data={"email": "ann@y.example"})
        visit("POST", "/entries", data={"text": "Nice still."})
        visit("POST", "/entries/2", data={"delete": "1"})
        visit("POST", "/leave")
        visit("GET", "/")

    def reader() -> Any:
        client = app.test_client()
        client.post("/login", data={"email": "keeper@x.example", "password": "k"})
        return client

    stranger = Stranger(app, db, journey, reader)
    if audited:
        ui = AuditUI(permission=lambda action, target: current_user.is_keeper)
        stranger.audit_logger = AuditLogger(db, actor_cls="Guest", ui=ui)
        stranger.audit_logger.init_app(app)
    return created(stranger, Guest(email="keeper@x.example", password="k", is_keeper=True))
