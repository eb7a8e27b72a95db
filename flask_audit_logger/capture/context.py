"""What the code says of its own changes: actor, reason, job, anything; and whether they are captured at all.

Kept in a ContextVar, so that it is of one thread, greenlet or task and nests. A block in a generator may end late or
never; so a block counts only inside the application context that it was entered in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from flask.ctx import AppContext

from ..exceptions import ConfigurationError
from .actors import Actor, identify
from .flask_context import current_context, enclosing_contexts

#: Keys of ``transaction.context`` that only the database writes.
RESERVED = frozenset({"capture_off", "rows_unread", "unreadable"})

#: Stands for "nothing was said of the actor", which is not the same as "nobody".
UNSET: Any = object()


@dataclass(frozen=True)
class Frame:
    """What is said at one moment.

    :param actor: who acts, or unset: then whoever the request says.
    :param impersonator: who really acts, if it is in the name of the actor.
    :param facts: what else goes into ``transaction.context``.
    :param is_captured: whether changes are captured.
    """

    actor: Any = UNSET
    impersonator: Actor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_captured: bool = True

    @property
    def has_actor(self) -> bool:
        """Whether an actor was given, be it ``None``."""
        return self.actor is not UNSET


@dataclass(frozen=True, eq=False)
class _Block:
    """A block that was entered.

    :param owner: the logger it is of.
    :param frame: what is said inside it.
    :param place: the application context it was entered in, if there was one.
    :param told: the connections that were told something inside it.
    """

    owner: object
    frame: Frame
    place: AppContext | None
    told: list[Any] = field(default_factory=list)

    def counts(self) -> bool:
        """Whether this moment is inside the place of the block."""
        return self.place is None or any(self.place is context for context in enclosing_contexts())


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("flask_audit_logger_blocks", default=())


def current_frame(owner: object) -> Frame:
    """What is said now for one logger."""
    inside = (block.frame for block in reversed(_blocks.get()) if block.owner is owner and block.counts())
    return next(inside, _NOTHING)


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
def capture_off(owner: object) -> Iterator[list[Any]]:
    """Switch capture off inside the block.

    Gives the connections of the driver that were told so inside; at the end somebody has to tell them otherwise.
    """
    with _entered(owner, replace(current_frame(owner), is_captured=False)) as block:
        yield block.told


def note_told(driver: Any) -> None:
    """A connection was told that capture is off."""
    for block in _blocks.get():
        if not block.frame.is_captured and block.counts():
            block.told.append(driver)


@contextmanager
def _entered(owner: object, frame: Frame) -> Iterator[_Block]:
    block = _Block(owner, frame, current_context())
    _blocks.set((*(around for around in _blocks.get() if around.counts()), block))
    try:
        yield block
    finally:
        # Not back to what was before: blocks in generators end in any order, and wherever they are closed.
        _blocks.set(tuple(other for other in _blocks.get() if other is not block))


_NOTHING = Frame()

__all__ = ["RESERVED", "UNSET", "Actor", "Frame", "capture_off", "context", "current_frame", "note_told"]
