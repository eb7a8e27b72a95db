"""A place for the application's code that is asked in the middle of a write: what it does there disturbs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import NullPool, Pool, QueuePool

from .flask_context import own_context


@contextmanager
def apart(*, keeps_globals: bool, shares_session: bool = False) -> Iterator[None]:
    """Run what is inside in another application context and in another session.

    :param keeps_globals: whether what it changes in ``flask.g`` stays.
    :param shares_session: give it the session of the application all the same.
    """
    sessions: scoped_session[Session] = current_app.extensions["sqlalchemy"].session
    shared = sessions() if shares_session else None
    with own_context(keeps_globals=keeps_globals), _only_session(sessions, shared):
        yield


@contextmanager
def _only_session(sessions: scoped_session[Session], given: Session | None) -> Iterator[None]:
    # Of the usual scope, the other application context has no session yet. Of another one it may still be the
    # application's, which is kept until the end.
    registry = sessions.registry
    outer = registry() if registry.has() else None
    registry.clear()
    if given is not None:
        registry.set(given)
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
    extension: Any = current_app.extensions.get("sqlalchemy")
    return extension is not None and all(_has_another_connection(e.pool) for e in extension.engines.values())


def _has_another_connection(pool: Pool) -> bool:
    if isinstance(pool, QueuePool):
        most = pool.size() + pool._max_overflow
        return pool._max_overflow < 0 or pool.checkedout() < most
    return isinstance(pool, NullPool)
