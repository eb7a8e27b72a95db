"""The settings that tell the trigger function who acts, and what each connection was told in its transaction."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine import ExecutionContext

from ..exceptions import ConfigurationError
from .actors import Actor
from .blocks import note_told
from .statements import Kind, Step, Traits

logger = logging.getLogger("flask_audit_logger")

# PQTRANS_IDLE and PQTRANS_INTRANS of libpq, which both drivers hand on
_IDLE = 0
_IN_TRANSACTION = 2

# An escaped backslash is matched as a whole, so that what follows it isn't taken for an escape.
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<wrong>\\u0000|\\u[dD][89a-fA-F]..)|\\.")

# A stamp says all: a setting that somebody made for the whole session of a pooled connection counts for nobody else.
# NULL is what the role, the database or the connection has by default.
_SET_CONTEXT = "SELECT set_config('flask_audit_logger.context', %s, true)"
_SET_SWITCH = ", set_config('flask_audit_logger.enable_versioning', %s, true)"

_OUR_SETTING, _OUR_SWITCH = "flask_audit_logger", "enable_versioning"
_SET_LOCAL = re.compile(r"\s*set\s+local\b", re.IGNORECASE)


#: A statement that makes settings, and its parameters.
Settings = tuple[str, tuple[str | None, ...]]


@dataclass(frozen=True)
class Stamp:
    """What is set before a write.

    :param context: ASCII text that ``audit_logger_current_transaction()`` reads.
    :param is_captured: whether changes are captured.
    """

    context: str
    is_captured: bool = True

    def settings(self, told: Told) -> Settings:
        """The statement that sets it, and its parameters.

        :param told: what the transaction was told before. A switch that the application has set itself in its
            transaction stays as it is.
        """
        if self.is_captured and told.keeps_switch:
            return _SET_CONTEXT, (self.context,)
        return _SET_CONTEXT + _SET_SWITCH, (self.context, None if self.is_captured else "false")

    def apply(self, dbapi_connection: Any) -> None:
        """Set it for the rest of the running database transaction of a connection.

        :param dbapi_connection: the connection, or what a pool put around it.
        """
        driver = getattr(dbapi_connection, "dbapi_connection", dbapi_connection)
        memory = memory_of(driver)
        run_sql(driver, *self.settings(memory.told))
        memory.note(driver, self)


#: Gives the stamp for what is written next on a connection of the driver.
StampSource = Callable[[Any], Stamp]


class Told(NamedTuple):
    """What the running transaction of a connection was told.

    :param stamp: what it was told last, if anything.
    :param is_certain: whether that holds. After what can't be followed it may hold, or anything that was told before.
    :param is_mixed: whether it was told different things. Then a savepoint that is rolled back without our knowledge
        could bring back an earlier one, so that each statement is stamped anew.
    :param has_switched: whether it was told to switch capture off.
    :param keeps_switch: whether the application has switched capture itself.
    """

    stamp: Stamp | None = None
    is_certain: bool = True
    is_mixed: bool = False
    has_switched: bool = False
    keeps_switch: bool = False

    def holds(self, stamp: Stamp) -> bool:
        """Whether a stamp need not be said again."""
        return self.is_certain and not self.is_mixed and (self.stamp is stamp or self.stamp == stamp)


_NOTHING = Told()


class Memory:
    """What PostgreSQL was told on one connection, kept for as long as PostgreSQL keeps it.

    :ivar told: what the running transaction was told.
    :ivar is_spoiled: whether the application made settings of ours itself, which may outlive its transaction.
    """

    __slots__ = ("_savepoints", "is_spoiled", "told")

    def __init__(self) -> None:
        self.is_spoiled = False
        self.forget_transaction()

    def forget_transaction(self) -> None:
        """No transaction runs, so the settings that were local to one are gone."""
        self.told = _NOTHING
        self._savepoints: list[tuple[str, Told]] = []

    def note(self, driver: Any, stamp: Stamp) -> None:
        """The running transaction was told ``stamp``."""
        before = self.told
        self.told = Told(
            stamp,
            is_mixed=before.is_mixed or before.stamp not in (None, stamp),
            has_switched=before.has_switched or not stamp.is_captured,
            keeps_switch=before.keeps_switch and stamp.is_captured,
        )
        if not stamp.is_captured:
            note_told(driver)

    def doubt(self) -> None:
        """Something happened that may have undone what was told."""
        if self.told.stamp is not None:
            self.told = self.told._replace(is_certain=False)

    def follow(self, step: Step, name: str) -> None:
        """A savepoint is made, released or rolled back to: then what was told before it holds again."""
        if step is Step.BEGIN:
            self._savepoints.append((name, self.told))
            return
        places = [place for place, (known, _) in enumerate(self._savepoints) if known == name]
        if not places:
            self.doubt()
        elif step is Step.UNDO:
            self.told = self._savepoints[places[-1]][1]
            del self._savepoints[places[-1] + 1 :]
        else:
            del self._savepoints[places[-1] :]


# Keyed by the connection of the driver: it is the one thing that the listeners and stamp() both have.
_memories: WeakKeyDictionary[Any, Memory] = WeakKeyDictionary()


def memory_of(driver: Any) -> Memory:
    """What was told to a connection of a driver."""
    own = underlying(driver)
    try:
        memory = _memories.get(own)
        if memory is None:
            memory = _memories[own] = Memory()
    except TypeError:
        # no weak reference to the connection of some other driver: nothing is remembered, all is said each time
        memory = Memory()
    if is_idle(driver):
        # also after the driver's own commit()
        memory.forget_transaction()
    return memory


def note_own_settings(memory: Memory, said: str) -> None:
    """The application makes settings by itself, of which some may be ours.

    Its switch counts until its transaction ends. What it says of the context doesn't, and what it says for the session
    would name the wrong person in the next transaction on the connection: there all statements are stamped.

    :param said: the statement and its parameters.
    """
    if _OUR_SETTING not in said.lower():
        return
    if _OUR_SWITCH in said.lower():
        memory.told = memory.told._replace(keeps_switch=True)
    else:
        memory.doubt()
    memory.is_spoiled = memory.is_spoiled or _SET_LOCAL.match(said) is None


def is_idle(driver: Any) -> bool:
    """Whether no transaction runs on a connection."""
    return _status(driver) == _IDLE


def is_in_transaction(driver: Any) -> bool:
    """Whether a transaction runs on a connection that can still do something."""
    return _status(driver) == _IN_TRANSACTION


def run_sql(driver: Any, statement: str, parameters: tuple[str | None, ...] | None = None) -> None:
    """Run a statement of ours on a connection of a driver, unseen by SQLAlchemy."""
    cursor = driver.cursor()
    try:
        cursor.execute(_numbered(statement) if _is_asyncpg(driver) else statement, parameters)
    finally:
        cursor.close()


def is_known(driver: Any) -> bool:
    """Whether a connection is one of a driver that can be stamped."""
    return _status(driver) is not None


def underlying(driver: Any) -> Any:
    """The connection of an asynchronous driver without what SQLAlchemy puts around it; others as they are."""
    return getattr(driver, "driver_connection", driver)


def _status(driver: Any) -> int | None:
    # what libpq says, without the objects that the drivers put around it
    own = underlying(driver)
    ask = getattr(own, "get_transaction_status", None)
    if ask is not None:
        return int(ask())
    libpq = getattr(own, "pgconn", None)
    if libpq is not None:
        return int(libpq.transaction_status)
    if _is_asyncpg(driver):
        # It doesn't say whether the transaction has failed.
        return _IN_TRANSACTION if own.is_in_transaction() else _IDLE
    return None


def _is_asyncpg(driver: Any) -> bool:
    return driver is not underlying(driver) and hasattr(underlying(driver), "is_in_transaction")


def _numbered(statement: str) -> str:
    """A statement with the placeholders of asyncpg."""
    first, *others = statement.split("%s")
    return first + "".join(f"${number}{text}" for number, text in enumerate(others, start=1))


def is_pipelined(driver: Any) -> bool:
    """Whether a connection of psycopg sends statements without waiting for their results."""
    libpq = getattr(driver, "pgconn", None)
    return libpq is not None and bool(libpq.pipeline_status)


# A stamp on the trip of the statement that it is for. Both are sent in an event of the dialect, so that echo, other
# listeners, errors and crash reports have the statement as the application wrote it.

#: Sends settings and a statement together: gets the settings, cursor, statement, parameters and context of execution.
Together = Callable[[Settings, Any, str, Any, ExecutionContext], None]


def way_together(dialect: Dialect, cursor: Any, parameters: Any, traits: Traits) -> Together | None:
    """How a stamp is sent together with a statement, if it can be.

    CALL and DO may end the transaction, COPY speaks a protocol of its own, and a named cursor makes another statement
    of the text. Asynchronous drivers know neither of the two ways.
    """
    if dialect.is_async or traits.kind is Kind.CALL or traits.is_copy or getattr(cursor, "name", None) is not None:
        return None
    if dialect.driver == "psycopg2":
        return _in_one_query
    # Only without parameters psycopg 3 sends several statements at once, and never in a pipeline.
    if dialect.driver == "psycopg" and (parameters or traits.is_single) and not is_pipelined(cursor.connection):
        return _in_one_pipeline
    return None


def _in_one_query(settings: Settings, cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> None:
    """Settings and statement as one text, of which psycopg2 gives the last result.

    The line break keeps the settings out of the line that PostgreSQL quotes in its errors.
    """
    text, values = settings
    said = text % tuple("NULL" if value is None else _literal(value) for value in values)
    if parameters is not None:
        said = said.replace("%", "%%")
    _execute(cursor, f"{said};\n{statement}", parameters, context)


def _in_one_pipeline(
    settings: Settings, cursor: Any, statement: str, parameters: Any, context: ExecutionContext
) -> None:
    """Settings and statement one after the other, without waiting for the first result."""
    with cursor.connection.pipeline():
        own = cursor.connection.cursor()
        own.execute(*settings)
        _execute(cursor, statement, parameters, context)
    own.close()


def _execute(cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> None:
    """Send a statement as the dialect does, which has no parameters only for ``do_execute_no_params``."""
    if parameters is None:
        context.dialect.do_execute_no_params(cursor, statement, context)
    else:
        context.dialect.do_execute(cursor, statement, parameters, context)


def _literal(value: str) -> str:
    # ASCII, so that no encoding sees another end of it; the same whatever standard_conforming_strings is.
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def stamp_now(connection: Any, source: StampSource) -> None:
    """Stamp what a connection does next in its running transaction; nothing if its database can't have a log.

    :param connection: of SQLAlchemy, or of a driver.
    :raises ConfigurationError: if it is none of these.
    """
    if isinstance(connection, Connection):
        connection = connection.connection
    driver = getattr(connection, "dbapi_connection", connection)
    if not is_known(driver):
        if not hasattr(driver, "cursor"):
            raise ConfigurationError(f"stamp() takes a session or a connection, not {connection!r}.")
        return  # of no driver that we know
    if is_idle(driver):
        memory_of(driver).forget_transaction()
    source(driver).apply(driver)


def switch_on(drivers: Iterable[Any], source: StampSource) -> None:
    """Tell connections at the end of ``disable()`` what holds from now on.

    Statements that nobody sees may follow in their transactions: of a raw cursor, of a deferred trigger at the commit.
    """
    for driver in drivers:
        try:
            memory = memory_of(driver)
            if memory.told.has_switched and is_in_transaction(driver):
                stamp = source(driver)
                if stamp != memory.told.stamp:
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


_ENCODER = json.JSONEncoder(default=lambda value: _text(value), allow_nan=False)


def _dump(content: Any) -> str:
    return _ENCODER.encode(content)


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
    """JSON that PostgreSQL can store, in ASCII.

    A character that the connection or the database can't encode would fail the statement and with it the transaction.
    """
    if "\\u0000" not in text and "\\ud" not in text:
        return text
    # NUL, which jsonb refuses, and halves of a pair of surrogates without the other
    return _ESCAPE.sub(lambda found: "\\ufffd" if found["wrong"] else found[0], text)
