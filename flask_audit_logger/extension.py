"""The extension object: it wires the parts together and has no logic of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from flask import Flask, appcontext_pushed, appcontext_tearing_down, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, MetaData, Table
from sqlalchemy.orm import Session, scoped_session

from .capture import blocks
from .capture.actors import display_name
from .capture.attribution import Attribution
from .capture.listeners import EngineListener, SessionListener
from .capture.request import Redact
from .capture.stamp import is_idle, memory_of, switch_on
from .cli import audit_cli
from .exceptions import ConfigurationError, NotInitializedError
from .models import AuditLogActivity, AuditLogTransaction, AuditModels
from .registry import Registry
from .schema.declared import patterns
from .schema.dialects import is_supported, reason
from .schema.table_options import audited_tables
from .settings import CaptureSettings
from .ui.blueprint import register
from .ui.options import AuditUI

logger = logging.getLogger("flask_audit_logger")


_LOGGER_KEY = "audit_logger_extension"


class AuditLogger:
    """Logs every change of the audited tables of one :class:`~flask_sqlalchemy.SQLAlchemy` object.

    A table is audited if its ``info`` has ``{"audit_logged": True}`` or a dictionary of options there.

    Of several loggers of one database object, as a ``create_app()`` that is called again makes them, the newest counts.

    :param db: the database object; or none, and :meth:`init_app` takes the one of the application.
    :param get_actor_id: returns the key of the current actor, or the actor, or ``None``. Default: Flask-Login's
        ``current_user``. If it raises, the actor is recorded as unknown.
    :param get_client_addr: returns the address of the client. Default: ``request.remote_addr``.
    :param actor_cls: the model of the actors, its name or path; ``"User"`` if there is such a model.
    :param schema: schema of the log; if not given, the one of ``MetaData(schema=…)``, or else the default schema of the
        connection.
    :param get_actor_label: returns the name of the current actor. Default: ``str()`` of the current user if its class
        defines that, else its display_name, full_name, name, username, email or login.
    :param exclude: patterns (``*password*``) of columns that are never stored, in any table.
    :param mask: patterns of columns whose change is logged in any table, but never a value.
    :param redact_request: takes the dictionary of what is about to be recorded of a request and returns what may be.
        If it raises, nothing of the request is recorded.
    :param ui: the browser pages; none are served without it.
    :raises ConfigurationError: if the application has a table of the log's name.
    :raises ActorClassError: if several models have the name of the actor model.
    """

    def __init__(
        self,
        db: SQLAlchemy | None = None,
        get_actor_id: Callable[[], Any] | None = None,
        get_client_addr: Callable[[], Any] | None = None,
        actor_cls: str | type[Any] | None = None,
        schema: str | None = None,
        *,
        get_actor_label: Callable[[], Any] | None = None,
        exclude: Iterable[str] = (),
        mask: Iterable[str] = (),
        redact_request: Redact | None = None,
        ui: AuditUI | None = None,
    ) -> None:
        self._registry: Registry | None = None
        self._actor_cls = actor_cls
        # The applications, and whether they have an engine that can have a log.
        self._apps: WeakKeyDictionary[Flask, bool] = WeakKeyDictionary()
        self._attaching = threading.RLock()
        # An engine keeps its listener, and nobody keeps the engine of an application that is gone.
        self._listeners: WeakSet[EngineListener] = WeakSet()
        self._session_listener: SessionListener | None = None
        self._said_unsupported = False
        self._attribution = Attribution(
            self,
            lambda: self._known_registry.actor,
            lambda: None if self._registry is None else self._registry.db.session,
            get_actor_id,
            get_actor_label,
            get_client_addr,
            redact_request,
        )
        self._exclude = patterns("exclude", exclude)
        self._mask = patterns("mask", mask)
        #: Schema of the log as it was given.
        self.schema = schema
        #: The browser pages, if there are any.
        self.ui = ui
        if db is not None:
            self._bind(db)

    def init_app(self, app: Flask) -> None:
        """Set up an application: configuration, the command ``flask audit`` and the pages under ``/audit``.

        ``db.init_app(app)`` comes first. Without this call changes are captured all the same.

        :raises NotInitializedError: if the application has no database object yet.
        :raises ConfigurationError: if it has another one, or a configuration key with a meaningless value.
        """
        db = app.extensions.get("sqlalchemy")
        if db is None:
            raise NotInitializedError("The application has no database object. Call db.init_app(app) first.")
        if self._registry is None:
            self._bind(db)
        elif self._registry.db is not db:
            raise ConfigurationError("This AuditLogger belongs to another SQLAlchemy object than the application.")
        CaptureSettings.of(app)
        app.extensions["audit_logger"] = self
        app.cli.add_command(audit_cli)
        with app.app_context():
            self._attach(app)
        if self.ui is not None:
            register(app, self, self.ui)

    @property
    def db(self) -> SQLAlchemy:
        """The database object."""
        return self._known_registry.db

    @property
    def models(self) -> AuditModels:
        """Tables and classes of the log in the default database."""
        return self.models_of(None)

    def models_of(self, bind_key: str | None) -> AuditModels:
        """Tables and classes of the log in the database of one bind: each has a log of its own.

        :param bind_key: a key of ``SQLALCHEMY_BINDS``, or ``None`` for the default database.
        :raises ConfigurationError: if that database has no audited table.
        """
        return self._known_registry.models_of(bind_key)

    @property
    def activity_cls(self) -> type[AuditLogActivity]:
        """The mapped class of the activity table."""
        return self.models.activity_cls

    @property
    def transaction_cls(self) -> type[AuditLogTransaction]:
        """The mapped class of the transaction table."""
        return self.models.transaction_cls

    @property
    def actor_cls(self) -> type[Any] | None:
        """The model of the actors, if there is one."""
        return self._known_registry.find_actor()

    def name_of(self, user: Any) -> str | None:
        """The name of a user in the log, unless ``get_actor_label`` gives another one.

        :param user: a mapped object or a user of Flask-Login.
        """
        return display_name(user)

    @property
    def audit_logged_tables(self) -> set[Table]:
        """The audited tables of all binds, looked up anew."""
        return {table for metadata in self.db.metadatas.values() for table in audited_tables(metadata)}

    @contextmanager
    def context(
        self,
        *,
        actor: Any = blocks.UNSET,
        reason: str | None = None,
        job: str | None = None,
        impersonator: Any = None,
        **extra: Any,
    ) -> Iterator[None]:
        """Say who makes the changes inside the block, and why.

        Blocks nest: an inner one adds to what the outer one says. It counts for this thread, greenlet or task.

        :param actor: who acts: a mapped object, a key, or ``None`` for nobody. Default: whoever the request says.
        :param reason: why, in words.
        :param job: name of the job.
        :param impersonator: who really acts, if it is in the name of ``actor``.
        :param extra: anything else that JSON can hold; it goes into ``transaction.context``.
        """
        with blocks.context(
            self._attribution.owner, actor=actor, reason=reason, job=job, impersonator=impersonator, extra=extra
        ):
            yield

    @contextmanager
    def disable(self, session: Session | scoped_session[Any] | None = None) -> Iterator[None]:
        """Log no changes made inside the block. The gap itself is logged: by whom, when and for which tables.

        :param session: only what is written in this session is not logged. It is flushed when the block begins and when
            it ends well, so that what was added to it before is still logged, and what is added inside is not. Without
            it nothing is logged that this thread, greenlet or task writes, in any session and on any connection.
        """
        own: Session | None = session() if isinstance(session, scoped_session) else session
        if own is not None:
            own.flush()
        told: list[Any] = []
        try:
            with blocks.capture_off(self._attribution.owner, own) as told:
                yield
                if own is not None:
                    own.flush()
        finally:
            switch_on(told, self._attribution)

    def stamp(self, connection: Any) -> None:
        """Attribute what a connection does next in its running transaction.

        Only needed where SQLAlchemy doesn't see the statement, as with the cursor of a raw connection.

        :param connection: a session, a connection of SQLAlchemy, or one of psycopg2 or psycopg.
        """
        if isinstance(connection, scoped_session | Session):
            session = connection() if isinstance(connection, scoped_session) else connection
            with self._attribution.asked(session):
                self._stamp(session.connection())
        else:
            self._stamp(connection)

    def _stamp(self, connection: Any) -> None:
        if isinstance(connection, Connection):
            connection = connection.connection
        driver = getattr(connection, "dbapi_connection", connection)
        if not hasattr(driver, "info"):
            return  # neither psycopg2 nor psycopg: a database that has no log
        if is_idle(driver):
            memory_of(driver).forget_transaction()
        self._attribution(driver).apply(driver)

    def detach(self) -> None:
        """Stop attributing changes and following ``create_all()``. The triggers go on capturing."""
        appcontext_pushed.disconnect(self._on_app_context)
        appcontext_tearing_down.disconnect(self._on_app_context_end)
        if self._session_listener is not None:
            self._session_listener.detach()
        for listener in list(self._listeners):
            listener.detach()
        self._listeners.clear()
        self._apps.clear()
        blocks.leave_place()
        if self._registry is not None and self._registry.db.metadata.info.get(_LOGGER_KEY) is self:
            self._registry.detach()

    @property
    def _known_registry(self) -> Registry:
        if self._registry is None:
            raise NotInitializedError("This AuditLogger has no database object yet. Call init_app(app) first.")
        return self._registry

    def _bind(self, db: SQLAlchemy) -> None:
        options: Any = {
            "schema": self.schema,
            "actor_cls": self._actor_cls,
            "exclude": self._exclude,
            "mask": self._mask,
        }
        older: AuditLogger | None = db.metadata.info.get(_LOGGER_KEY)
        if older is not None and older._registry is not None:
            older.detach()
            self._registry = older._registry  # one for all: pages of the older one show the log of the newer one
            self._registry.configure(**options)
        else:
            self._registry = Registry(db, **options)
        db.metadata.info[_LOGGER_KEY] = self  # lives as long as the database object
        # context() and disable() count for every logger that this database object had
        self._attribution.owner = db
        self._session_listener = SessionListener(db.session, self._attribution, self._has_supported_engine)
        self._session_listener.attach()
        appcontext_pushed.connect(self._on_app_context)
        appcontext_tearing_down.connect(self._on_app_context_end)
        if has_app_context():
            self._on_app_context(current_app._get_current_object())  # type: ignore[attr-defined]  # a proxy

    def _on_app_context(self, app: Flask, **kw: Any) -> None:
        blocks.enter_place()
        # Engines can be reached only inside an application context, so this comes before any of their statements.
        if app not in self._apps and app.extensions.get("sqlalchemy") is self.db:
            self._attach(app)

    def _on_app_context_end(self, app: Flask, **kw: Any) -> None:
        blocks.leave_place()

    def _attach(self, app: Flask) -> None:
        with self._attaching:
            if app in self._apps:
                return
            settings = CaptureSettings.of(app)
            self._known_registry.complete()
            for bind, engine in self.db.engines.items():
                self._listen(engine, self.db.metadatas.get(bind), is_separate=settings.separate_stamp)
            self._apps[app] = any(is_supported(engine) for engine in self.db.engines.values())

    def _has_supported_engine(self) -> bool:
        return has_app_context() and self._apps.get(current_app._get_current_object(), False)  # type: ignore[attr-defined]  # a proxy

    def _listen(self, engine: Engine, metadata: MetaData | None, *, is_separate: bool) -> None:
        if is_supported(engine):
            listener = EngineListener(engine, self._attribution, is_separate=is_separate)
            listener.attach()
            self._listeners.add(listener)
        elif not self._said_unsupported and metadata is not None and any(True for _ in audited_tables(metadata)):
            self._said_unsupported = True
            logger.warning("Auditing is off: %s", reason(engine))
