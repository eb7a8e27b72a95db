"""Notes of several companies, each in a schema of its own with people of the same numbers; the header says which."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import g, has_request_context, jsonify, request
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from tests.apps.stranger import Stranger, Visit, new_app

TENANTS = ("red", 'The "Blue"')
#: Schema of the table, verb, table and name of the actor of each change.
LOG = [
    ("red", "insert", "users", None),
    ('The "Blue"', "insert", "users", None),
    ("red", "insert", "notes", "ann of red"),
    ("red", "update", "notes", "ann of red"),
    ('The "Blue"', "insert", "notes", 'ann of The "Blue"'),
    ("red", "insert", "notes", "ann of red"),
    ("red", "delete", "notes", "ann of red"),
    ('The "Blue"', "insert", "notes", "ann of red"),
]


def make(url: Any, audited: bool, schema: str | None = None) -> Stranger:
    """Build the application.

    :param schema: of a log that all share.
    """
    app = new_app("tenants", url)
    db = SQLAlchemy(app)

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

        def get_id(self) -> str:
            return f"{g.tenant}/{self.id}"

    class Note(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str]

    def use(connection: sa.Connection, tenant: str) -> None:
        path = connection.dialect.identifier_preparer.quote_identifier(tenant)
        connection.execute(sa.text("SELECT set_config('search_path', :path, true)"), {"path": path})

    @sa.event.listens_for(db.session, "after_begin")
    def enter(session: Any, transaction: Any, connection: sa.Connection) -> None:
        if has_request_context():
            use(connection, g.tenant)

    @app.before_request
    def find_tenant() -> None:
        g.tenant = request.headers.get("X-Tenant", TENANTS[0])

    @LoginManager(app).user_loader
    def load(key: str) -> Any:
        tenant, _, number = key.rpartition("/")
        return db.session.get(User, int(number)) if tenant == g.tenant else None

    @app.post("/login")
    def login() -> Any:
        login_user(db.session.get(User, 1))
        return jsonify(current_user.name)

    @app.post("/notes")
    @login_required
    def add() -> Any:
        """Two transactions, of which each finds the schema anew."""
        db.session.add(note := Note(text=request.form["text"]))
        db.session.commit()
        if "then" in request.form:
            note.text = request.form["then"]
            db.session.commit()
        return jsonify(note.id)

    @app.post("/notes/<int:key>/to/<tenant>")
    @login_required
    def hand_over(key: int, tenant: str) -> Any:
        """One transaction in two schemas."""
        note = db.session.get(Note, key)
        text = note.text
        db.session.delete(note)
        db.session.flush()
        use(db.session.connection(), tenant)
        db.session.add(Note(text=text))
        db.session.commit()
        return jsonify(tenant)

    @app.get("/notes")
    def index() -> Any:
        return jsonify([(note.id, note.text) for note in db.session.scalars(sa.select(Note).order_by(Note.id))])

    def journey(visit: Visit) -> None:
        red, blue = ({"X-Tenant": tenant} for tenant in TENANTS)
        visit("POST", "/login", headers=red)
        visit("POST", "/notes", headers=red, data={"text": "a", "then": "b"})
        visit("POST", "/notes", headers=blue, data={"text": "by somebody of another company"})
        visit("POST", "/login", headers=blue)
        visit("POST", "/notes", headers=blue, data={"text": "c"})
        visit("POST", "/login", headers=red)
        visit("POST", "/notes", headers=red, data={"text": "d"})
        visit("POST", f"/notes/2/to/{TENANTS[1]}", headers=red)
        visit("GET", "/notes", headers=red)
        visit("GET", "/notes", headers=blue)

    def reader() -> Any:
        client = app.test_client()
        client.environ_base["HTTP_X_TENANT"] = TENANTS[1]
        client.post("/login")
        return client

    stranger = Stranger(app, db, journey, reader)
    if audited:

        def own_only(select: Any, viewer: Any) -> Any:
            return select.where(audit_logger.activity_cls.schema == g.tenant)

        ui = AuditUI(permission=lambda action, target: current_user.is_authenticated, scope=own_only)
        audit_logger = stranger.audit_logger = AuditLogger(db, schema=schema, tables="all", ui=ui)
        audit_logger.init_app(app)
    with app.app_context():
        for tenant in TENANTS:
            with db.engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(tenant))
                use(connection, tenant)
                db.metadata.create_all(connection)
                connection.execute(sa.insert(User).values(name=f"ann of {tenant}"))
    return stranger
