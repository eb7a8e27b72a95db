"""What each database connection was told in its running transaction, kept for as long as PostgreSQL keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from .stamp import Stamp

# PQTRANS_IDLE and PQTRANS_INTRANS of libpq, which both drivers hand on
_IDLE = 0
_IN_TRANSACTION = 2


class Memory:
    """What PostgreSQL knows on one connection.

    :ivar stamp: what the running transaction was told last, or ``None`` if that isn't certain.
    :ivar is_mixed: whether the transaction was told different things. Then a savepoint that is rolled back without our
        knowledge could bring back an earlier one, so that each write is stamped anew.
    :ivar has_switched: whether the transaction was told to switch capture off.
    :ivar gave_up: whether it was asked who acts, and the answer waited too long for a lock. Then nobody is asked again
        in the running transaction, whose lock it may be.
    :ivar engine: the engine that made the connection, once it wrote.
    :ivar is_wrapped: whether a single statement in autocommit was put into a transaction.
    """

    __slots__ = ("_first", "engine", "gave_up", "has_switched", "is_mixed", "is_wrapped", "stamp")

    def __init__(self) -> None:
        self.engine: ReferenceType[Engine] | None = None
        self.is_wrapped = False
        self.forget_transaction()

    def forget_transaction(self) -> None:
        """A transaction ended, or is about to begin."""
        self.forget_stamps()
        self.gave_up = False

    def forget_stamps(self) -> None:
        """No transaction runs, so the settings that were local to one are gone."""
        self.stamp: Stamp | None = None
        self._first: Stamp | None = None
        self.is_mixed = False
        self.has_switched = False

    def note(self, stamp: Stamp) -> None:
        """The running transaction was told ``stamp``."""
        self._first = self._first or stamp
        self.is_mixed = self.is_mixed or stamp != self._first
        self.has_switched = self.has_switched or not stamp.is_captured
        self.stamp = stamp


# Keyed by the connection of the driver: it is the one thing that the listeners and stamp() both have.
_memories: WeakKeyDictionary[Any, Memory] = WeakKeyDictionary()


def memory_of(driver: Any) -> Memory:
    """What was told to a connection of psycopg2 or psycopg."""
    try:
        memory = _memories.get(driver)
        if memory is None:
            memory = _memories[driver] = Memory()
    except TypeError:
        # no weak reference to the connection of some other driver: nothing is remembered, all is said each time
        memory = Memory()
    if is_idle(driver):
        # also after a commit on the driver's own connection, of which no event tells; not that somebody gave up, as the
        # connection is idle, too, while its first write waits to be stamped
        memory.forget_stamps()
    return memory


def is_idle(driver: Any) -> bool:
    """Whether no transaction runs on a connection."""
    return bool(getattr(getattr(driver, "info", None), "transaction_status", None) == _IDLE)


def is_in_transaction(driver: Any) -> bool:
    """Whether a transaction runs on a connection that can still do something."""
    return bool(getattr(getattr(driver, "info", None), "transaction_status", None) == _IN_TRANSACTION)
