"""A service of pets on APIFlask, which describes itself as OpenAPI and reads schemas of marshmallow."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from flask_audit_logger.ui import Viewer
from tests.apps.stranger import Stranger, Visit, configure, created

LOG = [
    ("insert", "pets", "ann"),
    ("insert", "pets", "ann"),
    ("update", "pets", "ann"),
    ("delete", "pets", "ann"),
    ("insert", "pets", "ben"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    apiflask = pytest.importorskip("apiflask", reason="APIFlask is not installed")
    app = apiflask.APIFlask("api", title="Pets", root_path=__file__.rpartition("/")[0])
    configure(app, url)
    db = SQLAlchemy(app)
    keys = apiflask.HTTPTokenAuth()

    class Pet(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "pets"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        kind: Mapped[str]

    class PetIn(apiflask.Schema):  # type: ignore[name-defined,misc]
        name = apiflask.fields.String(required=True)
        kind = apiflask.fields.String(required=True, validate=apiflask.validators.OneOf(["cat", "dog"]))

    class PetOut(PetIn):
        id = apiflask.fields.Integer()

    @keys.verify_token
    def verify(token: str) -> Any:
        return token.removeprefix("key-of-") if token.startswith("key-of-") else None

    def actor() -> Any:
        return keys.current_user

    @app.get("/pets")
    @app.output(PetOut(many=True))
    def pets() -> Any:
        return db.session.scalars(sa.select(Pet).order_by(Pet.id)).all()

    @app.post("/pets")
    @app.auth_required(keys)
    @app.input(PetIn)
    @app.output(PetOut, status_code=201)
    def add(json_data: Any) -> Any:
        pet = Pet(**json_data)
        db.session.add(pet)
        db.session.commit()
        return pet

    @app.patch("/pets/<int:key>")
    @app.auth_required(keys)
    @app.input(PetIn(partial=True))
    @app.output(PetOut)
    def change(key: int, json_data: Any) -> Any:
        pet = db.get_or_404(Pet, key)
        for name, value in json_data.items():
            setattr(pet, name, value)
        db.session.commit()
        return pet

    @app.delete("/pets/<int:key>")
    @app.auth_required(keys)
    @app.output({}, status_code=204)
    def remove(key: int) -> Any:
        db.session.delete(db.get_or_404(Pet, key))
        db.session.commit()
        return ""

    def journey(visit: Visit) -> None:
        ann, ben = ({"Authorization": f"Bearer key-of-{name}"} for name in ("ann", "ben"))
        visit("GET", "/openapi.json")
        visit("GET", "/docs")
        visit("POST", "/pets", json={"name": "Tom", "kind": "cat"})
        visit("POST", "/pets", json={"name": "Tom", "kind": "cat"}, headers=ann)
        visit("POST", "/pets", json={"name": "Rex", "kind": "cow"}, headers=ann)
        visit("POST", "/pets", json={"name": "Rex", "kind": "dog"}, headers=ann)
        visit("PATCH", "/pets/1", json={"name": "Tim"}, headers=ann)
        visit("PATCH", "/pets/9", json={"name": "Tim"}, headers=ann)
        visit("DELETE", "/pets/2", headers=ann)
        visit("POST", "/pets", json={"name": "Kit", "kind": "cat"}, headers=ben)
        visit("GET", "/pets")

    def reader() -> Any:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = "Bearer key-of-ann"
        return client

    def viewer() -> Viewer | None:
        given = keys.get_auth()
        name = verify(given.token or "") if given is not None else None
        return Viewer(name, name) if name else None

    stranger = Stranger(app, db, journey, reader)
    if audited:
        ui = AuditUI(permission=lambda action, target: viewer() is not None, viewer=viewer)
        stranger.audit_logger = AuditLogger(db, get_actor_id=actor, get_actor_label=actor, ui=ui)
        stranger.audit_logger.init_app(app)
    return created(stranger)
