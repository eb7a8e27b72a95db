"""Blocks of ``context()`` and ``disable()``: what the code says of its own changes, and whether they are captured.

Kept in a ContextVar, so that a block is of one thread, greenlet or task, and nests. A block in a generator may end late
or never; so a block counts only inside the application context in which it was entered.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from weakref import ref

from flask import g, has_app_context
from sqlalchemy.orm import Session

from .actors import Actor, identify

#: Stands for "nothing was said of the actor", which is not the same as "nobody".
UNSET: Any = object()


@dataclass(frozen=True)
class Frame:
    """What is said at this moment.

    :param actor: who acts, or unset: then whoever the request says.
    :param impersonator: who really acts, if it is in the name of the actor.
    :param facts: what else goes into ``transaction.context``.
    :param is_captured: whether changes are captured.
    :param silent: the sessions whose changes are not captured.
    """

    actor: Any = UNSET
    impersonator: Actor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_captured: bool = True
    silent: tuple[Session, ...] = ()

    @property
    def has_actor(self) -> bool:
        """Whether an actor was given, be it ``None``."""
        return self.actor is not UNSET

    def captures(self, driver: Any) -> bool:
        """Whether what is written on a connection of the driver is captured."""
        return self.is_captured and not (self.silent and any(_uses(session, driver) for session in self.silent))


def _uses(session: Session, driver: Any) -> bool:
    """Whether the running transaction of a session is on a connection."""
    transaction = session.get_transaction()
    # SQLAlchemy has no public list of the connections that a session has begun.
    used = () if transaction is None else {connection for connection, *_ in transaction._connections.values()}
    return any(
        not connection.closed and not connection.invalidated and connection.connection.dbapi_connection is driver
        for connection in used
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """A block that was entered.

    :param owner: whose block it is.
    :param frame: what is said inside it.
    :param place: ``flask.g`` of the application context in which it was entered, if there was one.
    :param told: the connections that were told something inside it.
    """

    owner: object
    frame: Frame
    place: ref[Any] | None
    told: list[Any] = field(default_factory=list)

    def counts(self) -> bool:
        """Whether this moment is inside the application context of the block."""
        if self.place is None:
            return True
        place = self.place()
        return place is not None and (place is _here() or any(place is outer() for outer in _places.get()))


#: ``flask.g`` of each application context around this moment, the outermost first.
_places: ContextVar[tuple[ref[Any], ...]] = ContextVar("flask_audit_logger_places", default=())


def enter_place() -> bool:
    """An application context begins, or is found to have begun before anybody listened.

    :returns: whether it was not known before.
    """
    here = _here()
    if here is None:
        return False
    outer = tuple(place for place in _places.get() if place() is not None)
    if any(place() is here for place in outer):
        return False
    _places.set((*outer, ref(here)))
    return True


def leave_place() -> None:
    """The application context of this moment ends."""
    _leave(_here())


def _leave(left: Any) -> None:
    _places.set(tuple(place for place in _places.get() if place() is not None and place() is not left))


def _here() -> Any:
    return g._get_current_object() if has_app_context() else None


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("flask_audit_logger_blocks", default=())


def current_frame(owner: object) -> Frame:
    """What is said now for one logger."""
    entered = _blocks.get()
    if not entered:
        return _NOTHING
    inside = (block.frame for block in reversed(entered) if block.owner is owner and block.counts())
    return next(inside, _NOTHING)


@lru_cache(maxsize=256)
def _misspelt(name: str) -> str | None:
    """The argument that a name was meant for, most likely: ``season``, ``jobs`` and ``factor`` are names of facts."""
    near = next(iter(get_close_matches(name, ("actor", "impersonator", "reason", "job"), 1, 0.75)), None)
    return near if near is not None and name[0] == near[0] and near not in name else None


@contextmanager
def context(
    owner: object,
    *,
    actor: Any = UNSET,
    impersonator: Any = None,
    reason: str | None = None,
    job: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Say something of the changes made inside the block, in addition to what is said around it."""
    for name in extra or ():
        if meant := _misspelt(name):
            told = f"context({name}=…) is recorded as a fact called {name!r}; was {meant}= meant?"
            warnings.warn(told, stacklevel=5)  # where the block begins
    around = current_frame(owner)
    facts = {**around.facts, **(extra or {})}
    facts |= {name: value for name, value in (("reason", reason), ("job", job)) if value is not None}
    inside = replace(
        around,
        actor=around.actor if actor is UNSET else identify(actor),
        impersonator=around.impersonator if impersonator is None else identify(impersonator),
        facts=facts,
    )
    with _entered(owner, inside):
        yield


@contextmanager
def capture_off(owner: object, session: Session | None = None) -> Iterator[list[Any]]:
    """Switch capture off inside the block.

    Gives the connections of the driver that were told so inside; at the end somebody has to tell them otherwise.

    :param session: only what is written in this session is not captured.
    """
    around = current_frame(owner)
    if session is None:
        inside = replace(around, is_captured=False)
    else:
        inside = replace(around, silent=(*around.silent, session))
    with _entered(owner, inside) as block:
        yield block.told


def note_told(driver: Any) -> None:
    """A connection was told that capture is off."""
    for block in _blocks.get():
        if not block.frame.captures(driver) and block.counts():
            block.told.append(driver)


@contextmanager
def _entered(owner: object, frame: Frame) -> Iterator[_Block]:
    is_new = enter_place()
    here = _here()
    block = _Block(owner, frame, None if here is None else ref(here))
    _blocks.set((*(around for around in _blocks.get() if around.counts()), block))
    try:
        yield block
    finally:
        # Not back to what was before: blocks in generators end in any order, and wherever they are closed.
        _blocks.set(tuple(other for other in _blocks.get() if other is not block))
        if is_new:
            _leave(here)  # nobody listens to its end


_NOTHING = Frame()

__all__ = [
    "UNSET",
    "Actor",
    "Frame",
    "capture_off",
    "context",
    "current_frame",
    "enter_place",
    "leave_place",
    "note_told",
]
