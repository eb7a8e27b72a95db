"""Audit log for Flask, Flask-SQLAlchemy and PostgreSQL."""

from . import alembic as alembic  # registers the operations of migrations
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
