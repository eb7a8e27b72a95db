"""A club on Flask-Security: people register, sign in by a key that is not their row's, and have roles."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import pytest
import sqlalchemy as sa
from flask import request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from tests.apps.stranger import Stranger, Visit, created, new_app

with contextlib.suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of passlib, for the module crypt
    # Not in make(), because it listens to all mappers from then on.
    from flask_security.models import fsqla_v3

LOG = [
    ("insert", "role", None),
    ("insert", "user", None),
    ("insert", "roles_users", None),
    ("insert", "user", "ann@club.example"),
    ("insert", "meeting", "ann@club.example"),
    ("update", "user", "ann@club.example"),
    ("update", "meeting", "ann@club.example"),
    ("update", "user", "boss@club.example"),
    ("insert", "roles_users", "boss@club.example"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    flask_security = pytest.importorskip("flask_security", reason="Flask-Security is not installed")
    app = new_app(
        "security",
        url,
        SECURITY_PASSWORD_SALT="salt",
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SINGLE_HASH=True,
        SECURITY_REGISTERABLE=True,
        SECURITY_CHANGEABLE=True,
        SECURITY_SEND_REGISTER_EMAIL=False,
        SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
        SECURITY_URL_PREFIX="/accounts",
        WTF_CSRF_ENABLED=False,
    )
    db = SQLAlchemy(app)
    fsqla_v3.FsModels.set_db_info(db)

    class Role(db.Model, fsqla_v3.FsRoleMixin):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": {"ignore": ["update_datetime"]}}},)

    class User(db.Model, fsqla_v3.FsUserMixin):  # type: ignore[name-defined,misc]
        __table_args__ = (
            {
                "info": {
                    "audit_logged": {"mask": ["password"], "exclude": ["fs_uniquifier"], "ignore": ["update_datetime"]}
                }
            },
        )
        create_datetime: Mapped[Any] = mapped_column(sa.DateTime, server_default="2026-01-01")
        update_datetime: Mapped[Any] = mapped_column(sa.DateTime, server_default="2026-01-01")

    db.metadata.tables["roles_users"].info["audit_logged"] = True

    class Meeting(db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    datastore = flask_security.SQLAlchemyUserDatastore(db, User, Role)
    flask_security.Security(app, datastore)
    current_user = flask_security.current_user

    @app.post("/meetings")
    @flask_security.auth_required("session")
    def plan() -> Any:
        meeting = Meeting(title=request.get_json()["title"])
        db.session.add(meeting)
        db.session.commit()
        return {"id": meeting.id, "by": current_user.email}

    @app.put("/meetings/<int:key>")
    @flask_security.auth_required("session")
    def move(key: int) -> Any:
        db.session.execute(sa.update(Meeting).filter_by(id=key).values(**request.get_json()))
        db.session.commit()
        return {"by": current_user.email}

    @app.post("/promote/<email>")
    @flask_security.roles_required("boss")
    def promote(email: str) -> Any:
        user = datastore.find_user(email=email)
        datastore.add_role_to_user(user, "boss")
        user.active = False
        datastore.commit()
        return {"roles": [role.name for role in user.roles]}

    def signed_in(visit: Any, email: str, password: str) -> None:
        visit("POST", "/accounts/login", json={"email": email, "password": password})

    def journey(visit: Visit) -> None:
        visit("POST", "/meetings", json={"title": "by nobody"}, headers={"Accept": "application/json"})
        ann = {"email": "ann@club.example", "password": "a long passphrase"}
        for _ in range(2):
            visit("POST", "/accounts/register", json=ann | {"password_confirm": ann["password"]})
        visit("POST", "/accounts/logout", json={})
        signed_in(visit, ann["email"], "wrong")
        signed_in(visit, ann["email"], ann["password"])
        visit("POST", "/meetings", json={"title": "Spring"})
        new = {"password": ann["password"], "new_password": "another passphrase"}
        visit("POST", "/accounts/change", json=new | {"new_password_confirm": new["new_password"]})
        visit("PUT", "/meetings/1", json={"title": "Autumn"})
        visit("POST", "/promote/ann@club.example", headers={"Accept": "application/json"})
        visit("POST", "/accounts/logout", json={})
        signed_in(visit, "boss@club.example", "boss")
        visit("POST", "/promote/ann@club.example")
        visit("GET", "/accounts/change")

    def reader() -> Any:
        client = app.test_client()
        signed_in(lambda method, path, **options: client.post(path, **options), "boss@club.example", "boss")
        return client

    stranger = Stranger(app, db, journey, reader)
    if audited:
        ui = AuditUI(permission=lambda action, target: current_user.has_role("boss"))
        stranger.audit_logger = AuditLogger(db, ui=ui)
        stranger.audit_logger.init_app(app)
    boss = User(email="boss@club.example", password="boss", active=True, fs_uniquifier="x")
    boss.roles.append(Role(name="boss"))
    return created(stranger, boss)
