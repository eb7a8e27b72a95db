"""Audit log for Flask, Flask-SQLAlchemy and PostgreSQL."""

from . import migrations as migrations  # registers the operations of migrations
from .exceptions import (
    ActorClassError,
    AuditLoggerError,
    ConfigurationError,
    NotInitializedError,
    UnknownOptionError,
)
from .extension import AuditLogger
from .ui import AuditUI

__all__ = [
    "ActorClassError",
    "AuditLogger",
    "AuditLoggerError",
    "AuditUI",
    "ConfigurationError",
    "NotInitializedError",
    "UnknownOptionError",
]
