"""Promise: every page works whatever the types of the keys are: those of actors, and those of records."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from flask_login import UserMixin

from flask_audit_logger.ui import AuditUI, RevertPolicy
from tests.support.models import AUDITED, Models
from tests.support.server import TESTED_DRIVERS
from tests.ui.previews import Browser
from tests.ui.shop import Shop

#: Column types of the actors' keys, with the keys of two actors in their order.
ACTOR_KEYS = {
    "uuid": (sa.Uuid, uuid.UUID(int=0x10), uuid.UUID(int=0xFF << 100)),
    "uuid as text": (lambda: sa.Uuid(as_uuid=False), str(uuid.UUID(int=0x10)), str(uuid.UUID(int=0xFF << 100))),
    "text": (sa.Text, "ann@example.org", "bob/50% ~+,"),
    "bigint": (sa.BigInteger, 2**40, 2**41),
}
RECORD = (uuid.UUID(int=7), "a/b, ~.", -3)


def declare(key_type: Any) -> Any:
    def declare_models(db: Any) -> Models:
        class User(UserMixin, db.Model):
            __tablename__ = "users"
            __table_args__ = (AUDITED,)
            id = sa.Column(key_type(), primary_key=True)
            name = sa.Column(sa.Text)

        class Part(db.Model):
            """A record whose key has columns of three types, one of them a reference to an actor."""

            __tablename__ = "parts"
            __table_args__ = (AUDITED,)
            batch = sa.Column(sa.Uuid, primary_key=True)
            code = sa.Column(sa.Text, primary_key=True)
            shelf = sa.Column(sa.BigInteger, primary_key=True)
            stock = sa.Column(sa.Integer)
            owner_id = sa.Column(sa.ForeignKey("users.id"))

        return Models(User=User, Part=Part)

    return declare_models


#: Drivers take keys of type uuid in different ways, but the others alike.
WITH_DRIVERS = [
    (key, driver) for key in ACTOR_KEYS for driver in (TESTED_DRIVERS if key == "uuid" else TESTED_DRIVERS[:1])
]


@pytest.fixture(params=ACTOR_KEYS)
def stock(request, create_app) -> Shop:
    key_type, ann, bob = ACTOR_KEYS[request.param]
    ui = AuditUI(permission=lambda action, target: True, revert=RevertPolicy())
    shop = Shop(create_app(declare=declare(key_type), ui=ui), reader=ann)
    shop.keys = (ann, bob)
    with shop.acting(None) as session:
        session.add_all([shop.models.User(id=ann, name="Ann"), shop.models.User(id=bob, name="Bob")])
    batch, code, shelf = RECORD
    shop.add(ann, "Part", batch=batch, code=code, shelf=shelf, stock=1, owner_id=ann)
    shop.change(bob, "Part", RECORD, stock=2, owner_id=bob)
    shop.change(ann, "Part", RECORD, stock=3)
    return shop


@pytest.mark.parametrize(("stock", "driver"), WITH_DRIVERS, indirect=True)
def test_every_page_works_with_keys_of_every_type(stock):
    ann, bob = stock.keys
    links = stock.application.app.test_request_context()
    with links:
        from flask_audit_logger.ui.embed import audit_actor_url, audit_record_url

        record, actor = audit_record_url("parts", RECORD), audit_actor_url(bob)
    visited: set[str] = set()

    def opened(path: str, **query: Any) -> str:
        response = stock.get(path, user=ann, query_string=query)
        assert response.status_code == 200, (path, response.status_code, response.text[:300])
        with stock.application.app.test_request_context(stock.addressed(path)):
            from flask import request

            visited.add(request.endpoint)
        return response.text

    made, updated, last = (a for a in stock.application.activities(table_name="parts"))
    page = opened("/audit/", period="all")
    assert ">Ann<" in page and ">Bob<" in page
    assert f'value="{ann}"' in page, "the filter offers the actors"
    found = opened("/audit/", actor=str(bob), period="all")
    assert re.findall(r'href="/audit/activity/\d+\.(\d+)"', found)[0] == str(updated.id)
    assert f'.{last.id}"' not in found
    opened("/audit/", actor=[str(ann), str(bob), "~none"], breakdown="1", period="all", sort="time")
    opened("/audit/", table="parts", field="owner_id", was=str(ann), col="owner_id", period="all")
    assert "Bob" in opened("/audit/breakdown/facets", period="all")
    opened("/audit/breakdown/histogram", actor=str(bob), period="all")
    assert "3 changes" in opened(record)
    opened(record, actor=str(bob))
    assert ">Bob<" in opened(f"{record}/at", change=stock.address(updated.id))
    opened(f"{record}/compare", **{"from": stock.address(made.id), "to": "now"})
    opened(f"/audit/activity/{updated.id}")
    assert opened(f"/audit/activity/{updated.id}/value/stock", side="new") == "2"
    opened("/audit/transactions", actor=str(bob), period="all")
    opened(f"/audit/transaction/{updated.transaction_id}")
    assert "What goes back" in opened(f"/audit/transaction/{last.transaction_id}/take-back")
    assert "Bob" in opened(actor, period="all")
    opened("/audit/actor/~none", period="all")
    opened("/audit/export", actor=str(bob), period="all")
    for name in ("csv", "jsonl"):
        assert str(bob) in opened(f"/audit/export.{name}", actor=str(bob), period="all")
    opened("/audit/help")

    browser = Browser(stock, ann)
    preview = f"{record}/revert?to={updated.id}&side=before&col=stock"
    browser.preview(preview)
    assert browser.send(preview).status_code == 303
    visited.add("audit_logger.revert")
    assert stock.sql("SELECT stock FROM parts") == [(1,)]

    rules = stock.application.app.url_map.iter_rules()
    endpoints = {rule.endpoint for rule in rules if rule.rule.startswith("/audit")}
    assert {name.rpartition(".")[2] for name in endpoints - visited} <= {"static", "revert"}


def test_what_can_not_be_the_id_of_an_actor_is_said(stock):
    ann = stock.keys[0]
    if ann == "ann@example.org":  # any text can
        stock.page("/?actor=ann", user=ann)
        return
    assert "&#39;ann&#39; is not a valid actor id." in stock.page("/?actor=ann", status=400, user=ann)
    stock.page("/actor/ann", status=404, user=ann)
