"""Stamps each database transaction of one engine before its first write.

Listens on the engine, so that the ORM, Core, text and driver SQL are all covered. What was stamped is remembered on the
connection for as long as PostgreSQL remembers it.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from .stamp import Stamp, StampSource
from .statements import Kind, kind_of

logger = logging.getLogger("flask_audit_logger")

_INFO_KEY = "flask_audit_logger"


class _State:
    """What PostgreSQL knows on one connection."""

    __slots__ = ("is_wrapped", "stamp", "was_off")

    def __init__(self) -> None:
        #: what the running transaction was told
        self.stamp: Stamp | None = None
        #: whether a stamp switched capture off in the running transaction
        self.was_off = False
        #: whether a single statement in autocommit was put into a transaction
        self.is_wrapped = False


class EngineListener:
    """The listeners on one engine.

    :param engine: an engine for PostgreSQL.
    :param source: says what a write of this moment is stamped with.
    """

    def __init__(self, engine: Engine, source: StampSource) -> None:
        self._engine = engine
        self._source = source
        self._listeners = (
            ("before_cursor_execute", self._before_execute),
            ("after_cursor_execute", self._after_execute),
            ("handle_error", self._on_error),
            ("begin", self._forget),
            ("commit", self._forget),
            ("rollback", self._forget),
            ("rollback_savepoint", self._forget_stamp),
            ("begin_twophase", self._forget),
            ("prepare_twophase", self._forget),
        )

    def attach(self) -> None:
        """Start to listen. Twice is once."""
        for name, listener in self._listeners:
            if not event.contains(self._engine, name, listener):
                event.listen(self._engine, name, listener)

    def detach(self) -> None:
        """Stop to listen. Twice is once."""
        for name, listener in self._listeners:
            if event.contains(self._engine, name, listener):
                event.remove(self._engine, name, listener)

    def _before_execute(
        self, conn: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        kind = kind_of(statement)
        if kind is Kind.READ:
            return
        state = _state(conn)
        if kind is Kind.CONTROL:
            state.stamp = None
            return
        stamp = self._source()
        if state.stamp == stamp:
            return
        try:
            self._apply(conn, state, stamp, kind)
        except Exception:
            # The connection or the transaction is broken; the statement itself is about to say so better than we can.
            logger.debug("could not stamp a transaction", exc_info=True)
            state.stamp = None

    @staticmethod
    def _apply(conn: Connection, state: _State, stamp: Stamp, kind: Kind) -> None:
        driver = conn.connection.dbapi_connection
        if not getattr(driver, "autocommit", False):
            stamp.apply(driver, switched_off_before=state.was_off)
            state.stamp = stamp
            state.was_off |= not stamp.is_captured
        elif kind is Kind.WRITE:
            # A setting that outlives the statement could reach somebody else: behind a pooler the next transaction on
            # this server connection is another client's. So the statement gets a transaction of its own.
            _run(driver, "BEGIN")
            state.is_wrapped = True
            stamp.apply(driver)

    def _after_execute(self, conn: Connection, *args: Any) -> None:
        state = _state(conn)
        if state.is_wrapped:
            state.is_wrapped = False
            _run(conn.connection.dbapi_connection, "COMMIT")

    def _on_error(self, context: ExceptionContext) -> None:
        conn = context.connection
        if conn is None or conn.closed or conn.invalidated or context.is_disconnect:
            return
        state = _state(conn)
        if state.is_wrapped:
            state.is_wrapped = False
            _run(conn.connection.dbapi_connection, "ROLLBACK")

    @staticmethod
    def _forget(conn: Connection, *args: Any) -> None:
        """The transaction is over."""
        if not conn.closed and not conn.invalidated:
            state = _state(conn)
            state.stamp = None
            state.was_off = False

    @staticmethod
    def _forget_stamp(conn: Connection, *args: Any) -> None:
        """A part of the transaction is undone, and with it perhaps the stamp."""
        _state(conn).stamp = None


def _state(conn: Connection) -> _State:
    state: _State | None = conn.info.get(_INFO_KEY)
    if state is None:
        state = conn.info[_INFO_KEY] = _State()
    return state


def _run(driver: Any, statement: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
