"""Every error this package raises on purpose.

* ``AuditLoggerError``

  * ``ConfigurationError`` – an option, a table or a call that can't mean anything

    * ``UnknownOptionError`` – a per-table option or a column that doesn't exist
    * ``ActorClassError`` – the actor model was named but can't be found, or has a name that several have

  * ``ArchiveError`` – a file of the archive is missing, broken or another log's
  * ``HeldError`` – a legal hold keeps what should be erased

  * ``NotInitializedError`` – something needs an application or a database object that isn't there yet
  * ``ReadError`` – a read of the log failed

    * ``ReadTimeout`` – it was stopped at its time limit
    * ``BadValue`` – PostgreSQL can't take one of the values that were searched for
    * ``LogUnavailable`` – the database can't be reached, or no connection to it is free
    * ``LogUnsupported`` – it is not PostgreSQL
    * ``LogMissing`` – the tables of the log don't exist
    * ``LogOutdated`` – they lack a column
    * ``LogForbidden`` – the database user may not read them
    * ``UnknownPast`` – nothing tells how something was at a time
    * ``RevertError`` – values could not be put back

      * ``Conflict`` – something was changed since
      * ``Refused`` – it can't be put back, or the database refused it

        * ``TooManyChanges`` – one write can't take back so much
"""

from __future__ import annotations

import datetime as dt


class AuditLoggerError(Exception):
    """Base of all errors raised by this package."""


class ConfigurationError(AuditLoggerError):
    """An argument, option or table can't be used as given."""


class UnknownOptionError(ConfigurationError):
    """``info["audit_logged"]`` names an option or a column that doesn't exist."""


class ActorClassError(ConfigurationError):
    """The actor model is not a mapped class of this database object, or its name is that of several."""


class ArchiveError(AuditLoggerError):
    """A file or folder of the archive is missing, was changed, or belongs to another log."""


class NotInitializedError(AuditLoggerError):
    """The extension was used before it knew its database object or application."""


class HeldError(AuditLoggerError):
    """A legal hold is in force on something that should be erased; the message has its reason and its end."""


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


class UnknownPast(ReadError):
    """The log can't tell how something was at a time.

    :param when: the time that was asked for.
    :param since: from when on the log has the entries of the table, if that is later; ``None`` if it is empty or lacks
        something else.
    """

    def __init__(self, text: str, when: dt.datetime, since: dt.datetime | None = None) -> None:
        super().__init__(text)
        self.when, self.since = when, since


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


class TooManyChanges(Refused):
    """There are more changes than one write takes back."""
