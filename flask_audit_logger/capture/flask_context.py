"""Flask's application context, as far as Flask has no public way to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from copy import copy
from typing import Any

from flask.ctx import AppContext
from flask.globals import _cv_app
from sqlalchemy import Connection, inspect
from sqlalchemy.orm import Mapper, Session

_MISSING = object()
_COPY_OF = "_flask_audit_logger_copy_of"


def current_context() -> AppContext | None:
    """The application context of this moment."""
    return _cv_app.get(None)


def enclosing_contexts() -> Iterator[AppContext]:
    """The application contexts of this moment, the innermost first."""
    seen: list[AppContext] = []
    context = current_context()
    while context is not None and context not in seen:
        seen.append(context)
        yield context
        context = vars(context).get(_COPY_OF) or _pushed_onto(context)


def _pushed_onto(context: AppContext) -> AppContext | None:
    # Flask 3.1 keeps a token for each time the context is pushed, later versions one.
    tokens = vars(context).get("_cv_tokens") or [vars(context).get("_cv_token")]
    before = [token.old_value for token in tokens if token is not None]
    return next((c for c in reversed(before) if c is not context and c is not Token.MISSING), None)


@contextmanager
def own_context(*, keeps_globals: bool) -> Iterator[None]:
    """Replace the application context by a copy, for what runs inside the block.

    Threads that run in a copy of the context variables share the application context, so it is never changed itself.
    Nothing is pushed or popped: that would call what the application does at the end of a context.

    :param keeps_globals: whether what is changed in ``flask.g`` stays. If not, no session is reached through it.
    """
    outer = _cv_app.get()
    inner = copy(outer)
    vars(inner)[_COPY_OF] = outer
    inner.g = copy(outer.g)
    inside = vars(inner.g)
    if not keeps_globals:
        for name in [name for name, value in inside.items() if _is_session(value)]:
            del inside[name]
    before = dict(inside)
    token = _cv_app.set(inner)
    try:
        yield
    finally:
        _cv_app.reset(token)
        if keeps_globals:
            _repeat_changes(before, inside, vars(outer.g))


def _repeat_changes(before: dict[str, Any], after: dict[str, Any], target: dict[str, Any]) -> None:
    for name in before.keys() | after.keys():
        if name not in after:
            target.pop(name, None)
        elif after[name] is not before.get(name, _MISSING) and not (
            # what belongs to the session of the question can't be used, or changed, in that of the application
            _is_session(after[name]) or _is_mapped(after[name])
        ):
            target[name] = after[name]


# By their types: to ask a proxy for its class would load what it stands for.


def _is_session(value: Any) -> bool:
    return issubclass(type(value), (Session, Connection))


def _is_mapped(value: Any) -> bool:
    return isinstance(inspect(type(value), raiseerr=False), Mapper)
