"""Tables of every shape that an application writes to, and a short way to write down what is logged of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import relationship

from tests.support.models import AUDITED, Models

#: What the database itself does, and SQLAlchemy doesn't know of.
DATABASE_SIDE = """
CREATE FUNCTION save_thing(thing text) RETURNS bigint LANGUAGE sql AS
    'INSERT INTO things (name) VALUES (thing) RETURNING id';
CREATE FUNCTION to_things(thing text) RETURNS bigint LANGUAGE sql AS
    'INSERT INTO things (name) VALUES (thing) RETURNING id';
CREATE PROCEDURE add_thing(thing text) LANGUAGE sql AS 'INSERT INTO things (name) VALUES (thing)';
CREATE FUNCTION try_thing(thing text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO things (name) VALUES (thing);
    RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN
    INSERT INTO things (name) VALUES (thing || ' again');
END $$;
CREATE FUNCTION mirror() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO mirrors (of) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER mirror AFTER INSERT ON sources FOR EACH ROW EXECUTE FUNCTION mirror();
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.name := upper(NEW.name);
    RETURN NEW;
END $$;
CREATE TRIGGER shout BEFORE INSERT ON sources FOR EACH ROW EXECUTE FUNCTION shout();
CREATE VIEW thing_view AS SELECT id, name FROM things;
"""


def declare_shop(db: SQLAlchemy) -> Models:
    """Users, things with all they can have, and tables of other shapes."""
    model: Any = db.Model

    def key() -> Any:
        return sa.Column(sa.BigInteger, primary_key=True)

    thing_labels = sa.Table(
        "thing_labels",
        db.metadata,
        sa.Column("thing_id", sa.ForeignKey("things.id"), primary_key=True),
        sa.Column("label_id", sa.ForeignKey("labels.id"), primary_key=True),
        **AUDITED,
    )
    loose = sa.Table("loose", db.metadata, sa.Column("a", sa.Integer), sa.Column("b", sa.Text), **AUDITED)

    class User(UserMixin, model):
        __tablename__ = "users"
        id = key()
        name = sa.Column(sa.Text, nullable=False)

        def __str__(self) -> str:
            return str(self.name)

    class Thing(model):
        __tablename__ = "things"
        __table_args__ = (AUDITED,)
        id = key()
        name = sa.Column(sa.Text, unique=True)
        comments = relationship("Comment", cascade="all, delete-orphan", order_by="Comment.id")
        parts = relationship("Part", passive_deletes="all", passive_updates=True)
        labels = relationship("Label", secondary=thing_labels)

    class Comment(model):
        __tablename__ = "comments"
        __table_args__ = (AUDITED,)
        id = key()
        thing_id = sa.Column(sa.ForeignKey("things.id"))
        text = sa.Column(sa.Text)

    class Part(model):
        __tablename__ = "parts"
        __table_args__ = (AUDITED,)
        id = key()
        thing_id = sa.Column(sa.ForeignKey("things.id", ondelete="CASCADE", onupdate="CASCADE"))

    class Label(model):
        __tablename__ = "labels"
        __table_args__ = (AUDITED,)
        id = key()

    class Document(model):
        __tablename__ = "documents"
        __table_args__ = (AUDITED,)
        id = key()
        kind = sa.Column(sa.Text)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "document"}  # noqa: RUF012

    class Report(Document):
        __tablename__ = "reports"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.ForeignKey("documents.id"), primary_key=True)
        title = sa.Column(sa.Text)
        __mapper_args__ = {"polymorphic_identity": "report"}  # noqa: RUF012

    class Memo(Document):
        text = sa.Column(sa.Text)
        __mapper_args__ = {"polymorphic_identity": "memo"}  # noqa: RUF012

    class Shape(model):
        __tablename__ = "shapes"
        __table_args__ = (AUDITED,)
        id = key()

    class Circle(Shape):
        __tablename__ = "circles"
        __table_args__ = (AUDITED,)
        id = key()
        radius = sa.Column(sa.Integer)
        __mapper_args__ = {"concrete": True}  # noqa: RUF012

    class Line(model):
        __tablename__ = "lines"
        __table_args__ = (AUDITED,)
        doc = sa.Column(sa.Text, primary_key=True)
        pos = sa.Column(sa.Integer, primary_key=True)
        n = sa.Column(sa.Integer)

    class Source(model):
        __tablename__ = "sources"
        __table_args__ = (AUDITED,)
        id = key()
        name = sa.Column(sa.Text)

    class Mirror(model):
        __tablename__ = "mirrors"
        __table_args__ = (AUDITED,)
        id = key()
        of = sa.Column(sa.BigInteger)

    return Models(**{name: value for name, value in locals().items() if name not in ("db", "model", "key")})


def line(activity: Any) -> str:
    """An activity in one line: ``update things 1: name=a>b``."""
    if activity.verb == "update":
        data = [f"{name}={activity.old_data[name]}>{value}" for name, value in activity.changed_data.items()]
    else:
        data = [f"{name}={value}" for name, value in (activity.changed_data or activity.old_data).items()]
    head = " ".join([activity.verb, activity.table_name, *([activity.record_key] if activity.record_key else [])])
    return f"{head}: {' '.join(data)}" if data else head


def lines(activities: Iterable[Any]) -> list[str]:
    """Activities in one line each."""
    return [line(activity) for activity in activities]
