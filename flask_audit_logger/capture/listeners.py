"""Stamps each database transaction of one engine before its first write.

Listens on the engine, so that the ORM, Core, text and driver SQL are all covered. What was stamped is remembered on the
connection for as long as PostgreSQL remembers it.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from ..config import READS_ONLY
from .apart import is_apart
from .current import writer
from .memory import is_idle, memory_of
from .stamp import StampSource
from .statements import Kind, kind_of

logger = logging.getLogger("flask_audit_logger")

# PostgreSQL can't see that a question waits for its own writer, who waits for the answer.
_LIMIT = "SET LOCAL lock_timeout = '1s'"
_LOCK_NOT_AVAILABLE = "55P03"
_SET_SEARCH_PATH = "SELECT set_config('search_path', %s, true)"


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
            ("begin", self._begin),
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
            elif memory_of(driver).stamp is not None and writer() is None:
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
        memory.engine = weakref.ref(self._engine)
        stamp = self._source(driver)
        if memory.stamp == stamp and not memory.is_mixed:
            return
        if driver.autocommit and is_idle(driver):
            if kind is Kind.CALL:
                return
            if _is_pipelined(driver):
                # What is sent until the next synchronization is a transaction already. We can't know where it ends.
                memory.is_mixed = True
            else:
                # A setting that outlives the statement could reach somebody else: behind a pooler the next transaction
                # on this server connection is another client's. So the statement gets a transaction of its own.
                _run(driver, "BEGIN")
                memory.is_wrapped = True
        stamp.apply(driver)

    def _after_execute(self, conn: Connection, *args: Any) -> None:
        driver = conn.connection.dbapi_connection
        if _take_wrapped(driver):
            _run(driver, "COMMIT")

    def _on_error(self, context: ExceptionContext) -> None:
        if writer() is not None and _sqlstate(context.original_exception) == _LOCK_NOT_AVAILABLE:
            memory_of(writer()).gave_up = True
        conn = context.connection
        if conn is None or conn.closed or conn.invalidated or context.is_disconnect:
            return
        driver = conn.connection.dbapi_connection
        if _take_wrapped(driver):
            _run(driver, "ROLLBACK")

    def _begin(self, conn: Connection) -> None:
        self._forget(conn)
        if is_apart():
            try:
                writer_engine = memory_of(writer()).engine
                is_same = writer_engine is not None and writer_engine() is self._engine
                _prepare_question(conn.connection.dbapi_connection, follows_writer=is_same)
            except Exception:
                # A dead connection of the pool. The question itself is about to find that out.
                logger.debug("could not prepare a transaction of a question", exc_info=True)

    @staticmethod
    def _forget(conn: Connection, *args: Any) -> None:
        if not conn.closed and not conn.invalidated:
            memory_of(conn.connection.dbapi_connection).forget_transaction()


def _is_pipelined(driver: Any) -> bool:
    """Whether a connection of psycopg sends statements without waiting for their results."""
    return bool(getattr(driver.info, "pipeline_status", 0))


def _take_wrapped(driver: Any) -> bool:
    memory = memory_of(driver)
    was_wrapped, memory.is_wrapped = memory.is_wrapped, False
    return was_wrapped


def _prepare_question(driver: Any, *, follows_writer: bool) -> None:
    if driver.autocommit:
        return
    _run(driver, _LIMIT)
    path = _search_path(writer()) if follows_writer else None
    if path is not None and path != _search_path(driver):
        _run(driver, _SET_SEARCH_PATH, path)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _search_path(driver: Any) -> str | None:
    """Where a connection looks for tables, if the server tells (from PostgreSQL 18 on)."""
    path: str | None = driver.info.parameter_status("search_path")
    return path


def _run(driver: Any, statement: str, *parameters: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement, parameters or None)
    finally:
        cursor.close()
