"""What type checkers see of the log in code. It is checked by `make lint`, and never run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, assert_type

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_audit_logger import AuditLogger
from flask_audit_logger.history.changes import Actor, Change, Difference, History, Page, Transaction
from flask_audit_logger.history.reverts import Preview, Revert, Reverted


class Base(DeclarativeBase):
    """The base of the models."""


class Order(Base):
    """An audited model."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


def check(audit_logger: AuditLogger, order: Order, when: dt.datetime) -> None:
    """Every call of the API, with its type."""
    assert_type(AuditLogger(events=["flask_login"]), AuditLogger)
    assert_type(audit_logger.history(order), History)
    assert_type(audit_logger.history(Order, 42).by(order).between(when).touching("id").verb("update"), History)
    assert_type(audit_logger.feed().first(), Change | None)
    assert_type(audit_logger.feed().page("1.2", limit=10), Page)
    for change in audit_logger.history(Order):
        assert_type(change, Change)
        assert_type(change.diff, Mapping[str, Difference])
        assert_type(change.before, Mapping[str, Any] | None)
        assert_type(change.actor, Actor)
        assert_type(change.at, dt.datetime)
        assert_type(change.transaction, Transaction | None)
        if change.transaction is not None:
            assert_type(change.transaction.undoes, int | None)
            assert_type(change.transaction.undone_by, tuple[int, ...])
    assert_type(audit_logger.blame(order), dict[str, Change | None])
    wanted = audit_logger.revert((Order, 42), to=when, only=["price"], reason="Wrong price list")
    assert_type(wanted, Revert)
    assert_type(wanted.preview(), Preview)
    assert_type(wanted.apply(expected=wanted.preview().digest, conflicts="skip"), Reverted)
    assert_type(wanted.sql(), Iterator[str])
    assert_type(wanted.apply(session=Session()).transaction_id, int | None)
    audit_logger.record("invoice.exported", target=order, outcome="failure", pages=3)
    assert_type(audit_logger.transaction(1), Transaction | None)
    assert_type(audit_logger.as_of(Order, 42, when), Order | None)
    assert_type(audit_logger.as_of(select(Order).where(Order.id > 1), when), list[Order])
    assert_type(audit_logger.as_of(select(Order), when=when), list[Order])
    assert_type(audit_logger.unknown(order), dict[str, str])
