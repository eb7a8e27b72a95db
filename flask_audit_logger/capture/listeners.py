"""The listeners on one engine that stamp each database transaction before its first write.

They are on the engine, so that the ORM, Core, text and driver SQL are all covered. They run where the statement itself
is sent: an error of the driver, as of a connection that the server has closed, is raised as that of the statement.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event
from sqlalchemy.engine import ExecutionContext

from ..settings import READS_ONLY
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
        # An engine that the application is done with, and its connections, are not kept alive.
        self._engine = weakref.ref(engine)
        self._source = source
        self._listeners = (
            ("do_execute", self._do_execute),
            ("do_executemany", self._do_execute),
            ("do_execute_no_params", self._do_execute_no_params),
            ("after_cursor_execute", self._after_execute),
            ("handle_error", self._on_error),
            ("begin", self._begin),
            ("commit", self._forget),
            ("rollback", self._forget),
            ("begin_twophase", self._forget),
            ("prepare_twophase", self._forget),
        )

    def attach(self) -> None:
        """Attach the listeners; idempotent."""
        engine = self._engine()
        for name, listener in self._listeners:
            if engine is not None and not event.contains(engine, name, listener):
                # before listeners of the application that send the statement themselves
                event.listen(engine, name, listener, insert=name.startswith("do_"))

    def detach(self) -> None:
        """Detach the listeners; idempotent."""
        engine = self._engine()
        for name, listener in self._listeners:
            if engine is not None and event.contains(engine, name, listener):
                event.remove(engine, name, listener)

    def _do_execute(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> None:
        conn = context.root_connection
        if READS_ONLY in conn.get_execution_options():
            return
        driver = conn.connection.dbapi_connection
        kind = kind_of(statement)
        try:
            if kind is not Kind.READ:
                self._prepare(driver, kind)
            elif memory_of(driver).stamp is not None and writer() is None:
                # The text of a query doesn't tell whether its view calls a function that writes. So in a transaction
                # that has an actor, no statement runs under the name of another one.
                self._prepare(driver, Kind.WRITE)
        except context.dialect.loaded_dbapi.Error:
            # The connection or the transaction is broken, and the statement would have found out.
            raise
        except Exception:
            logger.warning("could not stamp a transaction", exc_info=True)

    def _do_execute_no_params(self, cursor: Any, statement: str, context: ExecutionContext) -> None:
        self._do_execute(cursor, statement, None, context)

    def _prepare(self, driver: Any, kind: Kind) -> None:
        memory = memory_of(driver)
        if kind is Kind.CONTROL:
            memory.stamp = None
            return
        memory.engine = self._engine
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
            try:
                _run(driver, "ROLLBACK")
            except Exception:
                # the error of the statement is the one to see
                logger.debug("could not roll back a statement in autocommit", exc_info=True)

    def _begin(self, conn: Connection) -> None:
        self._forget(conn)
        if is_apart():
            try:
                writer_engine = memory_of(writer()).engine
                is_same = writer_engine is not None and writer_engine() is self._engine()
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
