"""A shop that is kept with Flask-Admin: forms, inline editing and bulk actions are all of its making."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
import sqlalchemy as sa
from flask import redirect, request
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_sqlalchemy import SQLAlchemy
from packaging.version import Version
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger, AuditUI
from tests.apps.stranger import Stranger, Visit, created, new_app

LOG = [
    ("insert", "clerk", None),
    ("insert", "shelf", "Ann"),
    ("insert", "ware", "Ann"),
    ("insert", "ware", "Ann"),
    ("insert", "ware", "Ann"),
    ("update", "ware", "Ann"),
    ("update", "ware", "Ann"),
    ("delete", "ware", "Ann"),
    ("delete", "ware", "Ann"),
    ("delete", "ware", "Ann"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    flask_admin = pytest.importorskip("flask_admin", reason="Flask-Admin is not installed")
    from flask_admin.contrib.sqla import ModelView

    if Version(version("WTForms")) < Version("3.2"):
        pytest.skip("the select fields of Flask-Admin need WTForms 3.2")

    app = new_app("admin", url)
    pytest.importorskip("flask_babel", reason="Flask-Babel is not installed").Babel(app)
    db = SQLAlchemy(app)
    login_manager = LoginManager(app)

    class Clerk(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class Shelf(db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

        def __str__(self) -> str:
            return self.name

    class Ware(db.Model):  # type: ignore[name-defined,misc]
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        price: Mapped[Any] = mapped_column(sa.Numeric(10, 2))
        shelf_id: Mapped[int | None] = mapped_column(sa.ForeignKey("shelf.id"))
        shelf = db.relationship("Shelf")

    login_manager.user_loader(lambda key: db.session.get(Clerk, int(key)))

    class Kept(ModelView):
        def is_accessible(self) -> bool:
            return bool(current_user.is_authenticated)

    class Wares(Kept):
        column_editable_list = ("price",)
        column_filters = ("name", "price")

    admin = flask_admin.Admin(app, name="Shop")
    admin.add_view(Kept(Shelf, db, endpoint="shelves"))
    admin.add_view(Wares(Ware, db, endpoint="wares"))

    @app.post("/login")
    def login() -> Any:
        login_user(db.session.get(Clerk, int(request.form["id"])))
        return redirect("/admin/")

    def journey(visit: Visit) -> None:
        visit("GET", "/admin/wares/")
        visit("POST", "/login", data={"id": "1"})
        visit("GET", "/admin/")
        visit("POST", "/admin/shelves/new/", data={"name": "Top"})
        for name, price in (("Mug", "10.00"), ("Map", "4.50"), ("Pen", "1.20")):
            visit("POST", "/admin/wares/new/", data={"name": name, "price": price, "shelf": "1"})
        visit("POST", "/admin/wares/new/", data={"name": "", "price": "dear"})
        visit("GET", "/admin/wares/")
        visit("GET", "/admin/wares/?search=x&flt0_0=Mug")
        visit("POST", "/admin/wares/edit/?id=1", data={"name": "Blue mug", "price": "10.00", "shelf": "1"})
        visit("POST", "/admin/wares/ajax/update/", data={"list_form_pk": "2", "price": "5.00"})
        visit("POST", "/admin/wares/delete/", data={"id": "3"})
        visit("POST", "/admin/wares/action/", data={"action": "delete", "rowid": ["1", "2"]})
        visit("GET", "/admin/wares/")

    def reader() -> Any:
        client = app.test_client()
        client.post("/login", data={"id": "1"})
        return client

    stranger = Stranger(app, db, journey, reader)
    if audited:
        ui = AuditUI(permission=lambda action, target: current_user.is_authenticated)
        stranger.audit_logger = AuditLogger(db, actor_cls=Clerk, ui=ui)
        stranger.audit_logger.init_app(app)
    return created(stranger, Clerk(id=1, name="Ann"))
