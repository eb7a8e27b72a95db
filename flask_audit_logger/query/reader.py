"""Open a scoped, read-only, time-limited read of the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Engine,
    FromClause,
    Select,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.util import find_tables

from ..exceptions import (
    BadValue,
    ConfigurationError,
    LogForbidden,
    LogMissing,
    LogOutdated,
    LogUnavailable,
    LogUnsupported,
    ReadError,
    ReadTimeout,
)
from ..models import AuditModels
from ..schema.names import is_supported, reason
from ..settings import NOT_STAMPED

#: SQLSTATE of a statement that was stopped by ``statement_timeout`` (or by hand).
QUERY_CANCELED = "57014"
#: SQLSTATE of a statement that names a table that doesn't exist.
UNDEFINED_TABLE = "42P01"
#: SQLSTATE of a statement that names a column that doesn't exist.
UNDEFINED_COLUMN = "42703"
#: SQLSTATE of a statement that needs a right that was not granted.
INSUFFICIENT_PRIVILEGE = "42501"
#: SQLSTATE classes: connection failure, operator intervention (shutdown).
_UNAVAILABLE = ("08", "57P")


_BY_STATE: dict[str | None, tuple[type[ReadError], str]] = {
    QUERY_CANCELED: (ReadTimeout, "reading the log took too long"),
    UNDEFINED_TABLE: (LogMissing, "a table of the log does not exist"),
    UNDEFINED_COLUMN: (LogOutdated, "a column of the log does not exist"),
    INSUFFICIENT_PRIVILEGE: (LogForbidden, "the log may not be read by this user of the database"),
}


@contextmanager
def unavailable_translated() -> Iterator[None]:
    """Turn the error of a lost database into :exc:`LogUnavailable` and let every other pass as it is."""
    try:
        yield
    except PoolTimeout as error:
        raise LogUnavailable("no connection became free") from error
    except DBAPIError as error:
        if _is_unavailable(error):
            raise LogUnavailable("the database can't be reached") from error
        raise


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into the errors of this module; both drivers name the SQLSTATE differently."""
    try:
        yield
    except PoolTimeout as error:
        raise LogUnavailable("no connection to read the log became free") from error
    except UnicodeEncodeError as error:  # a lone surrogate never reaches the server
        raise BadValue("a value can't be encoded as UTF-8") from error
    except DBAPIError as error:
        state = _state_of(error)
        if state in _BY_STATE:
            kind, words = _BY_STATE[state]
            raise kind(words) from error
        if isinstance(error, DataError) or (state or "").startswith("22"):
            raise BadValue("a value can't be used in this search") from error
        if _is_unavailable(error):
            raise LogUnavailable("the database of the log can't be reached") from error
        raise
    except ValueError as error:
        # psycopg2 refuses a NUL before it sends anything, with a plain ValueError
        if "NUL" not in str(error):
            raise
        raise BadValue("a value holds a NUL character") from error


def _state_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _is_unavailable(error: DBAPIError) -> bool:
    state = _state_of(error)
    # an attempt to connect that fails has no SQLSTATE
    return error.connection_invalidated or state is None or state.startswith(_UNAVAILABLE)


#: Narrows a select on the activity table to what the reader may see.
Scope = Callable[[Select[Any]], Select[Any]]

#: Besides the time limit: no time for compiling queries, steps in an index rather than long reads in order, and for a
#: live row the settings that the trigger functions have, so that one value always has one text.
SETTINGS = (
    ("jit", "off"),
    ("random_page_cost", "1.1"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
)

#: So long the main server is asked, in milliseconds: it is one step in an index.
LAG_TIMEOUT_MS = 1000

#: How long a read waits for whoever takes its rows, such as a download that was left alone.
IDLE_TIMEOUT_MS = 300_000

#: Seconds for which the bounds of months are kept.
MONTHS_KEPT = 600.0

_MONTHS = text(
    r"""
    SELECT month.first
    FROM pg_catalog.pg_inherits AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (
        SELECT substring(pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''?([0-9]+)')::bigint AS first
    ) AS month
    WHERE i.inhparent = pg_catalog.to_regclass(:log) AND month.first > 0
    ORDER BY month.first DESC
    """
)


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
                isolation_level="REPEATABLE READ", postgresql_readonly=True, **{NOT_STAMPED: True}
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

    def kept(self, name: Hashable, make: Callable[[], Select[Any]]) -> Select[Any]:
        """A statement that is made once for the tables of the log, unless a scope makes it another one for each reader.

        Of one with many parts, making it takes longer than PostgreSQL needs to answer it.

        :param name: what it is called, with all that it depends on; values of a request are parameters.
        """
        if self.is_scoped:
            return make()
        known: dict[Hashable, Select[Any]] = self.models.activity.info.setdefault("audit_statements", {})
        if name not in known:
            known[name] = make()
        return known[name]

    def months(self) -> tuple[int, ...]:
        """The first transaction id of each month, newest first; of plain tables the one that all are after.

        A month begins while nobody writes, so that the changes of an older one have smaller ids, too; not where
        a billion transactions without the job went over its end by themselves. Bounds that are known stay true: if
        there are more by now, a read looks at more than it needs.
        """
        if not self.models.is_partitioned:
            return (0,)
        known = self.models.activity.info.get("audit_months")
        if known is None or known[0] < monotonic():
            name = self.connection.dialect.identifier_preparer.format_table(self.models.transaction)
            found = self.connection.execute(_MONTHS, {"log": name}).scalars().all()
            known = self.models.activity.info["audit_months"] = (monotonic() + MONTHS_KEPT, (*found, 0))
        months: tuple[int, ...] = known[1]
        return months

    def months_from(self, transaction_id: int) -> tuple[int, ...]:
        """The same from the month of a transaction on, oldest first."""
        later = [first for first in self.months() if first > transaction_id]
        return tuple(reversed(self.months()[: len(later) + 1]))

    def all(
        self, statement: Select[Any] | CompoundSelect[Any], values: Mapping[str, Any] | None = None
    ) -> Sequence[Any]:
        """Every row of a statement (which must be limited).

        :param values: of its parameters, if they were not given with it.
        """
        return self.connection.execute(statement, values).all()

    def first(self, statement: Select[Any]) -> Any:
        """The first row, if there is one."""
        return self.connection.execute(statement).first()

    def scalar(self, statement: Select[Any]) -> Any:
        """The first column of the first row."""
        return self.connection.execute(statement).scalar()

    @contextmanager
    def without_sorting(self) -> Iterator[None]:
        """Plan what is read meanwhile so that it follows an index.

        Of a log in months the planner can't see which record is meant, takes its changes for few and would sort all.
        """
        if not self.models.is_partitioned:
            yield
            return
        self.scalar(select(func.set_config("enable_sort", "off", True)))
        yield
        self.scalar(select(func.set_config("enable_sort", "on", True)))

    def limit(self, timeout_ms: int) -> None:
        """Give each following statement another time limit."""
        self.scalar(select(func.set_config("statement_timeout", str(int(timeout_ms)), True)))


@dataclass(frozen=True)
class Lag:
    """How far a server is behind.

    :param behind: age of the first transaction that it lacks; zero if it has all; ``None`` if the main server can't be
        asked.
    """

    behind: dt.timedelta | None

    @property
    def minutes(self) -> int:
        """The same in minutes, rounded up."""
        return 0 if self.behind is None else -(-self.behind // dt.timedelta(minutes=1))


def lag_of(there: AuditReader, here: AuditReader) -> Lag:
    """Compare the newest transactions of the log on two servers.

    A transaction that got its id before the newest one there and was committed after it counts only with the next.

    :param there: reads from the server that follows.
    :param here: reads from the main one.
    :raises ReadError: if the server that follows can't be read.
    """
    transaction = there.models.transaction.c
    with there.reading() as log:
        newest = log.scalar(select(transaction.id).order_by(transaction.id.desc()).limit(1)) or 0
    age = select(func.clock_timestamp() - transaction.issued_at).where(transaction.id > newest)
    try:
        with here.reading(timeout_ms=LAG_TIMEOUT_MS) as log:
            found = log.scalar(age.order_by(transaction.id).limit(1))
    except ReadError:
        return Lag(None)
    return Lag(max(found or dt.timedelta(), dt.timedelta()))
