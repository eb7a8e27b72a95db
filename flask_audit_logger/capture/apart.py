"""A place for the application's code that is asked in the middle of a write: what it does there disturbs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flask import current_app, has_app_context
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import NullPool, Pool, QueuePool

from .flask_context import own_context

#: Whether code of the application runs apart now.
_is_apart: ContextVar[bool] = ContextVar("flask_audit_logger_is_apart", default=False)


def is_apart() -> bool:
    """Whether a transaction that begins now is of a question that was asked apart."""
    return _is_apart.get()


@contextmanager
def apart(*, keeps_globals: bool, shares_session: bool = False) -> Iterator[None]:
    """Run what is inside in another application context and in another session.

    :param keeps_globals: whether what it changes in ``flask.g`` stays.
    :param shares_session: give it the session of the application all the same.
    """
    token = _is_apart.set(not shares_session)
    try:
        if not has_app_context() or "sqlalchemy" not in current_app.extensions:
            yield
            return
        sessions: scoped_session[Session] = current_app.extensions["sqlalchemy"].session
        shared = sessions() if shares_session else None
        with own_context(keeps_globals=keeps_globals), _only_session(sessions, shared):
            yield
    finally:
        _is_apart.reset(token)


@contextmanager
def _only_session(sessions: scoped_session[Session], given: Session | None) -> Iterator[None]:
    # Of the usual scope, the other application context has no session yet. Of another one it may still be the
    # application's, which is kept until the end.
    registry = sessions.registry
    outer = registry() if registry.has() else None
    registry.clear()
    if given is not None:
        registry.set(given)
    else:
        _keep_off_shared_connections(sessions())
    try:
        yield
    finally:
        try:
            if given is None:
                sessions.remove()
        finally:
            registry.clear()
            if outer is not None:
                registry.set(outer)


def is_another_session_possible() -> bool:
    """Whether a session beside the one that writes can have a connection of its own, at once."""
    extension: Any = current_app.extensions.get("sqlalchemy") if has_app_context() else None
    if extension is None:
        return True
    # Any other bind, such as SQLite in memory, is seldom asked who acts.
    asked = [e for key, e in extension.engines.items() if key is None or e.dialect.name == "postgresql"]
    return all(_has_another_connection(engine.pool) for engine in asked)


def _has_another_connection(pool: Pool) -> bool:
    if isinstance(pool, QueuePool):
        most = pool.size() + pool._max_overflow
        return pool._max_overflow < 0 or pool.checkedout() < most
    return not _is_shared(pool)


def _is_shared(pool: Pool) -> bool:
    return not isinstance(pool, QueuePool | NullPool)


def _keep_off_shared_connections(session: Session) -> None:
    """Let a question fail rather than roll back, at its end, what the application does on the same connection."""
    find = session.get_bind

    def get_bind(*args: Any, **options: Any) -> Engine | Connection:
        bind = find(*args, **options)
        if _is_shared(bind.engine.pool):
            raise InvalidRequestError(f"{bind.engine} has no second connection to look up who acts")
        return bind

    session.get_bind = get_bind  # type: ignore[method-assign]  # of this one session
