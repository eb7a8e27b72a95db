"""An old application of 75 tables, none of which was ever marked: a few need something else than all others."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_audit_logger import AuditLogger
from tests.apps.stranger import new_app

#: Named in ``except_tables``, as people write it.
EXCEPTED = ("sessions", "archive.jobs")
#: What is not audited, and why.
UNAUDITED = {"sessions": "named", "archive.jobs": "named with its schema", "cache": "marked with False"}


def make(url: Any, **options: Any) -> tuple[Flask, SQLAlchemy, AuditLogger]:
    """Build the application."""
    app = new_app("seventy_five", url)
    db = SQLAlchemy(app)
    columns = {
        "id": lambda: sa.Column("id", sa.Integer, primary_key=True),
        "text": lambda: sa.Column("text", sa.Text),
    }

    def table(name: str, *names: str, **keywords: Any) -> sa.Table:
        return sa.Table(name, db.metadata, *(columns[column]() for column in names or columns), **keywords)

    for number in range(1, 59):
        table(f"things_{number}")
    for number in range(1, 6):
        left, right = (
            sa.Column(side, sa.ForeignKey(f"things_{other}.id"), primary_key=True)
            for side, other in (("left", number), ("right", number + 1))
        )
        sa.Table(f"pairs_{number}", db.metadata, left, right)
    table("without_key", "text")
    table('Orders of "Ann"')
    table("jobs")
    table("jobs", schema="archive")
    table("sessions")
    table("cache", info={"audit_logged": False})
    table("refined", info={"audit_logged": {"mask": ["text"], "verbs": ["insert"]}})
    table("marked", info={"audit_logged": True})
    table("described", info={"label": "Things that are described"})

    class User(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class Document(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "documents"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}  # noqa: RUF012

    class Report(Document):
        __tablename__ = "reports"
        id: Mapped[int] = mapped_column(sa.ForeignKey("documents.id"), primary_key=True)
        pages: Mapped[int]
        __mapper_args__ = {"polymorphic_identity": "report"}  # noqa: RUF012

    assert len(db.metadata.tables) == 75
    audit_logger = AuditLogger(db, **{"tables": "all", "except_tables": EXCEPTED, **options})
    audit_logger.init_app(app)
    return app, db, audit_logger
