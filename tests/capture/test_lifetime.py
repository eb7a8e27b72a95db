"""Engines, connections and listeners live as long as their application; a database object has one logger at a time."""

from __future__ import annotations

import gc
import weakref

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditLogger
from flask_audit_logger.ui import AuditUI
from tests.support.leaks import only_new_objects
from tests.support.models import declare_blog

# psycopg warns of a connection that nobody closed; here that is what the application does.
pytestmark = pytest.mark.filterwarnings("ignore:.* was deleted while still open:ResourceWarning")


def test_applications_of_a_module_level_logger_are_not_kept_alive(database_url):
    """50 x create_app() as a test suite does it: no engine and no connection is left when the applications are gone."""
    db = SQLAlchemy()
    models = declare_blog(db)
    audit_logger = AuditLogger(db, ui=AuditUI(permission=lambda *_: True))
    apps, engines, connections = [], [], []

    def create_app():
        app = Flask("factory")
        app.config.update(SQLALCHEMY_DATABASE_URI=database_url, SECRET_KEY="x")
        db.init_app(app)
        audit_logger.init_app(app)
        with app.app_context():
            if not apps:
                db.create_all()
            apps.append(weakref.ref(app))
            engines.append(weakref.ref(db.engine))
            db.session.add(models.Tag(name="x"))
            db.session.commit()
            connections.append(weakref.ref(db.session.connection().connection.dbapi_connection))
            if len(apps) < 4:
                assert app.test_client().get("/audit/").status_code == 200

    with only_new_objects():
        for _ in range(50):
            create_app()
        for _ in range(3):  # what a finalizer still held goes in the next round
            gc.collect()
    for kept in (apps, engines, connections):
        assert [ref() for ref in kept if ref() is not None] == []
    audit_logger.detach()


def listeners_of(app):
    """How many listeners each event of the engine, the sessions and the metadata of an application has."""
    factory = app.db.session.session_factory.class_
    found = {}
    for owner in (app.db.engine, app.db.engine.dialect, factory, app.db.metadata):
        for name in owner.dispatch._event_names:
            event = getattr(owner.dispatch, name)
            found[type(owner).__name__, name] = len(event._clslevel.get(owner, ()) if owner is factory else list(event))
    return found


def test_detach_takes_away_what_attach_put_there(create_app):
    """The engine, the sessions and the metadata have the listeners that they had before, however often it is called."""
    app = create_app(audited=False)
    with app.app.app_context():
        before = listeners_of(app)
        audit_logger = AuditLogger(app.db)
        audit_logger.init_app(app.app)
        attached = listeners_of(app)
        assert sum(attached.values()) > sum(before.values())
        audit_logger.init_app(app.app)
        assert listeners_of(app) == attached
        audit_logger.detach()
        audit_logger.detach()
        assert listeners_of(app) == before


@pytest.mark.parametrize("change", [{}, {"schema": "audit_logs"}, {"actor_cls": "Tag"}, {"exclude": ["name"]}])
def test_a_newer_logger_takes_the_place_of_the_older(database_url, change):
    """AuditLogger(db) inside create_app(): the last one captures, in all applications, and each of them goes on."""
    db = SQLAlchemy()
    models = declare_blog(db)

    def create_app(**options):
        app = Flask("factory")
        app.config.update(SQLALCHEMY_DATABASE_URI=database_url, SECRET_KEY="x", TESTING=True)
        db.init_app(app)
        audit_logger = AuditLogger(db, ui=AuditUI(permission=lambda *_: True), **options)
        audit_logger.init_app(app)
        return app, audit_logger

    def write(app, name):
        with app.app_context():
            db.session.add(models.Tag(name=name))
            db.session.commit()

    def logged(app, audit_logger):
        with app.app_context():
            query = sa.select(audit_logger.transaction_cls).order_by(audit_logger.transaction_cls.id)
            return [(t.actor_id, len(t.activities)) for t in db.session.scalars(query)]

    first_app, first = create_app(get_actor_id=lambda: 1)
    classes = first.activity_cls, first.transaction_cls
    with first_app.app_context():
        db.create_all()
        write(first_app, "a")
        assert logged(first_app, first) == [(1, 1)]
        db.session.remove()
        db.drop_all()
    second_app, second = create_app(get_actor_id=lambda: 2, **change)
    assert ((second.activity_cls, second.transaction_cls) == classes) == (change in ({}, {"exclude": ["name"]}))
    with second_app.app_context():
        assert second.activity_cls.__table__.schema == change.get("schema")
        assert not {"activity", "transaction"} & {t.name for t in db.metadata.sorted_tables}
        db.create_all()
    write(second_app, "b")
    write(first_app, "c")
    assert logged(second_app, second) == [(2, 1), (2, 1)]
    for app in (first_app, second_app):
        assert app.test_client().get("/audit/?period=all").status_code == 200
        with app.app_context():
            assert len(list(db.engine.dialect.dispatch.do_execute)) == 1
    with second_app.app_context():
        recorded = db.session.scalars(sa.select(second.activity_cls)).all()
        assert [("name" in a.changed_data) for a in recorded] == ["exclude" not in change] * 2
        db.session.remove()
        db.drop_all()
    second.detach()
    for app in (first_app, second_app):
        with app.app_context():
            db.engine.dispose()


def test_a_logger_that_nobody_keeps_captures_all_the_same(create_app):
    """AuditLogger(db) without a name: it lives as long as the database object."""
    app = create_app(audited=False)
    AuditLogger(app.db, get_actor_id=lambda: 7)
    gc.collect()
    with app.app.app_context():
        app.db.create_all()
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        assert app.db.session.scalar(sa.text("SELECT actor_id FROM transaction")) == 7


def test_what_an_older_logger_says_still_counts(create_app):
    """context() and disable() of a logger whose place was taken are of the same database object."""
    app = create_app()
    older = app.audit_logger
    AuditLogger(app.db).init_app(app.app)
    with app.app.app_context():
        with older.context(reason="r"):
            app.db.session.add(app.models.Tag(name="x"))
            app.db.session.commit()
        with older.disable():
            app.db.session.add(app.models.Tag(name="y"))
            app.db.session.commit()
    said, unsaid = app.transactions()
    assert (said.context, said.marks) == ({"reason": "r"}, {})
    assert (unsaid.context, unsaid.marks) == ({}, {"capture_off": ["public.tags"]})
