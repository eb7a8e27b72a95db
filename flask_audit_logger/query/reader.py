"""The one way to read the log: scoped, read-only, limited in time, apart from the application's session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Select, func, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.util import find_tables

from ..exceptions import ConfigurationError
from ..models import AuditModels
from ..schema.dialects import is_supported, reason
from ..settings import READS_ONLY
from .errors import LogUnsupported, translated

#: Narrows a select on the activity table to what the reader may see.
Scope = Callable[[Select[Any]], Select[Any]]

#: Besides the time limit: no time for compiling queries, and for a live row the settings that the trigger functions
#: have, so that one value always has one text.
SETTINGS = (
    ("jit", "off"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
)

#: How long a read waits for whoever takes its rows, such as a download that was left alone.
IDLE_TIMEOUT_MS = 300_000


def everything(statement: Select[Any]) -> Select[Any]:
    """The scope of a reader who may see all activities."""
    return statement


def checked_scope(scope: Scope, models: AuditModels) -> Scope:
    """The scope; :func:`everything` for one that narrows nothing, as that of an administrator may do.

    :raises ConfigurationError: if it joins the transaction table, which many statements have themselves.
    """
    statement = select(models.activity.c.id)
    narrowed = scope(statement)
    if narrowed is statement:
        return everything
    sources = narrowed.get_final_froms()
    if any(models.transaction in find_tables(source) for source in sources):
        raise ConfigurationError(
            "AuditUI(scope=…) joins the transaction table. Select from it instead: "
            "activity.transaction_id.in_(select(transaction.id).where(…))."
        )
    return scope


@contextmanager
def _closed(connection: Connection) -> Iterator[Connection]:
    """Close a connection at the end. If its rollback fails, only the connection is lost: what was read stays read.

    A time-out can fall into the ROLLBACK, or the server may have closed the connection while the rows were used.
    """
    try:
        yield connection
    finally:
        try:
            connection.close()
        except DBAPIError:
            if not connection.closed:  # SQLAlchemy 2.1 does it itself
                connection.invalidate()
                connection.close()


@dataclass(frozen=True)
class AuditReader:
    """Opens read-only transactions on the log.

    :param engine: engine of the database that holds the log; a connection of its pool is used, never the
        application's session, so a page neither sees nor disturbs what a request has not committed.
    :param models: the tables.
    :param timeout_ms: limit for each statement.
    :param scope: applied to every select on activities.
    """

    engine: Engine
    models: AuditModels
    timeout_ms: int = 3000
    scope: Scope = everything

    @contextmanager
    def reading(self, *, timeout_ms: int | None = None) -> Iterator[Log]:
        """Read within one snapshot.

        :param timeout_ms: another limit for each statement.
        :raises ReadTimeout: when a statement was stopped at the limit.
        :raises LogUnsupported: if the database is not PostgreSQL.
        """
        if not is_supported(self.engine):
            raise LogUnsupported(reason(self.engine))
        with translated(), _closed(self.engine.connect()) as raw:
            # Both options are set on the connection by the driver and reset when it goes back to the pool. They hold
            # even if the application's engine runs in autocommit, where SET LOCAL alone would do nothing.
            connection = raw.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True, **{READS_ONLY: True}
            )
            connection.execute(
                select(
                    func.set_config("statement_timeout", str(int(timeout_ms or self.timeout_ms)), True),
                    func.set_config("idle_in_transaction_session_timeout", str(IDLE_TIMEOUT_MS), True),
                    *(func.set_config(name, value, True) for name, value in SETTINGS),
                )
            )
            yield Log(connection=connection, models=self.models, scope=self.scope)

    @property
    def is_scoped(self) -> bool:
        """Whether this reader sees only a part of the log."""
        return self.scope is not everything


@dataclass(frozen=True)
class Log:
    """An open read. The functions of this package take it as their first argument."""

    connection: Connection
    models: AuditModels
    scope: Scope = everything

    def activities(self, *columns: Any, source: FromClause | None = None) -> Select[Any]:
        """A select on activities that the reader may see.

        Every select that touches the activity table starts here.
        """
        return self.scope(select(*columns).select_from(self.models.activity if source is None else source))

    def touched(self, *extra: ColumnElement[bool]) -> ColumnElement[bool]:
        """Whether a row of the transaction table has an activity that the reader may see.

        :param extra: what the activity must be.
        """
        a, t = self.models.activity.c, self.models.transaction
        return self.activities(literal(1)).where(a.transaction_id == t.c.id, *extra).correlate(t).exists()

    @property
    def is_scoped(self) -> bool:
        """Whether only a part of the log can be seen."""
        return self.scope is not everything

    def all(self, statement: Select[Any]) -> Sequence[Any]:
        """Every row of a statement (which must be limited)."""
        return self.connection.execute(statement).all()

    def first(self, statement: Select[Any]) -> Any:
        """The first row, if there is one."""
        return self.connection.execute(statement).first()

    def scalar(self, statement: Select[Any]) -> Any:
        """The first column of the first row."""
        return self.connection.execute(statement).scalar()

    def limit(self, timeout_ms: int) -> None:
        """Give each following statement another time limit."""
        self.scalar(select(func.set_config("statement_timeout", str(int(timeout_ms)), True)))
