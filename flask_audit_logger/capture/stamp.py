"""The settings that tell the trigger function who acts, and what each connection was told in its transaction."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .actors import Actor
from .blocks import note_told

logger = logging.getLogger("flask_audit_logger")

# PQTRANS_IDLE and PQTRANS_INTRANS of libpq, which both drivers hand on
_IDLE = 0
_IN_TRANSACTION = 2

# An escaped backslash is matched as a whole, so that what follows it isn't taken for an escape.
_ESCAPE = re.compile(r"\\(?:u0000|.)")

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

# Whether changes are captured is said only to switch it off, and on again: a SET of somebody else stays as it is.
_SET_CONTEXT = "SELECT set_config('flask_audit_logger.context', %s, true)"
_SET_BOTH = _SET_CONTEXT + ", set_config('flask_audit_logger.enable_versioning', %s, true)"


@dataclass(frozen=True)
class Stamp:
    """What is set before a write.

    :param context: JSON that ``audit_logger_current_transaction()`` reads.
    :param is_captured: whether changes are captured.
    """

    context: str
    is_captured: bool = True

    def apply(self, dbapi_connection: Any) -> None:
        """Set it for the rest of the running database transaction of a psycopg2 or psycopg connection.

        :param dbapi_connection: the connection, or what a pool put around it.
        """
        driver = getattr(dbapi_connection, "dbapi_connection", dbapi_connection)
        memory = memory_of(driver)
        cursor = driver.cursor()
        try:
            if self.is_captured and not memory.has_switched:
                cursor.execute(_SET_CONTEXT, (self.context,))
            else:
                cursor.execute(_SET_BOTH, (self.context, "true" if self.is_captured else "false"))
        finally:
            cursor.close()
        memory.note(self)
        if not self.is_captured:
            note_told(driver)


#: Gives the stamp for what is written next.
StampSource = Callable[[], Stamp]


class Memory:
    """What PostgreSQL was told on one connection, kept for as long as PostgreSQL keeps it.

    :ivar stamp: what the running transaction was told last, or ``None`` if that isn't certain.
    :ivar is_mixed: whether the transaction was told different things. Then a savepoint that is rolled back without our
        knowledge could bring back an earlier one, so that each write is stamped anew.
    :ivar has_switched: whether the transaction was told to switch capture off.
    :ivar is_wrapped: whether a single statement in autocommit was put into a transaction.
    """

    __slots__ = ("_first", "has_switched", "is_mixed", "is_wrapped", "stamp")

    def __init__(self) -> None:
        self.is_wrapped = False
        self.forget_transaction()

    def forget_transaction(self) -> None:
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
        # also after a commit on the driver's own connection, of which no event tells
        memory.forget_transaction()
    return memory


def is_idle(driver: Any) -> bool:
    """Whether no transaction runs on a connection."""
    return bool(getattr(getattr(driver, "info", None), "transaction_status", None) == _IDLE)


def is_in_transaction(driver: Any) -> bool:
    """Whether a transaction runs on a connection that can still do something."""
    return bool(getattr(getattr(driver, "info", None), "transaction_status", None) == _IN_TRANSACTION)


def switch_on(drivers: Iterable[Any], source: StampSource) -> None:
    """Tell connections at the end of ``disable()`` what holds from now on.

    Statements that nobody sees may follow in their transactions: of a raw cursor, of a deferred trigger at the commit.
    """
    for driver in drivers:
        try:
            memory = memory_of(driver)
            if memory.has_switched and is_in_transaction(driver):
                stamp = source()
                if stamp != memory.stamp:
                    stamp.apply(driver)
        except Exception:
            # The connection is broken or busy. What made it so is the error to see.
            logger.debug("could not switch capture on again", exc_info=True)


def make_stamp(actor: Actor, address: str | None, facts: dict[str, Any], *, is_captured: bool) -> Stamp:
    """Make a stamp of its parts. Text that PostgreSQL can't store is repaired, never an error."""
    content = {
        "actor_id": actor.id,
        "actor_label": actor.label,
        "client_addr": address,
        "context": facts,
    }
    said = {name: value for name, value in content.items() if value}
    try:
        text = _dump(said)
    except (TypeError, ValueError, RecursionError):
        text = _dump({**said, "context": {str(name): _plain(value) for name, value in facts.items()}})
    return Stamp(context=_storable(text), is_captured=is_captured)


def _dump(content: Any) -> str:
    return json.dumps(content, default=_text, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """The value if JSON can hold it, else as text."""
    try:
        _dump(value)
    except (TypeError, ValueError, RecursionError):
        return _text(value)
    return value


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # somebody's own str() must not take the write with it
        logger.debug("str() of a value in a context failed", exc_info=True)
        return f"<{type(value).__name__}>"


def _storable(text: str) -> str:
    # json.dumps writes NUL as an escape, which jsonb refuses; a lone surrogate can't be encoded
    no_nul = _ESCAPE.sub(lambda found: "\N{REPLACEMENT CHARACTER}" if found[0] == "\\u0000" else found[0], text)
    whole = no_nul.encode("utf-8", "replace").decode("utf-8")
    # A character that the connection or the database can't encode would fail the statement and with it the transaction.
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], whole)
