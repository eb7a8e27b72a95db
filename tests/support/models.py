"""Models for the tests' applications, declared per call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import relationship

#: Model classes by name: ``models.User``.
Models = SimpleNamespace

AUDITED: dict[str, Any] = {"info": {"audit_logged": True}}


def declare_blog(db: SQLAlchemy) -> Models:
    """Users write articles, articles have tags (audited, with their association); notes are not audited."""

    article_tags = sa.Table(
        "article_tags",
        db.metadata,
        sa.Column("article_id", sa.ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag_id", sa.ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
        **AUDITED,
    )

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text, nullable=False)
        age = sa.Column(sa.Integer)

        def __str__(self) -> str:
            return str(self.name)

    class Article(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "articles"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)
        title = sa.Column(sa.Text, nullable=False)
        body = sa.Column(sa.Text)
        author_id = sa.Column(sa.ForeignKey("users.id", ondelete="SET NULL"))
        author = relationship("User")
        tags = relationship("Tag", secondary=article_tags)

    class Tag(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "tags"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text, nullable=False)

    class Note(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "notes"
        id = sa.Column(sa.BigInteger, primary_key=True)
        text = sa.Column(sa.Text)

    return Models(User=User, Article=Article, Tag=Tag, Note=Note, article_tags=article_tags)
