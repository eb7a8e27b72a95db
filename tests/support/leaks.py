"""What a test must not leave behind: contexts, and listeners on classes that belong to everybody."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from flask import has_app_context, has_request_context
from sqlalchemy import Engine
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.pool import Pool

SHARED_CLASSES: tuple[Any, ...] = (Engine, Pool, Session, Mapper)


@contextmanager
def only_new_objects() -> Iterator[None]:
    """Let the collector look only at what is made meanwhile: a test run holds a million other objects."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def shared_listeners() -> dict[str, int]:
    """How many listeners each event of a class has that every application shares."""
    return {f"{cls.__name__}.{name}": count for cls in SHARED_CLASSES for name, count in _listeners(cls)}


def _listeners(cls: Any) -> Iterator[tuple[str, int]]:
    for name in cls.dispatch._event_names:
        # SQLAlchemy has no public way to list the listeners of a class.
        count = len(getattr(cls.dispatch, name)._clslevel.get(cls, ()))
        if count:
            yield name, count


def context_variables() -> list[str]:
    """Names of the package's context variables that have a value other than their default."""
    return sorted(v.name for v, value in copy_context().items() if v.name.startswith("flask_audit_logger") and value)


def leaks(listeners_before: dict[str, int]) -> list[str]:
    """What is still there after a test, in words."""
    found = []
    if has_request_context():
        found.append("a request context is still pushed")
    elif has_app_context():
        found.append("an application context is still pushed")
    found += [f"{name} is still set" for name in context_variables()]
    after = shared_listeners()
    found += [
        f"{name} has {after.get(name, 0)} listeners, {listeners_before.get(name, 0)} before"
        for name in sorted({*after, *listeners_before})
        if after.get(name, 0) != listeners_before.get(name, 0)
    ]
    return found
