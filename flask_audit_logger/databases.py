"""How an application reaches its databases: Flask-SQLAlchemy, Flask-SQLAlchemy-Lite, or an engine of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from flask import Flask, current_app, has_app_context
from sqlalchemy import Engine, MetaData, Table
from sqlalchemy.orm import Mapper, Session, scoped_session, sessionmaker

from .exceptions import ConfigurationError

if TYPE_CHECKING:
    # SQLAlchemy's asyncio needs greenlet, which an application without it may not have
    from sqlalchemy.ext.asyncio import AsyncEngine

#: Makes sessions: what SQLAlchemy's session events can be listened to on.
Sessions = scoped_session[Any] | sessionmaker[Any]


class Database(Protocol):
    """An application's way to its databases: all that the package asks of it.

    Keys are those of binds; ``None`` is the default database.

    :ivar given: what the application gave: its database object, or the engine.
    """

    given: Any

    @property
    def metadatas(self) -> Mapping[str | None, MetaData]:
        """The tables of each database."""

    def place(self) -> Flask | Engine | None:
        """What the engines of this moment belong to, if there are any: the running application, or the one engine."""

    def engines(self) -> Mapping[str | None, Engine]:
        """The engines that commands and pages use, in the place of this moment."""

    def async_engines(self) -> Iterable[AsyncEngine]:
        """Engines on which the application writes besides."""

    def sessions(self) -> Sessions | None:
        """What makes the sessions that are asked who acts before they write."""

    def current_session(self) -> Session | None:
        """The session that the application uses at this moment, if it has one."""

    def writing(self) -> AbstractContextManager[Session]:
        """A session in which a page writes."""

    def mappers(self) -> frozenset[Mapper[Any]]:
        """The mapped classes."""


def default_engine(database: Database) -> Engine:
    """The engine of the default database, for commands and pages.

    :raises ConfigurationError: if there is none, as where the application writes on async engines only.
    """
    engine = database.engines().get(None)
    if engine is None:
        raise ConfigurationError(
            "Commands and pages of the audit log need an engine that is not async. With Flask-SQLAlchemy-Lite define "
            "SQLALCHEMY_ENGINES['default'], as postgresql+psycopg://…"
        )
    return engine


def engine_of(database: Database, bind: str) -> Engine:
    """The engine of a bind.

    :raises ConfigurationError: if there is no such bind.
    """
    engines = database.engines()
    if bind not in engines:
        binds = ", ".join(repr(each) for each in engines if each is not None) or "none"
        raise ConfigurationError(f"There is no bind {bind!r}, which read_bind= names; there are: {binds}.")
    return engines[bind]


def engine_with(database: Database, metadata: MetaData) -> Engine:
    """The engine of the database that has some tables.

    :raises ConfigurationError: if there is none.
    """
    for bind, found in database.metadatas.items():
        if found is metadata and bind in database.engines():
            return database.engines()[bind]
    raise ConfigurationError("The log of these tables needs an engine that is not async, and there is none.")


def database_of(
    db: Any,
    engine: Engine | None = None,
    metadata: MetaData | Mapping[str, MetaData] | None = None,
    session: Sessions | None = None,
) -> Database:
    """The way to the databases by what an application gave.

    :raises ConfigurationError: if it doesn't fit together.
    """
    if engine is not None:
        return _OwnEngine(engine, metadata, session, db)
    if session is not None:
        raise ConfigurationError("session= goes with engine=: a database object has sessions of its own.")
    if hasattr(type(db), "async_engines"):
        return _FlaskSQLAlchemyLite(db, metadata)
    if not hasattr(db, "metadatas"):
        raise ConfigurationError(
            f"{db!r} is no database object of Flask-SQLAlchemy or Flask-SQLAlchemy-Lite. Without them: "
            "AuditLogger(engine=…, metadata=…)."
        )
    if metadata is not None:
        raise ConfigurationError("metadata= goes with engine= or Flask-SQLAlchemy-Lite; Flask-SQLAlchemy has its own.")
    return _FlaskSQLAlchemy(db)


def sync_engine(engine: Engine | AsyncEngine) -> Engine:
    """The engine that has the events of an engine, be it async or not."""
    given: Any = engine
    found: Engine = getattr(given, "sync_engine", given)
    return found


def live_engines() -> list[Engine]:
    """The engines of this process. SQLAlchemy has no list, so all objects are looked through."""
    return [thing for thing in gc.get_objects() if type(thing) is Engine]


class _FlaskSQLAlchemy:
    """A database object of Flask-SQLAlchemy."""

    def __init__(self, db: Any) -> None:
        self.given = db

    @property
    def metadatas(self) -> Mapping[str | None, MetaData]:
        metadatas: Mapping[str | None, MetaData] = self.given.metadatas
        return metadatas

    def place(self) -> Flask | None:
        return _application_of(self.given)

    def engines(self) -> Mapping[str | None, Engine]:
        engines: Mapping[str | None, Engine] = self.given.engines
        return engines

    def async_engines(self) -> Iterable[AsyncEngine]:
        return ()

    def sessions(self) -> Sessions:
        sessions: Sessions = self.given.session
        return sessions

    def current_session(self) -> Session | None:
        return _opened(self.given.session)

    def writing(self) -> AbstractContextManager[Session]:
        # It is closed with the application context, as ever: the page shows what it loaded.
        return nullcontext(self.given.session())

    def mappers(self) -> frozenset[Mapper[Any]]:
        mappers: frozenset[Mapper[Any]] = self.given.Model.registry.mappers
        return mappers


class _FlaskSQLAlchemyLite:
    """A database object of Flask-SQLAlchemy-Lite, which knows engines and sessions, but no tables."""

    def __init__(self, db: Any, metadata: MetaData | Mapping[str, MetaData] | None) -> None:
        if metadata is None:
            raise ConfigurationError(
                "Flask-SQLAlchemy-Lite doesn't know the tables: AuditLogger(db, metadata=Model.metadata), or a "
                "dictionary with the metadata of each engine."
            )
        by_name = {"default": metadata} if isinstance(metadata, MetaData) else metadata
        if "default" not in by_name:
            raise ConfigurationError("metadata= has no key 'default'; its keys are those of SQLALCHEMY_ENGINES.")
        self.given = db
        self.metadatas: Mapping[str | None, MetaData] = _by_bind(by_name)

    def place(self) -> Flask | None:
        return _application_of(self.given)

    def engines(self) -> Mapping[str | None, Engine]:
        return _by_bind(self.given.engines)

    def async_engines(self) -> Iterable[AsyncEngine]:
        engines: Mapping[str, AsyncEngine] = self.given.async_engines
        return engines.values()

    def sessions(self) -> Sessions:
        sessions: Sessions = self.given.sessionmaker
        return sessions

    def current_session(self) -> Session | None:
        # It is only made by this, without a connection.
        return None if self.place() is None else self.given.session

    def writing(self) -> AbstractContextManager[Session]:
        return nullcontext(self.given.session)

    def mappers(self) -> frozenset[Mapper[Any]]:
        return _mappers_of(self.metadatas.values())


class _OwnEngine:
    """An engine and the tables of its database, of an application without an extension for SQLAlchemy."""

    def __init__(
        self, engine: Any, metadata: MetaData | Mapping[str, MetaData] | None, session: Sessions | None, db: Any
    ) -> None:
        if db is not None:
            raise ConfigurationError("Give a database object or engine=, not both. Other engines: watch(engine).")
        if not isinstance(metadata, MetaData):
            raise ConfigurationError("AuditLogger(engine=…) needs metadata=, the MetaData of the tables.")
        if sync_engine(engine) is not engine:
            raise ConfigurationError(
                "engine= is async. Commands and pages need one that is not, as of postgresql+psycopg://…; give that as "
                "engine= and this one to watch()."
            )
        self.given = engine
        self.metadatas: Mapping[str | None, MetaData] = {None: metadata}
        self._engine: Engine = engine
        self._session = session

    def place(self) -> Engine:
        return self._engine

    def engines(self) -> Mapping[str | None, Engine]:
        return {None: self._engine}

    def async_engines(self) -> Iterable[AsyncEngine]:
        return ()

    def sessions(self) -> Sessions | None:
        return self._session

    def current_session(self) -> Session | None:
        return _opened(self._session)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        if isinstance(self._session, scoped_session):
            yield self._session()
            return
        with Session(self._engine) if self._session is None else self._session() as session:
            yield session

    def mappers(self) -> frozenset[Mapper[Any]]:
        return _mappers_of(self.metadatas.values())


def _application_of(db: Any) -> Flask | None:
    """The running application, if the database object is its."""
    if not has_app_context() or current_app.extensions.get("sqlalchemy") is not db:
        return None
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]  # a proxy


def _by_bind(by_name: Mapping[str, Any]) -> dict[str | None, Any]:
    return {None if name == "default" else name: value for name, value in by_name.items()}


def _opened(sessions: Sessions | None) -> Session | None:
    if not isinstance(sessions, scoped_session) or not sessions.registry.has():
        return None
    session: Session = sessions()
    return session


def _mappers_of(metadatas: Iterable[MetaData]) -> frozenset[Mapper[Any]]:
    """The mapped classes of some tables."""
    # SQLAlchemy has no public list of them; with Flask-SQLAlchemy nothing depends on this one
    from sqlalchemy.orm.mapper import _all_registries

    wanted = set(metadatas)
    return frozenset(
        mapper
        for registry in _all_registries()
        for mapper in registry.mappers
        if any(table.metadata in wanted for table in mapper.tables if isinstance(table, Table))
    )
