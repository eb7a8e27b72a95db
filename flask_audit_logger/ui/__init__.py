"""The browser pages of the log.

They read through :mod:`flask_audit_logger.query` and nothing else.
"""

from .options import AuditUI, Column, Label, Preset, RevertPolicy, Viewer, ViewEvent

__all__ = ["AuditUI", "Column", "Label", "Preset", "RevertPolicy", "ViewEvent", "Viewer"]
