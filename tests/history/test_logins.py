"""Promise: who logs in and out is recorded under their own name, and nothing that the log does keeps anybody out."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa
from flask_login import login_user, logout_user

from flask_audit_logger import AuditLogger, ConfigurationError
from flask_audit_logger.history import logins
from flask_audit_logger.testing import captured_changes
from tests.support.apps import Application, logged_in_as, make_app
from tests.support.models import declare_blog


@pytest.fixture(scope="module")
def place(server):
    with server.database() as url:
        application = make_blog(url)
        yield application
        application.dispose()


def make_blog(url, **options) -> Application:
    application = make_app(url, declare=declare_blog, events=["flask_login"], **options)
    db, user_cls = application.db, application.models.User

    @application.app.login_manager.user_loader
    def load(key):
        return db.session.get(user_cls, key)

    @application.app.post("/login/<int:key>/<then>")
    def login(key, then):
        user = db.session.get(user_cls, key)
        login_user(user)
        if then == "write":
            db.session.add(application.models.Article(title="Hello"))
            db.session.commit()
        elif then == "broken":
            with pytest.raises(sa.exc.DBAPIError):
                db.session.execute(sa.text("SELECT 1 / 0"))
        elif then == "fail":
            raise LookupError(then)
        elif then == "out":
            logout_user()
        return str(user.name) if then != "broken" else ""

    @application.app.post("/logout")
    def logout():
        logout_user()
        return ""

    with application.app.app_context():
        db.session.add_all([user_cls(id=1, name="Ann"), user_cls(id=2, name="Bob")])
        db.session.commit()
    application.app.config["PROPAGATE_EXCEPTIONS"] = False
    return application


@pytest.fixture
def recorded(place):
    """What is recorded by a function: name and actor of each entry, oldest first, with the whole transaction."""
    with place.outside.begin() as connection:
        connection.execute(sa.text("TRUNCATE activity, transaction"))

    def read():
        return [(row.changed_data["name"], row.transaction.actor_id) for row in place.activities(verb="event")]

    return read


def test_login_and_logout_have_the_name_of_whom_they_are_about(place, recorded):
    client = place.app.test_client()
    client.post("/login/1/read", environ_base={"REMOTE_ADDR": "192.0.2.9"})
    client.post("/logout")
    client.post("/logout")  # nobody leaves
    assert recorded() == [("login", 1), ("logout", 1)]
    event = place.activities(verb="event")[0]
    assert event.changed_data == {"name": "login", "outcome": "success", "data": {}}
    said = event.transaction
    assert (event.table_name, event.record_key, said.actor_label) == ("event", None, "Ann")
    assert (str(said.client_addr), said.context["method"]) == ("192.0.2.9", "POST")


def test_whoever_was_known_before_is_not_the_one(place, recorded):
    """The request is Bob's, who writes nothing; then Ann logs in, whose article is hers."""
    place.app.test_client().post("/login/1/write", headers=logged_in_as(2))
    assert recorded() == [("login", 1)]
    assert [row.transaction.actor_id for row in place.activities(table_name="articles")] == [1]


@pytest.mark.parametrize("then", ["broken", "fail"])
def test_a_login_is_recorded_however_the_request_ends(place, recorded, then):
    place.app.test_client().post(f"/login/1/{then}")
    assert recorded() == [("login", 1)]


def test_both_in_one_request_whoever_else_is_said_to_act(place, recorded):
    with place.audit_logger.context(actor=None):
        place.app.test_client().post("/login/2/out")
    assert recorded() == [("login", 2), ("logout", 2)]


def test_one_connection_is_enough(place, server, recorded):
    """The session of the request has given it back."""
    with server.database() as url:
        application = make_blog(
            url, config={"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2}}
        )
        assert application.app.test_client().post("/login/1/read").text == "Ann"
        assert [row.changed_data["name"] for row in application.activities(verb="event")] == ["login"]
        application.dispose()


def test_a_log_that_can_not_be_written_keeps_nobody_out(place, recorded, caplog):
    with place.outside.begin() as connection:
        connection.execute(sa.text("ALTER TABLE activity RENAME TO elsewhere"))
    try:
        with caplog.at_level(logging.WARNING):
            assert place.app.test_client().post("/login/1/read").text == "Ann"
        assert "could not record a login" in caplog.text
    finally:
        with place.outside.begin() as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO activity"))
    place.app.test_client().post("/login/1/read")
    assert recorded() == [("login", 1)]


def test_in_a_test_that_keeps_its_context_and_rolls_back(place, recorded):
    db = place.db
    with place.app.app_context():
        engine = db.engine
        with engine.connect() as connection, connection.begin() as transaction:
            db.engines[None] = connection
            with captured_changes() as changes:
                place.app.test_client().post("/login/1/read")
                assert [(change.event.name, change.actor) for change in changes] == [("login", ("1", "Ann"))]
                db.session.add(place.models.Article(title="Nobody's"))
            assert [change.actor.id for change in changes][1:] == [None]
            db.session.remove()
            transaction.rollback()
        db.engines[None] = engine
    assert recorded() == []


def test_nothing_is_recorded_without_it_or_after_detach(create_app, caplog):
    application = create_app()
    with application.app.test_request_context():
        login_user(application.models.User(id=1, name="Ann"))
    older = AuditLogger(application.db, events=["flask_login"])
    AuditLogger(application.db)  # the newest counts
    with application.app.test_request_context():
        login_user(application.models.User(id=1, name="Ann"))
    assert application.activities() == [] and caplog.text == ""
    older.detach()


def test_what_events_can_not_name_is_an_error(monkeypatch):
    for wrong in (["flask_security"], "flask_login"):
        with pytest.raises(ConfigurationError, match=r"give a list of 'flask_login'"):
            AuditLogger(events=wrong)
    monkeypatch.setattr(logins, "user_logged_in", None)
    with pytest.raises(ConfigurationError, match="needs Flask-Login, which is not installed"):
        AuditLogger(events=["flask_login"])


def test_on_sqlite_nothing_happens(tmp_path, caplog):
    application = make_blog(sa.make_url(f"sqlite:///{tmp_path}/some.db"))
    caplog.clear()
    assert application.app.test_client().post("/login/1/read").text == "Ann"
    assert caplog.text == ""
    application.dispose()
