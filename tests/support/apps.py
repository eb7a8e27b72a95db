"""One factory for every application the tests need.

Applications, database objects and models are made per call, so that many of them, with different AuditLoggers,
live in one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
import sqlalchemy as sa
from flask import Flask
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, Engine
from sqlalchemy.orm import Session, joinedload

from flask_audit_logger import AuditLogger
from tests.support.models import Models, declare_blog
from tests.support.server import pooled_engine

#: How logs are laid out: ``"month"``, or as plain tables.
LAYOUT: Any = os.environ.get("AUDIT_TEST_LAYOUT") or None

#: The header by which a test client says who is logged in.
USER_HEADER = "X-Test-User"


@dataclass
class Application:
    """A Flask application with everything a test wants to reach."""

    app: Flask
    db: SQLAlchemy
    models: Models
    #: Missing (``None``) only if the application was made with ``audited=False``.
    audit_logger: AuditLogger

    @cached_property
    def outside(self) -> Engine:
        """An engine that the application doesn't know: reading through it can't disturb what is being tested."""
        return pooled_engine(self.app.config["SQLALCHEMY_DATABASE_URI"])

    def activities(self, **columns: Any) -> list[Any]:
        """What was committed to the log, oldest entry first, each with its transaction.

        :param columns: keep only entries with these values, such as ``table_name="articles"``.
        """
        activity = self.audit_logger.activity_cls
        return self._read(sa.select(activity).options(joinedload(activity.transaction)), activity, columns)

    def transactions(self, **columns: Any) -> list[Any]:
        """The committed transaction rows, oldest first."""
        transaction = self.audit_logger.transaction_cls
        return self._read(sa.select(transaction), transaction, columns)

    def dispose(self) -> None:
        """Close every connection of the application."""
        with self.app.app_context():
            self.db.session.remove()
            for engine in self.db.engines.values():
                engine.dispose()
        self.outside.dispose()

    def _read(self, query: sa.Select[Any], cls: Any, columns: dict[str, Any]) -> list[Any]:
        with Session(self.outside, expire_on_commit=False) as session:
            return list(session.scalars(query.filter_by(**columns).order_by(cls.id)))


def logged_in_as(user: Any) -> dict[str, str]:
    """Headers of a request made by ``user`` (a model object or its id): ``client.post(url, headers=…)``."""
    return {USER_HEADER: str(getattr(user, "id", user))}


def make_app(
    database_url: URL,
    *,
    declare: Callable[[SQLAlchemy], Models] = declare_blog,
    audited: bool = True,
    init: bool = True,
    create_all: bool = True,
    config: Mapping[str, Any] | None = None,
    db_options: Mapping[str, Any] | None = None,
    **logger_options: Any,
) -> Application:
    """An application with its own models, database object and, unless told otherwise, AuditLogger.

    :param declare: makes the models; what it returns becomes ``Application.models``.
    :param audited: make an ``AuditLogger(db, **logger_options)``.
    :param init: also call ``init_app()``.
    :param create_all: make the tables, the log and the triggers now.
    :param config: Flask configuration in addition to what the tests need.
    :param db_options: arguments of ``SQLAlchemy()``.
    """
    app = Flask("tests.shop", root_path=__file__.rpartition("/")[0])
    app.config.update(TESTING=True, SECRET_KEY="tests", SQLALCHEMY_DATABASE_URI=database_url)
    app.config.update(config or {})
    app.jinja_options = app.jinja_options | {"undefined": jinja2.StrictUndefined}
    db = SQLAlchemy(app, **(db_options or {}))
    models = declare(db)
    _set_up_login(app, db, models)
    audit_logger: Any = None
    if audited:
        audit_logger = AuditLogger(db, **{"partition": LAYOUT, **logger_options})
        if init:
            audit_logger.init_app(app)
    application = Application(app, db, models, audit_logger)
    if create_all:
        try:
            _create_all(application, logger_options.get("schema"))
        except Exception:
            application.dispose()  # the caller gets no application that it could dispose of
            raise
    return application


def _set_up_login(app: Flask, db: SQLAlchemy, models: Models) -> None:
    login_manager = LoginManager(app)
    user_cls = getattr(models, "User", None)

    @login_manager.request_loader
    def load_user(request: Any) -> Any:
        user_id = request.headers.get(USER_HEADER)
        return db.session.get(user_cls, user_id) if user_cls and user_id else None


def _create_all(application: Application, schema: str | None) -> None:
    with application.app.app_context():
        if schema:
            with application.db.engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        application.db.create_all()
