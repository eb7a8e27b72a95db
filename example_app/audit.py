"""The audit log of the shop: everything that makes its changes auditable is in this file and in ``models/``."""

from __future__ import annotations

from flask_login import current_user

from flask_audit_logger import AuditLogger, AuditUI

from . import models  # noqa: F401 - the log covers the tables that exist
from .extensions import db
from .roles import may_audit


def actor_label() -> str | None:
    """The name that the history shows, also when the account is gone."""
    return current_user.display_name if current_user else None


audit_logger = AuditLogger(db, get_actor_label=actor_label, ui=AuditUI(permission=may_audit))
