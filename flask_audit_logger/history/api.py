"""``LogInCode``: the methods of ``AuditLogger`` with which an application's own code uses the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Collection
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session, object_session, scoped_session

from ..databases import engine_with
from ..exceptions import ConfigurationError
from .changes import Change, History, Transaction, blame_of, history_of, transaction_of
from .events import Event, connection_for, metadata_of, write
from .past import checked_moment, row_as_of, rows_as_of, selected, unknown
from .reverts import Revert
from .source import source_of, target_of
from .targets import revert_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from ..databases import Database
    from ..models import AuditModels

T = TypeVar("T")


class LogInCode:
    """What code may ask of the log, and do by it.

    Reading happens as the pages read: on a connection of its own, so only what is committed is seen, and never by
    the rules of a viewer, as code is trusted.
    """

    if TYPE_CHECKING:
        # what AuditLogger has for it
        _attribution: Any

        @property
        def database(self) -> Database: ...

        @property
        def actor_cls(self) -> type[Any] | None: ...

        def models_of(self, bind_key: str | None) -> AuditModels: ...

    def revert(
        self,
        target: Any,
        *,
        to: dt.datetime | None = None,
        only: Collection[str] = (),
        reason: str | None = None,
        bind_key: str | None = None,
    ) -> Revert:
        """Take back what a mistake did. Nothing happens before ``apply()`` of the result, which has a ``preview()``.

        :param target: a transaction or its id, a change, or a record: a mapped object, or ``(Model, key)``.
        :param to: for a record, the time to whose state it goes back; it is made again if it is gone.
        :param only: columns that go back, by their attributes or their names in the database; rows that came or went
            stay as they are then.
        :param reason: why, for the log.
        :param bind_key: a key of ``SQLALCHEMY_BINDS``, where the id is none of the default database.
        :raises ConfigurationError: if the target is none of these, or there is no such column.
        """
        return revert_of(self, target, to=to, only=only, reason=reason, bind_key=bind_key)

    def history(self, what: Any, key: Any = None) -> History:
        """The changes of a record, or of all records of a class, newest first.

        Nothing is read before they are asked for: ``for change in audit_logger.history(order).touching("price")``.

        :param what: a mapped object, or a mapped class.
        :param key: with a class: of one record, as in ``session.get()``.
        :raises ConfigurationError: if it is not mapped, not audited or has no key yet.
        """
        return history_of(target_of(self, what, key))

    def feed(self, bind_key: str | None = None) -> History:
        """The changes of all tables of a database, newest first.

        :param bind_key: a key of ``SQLALCHEMY_BINDS``, or ``None`` for the default database.
        """
        return History(source_of(self, bind_key))

    def blame(self, what: Any, key: Any = None) -> dict[str, Change | None]:
        """For each attribute of a record the change that gave it its value; ``None`` if the log doesn't tell.

        :param what: a mapped object, or a class and its ``key``.
        """
        target = target_of(self, what, key)
        if target.key is None:
            raise ConfigurationError("blame() takes an object, or a class and a key.")
        return blame_of(target)

    def transaction(self, number: int, bind_key: str | None = None) -> Transaction | None:
        """One unit of work by its id, with its ``changes``; ``None`` if the log has none.

        :param bind_key: a key of ``SQLALCHEMY_BINDS``, or ``None`` for the default database.
        """
        return transaction_of(source_of(self, bind_key), number)

    @overload
    def as_of(self, what: type[T], key: Any, when: dt.datetime) -> T | None: ...

    # SQLAlchemy 2.0 has Select[tuple[Order]], 2.1 Select[Order]
    @overload
    def as_of(self, what: Select[tuple[T]], key: dt.datetime, /) -> list[T]: ...

    @overload
    def as_of(self, what: Select[tuple[T]], *, when: dt.datetime) -> list[T]: ...

    @overload
    def as_of(self, what: Select[T], key: dt.datetime, /) -> list[T]: ...

    @overload
    def as_of(self, what: Select[T], *, when: dt.datetime) -> list[T]: ...

    def as_of(self, what: Any, key: Any = None, when: Any = None) -> Any:
        """A record, or the rows of a select, as they were at a time: detached objects that nothing writes.

        ``as_of(Order, 42, when)`` gives the order or ``None``; ``as_of(select(Order).where(…), when)`` gives a list.
        A column of which nothing is logged is not loaded, so reading it is an error; :meth:`unknown` names it.
        So are relationships, which would lead to rows of today.

        :param what: a mapped class, or a select of one class with WHERE, ORDER BY, LIMIT and OFFSET on its columns.
        :param key: with a class: of the record, as in ``session.get()``.
        :param when: a time with a time zone, not in the future.
        :raises UnknownPast: if the log can't tell: it begins later (its ``since``), or entries of then were removed.
        :raises BadValue: if a column of the key can't have the value, or one of the select that it is compared with.
        :raises ConfigurationError: if it is not audited, or another kind of select.
        """
        if not isinstance(what, type | Select):
            raise ConfigurationError("as_of() takes a mapped class, a key and a time, or a select and a time.")
        if isinstance(what, Select):
            moment = checked_moment(key if when is None else when)
            return rows_as_of(target_of(self, selected(what)), what, moment)
        moment = checked_moment(when)
        if key is None:
            raise ConfigurationError("as_of() takes a mapped class, a key and a time, or a select and a time.")
        return row_as_of(target_of(self, what, key), what, moment)

    def unknown(self, instance: Any) -> dict[str, str]:
        """The attributes of an object of :meth:`as_of` that are not known, each with the reason.

        :returns: ``not logged``, ``masked``, ``erased``, ``too large`` (for the log), or ``absent``: there was no such
            column.
        """
        return unknown(instance)

    @overload
    def record(
        self, name: str, /, *, session: AsyncSession | AsyncConnection, target: Any = None, outcome: str = "success",
        **data: Any,
    ) -> Awaitable[None]: ...  # fmt: skip

    @overload
    def record(
        self, name: str, /, *, session: Session | scoped_session[Any] | Connection | None = None, target: Any = None,
        outcome: str = "success", **data: Any,
    ) -> None: ...  # fmt: skip

    def record(
        self, name: str, /, *, session: Any = None, target: Any = None, outcome: str = "success", **data: Any
    ) -> Awaitable[None] | None:
        """Record something that is no change of a row, in the transaction of a session: a rollback takes it back.

        It is attributed as a change would be, and recorded inside ``disable()``, too. What is pending in the session is
        flushed first. On a database that can't have a log nothing happens.

        :param name: what happened, up to 100 letters, digits and ``_ . : / -``: ``"invoice.exported"``.
        :param session: a session or connection. Default: that of the target, else the application's; where there is
            none, a transaction of its own. With an ``AsyncSession`` or ``AsyncConnection`` the call is to be awaited.
        :param target: the mapped object it is about, of an audited table.
        :param outcome: ``"success"``, ``"failure"`` or ``"unknown"``.
        :param data: anything else that JSON can hold, up to 100,000 characters; times, UUIDs and Decimals as text.
            Masks and excluded names of the log count at any depth, those of the target's table on the first level.
        :raises ConfigurationError: if any of it can't be recorded.
        """
        event = Event.checked(name, outcome, data)
        metadata = metadata_of(self.database, target)
        if hasattr(session, "run_sync"):
            recorded: Awaitable[None] = session.run_sync(lambda own: self._record(own, event, target))
            return recorded
        own = session or (None if target is None else object_session(target)) or self.database.current_session()
        own = own or self.database.sessions()
        if isinstance(own, scoped_session | Session | Connection):
            self._record(own() if isinstance(own, scoped_session) else own, event, target)
        elif session is not None:
            raise ConfigurationError(f"record() takes a session or a connection, not {session!r}.")
        else:
            with engine_with(self.database, metadata).begin() as connection:
                write(connection, metadata, event, target)
        return None

    def _record(self, own: Session | Connection, event: Event, target: Any) -> None:
        metadata = metadata_of(self.database, target)
        if isinstance(own, Connection):
            write(own, metadata, event, target)
            return
        with self._attribution.asked(own):
            write(connection_for(own, target), metadata, event, target)
