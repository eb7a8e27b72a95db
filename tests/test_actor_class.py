"""Which model the actors are is never left to chance."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import UUID

from flask_audit_logger import ActorClassError, AuditLogger


@pytest.fixture
def db():
    return SQLAlchemy()


@pytest.fixture
def model():
    """Make a model of the given name, as if it were defined in ``module``."""
    made = []  # a class that nobody holds is no model for long

    def make(db, module, key=sa.BigInteger, base=None, name="User"):
        table = {"__tablename__": f"{module.replace('.', '_')}_users", "id": sa.Column(key, primary_key=True)}
        made.append(type(name, (base or db.Model,), {"__module__": module, **({} if base else table)}))
        return made[-1]

    return make


def test_two_models_of_the_name_are_an_error(db, model):
    """The order of a set would decide otherwise, and with it the type of transaction.actor_id."""
    model(db, "shop.staff")
    model(db, "shop.customers", UUID)
    message = (
        "Several models are called 'User': shop.customers.User, shop.staff.User. "
        "Give the class of the actors or its path, as in AuditLogger(db, actor_cls='shop.customers.User')."
    )
    with pytest.raises(ActorClassError, match=re.escape(message)):
        AuditLogger(db)


@pytest.mark.parametrize("path", ["shop.customers.User", "customers.User", None])
def test_the_class_or_its_path_tells_which(db, path, model):
    model(db, "shop.staff")
    customer = model(db, "shop.customers", UUID)
    model(db, "shop.former_customers")
    audit_logger = AuditLogger(db, actor_cls=path or customer)
    assert audit_logger.actor_cls is customer
    assert isinstance(audit_logger.models.transaction.c.actor_id.type, UUID)
    assert audit_logger.transaction_cls.actor.property.mapper.class_ is customer


def test_a_second_one_that_comes_later_is_noticed_as_well(create_app, model):
    """At the latest when tables are made or compared."""
    from types import SimpleNamespace

    app = create_app(declare=lambda db: SimpleNamespace(User=model(db, "shop.staff")), create_all=False)
    model(app.db, "shop.customers")
    with app.app.app_context(), pytest.raises(ActorClassError, match="Several models"):
        app.db.create_all()


def test_subclasses_of_the_same_name_are_the_same_actors(db, model):
    """Where one extends the other both have one key, and the first stands for all."""
    base = model(db, "library")
    model(db, "shop", base=model(db, "shop.core", base=base))
    assert AuditLogger(db).actor_cls is base


def test_other_names_do_not_count(db, model):
    model(db, "shop", name="SuperUser")
    user = model(db, "shop.models")
    assert AuditLogger(db).actor_cls is user
