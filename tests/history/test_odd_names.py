"""Promise: names of tables and columns may have any characters, and columns another key in Python."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import sqlalchemy as sa

from tests.history.test_commands import audit
from tests.support.models import AUDITED, Models
from tests.support.server import both_drivers

SCHEMA, TABLE = "100%:s", 'we"ird %(s)s:x'


def declare(db):
    class Odd(db.Model):
        __tablename__ = TABLE
        __table_args__ = ({"schema": SCHEMA, **AUDITED},)
        id = sa.Column("i%d:x", sa.Integer, key="number", primary_key=True)
        price = sa.Column("p%s:y", sa.Numeric(10, 2), key="cost")
        lasts = sa.Column('la"sts', sa.Interval)

    return Models(Odd=Odd)


@pytest.fixture
def odd(create_app, outside):
    with outside.begin() as connection:
        connection.execute(sa.schema.CreateSchema(SCHEMA))
    application = create_app(declare=declare)
    with application.app.app_context():
        session = application.db.session
        session.add(application.models.Odd(id=1, price=Decimal("1.50"), lasts=dt.timedelta(days=2)))
        session.commit()
        application.then = session.scalar(sa.text("SELECT clock_timestamp()"))
        session.get(application.models.Odd, 1).price = Decimal("2.50")
        session.commit()
        yield application


@both_drivers
def test_a_history_has_typed_values_and_the_past_is_found(odd):
    model, log = odd.models.Odd, odd.audit_logger
    assert log.history(model, 1).first().diff == {"price": (Decimal("1.50"), Decimal("2.50"))}
    assert log.history(model, 1).first().before["lasts"] == dt.timedelta(days=2)
    found = log.as_of(model, 1, odd.then)
    assert (found.id, found.price, found.lasts) == (1, Decimal("1.50"), dt.timedelta(days=2))
    cheap = sa.select(model).where(model.price < 2, model.id == 1).order_by(model.lasts)
    assert [each.price for each in log.as_of(cheap, odd.then)] == [Decimal("1.50")]
    log.revert((model, 1), to=odd.then, only=["price"]).apply()
    assert odd.db.session.get(model, 1).price == Decimal("1.50")


def test_commands_find_its_records(odd):
    table = f"{SCHEMA}.{TABLE}"
    assert "p%s:y 1.50 -> 2.50" in audit(odd, "history", table, "1")[1]
    code, output = audit(odd, "as-of", table, "1", odd.then.isoformat())
    assert (code, "p%s:y: 1.50" in output) == (0, True)
    code, output = audit(odd, "revert", table, "1", "--to", odd.then.isoformat(), "--only", "p%s:y", "--apply")
    assert (code, "Taken back" in output) == (0, True)
