"""Every error this package raises on purpose.

* ``AuditLoggerError``

  * ``ConfigurationError`` – an option, a table or a call that can't mean anything

    * ``UnknownOptionError`` – a per-table option or a column that doesn't exist
    * ``ActorClassError`` – the actor model was named but can't be found, or has a name that several have

  * ``ArchiveError`` – a file of the archive is missing, broken or another log's
  * ``HeldError`` – a legal hold keeps what should be erased

  * ``NotInitializedError`` – something needs an application or a database object that isn't there yet
"""

from __future__ import annotations


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
