"""What the application may do while it is asked who acts, and how that is undone: it must not cost the write."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.engine import NestedTransaction
from sqlalchemy.orm import Session


class Refused(Exception):
    """A question to the application wanted to do what it can't do in the middle of a write."""


@dataclass(eq=False)
class Question:
    """A question to the application that is being answered.

    :param session: the session that is about to write, in which the answer may be looked for; without one, the database
        is not asked.
    :ivar was_refused: whether the answer needs the database.
    """

    session: Session | None
    was_refused: bool = False
    _savepoints: dict[Connection, NestedTransaction] = field(default_factory=dict)

    def refuse(self) -> None:
        """Stop a statement.

        :raises Refused: always.
        """
        self.was_refused = True
        raise Refused("the database can't be asked who acts in the middle of a write")

    def protect(self, connection: Connection) -> None:
        """Before the answer is looked for on a connection: what fails there must not cost the write."""
        if connection in self._savepoints or connection.dialect.name != "postgresql":
            return
        if not getattr(connection.connection.dbapi_connection, "autocommit", False):
            self._savepoints[connection] = connection.begin_nested()

    def keep(self) -> None:
        """Keep what was done on the connections."""
        for savepoint in self._take_savepoints():
            savepoint.commit()

    def undo(self) -> None:
        """Undo what was done on the connections."""
        for savepoint in self._take_savepoints():
            savepoint.rollback()

    def _take_savepoints(self) -> list[NestedTransaction]:
        taken = [savepoint for savepoint in reversed(self._savepoints.values()) if savepoint.is_active]
        self._savepoints.clear()
        return taken


_question: ContextVar[Question | None] = ContextVar("flask_audit_logger_question", default=None)

#: Begins a question; the token ends it.
set_question = _question.set


def current_question() -> Question | None:
    """The question that is being answered now."""
    return _question.get()
