"""``AuditLogger``: its methods, which wire the parts together, and the engines and sessions it listens to."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, overload
from weakref import WeakKeyDictionary

from flask import Flask, appcontext_pushed, appcontext_tearing_down
from sqlalchemy import Engine, MetaData, Table
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from .capture import blocks
from .capture.actors import display_name, identify
from .capture.attribution import Attribution
from .capture.listeners import EngineListener, SessionListener, flush
from .capture.request import Redact
from .capture.stamp import stamp_now, switch_on
from .cli import audit_cli
from .databases import Database, database_of, default_engine, engine_of, engine_with, live_engines, sync_engine
from .exceptions import ConfigurationError, NotInitializedError
from .growth.erase import Erasure, Whom, erase
from .growth.keep import rules
from .history.api import LogInCode
from .history.logins import Logins
from .models import AuditLogActivity, AuditLogTransaction, AuditModels
from .query.refs import mapped_key
from .registry import Registry, Wanted, excepted, refuse_nonsense
from .schema.declared import patterns
from .schema.names import is_supported, reason
from .schema.table_options import audited_tables
from .settings import CaptureSettings
from .ui.blueprint import register
from .ui.options import AuditUI

if TYPE_CHECKING:
    # not needed to run: an application has of it what it uses
    from flask_sqlalchemy import SQLAlchemy
    from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

logger = logging.getLogger("flask_audit_logger")

#: The logger of a database, in the ``info`` of its MetaData.
LOGGER_KEY = "audit_logger_extension"
_NO_DATABASE = "This AuditLogger has no database object yet. Call init_app(app) first."


class AuditLogger(LogInCode):
    """Logs every change of the audited tables of one application's databases.

    A table is audited if its ``info`` has ``{"audit_logged": True}`` or a dictionary of options there; with
    ``tables="all"`` also if it has not.

    Of several loggers of one database object, as a ``create_app()`` that is called again makes them, the newest counts.

    :param db: the database object of Flask-SQLAlchemy or Flask-SQLAlchemy-Lite; or none, and :meth:`init_app` takes the
        one of the application.
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
    :param engine: the engine, where there is no database object. Commands and pages use it, so it is not async; what is
        written on further engines is attributed by :meth:`watch`.
    :param metadata: the tables of ``engine``; with Flask-SQLAlchemy-Lite those of the default engine, or a dictionary
        by the names of ``SQLALCHEMY_ENGINES``.
    :param session: with ``engine``, what makes the application's sessions: a ``sessionmaker`` or ``scoped_session``.
        They load the current user before they write, as ``db.session`` of Flask-SQLAlchemy does.
    :param tables: ``"all"`` audits every table of the metadata, of every bind, those of associations included. The
        ``info`` of a table still sets its options, and ``{"audit_logged": False}`` takes it out.
    :param except_tables: with ``tables="all"``, the names of tables that are not audited, with or without their schema.
        A name that no table has is an error where the tables are made or compared (``create_all()``,
        ``flask db migrate``, ``flask audit status``), as models may be imported later than this.
    :param partition: ``"month"`` keeps the log in a partition for each month, which ``flask audit maintain`` begins, so
        that what is due can be dropped without stopping writers. Needs a migration; ``None`` are two plain tables.
    :param archive: an existing folder. ``flask audit maintain`` saves each month that is over in it, as Parquet files,
        before anything of that month is removed; those of a bind in a folder in it that is called like the bind. Needs
        ``partition="month"`` and the extra ``flask-audit-logger[archive]``.
    :param keep: how long entries are kept, by the name of their table, ``"*"`` for all others, in ``d``, ``w``, ``mo``,
        ``y``: ``{"*": "2y", "orders": "10y"}``. ``flask audit maintain`` removes what is due; of tables without a rule
        nothing.
    :param read_bind: a key of ``SQLALCHEMY_BINDS``: pages read the log there, from a server that has a copy of it.
        Nothing is logged, made or migrated there.
    :param events: ``["flask_login"]`` records who logs in and out by Flask-Login.
    :raises ConfigurationError: if the application has a table of the log's name, or the arguments don't fit together.
    :raises ActorClassError: if several models have the name of the actor model.
    """

    def __init__(
        self,
        db: SQLAlchemy | SQLAlchemyLite | None = None,
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
        engine: Engine | None = None,
        metadata: MetaData | Mapping[str, MetaData] | None = None,
        session: sessionmaker[Any] | scoped_session[Any] | None = None,
        tables: Literal["marked", "all"] = "marked",
        except_tables: Iterable[str] = (),
        partition: Literal["month"] | None = None,
        archive: str | os.PathLike[str] | None = None,
        keep: Mapping[str, str] | None = None,
        read_bind: str | None = None,
        events: Collection[str] = (),
    ) -> None:
        self._database: Database | None = None
        self._registry: Registry | None = None
        self._metadata = metadata
        # The applications, or an engine of its own, and whether there is one that can have a log.
        self._places: WeakKeyDictionary[Flask | Engine, bool] = WeakKeyDictionary()
        self._attaching = threading.RLock()
        # Nobody keeps the engine of an application that is gone.
        self._listeners: WeakKeyDictionary[Engine, EngineListener] = WeakKeyDictionary()
        self._session_listeners: WeakKeyDictionary[Any, SessionListener] = WeakKeyDictionary()
        self._is_separate = False
        self._said_unsupported = False
        self._attribution = Attribution(
            self,
            lambda: self._known_registry.actor,
            lambda: None if self._database is None else self._database.current_session(),
            get_actor_id,
            get_actor_label,
            get_client_addr,
            redact_request,
        )
        self._logins = Logins(events, lambda: self.database, self._attribution.stamping_as)
        if ui is not None and not isinstance(ui, AuditUI):
            raise ConfigurationError(f"ui is {ui!r}; give AuditUI(…).")
        refuse_nonsense(
            schema,
            get_actor_id=get_actor_id,
            get_client_addr=get_client_addr,
            get_actor_label=get_actor_label,
            redact_request=redact_request,
        )
        if partition not in (None, "month"):
            raise ConfigurationError(f"partition is {partition!r}; give 'month', or nothing for plain tables.")
        if archive is not None and partition is None:
            raise ConfigurationError('archive= goes with partition="month": months are what is archived.')
        self._wanted = Wanted(
            schema=schema,
            actor_cls=actor_cls,
            exclude=patterns("exclude", exclude),
            mask=patterns("mask", mask),
            excepted=excepted(tables, patterns("except_tables", except_tables)),
            partition=partition,
            archive=None if archive is None else os.fspath(archive),
            keep=rules(keep),
            read_bind=read_bind,
        )
        #: Schema of the log as it was given.
        self.schema = schema
        #: The browser pages, if there are any.
        self.ui = ui
        if db is not None or engine is not None or session is not None:
            self._bind(database_of(db, engine, metadata, session))

    def init_app(self, app: Flask) -> None:
        """Set up an application: configuration, the command ``flask audit`` and the pages under ``/audit``.

        ``db.init_app(app)`` comes first. Without this call changes are captured all the same.

        :raises NotInitializedError: if the application has no database object yet.
        :raises ConfigurationError: if it has another one, or a configuration key with a meaningless value.
        """
        db = app.extensions.get("sqlalchemy")
        if db is None and (self._database is None or not isinstance(self._database.given, Engine)):
            raise NotInitializedError("The application has no database object. Call db.init_app(app) first.")
        if self._database is None:
            self._bind(database_of(db, metadata=self._metadata))
        self._is_separate = CaptureSettings.of(app).separate_stamp
        with app.app_context():
            if self.database.place() is None:
                raise ConfigurationError("This AuditLogger belongs to another SQLAlchemy object than the application.")
            self._attach_here(anew=True)
            if self.ui is not None:
                self.read_engine  # noqa: B018 - raises if the pages have none
        app.extensions["audit_logger"] = self
        app.cli.add_command(audit_cli)
        if self.ui is not None:
            register(app, self, self.ui)

    def watch(self, engine: Engine | AsyncEngine) -> None:
        """Attribute what is written on an engine that the database object doesn't know: an own one, async, of a worker.

        Changes are recorded in any case; without this nobody is named for those on such an engine. Its sessions and
        connections take the user who is loaded by then, and load none. Twice is once. The engine is not kept alive.

        :param engine: of PostgreSQL; on any other database nothing happens.
        :raises NotInitializedError: if there is no database object yet.
        """
        self._listen(sync_engine(engine), self.database.metadatas[None], is_separate=self._is_separate)

    def unwatch(self, engine: Engine | AsyncEngine) -> None:
        """Stop what :meth:`watch` started; nothing happens if it was not called.

        :param engine: an engine that was watched. One of the database object is listened to no longer, either.
        """
        listener = self._listeners.pop(sync_engine(engine), None)
        if listener is not None:
            listener.detach()

    def unwatched_engines(self) -> list[Engine]:
        """The engines of this process on PostgreSQL databases of the same names, on which nobody is named.

        Those that are made later, or in another process, are not seen.
        """
        names = {engine.url.database for engine in self.database.engines().values()}
        known = {*self._listeners, self.database.engines().get(self.read_bind)}
        return [e for e in live_engines() if is_supported(e) and e.url.database in names and e not in known]

    @property
    def database(self) -> Database:
        """The way to the application's databases.

        :raises NotInitializedError: if it isn't known yet.
        """
        if self._database is None:
            raise NotInitializedError(_NO_DATABASE)
        return self._database

    @property
    def engine(self) -> Engine:
        """The engine that commands and pages use for the default database.

        :raises ConfigurationError: if there is none, as where the application writes on async engines only.
        """
        return default_engine(self.database)

    @property
    def read_bind(self) -> str | None:
        """The bind that pages read from, unless it is the default one."""
        return self._wanted.read_bind

    @property
    def read_engine(self) -> Engine:
        """The engine that pages read from.

        :raises ConfigurationError: if there is none, or ``read_bind`` names none.
        """
        return self.engine if self.read_bind is None else engine_of(self.database, self.read_bind)

    @property
    def db(self) -> Any:
        """The database object as it was given, or the engine."""
        return self.database.given

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

    def erase(
        self, subject: Any = None, *, actor: Any = None, reason: str, columns: Sequence[str] = (), dry_run: bool = False
    ) -> Erasure:
        """Forget a person in all entries of the log and in its archive, for good, with the rights of the log's owner.

        :param subject: the mapped object of their record: its personal columns, and those of rows that are about it.
            Of an actor also what ``actor`` says.
        :param actor: who acted, or their key: name, address and user agent of their transactions.
        :param reason: why, without the name: the log keeps it.
        :param columns: the columns of the record instead of those that are declared personal.
        :param dry_run: only say what would be erased.
        :raises HeldError: if a legal hold keeps something of it.
        """
        who = subject if actor is None and isinstance(subject, self.actor_cls or ()) else actor
        tables = () if subject is None else type(subject).__mapper__.tables
        metadata = tables[0].metadata if tables else self.database.metadatas[None]
        key = None if subject is None else mapped_key(subject)
        names = tuple((table.schema, table.name) for table in tables)
        whom = Whom(names, key or "", identify(who, with_label=False).id, columns or None)
        return erase(engine_with(self.database, metadata), metadata, whom, reason=reason, dry_run=dry_run)

    def name_of(self, user: Any) -> str | None:
        """The name of a user in the log, unless ``get_actor_label`` gives another one.

        :param user: a mapped object or a user of Flask-Login.
        """
        return display_name(user)

    @property
    def audit_logged_tables(self) -> set[Table]:
        """The audited tables of all binds, looked up anew."""
        return {table for metadata in self.database.metadatas.values() for table in audited_tables(metadata)}

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
        The flush or commit has to be inside: around the assignment alone it names nobody, as nothing is written there.

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
    def disable(self, session: Session | scoped_session[Any] | AsyncSession | None = None) -> Iterator[None]:
        """Log no changes made inside the block. The gap itself is logged: by whom, when and for which tables.

        :param session: only what is written in this session is not logged. It is flushed when the block begins and when
            it ends well, so that what was added to it before is still logged, and what is added inside is not. Without
            it nothing is logged that this thread, greenlet or task writes, in any session and on any connection.
            An ``AsyncSession`` is flushed by the application, at both ends, and ends its transaction inside.
        :raises ConfigurationError: if an ``AsyncSession`` has something to flush.
        """
        given: Any = session() if isinstance(session, scoped_session) else session
        own: Session | None = getattr(given, "sync_session", given)
        if own is not None:
            if not isinstance(own, Session):
                raise ConfigurationError(f"disable() takes a session, not {session!r}.")
            flush(own, is_async=own is not given)
        told: list[Any] = []
        try:
            with blocks.capture_off(self._attribution.owner, own) as told:
                yield
                if own is not None:
                    flush(own, is_async=own is not given)
        finally:
            switch_on(told, self._attribution)

    @overload
    def stamp(self, connection: AsyncSession | AsyncConnection) -> Awaitable[None]: ...

    @overload
    def stamp(self, connection: Any) -> None: ...

    def stamp(self, connection: Any) -> Awaitable[None] | None:
        """Attribute what a connection does next in its running transaction.

        Only needed where SQLAlchemy doesn't see the statement, as with the cursor of a raw connection.

        :param connection: a session, a connection of SQLAlchemy, or one of psycopg2 or psycopg. An ``AsyncSession`` or
            ``AsyncConnection`` is to be awaited: ``await audit_logger.stamp(session)``.
        :raises ConfigurationError: if it is none of these.
        """
        if hasattr(connection, "run_sync"):
            stamped: Awaitable[None] = connection.run_sync(self.stamp)
            return stamped
        if isinstance(connection, scoped_session | Session):
            session = connection() if isinstance(connection, scoped_session) else connection
            with self._attribution.asked(session):
                stamp_now(session.connection(), self._attribution)
        else:
            stamp_now(connection, self._attribution)
        return None

    def detach(self) -> None:
        """Stop attributing changes and following ``create_all()``. The triggers go on capturing."""
        appcontext_pushed.disconnect(self._on_app_context)
        appcontext_tearing_down.disconnect(self._on_app_context_end)
        self._logins.detach()
        for session_listener in list(self._session_listeners.values()):
            session_listener.detach()
        for listener in list(self._listeners.values()):
            listener.detach()
        self._session_listeners.clear()
        self._listeners.clear()
        self._places.clear()
        blocks.leave_place()
        if self._registry is not None and self.database.metadatas[None].info.get(LOGGER_KEY) is self:
            self._registry.detach()

    @property
    def _known_registry(self) -> Registry:
        if self._registry is None:
            raise NotInitializedError(_NO_DATABASE)
        return self._registry

    def _bind(self, database: Database) -> None:
        default = database.metadatas[None]
        older: AuditLogger | None = default.info.get(LOGGER_KEY)
        if older is not None and older._registry is not None:
            if older.database.given is database.given:
                older.detach()  # else it goes on with its own engines
            self._registry = older._registry  # one for all: pages of the older one show the log of the newer one
            self._registry.configure(database, self._wanted)
        else:
            self._registry = Registry(database, self._wanted)
        default.info[LOGGER_KEY] = self  # lives as long as the tables
        self._database = database
        # context() and disable() count for every logger that this database object had
        self._attribution.owner = database.given
        appcontext_pushed.connect(self._on_app_context)
        appcontext_tearing_down.connect(self._on_app_context_end)
        self._logins.attach()
        blocks.enter_place()
        self._attach_here()

    def _on_app_context(self, app: Flask, **kw: Any) -> None:
        blocks.enter_place()
        # Engines of an application can be reached only inside its context, so this comes before their statements.
        self._attach_here()

    def _on_app_context_end(self, app: Flask, **kw: Any) -> None:
        blocks.leave_place()

    def _attach_here(self, *, anew: bool = False) -> None:
        """Attach the listeners to the engines and sessions that are there at this moment, if that was not done yet.

        :param anew: also if it was, as a setting may have changed.
        """
        place = self.database.place()
        if place is None or (place in self._places and not anew):
            return
        with self._attaching:
            separate = CaptureSettings.of(place).separate_stamp if isinstance(place, Flask) else self._is_separate
            self._known_registry.complete()
            engines = self.database.engines()
            for bind, engine in engines.items():
                if bind is not None and bind == self.read_bind:
                    continue
                self._listen(engine, self.database.metadatas.get(bind), is_separate=separate)
            for async_engine in self.database.async_engines():
                self._listen(sync_engine(async_engine), None, is_separate=separate)
            self._ask_in(self.database.sessions())
            self._places[place] = any(is_supported(engine) for engine in engines.values())

    def _ask_in(self, sessions: Any) -> None:
        if sessions is not None and sessions not in self._session_listeners:
            listener = SessionListener(sessions, self._attribution, self._has_supported_engine)
            listener.attach()
            self._session_listeners[sessions] = listener

    def _has_supported_engine(self) -> bool:
        place = self.database.place()
        return place is not None and self._places.get(place, False)

    def _listen(self, engine: Engine, metadata: MetaData | None, *, is_separate: bool) -> None:
        if is_supported(engine):
            listener = self._listeners.setdefault(engine, EngineListener(engine, self._attribution))
            listener.is_separate = is_separate
            listener.attach()
        elif not self._said_unsupported and metadata is not None and any(True for _ in audited_tables(metadata)):
            self._said_unsupported = True
            logger.warning("Auditing is off: %s", reason(engine))
