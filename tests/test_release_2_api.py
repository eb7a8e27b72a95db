"""What the README of release 2.0.0 shows works unchanged."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, joinedload, mapped_column

from flask_audit_logger import AuditLogger
from tests.support.server import both_drivers


@pytest.fixture
def db():
    """As in an application with a factory: no app is known when the models and the AuditLogger are made."""
    return SQLAlchemy()


@pytest.fixture
def start(db, database_url):
    """Make the application around ``db`` and its tables, and push its context until the end of the test."""
    contexts = []

    def start_app():
        app = Flask("release2")
        app.config["SQLALCHEMY_DATABASE_URI"] = database_url
        db.init_app(app)
        contexts.append(app.app_context())
        contexts[-1].push()
        db.create_all()

    yield start_app
    for context in contexts:
        db.session.remove()
        db.engine.dispose()
        context.pop()


AUDITED = {"audit_logged": True}


def make_user_cls(db, name="User", info=AUDITED):
    """A class of the given name (actor classes are found by it) for the table ``users``."""

    class Person(db.Model):
        __abstract__ = True
        id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=True)
        name: Mapped[str]
        hair_color: Mapped[str | None]

        def __repr__(self):
            return f"<{type(self).__name__} {self.id}>"

    return type(name, (Person,), {"__tablename__": "users", "__table_args__": ({"info": info},)})


def save(db, *objects):
    db.session.add_all(objects)
    db.session.commit()


def logged(audit_logger):
    """The log through the classes of the AuditLogger, oldest entry first."""
    activity = audit_logger.activity_cls
    return audit_logger.db.session.scalars(sa.select(activity).order_by(activity.id)).all()


@both_drivers
def test_marked_tables_are_logged_after_audit_logger_was_made(db, start):
    user_cls = make_user_cls(db)
    audit_logger = AuditLogger(db)
    start()
    user = user_cls(name="Ann")
    save(db, user)
    user.name = "Anna"
    db.session.commit()
    db.session.delete(user)
    db.session.commit()
    row = {"id": 1, "name": "Ann", "hair_color": None}
    assert [(a.verb, a.table_name, a.old_data, a.changed_data) for a in logged(audit_logger)] == [
        ("insert", "users", {}, row),
        ("update", "users", row, {"name": "Anna"}),
        ("delete", "users", row | {"name": "Anna"}, {}),
    ]


def test_an_entry_is_got_by_its_id(db, start):
    user_cls = make_user_cls(db)
    audit_logger = AuditLogger(db)
    start()
    save(db, user_cls(name="Ann"))
    (entry,) = logged(audit_logger)
    assert db.session.get(audit_logger.activity_cls, entry.id) is entry
    db.session.expunge_all()
    assert db.session.get(audit_logger.activity_cls, entry.id).changed_data == entry.changed_data
    assert db.session.get(audit_logger.activity_cls, entry.id + 1) is None


def test_get_actor_id_and_get_client_addr_are_asked(db, start):
    user_cls = make_user_cls(db)
    audit_logger = AuditLogger(db, get_actor_id=lambda: g.my_user_id, get_client_addr=lambda: "192.0.2.7")
    start()
    g.my_user_id = 41
    save(db, user_cls(name="Ann"))
    (activity,) = logged(audit_logger)
    assert activity.transaction.actor_id == 41
    assert str(activity.transaction.client_addr).partition("/")[0] == "192.0.2.7"


def test_the_log_can_live_in_a_schema_of_its_own(db, start):
    user_cls = make_user_cls(db)
    audit_logger = AuditLogger(db, schema="audit_logs")
    start()
    save(db, user_cls(name="Ann"))
    assert db.session.scalar(sa.text("SELECT verb FROM audit_logs.activity")) == "insert"
    assert [a.verb for a in logged(audit_logger)] == ["insert"]


def test_actor_cls_names_the_class_of_the_actor(db, start):
    super_user_cls = make_user_cls(db, "SuperUser")
    audit_logger = AuditLogger(db, get_actor_id=lambda: 1, actor_cls="SuperUser")
    start()
    save(db, super_user_cls(name="Ann"))
    activity_cls, transaction_cls = audit_logger.activity_cls, audit_logger.transaction_cls
    activity = db.session.scalar(
        sa.select(activity_cls).options(joinedload(activity_cls.transaction).joinedload(transaction_cls.actor)).limit(1)
    )
    assert repr(activity.transaction.actor) == "<SuperUser 1>"


def test_excluded_columns_are_neither_stored_nor_a_reason(db, start):
    user_cls = make_user_cls(db, info={"audit_logged": {"exclude": ["hair_color"]}})
    audit_logger = AuditLogger(db)
    start()
    user = user_cls(name="Ann", hair_color="red")
    save(db, user)
    user.hair_color = "grey"
    db.session.commit()
    assert [(a.verb, a.changed_data) for a in logged(audit_logger)] == [("insert", {"id": 1, "name": "Ann"})]


def test_the_operations_of_a_migration_turn_triggers_on_and_off(db, start):
    user_cls = make_user_cls(db, info={})
    audit_logger = AuditLogger(db)
    start()

    def migrate(step):
        with db.engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
            step()

    save(db, user_cls(name="Before"))
    migrate(lambda: op.init_audit_logger_triggers("users", excluded_columns=["hair_color"]))
    save(db, user_cls(name="During", hair_color="red"))
    migrate(lambda: op.remove_audit_logger_triggers("users"))
    save(db, user_cls(name="After"))
    assert [a.changed_data for a in logged(audit_logger)] == [{"id": 2, "name": "During"}]


def test_disable_switches_off_and_on_again(db, start):
    user_cls = make_user_cls(db)
    audit_logger = AuditLogger(db)
    start()
    with audit_logger.disable(db.session):
        save(db, user_cls(name="Quiet"))
    save(db, user_cls(name="Loud"))
    assert [a.changed_data["name"] for a in logged(audit_logger)] == ["Loud"]


def test_the_setting_switches_off_for_one_transaction(db, start):
    user_cls = make_user_cls(db)
    audit_logger = AuditLogger(db)
    start()
    db.session.execute(sa.text("SET LOCAL flask_audit_logger.enable_versioning = 'false'"))
    save(db, user_cls(name="Quiet"))
    save(db, user_cls(name="Loud"))
    assert [a.changed_data["name"] for a in logged(audit_logger)] == ["Loud"]
