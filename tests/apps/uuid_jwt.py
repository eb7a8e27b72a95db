"""A JSON service: every key is a UUID, who calls says so with a JSON Web Token, and nothing knows a session."""

from __future__ import annotations

import uuid
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort, g, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from flask_audit_logger.ui import Viewer
from tests.apps.stranger import Stranger, Visit, created, new_app

ANN = uuid.UUID("5f0c3c52-0000-4000-8000-00000000000a")
LOG = [
    ("insert", "accounts", None),
    ("insert", "notes", "ann"),
    ("insert", "notes", "ann"),
    ("insert", "shares", "ann"),
    ("update", "notes", "ann"),
    ("delete", "notes", "ann"),
    ("insert", "accounts", None),
    ("insert", "notes", "ben"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    jwt = pytest.importorskip("jwt", reason="PyJWT is not installed")
    app = new_app("uuid_jwt", url)
    db = SQLAlchemy(app)
    numbers = count(1)

    def new_key() -> uuid.UUID:
        return uuid.UUID(int=next(numbers), version=4)

    class Account(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "accounts"
        __table_args__ = ({"info": {"audit_logged": {"exclude": ["secret"]}}},)
        id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_key)
        name: Mapped[str]
        secret: Mapped[str]

    class Note(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "notes"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_key)
        account_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("accounts.id"))
        text: Mapped[str]

    class Share(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "shares"
        __table_args__ = ({"info": {"audit_logged": True}},)
        note_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
        account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)

    @app.before_request
    def identify() -> None:
        g.account = None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            claims = jwt.decode(token, app.config["SECRET_KEY"], algorithms=["HS256"])
            g.account = db.session.get(Account, uuid.UUID(claims["sub"]))

    def caller() -> Any:
        return g.account or abort(401)

    @app.post("/accounts")
    def sign_up() -> Any:
        account = Account(**request.get_json())
        db.session.add(account)
        db.session.commit()
        return {"id": account.id}, 201

    @app.post("/tokens")
    def sign_in() -> Any:
        given = request.get_json()
        account = db.session.scalar(sa.select(Account).filter_by(**given)) or abort(401)
        return {"token": jwt.encode({"sub": str(account.id)}, app.config["SECRET_KEY"], algorithm="HS256")}

    @app.post("/notes")
    def write() -> Any:
        note = Note(account_id=caller().id, **request.get_json())
        db.session.add(note)
        db.session.commit()
        return {"id": note.id, "text": note.text}, 201

    @app.get("/notes")
    def notes() -> Any:
        found = db.session.scalars(sa.select(Note).filter_by(account_id=caller().id).order_by(Note.id))
        return jsonify([{"id": note.id, "text": note.text} for note in found])

    @app.route("/notes/<uuid:key>", methods=["PUT", "DELETE"])
    def note(key: uuid.UUID) -> Any:
        found = db.session.scalar(sa.select(Note).filter_by(id=key, account_id=caller().id)) or abort(404)
        if request.method == "DELETE":
            db.session.delete(found)
        else:
            found.text = request.get_json()["text"]
        db.session.commit()
        return "", 204

    @app.put("/notes/<uuid:key>/shares/<uuid:account>")
    def share(key: uuid.UUID, account: uuid.UUID) -> Any:
        caller()
        db.session.add(Share(note_id=key, account_id=account))
        db.session.commit()
        return "", 204

    def token(name: str) -> dict[str, str]:
        given = {"name": name, "secret": "s3cret"}
        return {"Authorization": "Bearer " + app.test_client().post("/tokens", json=given).get_json()["token"]}

    def journey(visit: Visit) -> None:
        visit("GET", "/notes")
        ann = token("ann")
        key = visit("POST", "/notes", json={"text": "milk"}, headers=ann).get_json()["id"]
        other = visit("POST", "/notes", json={"text": "bread"}, headers=ann).get_json()["id"]
        visit("PUT", f"/notes/{key}/shares/{ANN}", headers=ann)
        visit("PUT", f"/notes/{key}", json={"text": "oat milk"}, headers=ann)
        visit("GET", "/notes", headers=ann)
        visit("DELETE", f"/notes/{other}", headers=ann)
        visit("DELETE", f"/notes/{other}", headers=ann)
        visit("POST", "/accounts", json={"name": "ben", "secret": "s3cret"})
        visit("POST", "/notes", json={"text": "tea"}, headers=token("ben"))
        visit("PUT", f"/notes/{key}", json={"text": "x"}, headers=token("ben"))

    def reader() -> Any:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = token("ann")["Authorization"]
        return client

    stranger = Stranger(app, db, journey, reader)
    if audited:
        stranger.audit_logger = AuditLogger(
            db,
            get_actor_id=lambda: g.account.id if g.get("account") else None,
            get_actor_label=lambda: g.account.name if g.get("account") else None,
            actor_cls=Account,
            ui=AuditUI(
                permission=lambda action, target: g.account is not None and g.account.name == "ann",
                viewer=lambda: Viewer(str(g.account.id), g.account.name) if g.account else None,
            ),
        )
        stranger.audit_logger.init_app(app)
    return created(stranger, Account(id=ANN, name="ann", secret="s3cret"))
