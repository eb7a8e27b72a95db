"""The audit log of the shop. What makes its data auditable is in this file, in ``labels.py`` and in ``models/``."""

from __future__ import annotations

from flask_audit_logger import AuditLogger, AuditUI
from flask_audit_logger.ui import Preset, RevertPolicy

from .extensions import db
from .labels import record_labels
from .roles import may_audit

audit_ui = AuditUI(
    permission=may_audit,
    record_labels=record_labels,
    important_columns={"products": ["price", "name"], "orders": ["status"]},
    revert=RevertPolicy(reason_required=True),
    presets=[Preset("Price changes", {"table": "products", "col": "price", "verb": "update"})],
)
audit_logger = AuditLogger(db, ui=audit_ui)
