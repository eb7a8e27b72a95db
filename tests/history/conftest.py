"""One application with a history that the tests of this folder read together."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tests.support.models import AUDITED, Models

THING = uuid.UUID("00000000-0000-0000-0000-00000000002a")
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


def declare(db):
    class User(db.Model):
        __tablename__ = "users"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)
        kind = sa.Column(sa.Text)
        __mapper_args__ = dict(polymorphic_on=kind, polymorphic_identity="user")  # noqa: RUF012

    class Manager(User):
        __tablename__ = "managers"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.ForeignKey("users.id"), primary_key=True)
        budget = sa.Column(sa.Numeric(10, 2))
        __mapper_args__ = dict(polymorphic_identity="manager")  # noqa: RUF012

    class Thing(db.Model):
        __tablename__ = "things"
        __table_args__ = ({"schema": "store", "info": {"audit_logged": {"mask": ["pin"], "exclude": ["note"]}}},)
        id = sa.Column(sa.Uuid, primary_key=True)
        cost = sa.Column("price", sa.Numeric(10, 2))
        color = sa.Column(sa.Enum(Color))
        tags = sa.Column(pg.ARRAY(sa.Integer))
        data = sa.Column(pg.JSONB)
        at = sa.Column(sa.DateTime(timezone=True))
        owner_id = sa.Column(sa.ForeignKey("users.id"))
        owner = sa.orm.relationship(User)
        pin = sa.Column(sa.Text)
        note = sa.Column(sa.Text)

    class Note(db.Model):
        __tablename__ = "notes"
        id = sa.Column(sa.Integer, primary_key=True)

    class Part(db.Model):
        __tablename__ = "parts"
        __table_args__ = ({"info": {"audit_logged": {"old_data": "changed"}}},)
        id = sa.Column(sa.Integer, primary_key=True)

    return Models(User=User, Manager=Manager, Thing=Thing, Note=Note, Part=Part)


def fill(application):
    """Make the history; gives the times between its transactions."""
    db, models, times = application.db, application.models, []

    def commit(**context):
        with application.audit_logger.context(**context):
            db.session.commit()
        with db.engine.connect() as connection:
            times.append(connection.scalar(sa.text("SELECT clock_timestamp()")))

    ann = models.Manager(id=1, name="Ann", budget=Decimal("5.00"))
    thing = models.Thing(
        id=THING,
        cost=Decimal("10"),
        color=Color.RED,
        tags=[1, 2],
        data={"audit_logger": [1.5]},
        at=NOON,
        pin="1",
        note="n",
    )
    db.session.add_all([ann, thing, models.Thing(id=uuid.UUID(int=1), cost=Decimal("1"))])
    commit(actor=None)
    thing.cost, thing.color, thing.owner = Decimal("12.5"), Color.BLUE, ann
    commit(actor=ann, reason="sale")
    ann.budget, thing.pin, thing.data = Decimal("7.00"), "2", None
    commit(actor=ann)
    db.session.delete(thing)
    commit(actor=None)
    return times


@pytest.fixture(scope="session")
def told(server, copied):
    """The application, its models, the times, and ``log``, its AuditLogger."""
    with server.database() as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema("store"))
        engine.dispose()
        application = make(url)
        with application.app.app_context():
            times = fill(application)
            application.db.session.remove()
        yield SimpleNamespace(
            application=application, log=application.audit_logger, times=times, **vars(application.models)
        )
        application.dispose()


def make(url):
    from tests.support.apps import make_app

    return make_app(url, declare=declare)


@pytest.fixture(autouse=True)
def in_context(request):
    """An application context around each test that reads the shared history."""
    if "told" not in request.fixturenames:
        yield
        return
    with request.getfixturevalue("told").application.app.app_context():
        yield
