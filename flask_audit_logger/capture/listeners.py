"""Stamps each database transaction of one engine before its first write.

Listens on the engine, so that the ORM, Core, text and driver SQL are all covered. What was stamped is remembered on the
connection for as long as PostgreSQL remembers it.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from ..config import READS_ONLY
from .current import is_looking_up
from .memory import is_idle, memory_of
from .stamp import StampSource
from .statements import Kind, kind_of

logger = logging.getLogger("flask_audit_logger")


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
        if READS_ONLY in conn.get_execution_options():
            return
        try:
            driver = conn.connection.dbapi_connection
            if kind is not Kind.READ:
                self._prepare(driver, kind)
            elif memory_of(driver).stamp is not None and not is_looking_up():
                # The text of a query doesn't tell whether its view calls a function that writes. So in a transaction
                # that has an actor, no statement runs under the name of another one.
                self._prepare(driver, Kind.WRITE)
        except Exception:
            # The connection or the transaction is broken; the statement itself is about to say so better than we can.
            logger.debug("could not stamp a transaction", exc_info=True)

    def _prepare(self, driver: Any, kind: Kind) -> None:
        memory = memory_of(driver)
        if kind is Kind.CONTROL:
            memory.stamp = None
            return
        stamp = self._source()
        if memory.stamp == stamp and not memory.is_mixed:
            return
        if driver.autocommit and is_idle(driver):
            if kind is Kind.CALL:
                return
            # A setting that outlives the statement could reach somebody else: behind a pooler the next transaction on
            # this server connection is another client's. So the statement gets a transaction of its own.
            _run(driver, "BEGIN")
            memory.is_wrapped = True
        stamp.apply(driver)

    def _after_execute(self, conn: Connection, *args: Any) -> None:
        driver = conn.connection.dbapi_connection
        if _take_wrapped(driver):
            _run(driver, "COMMIT")

    def _on_error(self, context: ExceptionContext) -> None:
        conn = context.connection
        if conn is None or conn.closed or conn.invalidated or context.is_disconnect:
            return
        driver = conn.connection.dbapi_connection
        if _take_wrapped(driver):
            _run(driver, "ROLLBACK")

    @staticmethod
    def _forget(conn: Connection, *args: Any) -> None:
        if not conn.closed and not conn.invalidated:
            memory_of(conn.connection.dbapi_connection).forget_transaction()


def _take_wrapped(driver: Any) -> bool:
    memory = memory_of(driver)
    was_wrapped, memory.is_wrapped = memory.is_wrapped, False
    return was_wrapped


def _run(driver: Any, statement: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
