"""What the code says of its own changes: actor, reason, job, anything; and whether they are captured at all.

Kept in a ContextVar, so that it is of one thread, greenlet or task, nests, and is restored whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..exceptions import ConfigurationError
from .actors import Actor, identify

#: Keys of ``transaction.context`` that only the database writes.
RESERVED = frozenset({"capture_off", "rows_unread", "unreadable"})

#: Stands for "nothing was said of the actor", which is not the same as "nobody".
UNSET: Any = object()


@dataclass(frozen=True)
class Frame:
    """What is said at one moment.

    :param actor: who acts, or unset: then whoever the request says.
    :param facts: what goes into ``transaction.context``.
    :param is_captured: whether changes are captured.
    """

    actor: Any = UNSET
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_captured: bool = True

    @property
    def has_actor(self) -> bool:
        """Whether an actor was given, be it ``None``."""
        return self.actor is not UNSET


_frames: ContextVar[Mapping[object, Frame]] = ContextVar("flask_audit_logger_frames")


#: The connections that were told inside the innermost block in which capture is off.
_told: ContextVar[list[Any] | None] = ContextVar("flask_audit_logger_told", default=None)


def current_frame(owner: object) -> Frame:
    """What is said now for one logger."""
    return _frames.get(_NO_FRAMES).get(owner, _NOTHING)


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
    reserved = RESERVED.intersection(extra or {})
    if reserved:
        raise ConfigurationError(f"context() can't set {sorted(reserved)}: only the database writes that. Rename it.")
    around = current_frame(owner)
    facts = {**around.facts, **(extra or {})}
    if impersonator is not None:
        who = identify(impersonator)
        facts["impersonator"] = {"id": who.id, "label": who.label}
    facts |= {name: value for name, value in (("reason", reason), ("job", job)) if value is not None}
    inside = Frame(
        actor=around.actor if actor is UNSET else identify(actor),
        facts=facts,
        is_captured=around.is_captured,
    )
    with _entered(owner, inside):
        yield


@contextmanager
def capture_off(owner: object) -> Iterator[list[Any]]:
    """Switch capture off inside the block.

    Gives the connections of the driver that were told so inside; at the end somebody has to tell them otherwise.
    """
    around = current_frame(owner)
    told: list[Any] = []
    outer = _told.get()
    token = _told.set(told)
    try:
        with _entered(owner, Frame(actor=around.actor, facts=around.facts, is_captured=False)):
            yield told
    finally:
        _told.reset(token)
        if outer is not None:
            outer += told


def note_told(driver: Any) -> None:
    """A connection was told that capture is off."""
    told = _told.get()
    if told is not None:
        told.append(driver)


@contextmanager
def _entered(owner: object, frame: Frame) -> Iterator[None]:
    token = _frames.set({**_frames.get(_NO_FRAMES), owner: frame})
    try:
        yield
    finally:
        _frames.reset(token)


_NOTHING = Frame()
_NO_FRAMES: Mapping[object, Frame] = MappingProxyType({})

__all__ = ["RESERVED", "UNSET", "Actor", "Frame", "capture_off", "context", "current_frame", "note_told"]
