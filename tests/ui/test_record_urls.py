"""Promise: a link made from a record of the application leads to its history, whatever the type of its key."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from flask import render_template_string

from flask_audit_logger.ui import AuditUI
from tests.support.models import AUDITED
from tests.ui.shop import ANN, Shop, declare_shop, listed, may_read

UTC, EAST = dt.UTC, dt.timezone(dt.timedelta(hours=2))


class Size(enum.Enum):
    small = "S"
    big = "B"


class Cents(sa.TypeDecorator):
    """Money as whole numbers."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else int(value * 100)

    def process_result_value(self, value, dialect):
        return None if value is None else Decimal(value) / 100


TYPES = {
    "sizes": (sa.Enum(Size), [Size.small]),
    "moments": (
        sa.DateTime(timezone=True),
        [dt.datetime(2026, 1, 1, 10, 0, 0, 500000, UTC), dt.datetime(2026, 1, 1, 10, 30, tzinfo=EAST)],
    ),
    "clocks": (sa.DateTime, [dt.datetime(2026, 1, 1, 10, 0, 0, 120000)]),
    "days": (sa.Date, [dt.date(2026, 1, 1)]),
    "times": (sa.Time, [dt.time(10, 0, 0, 500000)]),
    "binaries": (sa.LargeBinary, [b"\x00\xff"]),
    "longs": (sa.Text, ["k" * 1500, "ü" * 500, "ü" * 501]),
    "numerics": (sa.Numeric, [Decimal("1E+3"), Decimal("1.50"), 7]),
    "prices": (sa.Numeric(10, 2), [Decimal("1.5"), Decimal("2.005"), 7]),
    "ratios": (sa.Float, [0.5, 2.0, 1e16]),
    "flags": (sa.Boolean, [True]),
    "uuids": (sa.Uuid, [uuid.UUID(int=7)]),
    "cents": (Cents, [Decimal("1.50")]),
}


def declare(db):
    """For each type a table with a key of it, and one with a key of it and a number."""
    models = declare_shop(db)
    for name, (kind, _) in TYPES.items():
        for is_composite in (False, True):
            # SQLAlchemy 2.0 would number even decimals
            columns = {"k": sa.Column(kind, primary_key=True, autoincrement=False)}
            if is_composite:
                columns["number"] = sa.Column(sa.Integer, primary_key=True)
            table = f"{name}_2" if is_composite else name
            model = type(table, (db.Model,), {"__tablename__": table, "__table_args__": (AUDITED,), **columns})
            setattr(models, table, model)
    return models


@pytest.mark.slow
def test_links_from_records_lead_to_their_histories(create_app):
    shop = Shop(create_app(declare=declare, ui=AuditUI(permission=may_read)))
    shop.sql("INSERT INTO users (id, name) VALUES (1, 'Ann')")
    for name, (_, values) in TYPES.items():
        for value in values:
            for table, more in ((name, {}), (f"{name}_2", {"number": 5})):
                with shop.acting(ANN) as session:
                    record = getattr(shop.models, table)(k=value, **more)
                    session.add(record)
                    session.flush()
                    url = render_template_string("{{ audit_record_url(record) }}", record=record)
                    key = (value, *more.values())
                    same = render_template_string("{{ audit_record_url(table, key) }}", table=table, key=key)
                activity = shop.activity(table_name=table)
                assert activity.id in listed(shop.page(url)), (table, value, url, activity.record_key)
                assert same == url, (table, value)
