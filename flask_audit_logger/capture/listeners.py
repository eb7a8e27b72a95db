"""The listeners: on sessions, which ask who acts before they write, and on engines, which stamp each transaction.

Those on an engine see the ORM, Core, text and driver SQL alike. They run where the statement itself is sent: an error
of the driver, as of a connection that the server has closed, is raised as that of the statement.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Engine, ExceptionContext, Result, TextClause, event
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.orm import ORMExecuteState, Session, scoped_session, sessionmaker

from ..exceptions import ConfigurationError
from ..settings import NOT_STAMPED
from .attribution import Attribution
from .questions import current_question
from .stamp import (
    Memory,
    Settings,
    Stamp,
    StampSource,
    Together,
    is_idle,
    is_pipelined,
    memory_of,
    note_own_settings,
    run_sql,
    way_together,
)
from .statements import Kind, Traits, traits_of

logger = logging.getLogger("flask_audit_logger")


class EngineListener:
    """The listeners on one engine.

    :param engine: an engine for PostgreSQL.
    :param source: says what a write of this moment is stamped with.
    :ivar is_separate: whether each stamp is a statement of its own, rather than sent together with the write.
    """

    def __init__(self, engine: Engine, source: StampSource) -> None:
        # An engine that the application is done with, and its connections, are not kept alive.
        self._engine = weakref.ref(engine)
        self._source = source
        self.is_separate = False
        # Only events of the dialect: with a single one of connections SQLAlchemy does more for each statement. That a
        # transaction has ended is seen in the state of the driver.
        self._listeners = (
            ("do_execute", self._do_execute),
            ("do_executemany", self._do_executemany),
            ("do_execute_no_params", self._do_execute_no_params),
            ("handle_error", self._on_error),
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

    def _do_execute_no_params(self, cursor: Any, statement: str, context: ExecutionContext) -> bool:
        return self._do_execute(cursor, statement, None, context, "do_execute_no_params")

    def _do_executemany(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
        return self._do_execute(cursor, statement, parameters, context, "do_executemany")

    def _do_execute(
        self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext, event_name: str = "do_execute"
    ) -> bool:
        """Stamp the transaction if that is needed.

        :returns: whether the statement was sent, with its stamp.
        """
        if context.execution_options.get(NOT_STAMPED):
            return False
        question = current_question()
        if question is not None and question.session is None:
            question.refuse()
        driver = context.root_connection.connection.dbapi_connection
        traits = traits_of(statement)
        memory = memory_of(driver)
        stamp = way = None
        try:
            if question is None or traits.kind is not Kind.READ:
                stamp = self._needed(driver, memory, traits)
            if stamp is not None:
                way = self._way(event_name, cursor, parameters, context, traits, memory)
                if way is None:
                    stamp.apply(driver)
        except context.dialect.loaded_dbapi.Error:
            # The connection or the transaction is broken, and the statement would have found out.
            raise
        except Exception:
            logger.warning("could not stamp a transaction", exc_info=True)
        if way is not None and stamp is not None:
            way(stamp.settings(memory.told), cursor, statement, parameters, context)
            memory.note(driver, stamp)
        if not traits.is_harmless:
            self._follow(memory, traits, statement, parameters)
        return way is not None

    def _needed(self, driver: Any, memory: Memory, traits: Traits) -> Stamp | None:
        """What has to be said before a statement, if anything."""
        told = memory.told
        if traits.kind is Kind.READ and told.stamp is None and not memory.is_spoiled:
            return None
        may_refuse = traits.kind is Kind.CALL or traits.is_utility
        if traits.kind is Kind.CONTROL or (may_refuse and driver.autocommit and is_idle(driver)):
            # The latter may end transactions, or refuse to run in one that we begin.
            return None
        # The text of a query doesn't tell whether its view calls a function that writes. So in a transaction that has
        # an actor, no statement runs under the name of another one.
        stamp = self._source(driver)
        return None if told.holds(stamp) else stamp

    def _way(
        self,
        event_name: str,
        cursor: Any,
        parameters: Any,
        context: ExecutionContext,
        traits: Traits,
        memory: Memory,
    ) -> Together | None:
        """How a stamp is sent with the statement; ``None`` if it is sent before it, in the same transaction."""
        # Listeners of the application see the statement itself, and may want to send it.
        is_alone = len(getattr(context.dialect.dispatch, event_name)) == 1
        if is_alone and not self.is_separate and event_name != "do_executemany":
            together = way_together(context.dialect, cursor, parameters, traits)
            if together is not None:
                return together
        driver: Any = context.root_connection.connection.dbapi_connection
        if not (driver.autocommit and is_idle(driver)):
            return None
        if is_pipelined(driver):
            # What is sent until the next synchronization is a transaction already. We can't know where it ends.
            memory.told = memory.told._replace(is_mixed=True)
            return None
        return partial(self._in_own_transaction, event_name)

    def _in_own_transaction(
        self,
        event_name: str,
        settings: Settings,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: ExecutionContext,
    ) -> None:
        """Put a statement in autocommit and its stamp into a transaction.

        A setting that outlives the statement could reach somebody else: behind a pooler the next transaction on this
        server connection is another client's.
        """
        driver = context.root_connection.connection.dbapi_connection
        run_sql(driver, "BEGIN")
        try:
            run_sql(driver, *settings)
            self._send(event_name, cursor, statement, parameters, context)
        except BaseException:
            try:
                run_sql(driver, "ROLLBACK")
            except Exception:
                # the error of the statement is the one to see
                logger.debug("could not roll back a statement in autocommit", exc_info=True)
            raise
        run_sql(driver, "COMMIT")

    def _send(self, event_name: str, cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> None:
        """Send a statement as if we had not listened: by a listener of the application, else by the dialect."""
        parts = () if event_name == "do_execute_no_params" else (parameters,)
        listeners = getattr(context.dialect.dispatch, event_name)
        others = (listener for listener in listeners if getattr(listener, "__self__", None) is not self)
        if not any(listener(cursor, statement, *parts, context) for listener in others):
            getattr(context.dialect, event_name)(cursor, statement, *parts, context)

    @staticmethod
    def _follow(memory: Memory, traits: Traits, statement: str, parameters: Any) -> None:
        """Note what the statement itself does to what the transaction was told."""
        if traits.savepoint is not None:
            memory.follow(*traits.savepoint)
        elif traits.forgets:
            memory.doubt()
        if traits.may_set:
            note_own_settings(memory, f"{statement} {parameters}")

    @staticmethod
    def _on_error(context: ExceptionContext) -> None:
        conn = context.connection
        if conn is not None and not (conn.closed or conn.invalidated or context.is_disconnect):
            memory_of(conn.connection.dbapi_connection).doubt()


class SessionListener:
    """The listeners on the sessions of one application.

    :param sessions: makes the sessions; their class is made for it, so no other's session is listened to.
    :param attribution: is asked who acts before a session writes.
    :param is_needed: whether the application has an engine that is listened to.
    """

    def __init__(
        self,
        sessions: scoped_session[Any] | sessionmaker[Any],
        attribution: Attribution,
        is_needed: Callable[[], bool],
    ) -> None:
        # SQLAlchemy keeps a listener as long as the class of the sessions, and it must not keep that class.
        self._sessions = weakref.ref(sessions)
        self._attribution = attribution
        self._is_needed = is_needed
        self._listeners = (
            ("before_flush", self._before_flush),
            ("after_flush", self._end_flush),
            ("after_soft_rollback", self._end_flush),
            ("do_orm_execute", self._do_orm_execute),
        )

    def attach(self) -> None:
        """Attach the listeners; idempotent."""
        sessions = self._sessions()
        for name, listener in self._listeners:
            if sessions is not None and not event.contains(sessions, name, listener):
                event.listen(sessions, name, listener)

    def detach(self) -> None:
        """Detach the listeners; idempotent."""
        sessions = self._sessions()
        for name, listener in self._listeners:
            if sessions is not None and event.contains(sessions, name, listener):
                event.remove(sessions, name, listener)

    def _before_flush(self, session: Session, flush_context: Any, instances: Any) -> None:
        question = current_question()
        if question is not None:
            question.refuse()
        if not self._attribution.has_asked() and self._is_needed() and has_work(session):
            self._attribution.ask_before_flush(session, flush_context)

    def _end_flush(self, session: Session, *args: Any) -> None:
        self._attribution.end_flush()

    def _do_orm_execute(self, state: ORMExecuteState) -> Result[Any] | None:
        question = current_question()
        if question is not None:
            if question.session is None:
                question.refuse()
            if question.session is state.session:
                # a copy, as connection() takes the bind out of it
                question.protect(state.session.connection(bind_arguments=dict(state.bind_arguments)))
            return None
        if not _is_write(state) or self._attribution.has_asked() or not self._is_needed():
            return None
        if not self._attribution.has_callbacks:
            self._attribution.ask(state.session)
            return None
        with self._attribution.asked(state.session):
            return state.invoke_statement()


def has_work(session: Session) -> bool:
    """Whether a flush writes something, rather than find objects that were changed back."""
    return bool(session.new or session.deleted) or any(session.is_modified(changed) for changed in session.dirty)


def _is_write(state: ORMExecuteState) -> bool:
    if state.is_insert or state.is_update or state.is_delete:
        return True
    statement = state.statement
    return isinstance(statement, TextClause) and traits_of(statement.text).kind in (Kind.WRITE, Kind.CALL)


def flush(session: Session, *, is_async: bool) -> None:
    """Send what a session has to write.

    :raises ConfigurationError: if it is async, so that only the application can.
    """
    if not is_async:
        session.flush()
    elif has_work(session):
        raise ConfigurationError("An AsyncSession has changes: await its flush() before disable() begins and ends.")
