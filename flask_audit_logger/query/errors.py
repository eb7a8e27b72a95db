"""Errors of the reading side.

* ``ReadError`` – a read of the log failed

  * ``ReadTimeout`` – it was stopped at its time limit
  * ``BadValue`` – PostgreSQL can't take one of the values that were searched for
  * ``LogUnavailable`` – the database can't be reached
  * ``LogUnsupported`` – it is not one of PostgreSQL
  * ``LogMissing`` – the tables of the log don't exist
  * ``LogOutdated`` – they lack a column
  * ``LogForbidden`` – the database user may not read them
  * ``RevertError`` – values could not be put back

    * ``Conflict`` – the row is not what was shown
    * ``Refused`` – a column can't be put back, or the database refused it
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError

from ..exceptions import AuditLoggerError

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


class ReadError(AuditLoggerError):
    """The log could not be read."""


class ReadTimeout(ReadError):
    """A read took longer than its time limit and was stopped."""


class BadValue(ReadError):
    """A value that was searched for can't be a value of its column."""


class LogUnavailable(ReadError):
    """The database that holds the log can't be reached."""


class LogUnsupported(ReadError):
    """The database can't have a log: it is not PostgreSQL."""


class LogMissing(ReadError):
    """The tables of the log don't exist (yet), or a table that a scope names."""


class LogOutdated(ReadError):
    """The tables of the log, or a table that a scope names, lack a column: migrations were not run."""


class LogForbidden(ReadError):
    """The user of the database may not read the tables of the log, or a table that a scope names."""


class RevertError(ReadError):
    """Values could not be put back; nothing was changed."""


class Conflict(RevertError):
    """The row is not what it was when the change was shown."""


class Refused(RevertError):
    """A column can't be put back, or the database refused the values.

    :param objection: the constraint or the kind of error, if it was the database.
    """

    def __init__(self, text: str, objection: str | None = None) -> None:
        super().__init__(text)
        self.objection = objection


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
    except DBAPIError as error:
        if _is_unavailable(error):
            raise LogUnavailable("the database can't be reached") from error
        raise


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into the errors of this module; both drivers name the SQLSTATE differently."""
    try:
        yield
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
