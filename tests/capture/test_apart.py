"""Promise P4: what the logger asks of the application disturbs neither its session nor its request."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask import g
from flask_login import LoginManager, current_user
from sqlalchemy.orm import scoped_session, sessionmaker

from tests.support.apps import logged_in_as

TENANT: ContextVar[str | None] = ContextVar("tenant", default=None)


def with_grace(app):
    """The application with a user of key 1."""
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()
    return app


def actors(app, **columns):
    return [(a.transaction.actor_id, a.transaction.actor_label) for a in app.activities(**columns)]


@pytest.mark.parametrize("scope", [threading.get_ident, lambda: 1])
def test_a_session_of_another_scope_survives(create_app, scope):
    """The user is loaded in the middle of a flush; the session that flushes stays the session."""
    app = with_grace(create_app(db_options={"session_options": {"scopefunc": scope}}))
    session = app.db.session
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        flushing = session()
        tag = app.models.Tag(name="a")
        session.add(tag)
        session.commit()
        assert session() is flushing and tag in session
        tag.name = "b"
        session.commit()
    assert actors(app, table_name="tags") == [(1, "Grace")] * 2


def test_no_end_of_a_context_is_seen_in_the_middle_of_a_request(create_app):
    """What the application does when a context ends is done when its own ends, and once."""
    app = with_grace(create_app())
    ends = []
    with app.app.app_context():
        own = scoped_session(sessionmaker(bind=app.db.engine))

    @app.app.teardown_appcontext
    def end(error):
        ends.append(TENANT.get())
        own.remove()
        TENANT.set(None)

    with app.app.test_request_context("/", headers=logged_in_as(1)):
        TENANT.set("acme")
        own.add(app.models.Tag(name="in a session of its own"))
        own.flush()
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        own.commit()
        assert (TENANT.get(), ends) == ("acme", [])
    assert ends == ["acme"]
    assert actors(app, table_name="tags") == [(1, "Grace")] * 2


def test_the_loader_leaves_nothing_behind(create_app):
    """What a user loader keeps in ``g`` belongs to the session it was loaded in, so the request doesn't get it."""
    app = with_grace(create_app())

    @LoginManager(app.app).request_loader
    def load(request):
        g.account = app.db.session.get(app.models.User, 1)
        return g.account

    with app.app.test_request_context("/"):
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        assert "account" not in g and "_login_user" not in g
        assert current_user.name == "Grace" and g.account in app.db.session
    assert actors(app, table_name="tags") == [(1, "Grace")]


def test_a_loader_that_reads_g(create_app):
    """A loader sees what the request has left in ``g``, as the tenant it works for, but no session kept there."""
    app = with_grace(create_app())
    seen = []

    @LoginManager(app.app).request_loader
    def load(request):
        seen.append((g.tenant, g.get("session")))
        return app.db.session.get(app.models.User, 1) if g.tenant == "acme" else None

    with app.app.test_request_context("/"):
        g.tenant, g.session = "acme", app.db.session()
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert seen == [("acme", None)]
    assert actors(app, table_name="tags") == [(1, "Grace")]


def test_a_callback_keeps_things_in_g(create_app):
    """What get_actor_id remembers in ``g`` or takes away is found by the next call and by the request."""
    calls = []

    def ask():
        if "actor_id" not in g:
            calls.append(g.pop("hint"))
            g.actor_id = 1
        return g.actor_id

    app = create_app(get_actor_id=ask)
    with app.app.test_request_context("/"):
        g.hint = "h"
        for name in "ab":
            app.db.session.add(app.models.Tag(name=name))
            app.db.session.commit()
        assert (g.actor_id, "hint" in g) == (1, False)
    assert (calls, actors(app)) == (["h"], [(1, None)] * 2)


@pytest.mark.parametrize("by", ["loader", "callback"])
def test_threads_that_share_a_context_share_no_look_up(create_app, by):
    """While the user is loaded in threads of a request, the request has its own session, ``g`` and current user."""
    meeting = threading.Barrier(3, timeout=20)
    is_meeting = threading.Event()
    app = with_grace(create_app(**{"get_actor_id": lambda: current_user.id} if by == "callback" else {}))
    session = app.db.session

    @LoginManager(app.app).request_loader
    def load(request):
        if is_meeting.is_set():
            meeting.wait()  # all of them are being asked
            meeting.wait()
        return session.get(app.models.User, 1)

    def work(name):
        with app.db.engine.begin() as connection:
            connection.execute(sa.insert(app.models.Tag), {"name": name})

    with app.app.test_request_context("/"), ThreadPoolExecutor(2) as pool:
        g.tenant = "acme"
        own = session()
        session.add(app.models.Tag(name="request"))
        is_meeting.set()
        running = [pool.submit(copy_context().run, work, f"worker {number}") for number in range(2)]
        meeting.wait()
        assert (session(), g.get("tenant"), g.get("_login_user")) == (own, "acme", None)
        is_meeting.clear()
        meeting.wait()
        for future in running:
            future.result(20)
        assert (session(), g.get("tenant")) == (own, "acme")
        session.commit()
    assert sorted(a.changed_data["name"] for a in app.activities(table_name="tags")) == [
        "request",
        "worker 0",
        "worker 1",
    ]
    assert actors(app, table_name="tags") == [(1, "Grace")] * 3


@pytest.mark.parametrize("callback", ["get_actor_id", "get_actor_label", "get_client_addr"])
@pytest.mark.parametrize("does", ["fails", "commits", "removes", "flushes"])
def test_a_callback_that_uses_the_session_disturbs_no_write(create_app, callback, does):
    """A query that fails would abort the transaction of the write, a commit would end it."""

    def ask():
        session = app.db.session
        if does == "fails":
            session.execute(sa.text("SELECT * FROM missing"))
        elif does == "flushes":
            session.flush()
        else:
            session.scalar(sa.text("SELECT 1"))
            session.commit() if does == "commits" else session.remove()
        return {"get_actor_id": 1, "get_actor_label": "Grace", "get_client_addr": "192.0.2.1"}[callback]

    app = create_app(**{"get_actor_id": lambda: 1, callback: ask})
    with app.app.test_request_context("/"):
        app.db.session.add(app.models.Tag(name="a"))
        app.db.session.flush()
        app.db.session.add(app.models.Tag(name="b"))
        app.db.session.commit()
    found = app.activities()
    assert [a.changed_data["name"] for a in found] == ["a", "b"]
    assert len({a.native_transaction_id for a in found}) == 1
    assert {a.transaction.actor_id for a in found} == {None if (does, callback) == ("fails", "get_actor_id") else 1}


def finishes(work):
    """Run something that could wait for ever."""
    failed = []

    def run():
        try:
            work()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not failed
    return not thread.is_alive()


@pytest.mark.parametrize("asks", ["callback with the session", "callback with the engine", "loader"])
def test_a_question_does_not_wait_for_its_own_writer(create_app, caplog, asks):
    """If the answer needs what the running transaction has locked, nobody is named, and the write goes on."""
    name = sa.text("SELECT name FROM users WHERE id = 1")
    questions = []

    def ask():
        questions.append(1)
        if asks == "callback with the session":
            return app.db.session.scalar(name) and 1
        with app.db.engine.connect() as connection:
            return connection.scalar(name) and 1

    app = with_grace(create_app(**{} if asks == "loader" else {"get_actor_id": ask}))
    questions.clear()
    insert = sa.text("INSERT INTO tags (name) VALUES ('x')")

    @LoginManager(app.app).request_loader
    def load(request):
        if asks == "loader":
            questions.append(1)
        return app.db.session.get(app.models.User, 1)

    def work():
        with app.app.test_request_context("/"):
            with app.db.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE users ADD COLUMN nick text"))
                for _ in range(3):
                    connection.execute(insert)
            with app.db.engine.begin() as connection:
                connection.execute(insert)

    assert finishes(work)
    assert [actor for actor, _ in actors(app, table_name="tags")] == [None] * 3 + [1]
    assert len(questions) == 2, "asked once in each transaction"
    assert "recorded as unknown" in caplog.text


def test_a_question_looks_for_tables_where_the_writer_does(create_app, outside):
    """A search_path of the request, such as one per tenant, counts for the user loader, too (PostgreSQL 18)."""
    app = with_grace(create_app())
    with outside.begin() as connection:
        if connection.dialect.server_version_info < (18,):
            pytest.skip("this server doesn't tell its search_path")
        connection.exec_driver_sql("CREATE SCHEMA tenant; CREATE TABLE tenant.users (LIKE public.users)")
        connection.exec_driver_sql("INSERT INTO tenant.users (id, name) VALUES (1, 'Grace of the tenant')")
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        app.db.session.execute(sa.text("SET LOCAL search_path TO tenant, public"))
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert actors(app, table_name="tags") == [(1, "Grace of the tenant")]


@pytest.mark.parametrize("asks_it", [False, True])
def test_another_bind_that_shares_its_connection(create_app, caplog, asks_it):
    """SQLite in memory beside the log costs no actor, and a loader that reads it undoes nothing there."""
    app = with_grace(create_app(config={"SQLALCHEMY_BINDS": {"cache": "sqlite://"}}))
    session = app.db.session

    @LoginManager(app.app).request_loader
    def load(request):
        if asks_it:
            session.execute(sa.text("SELECT * FROM hits"), bind_arguments={"bind": app.db.engines["cache"]})
        return session.get(app.models.User, 1)

    with app.app.test_request_context("/"):
        cache = session.connection(bind_arguments={"bind": app.db.engines["cache"]})
        cache.execute(sa.text("CREATE TABLE hits (n int)"))
        cache.execute(sa.text("INSERT INTO hits VALUES (1)"))
        session.add(app.models.Tag(name="x"))
        session.flush()
        assert cache.scalar(sa.text("SELECT count(*) FROM hits")) == 1
        session.commit()
    assert actors(app, table_name="tags") == [(None, None) if asks_it else (1, "Grace")]
    assert ("no second connection" in caplog.text) == asks_it


def test_a_mapped_object_that_a_callback_keeps_is_not_the_applications(create_app):
    """It is of the session of the question: what the application changed in it would be lost."""

    def get_user():
        if "user" not in g:
            g.user = app.db.session.get(app.models.User, 1)
        return g.user

    app = with_grace(create_app(get_actor_id=lambda: get_user()))
    with app.app.test_request_context("/"):
        app.db.session.add(app.models.Tag(name="n"))
        app.db.session.flush()
        get_user().name = "Ada"
        app.db.session.commit()
    with app.app.app_context():
        assert app.db.session.scalar(sa.text("SELECT name FROM users")) == "Ada"


def test_a_bind_with_a_search_path_of_its_own(create_app, database_url, outside):
    """The actors are looked for where their engine looks, not where the writer does."""
    with outside.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA auth")
        for schema, name in (("auth", "Grace"), ("public", "Mallory")):
            connection.exec_driver_sql(f"CREATE TABLE {schema}.users (id int PRIMARY KEY, name text)")
            connection.exec_driver_sql(f"INSERT INTO {schema}.users VALUES (1, '{name}')")

    def declare(db):
        class User(db.Model):
            __tablename__ = "users"
            __bind_key__ = "auth"
            id = sa.Column(sa.Integer, primary_key=True)
            name = sa.Column(sa.Text)

        class Tag(db.Model):
            __tablename__ = "tags"
            __table_args__ = ({"info": {"audit_logged": True}},)
            id = sa.Column(sa.Integer, primary_key=True)
            name = sa.Column(sa.Text)

        return SimpleNamespace(User=User, Tag=Tag)

    url = database_url.update_query_dict({"options": "-csearch_path=auth"}).render_as_string(hide_password=False)
    app = create_app(
        declare=declare,
        config={"SQLALCHEMY_BINDS": {"auth": url}},
        get_actor_id=lambda: app.db.session.get(app.models.User, 1),
    )
    with app.app.test_request_context("/"):
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert actors(app, table_name="tags") == [(1, "Grace")]


@pytest.mark.parametrize("by", ["loader", "callback"])
def test_nobody_is_asked_again_though_the_write_is_the_first_statement(create_app, by, outside):
    """The connection is still idle when the answer waits too long for somebody else's lock."""
    asked = []

    def ask():
        asked.append(1)
        return app.db.session.scalar(sa.text("SELECT id FROM users WHERE id = 1"))

    app = with_grace(create_app(**({"get_actor_id": ask} if by == "callback" else {})))
    asked.clear()

    @LoginManager(app.app).request_loader
    def load(request):
        if by == "loader":
            asked.append(1)
        return app.db.session.get(app.models.User, 1)

    def insert(times):
        with app.app.test_request_context("/"), app.db.engine.begin() as connection:
            for _ in range(times):
                connection.execute(sa.text("INSERT INTO tags (name) VALUES ('x')"))

    with outside.connect() as other:
        other.exec_driver_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        insert(4)
        other.rollback()
    assert len(asked) == 1
    insert(1)
    assert [actor for actor, _ in actors(app, table_name="tags")] == [None] * 4 + [1]
