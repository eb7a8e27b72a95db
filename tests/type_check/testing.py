"""What type checkers see of the functions for tests. It is checked by `make lint`, and never run."""

from __future__ import annotations

from typing import Any, assert_type

from flask import Flask

from flask_audit_logger import AuditLogger
from flask_audit_logger.history.changes import Change
from flask_audit_logger.history.events import Event
from flask_audit_logger.testing import CapturedChanges, assert_audited, captured_changes, no_audit


def check(app: Flask, audit_logger: AuditLogger, order: Any) -> None:
    """Every call of the API, with its type."""
    assert_audited(order, verb="update", changed={"price": ("10.00", 12)}, by=order)
    assert_audited((type(order), 3), by=None, app=audit_logger)
    with captured_changes() as changes:
        assert_type(changes, CapturedChanges)
    assert_type(changes[0], Change)
    assert_type(changes[0].event, Event | None)
    for change in changes:
        assert_type(change, Change)
    with no_audit(app):
        pass
