"""The back office of a small shop: a complete Flask application whose data is audited.

``python -m example_app`` serves it with a database of its own and a history to look at.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response

from . import cli, errors, roles, views
from .audit import audit_logger
from .database import database_url
from .extensions import db, login_manager, migrate
from .forms import ShopForm
from .models.warehouse import SCHEMA

MIGRATIONS = Path(__file__).parent / "migrations"
MAX_UPLOAD = 1024 * 1024


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the application.

    :param config: settings; without ``SQLALCHEMY_DATABASE_URI`` the environment's ``DATABASE_URL`` counts, and
        without that a PostgreSQL server is started in the instance folder (``instance/`` beside this package, or
        the absolute path in ``SHOP_INSTANCE``).
    """
    app = Flask(__name__, instance_path=os.environ.get("SHOP_INSTANCE"))
    app.config.from_mapping(
        AUDIT_UI_HOME=("Larch & Finch", "home.index"),
        MAX_CONTENT_LENGTH=MAX_UPLOAD,
        SESSION_COOKIE_NAME="shop_session",
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.config.from_mapping(config or {})
    instance = Path(app.instance_path)
    if not app.config.get("SQLALCHEMY_DATABASE_URI"):
        app.config["SQLALCHEMY_DATABASE_URI"] = database_url(instance)
    # What PostgreSQL shows, and the log keeps, as the program behind a connection.
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", {"connect_args": {"application_name": "shop"}})
    if not app.config.get("SECRET_KEY"):
        app.config["SECRET_KEY"] = _secret_key(instance)

    db.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS), include_schemas=True, include_name=_include_name)
    login_manager.init_app(app)
    audit_logger.init_app(app)

    errors.init_app(app)
    views.register(app)
    cli.init_app(app)
    app.context_processor(_template_names)
    app.after_request(_protect)
    return app


def _include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Migrations look at the shop's two schemas only, whatever else the database holds."""
    return type_ != "schema" or name in (None, SCHEMA)


def _secret_key(instance: Path) -> str:
    """The key that signs sessions; made once, readable by its owner only."""
    file = instance / "secret_key"
    instance.mkdir(parents=True, exist_ok=True)
    try:
        with open(file, "x", opener=_private) as stream:
            stream.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return file.read_text()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _template_names() -> dict[str, Any]:
    return {
        "may": roles.may,
        "may_audit": roles.may_audit,
        "role_names": roles.ROLES,
        "logout_form": ShopForm,
    }


def _protect(response: Response) -> Response:
    """Headers of every page; the audit pages, which use the shop's layout, bring some of their own."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response
