"""A list of tasks on SQLite, whose foreign keys are switched on, with a table that PostgreSQL would not take."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import redirect, render_template_string, request, session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import DATETIME
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from tests.apps.stranger import Stranger, Visit, created, new_app

PAGE = """<h1>Tasks of {{ name }}</h1>
{% for task in tasks %}<p>{{ task.id }} {{ task.title }}{{ " done" if task.done }}</p>{% endfor %}"""
LOG: list[tuple[str, str, str | None]] = []


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    app = new_app("sqlite", url)
    db = SQLAlchemy(app)

    class Person(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "people"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(sa.String(collation="NOCASE"), unique=True)

    class Task(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "tasks"
        __table_args__ = ({"info": {"audit_logged": {"ignore": ["seen"]}}, "sqlite_autoincrement": True},)
        id: Mapped[int] = mapped_column(primary_key=True)
        person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id", ondelete="CASCADE"))
        title: Mapped[str]
        done: Mapped[bool] = mapped_column(default=False)
        seen: Mapped[str | None] = mapped_column(DATETIME(truncate_microseconds=True))

    with app.app_context():

        @event.listens_for(db.engine, "connect")
        def switch_on(connection: Any, record: Any) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    def me() -> Any:
        return db.session.scalar(sa.select(Person).filter_by(name=session.get("name")))

    @app.post("/login")
    def login() -> Any:
        session["name"] = request.form["name"]
        if me() is None:
            db.session.add(Person(name=session["name"]))
            db.session.commit()
        return redirect("/")

    @app.get("/")
    def index() -> Any:
        person = me()
        tasks = db.session.scalars(sa.select(Task).filter_by(person_id=person.id).order_by(Task.id)) if person else []
        return render_template_string(PAGE, name=person.name if person else "nobody", tasks=tasks)

    @app.post("/tasks")
    def add() -> Any:
        db.session.add(Task(person_id=me().id, title=request.form["title"]))
        db.session.commit()
        return redirect("/")

    @app.post("/tasks/done")
    def done() -> Any:
        changed = db.session.execute(sa.update(Task).where(Task.id.in_(request.form.getlist("id"))).values(done=True))
        db.session.commit()
        return f"{changed.rowcount} done"

    @app.post("/import")
    def import_tasks() -> Any:
        rows = [{"person_id": me().id, "title": title} for title in request.form.getlist("title")]
        try:
            db.session.execute(sa.insert(Task), [*rows, {"person_id": 99, "title": "of nobody"}])
        except sa.exc.IntegrityError as error:
            db.session.rollback()
            return str(error.orig), 400
        return "never"

    @app.post("/leave")
    def leave() -> Any:
        db.session.delete(me())
        db.session.commit()
        session.clear()
        return redirect("/")

    def journey(visit: Visit) -> None:
        visit("GET", "/")
        visit("POST", "/login", data={"name": "Ann"})
        for title in ("sow", "water", "reap"):
            visit("POST", "/tasks", data={"title": title})
        visit("POST", "/tasks/done", data={"id": ["1", "2"]})
        visit("POST", "/import", data={"title": ["mow", "rake"]})
        visit("GET", "/")
        visit("POST", "/login", data={"name": "Ben"})
        visit("POST", "/tasks", data={"title": "read"})
        visit("POST", "/leave")
        visit("GET", "/")

    stranger = Stranger(app, db, journey, app.test_client)
    if audited:
        stranger.audit_logger = AuditLogger(
            db, get_actor_id=me, actor_cls=Person, ui=AuditUI(permission=lambda action, target: True)
        )
        stranger.audit_logger.init_app(app)
    return created(stranger)
