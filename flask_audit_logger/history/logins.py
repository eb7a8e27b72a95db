"""Logins and logouts of Flask-Login as events: ``AuditLogger(db, events=["flask_login"])``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from flask import appcontext_tearing_down, g, has_request_context, request_tearing_down
from flask.globals import request_ctx
from sqlalchemy import Connection, MetaData

from ..databases import Database, engine_with
from ..exceptions import ConfigurationError
from ..schema.names import is_supported
from ..settings import NOT_STAMPED
from .events import Event, write

try:
    from flask_login import user_logged_in, user_logged_out
except ImportError:  # Flask-Login is optional
    user_logged_in = user_logged_out = None

logger = logging.getLogger("flask_audit_logger")

#: What ``events`` may name.
SOURCES = ("flask_login",)

_KEY = "_flask_audit_logger_logins"


#: Tells the running transaction of a connection who acts.
Stamping = Callable[[Connection], None]


class Logins:
    """Follows the signals of Flask-Login, and records them when the session of the request has ended.

    Neither the view's session nor its commit is needed for that, and a request never has two connections at once.

    :param sources: ``flask_login``, or nothing.
    :param database: gives the way to the databases.
    :param stamping_as: makes what stamps a connection as somebody.
    :raises ConfigurationError: if there is no such source, or Flask-Login is not installed.
    """

    def __init__(
        self, sources: Collection[str], database: Callable[[], Database], stamping_as: Callable[[Any], Stamping]
    ) -> None:
        unknown = [sources] if isinstance(sources, str) else [name for name in sources if name not in SOURCES]
        if unknown:
            raise ConfigurationError(f"events has {unknown[0]!r}; give a list of {', '.join(map(repr, SOURCES))}.")
        if sources and user_logged_in is None:
            raise ConfigurationError('events=["flask_login"] needs Flask-Login, which is not installed.')
        self._is_wanted = bool(sources)
        self._database = database
        self._stamping_as = stamping_as

    def attach(self) -> None:
        """Start to follow the signals, if that is wanted. Twice is once."""
        if self._is_wanted:
            user_logged_in.connect(self._on_login)
            user_logged_out.connect(self._on_logout)
            request_tearing_down.connect(self._on_request_end)
            appcontext_tearing_down.connect(self._on_app_context_end)

    def detach(self) -> None:
        """Stop that."""
        if self._is_wanted:
            user_logged_in.disconnect(self._on_login)
            user_logged_out.disconnect(self._on_logout)
            request_tearing_down.disconnect(self._on_request_end)
            appcontext_tearing_down.disconnect(self._on_app_context_end)

    def _on_login(self, app: Any, *, user: Any, **kw: Any) -> None:
        self._keep("login", user)

    def _on_logout(self, app: Any, *, user: Any, **kw: Any) -> None:
        self._keep("logout", user)

    def _keep(self, name: str, user: Any) -> None:
        """Remember an event with what is known now: who it is, and from where."""
        try:
            if self._database().place() is None or not getattr(user, "is_authenticated", True):
                return  # another application's, or nobody left
            kept: dict[Logins, list[tuple[str, Stamping]]] = g.setdefault(_KEY, {})
            kept.setdefault(self, []).append((name, self._stamping_as(user)))
        except Exception:
            _warn(name)

    def _on_request_end(self, app: Any, **kw: Any) -> None:
        if _has_outer_context():
            self._write()

    def _on_app_context_end(self, app: Any, **kw: Any) -> None:
        # Flask has called the application's teardown functions by now, so the session gave its connection back.
        self._write()

    def _write(self) -> None:
        kept: dict[Logins, list[tuple[str, Stamping]]] = g.get(_KEY, {})
        for name, stamp in kept.pop(self, ()):
            try:
                metadata = self._database().metadatas[None]
                if not is_supported(engine_with(self._database(), metadata)):
                    continue
                with _begun(self._database(), metadata) as connection:
                    stamp(connection)
                    write(connection, metadata, Event(name, "success", {}))
            except Exception:
                _warn(name)


def _warn(name: str) -> None:
    # Who wants to log in is let in all the same.
    logger.warning("could not record a %s", name, exc_info=True)


def _has_outer_context() -> bool:
    """Whether the application context of a request was there before it, as in tests, and stays after it."""
    tokens: Any = getattr(request_ctx, "_cv_tokens", ()) if has_request_context() else ()
    return bool(tokens) and tokens[-1][1] is None


@contextmanager
def _begun(database: Database, metadata: MetaData) -> Iterator[Connection]:
    """A transaction of its own, which is stamped once; in a test that has one connection for all, a savepoint."""
    engine: Any = engine_with(database, metadata)
    if isinstance(engine, Connection):
        with engine.begin_nested():
            engine.execution_options(**{NOT_STAMPED: True})
            try:
                yield engine
            finally:
                engine.execution_options(**{NOT_STAMPED: False})
        return
    with engine.connect() as connection:
        # in autocommit the stamp would be gone with its own statement
        connection.execution_options(isolation_level="READ COMMITTED", **{NOT_STAMPED: True})
        with connection.begin():
            yield connection
