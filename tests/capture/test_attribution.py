"""The application is asked who acts right before the first write, in its own session, and that disturbs nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask import g
from flask_login import current_user, login_user
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_audit_logger import AuditLogger
from flask_audit_logger.ui import AuditUI
from tests.capture.statements import statements
from tests.support.apps import logged_in_as
from tests.support.models import AUDITED, declare_blog
from tests.support.server import both_drivers

TENANT: ContextVar[str | None] = ContextVar("tenant", default=None)
GRACE, NOBODY = (1, "Grace"), (None, None)


def with_grace(app):
    """The application with a user of key 1."""
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()
    return app


def actors(app, **columns):
    return [(a.transaction.actor_id, a.transaction.actor_label) for a in app.activities(**columns)]


def loader(app, load=None):
    """Count how often the application loads a user, each time with its session."""
    loaded = []

    @app.app.login_manager.request_loader
    def load_user(request):
        loaded.append(app.db.session())
        return load() if load else app.db.session.get(app.models.User, 1)

    return loaded


def cookie_of(app, user_id="1"):
    """A client whose signed session names a user."""
    client = app.app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"] = user_id
    return client


# In the session of the application, once


@both_drivers
def test_the_loader_runs_once_in_the_session_of_the_application(create_app):
    """Ours is the load that the application would have made: later it finds the user there."""
    app = with_grace(create_app())
    loaded = loader(app)
    with app.app.test_request_context("/"):
        session = app.db.session()
        session.add(app.models.Tag(name="a"))
        session.flush()
        session.add(app.models.Tag(name="b"))
        session.commit()
        assert current_user.name == "Grace" and current_user._get_current_object() in session
    assert loaded == [session]
    assert actors(app, table_name="tags") == [GRACE] * 2


@pytest.mark.parametrize(
    "write",
    [
        lambda app: app.db.session.add(app.models.Tag(name="new")),
        lambda app: app.db.session.execute(sa.insert(app.models.Tag), [{"name": "a"}, {"name": "b"}]),
        lambda app: app.db.session.execute(sa.update(app.models.Tag).values(name="x")),
        lambda app: app.db.session.execute(sa.delete(app.models.Tag)),
        lambda app: app.db.session.query(app.models.Tag).delete(),
        lambda app: app.db.session.execute(sa.text("/* old */ UPDATE tags SET name = 'x'")),
        lambda app: app.db.session.execute(sa.text("DO $$ BEGIN DELETE FROM tags; END $$")),
    ],
)
def test_each_way_of_a_session_asks(create_app, write):
    """Flushes, ORM statements, Core and text that write ask who acts."""
    app = with_grace(create_app())
    with app.app.app_context():
        app.db.session.add(app.models.Tag(name="old"))
        app.db.session.commit()
    before = len(app.activities())
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        write(app)
        app.db.session.commit()
    assert set(actors(app)[before:]) == {GRACE}


READS = [
    lambda app: app.db.session.scalars(sa.select(app.models.Tag)).all(),
    lambda app: app.db.session.execute(sa.text("SELECT 1")),
    lambda app: app.db.session.scalar(sa.select(sa.func.date_trunc("day", sa.func.now()))),
    lambda app: app.db.session.commit(),
    lambda app: setattr(app.db.session.get(app.models.Tag, 1), "name", "old"),
]


@pytest.mark.parametrize("read", READS)
def test_a_request_that_writes_nothing_loads_nothing(create_app, read):
    """Not for queries, and not for an object that was changed to what it was."""
    app = with_grace(create_app())
    with app.app.app_context():
        app.db.session.add(app.models.Tag(name="old"))
        app.db.session.commit()
    loaded = loader(app)
    with app.app.test_request_context("/", method="POST"):
        read(app)
        app.db.session.commit()
    assert loaded == []


def test_a_user_who_is_loaded_costs_nothing(create_app):
    """No savepoint, and no statement: who acts is told on the trip of the first one."""
    app = with_grace(create_app())
    with app.app.app_context():
        engine = app.db.engine
    with statements(engine) as sent, app.app.test_request_context("/", headers=logged_in_as(1)):
        assert current_user.name == "Grace"
        sent.clear()
        for name in "ab":
            app.db.session.add(app.models.Tag(name=name))
            app.db.session.flush()
        app.db.session.commit()
    # as one text, or one after the other in a pipeline
    lines = [line.split()[0] for s in sent for line in s.split("\n")]
    assert lines == ["SELECT", "INSERT", "INSERT"]


def declare_tokens(db):
    models = declare_blog(db)

    class Token(db.Model):
        __tablename__ = "tokens"
        id = sa.Column(sa.Integer, primary_key=True)
        text = sa.Column(sa.Text)
        user_id = sa.Column(sa.BigInteger)

    models.Token = Token
    return models


@both_drivers
@pytest.mark.parametrize("spent_by", ["flush", "statement"])
@pytest.mark.parametrize("written_by", ["flush", "statement"])
def test_a_one_time_token_logs_its_owner_in(create_app, spent_by, written_by):
    """A request_loader that spends a token and commits is asked once, so that its owner is in for the whole request."""
    app = with_grace(create_app(declare=declare_tokens))
    session = app.db.session

    @app.app.login_manager.request_loader
    def load_user(request):
        token = session.scalar(sa.select(app.models.Token).filter_by(text=request.headers.get("X-Token")))
        if token is None:
            return None
        owner = session.get(app.models.User, token.user_id)
        if spent_by == "flush":
            session.delete(token)
        else:
            session.execute(sa.delete(app.models.Token))
        session.commit()
        return owner

    @app.app.post("/write")
    def write():
        if written_by == "flush":
            session.add(app.models.Tag(name="x"))
        else:
            session.execute(sa.insert(app.models.Tag), [{"name": "x"}])
        session.commit()
        return current_user.name if current_user.is_authenticated else "nobody"

    with app.app.app_context():
        session.add(app.models.Token(text="t", user_id=1))
        session.commit()
    client = app.app.test_client()
    assert [client.post("/write", headers={"X-Token": "t"}).text for _ in range(2)] == ["Grace", "nobody"]
    assert actors(app, table_name="tags") == [GRACE, NOBODY]


# What the application does is as without us


@both_drivers
@pytest.mark.parametrize("audited", [False, True])
def test_transactions_of_a_request_are_as_without_us(create_app, audited):
    """``with db.session.begin()``, isolation levels and savepoints in a POST work, though the user is not loaded."""
    app = create_app(audited=audited)
    with app.app.app_context():
        app.db.session.add_all([app.models.User(name="Grace"), app.models.Tag(name="old")])
        app.db.session.commit()
    session = app.db.session

    @app.app.post("/begin")
    def begin():
        with session.begin():
            session.add(app.models.Tag(name="in a block"))
        return "done"

    @app.app.post("/isolation")
    def isolation():
        session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        session.add(app.models.Tag(name="serializable"))
        session.flush()
        level = session.scalar(sa.text("SHOW transaction_isolation"))
        session.commit()
        return level

    @app.app.post("/autocommit")
    def autocommit():
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        session.add(app.models.Tag(name="autocommit"))
        session.flush()
        session.rollback()
        return str(session.scalar(sa.select(sa.func.count()).where(app.models.Tag.name == "autocommit")))

    @app.app.post("/nested")
    def nested():
        with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
            session.add(app.models.Tag(name=None))
        with session.begin_nested():
            session.add(app.models.Tag(name="nested"))
        session.rollback()
        session.execute(sa.update(app.models.Tag).values(name="rolled back"))
        session.rollback()
        return ", ".join(session.scalars(sa.select(app.models.Tag.name).order_by(app.models.Tag.id)))

    client = app.app.test_client()
    answers = [client.post(f"/{name}", headers=logged_in_as(1)).text for name in ("begin", "isolation", "autocommit")]
    assert answers == ["done", "serializable", "1"]
    assert client.post("/nested", headers=logged_in_as(1)).text == "old, in a block, serializable, autocommit"
    if audited:
        assert actors(app, table_name="tags")[1:] == [GRACE] * 3


@both_drivers
@pytest.mark.parametrize("place", ["flush", "statement"])
@pytest.mark.parametrize("fails", ["query", "exception", "commit", "half"])
def test_a_loader_that_fails_leaves_the_write_intact(create_app, caplog, place, fails):
    """The transaction goes on, with all that was written before; nobody is named, but whom the signed session names."""
    app = with_grace(create_app())
    session = app.db.session

    @app.app.login_manager.user_loader
    def load_user(user_id):
        session.execute(sa.text("UPDATE users SET age = 1"))
        if fails == "query":
            session.execute(sa.text("SELECT * FROM missing"))
        elif fails == "exception":
            raise RuntimeError("no loader today")
        elif fails == "commit":
            session.commit()
            session.execute(sa.text("SELECT * FROM missing"))
        try:
            session.execute(sa.text("SELECT * FROM missing"))
        except sa.exc.ProgrammingError:
            session.rollback()
        session.close()

    @app.app.post("/write")
    def write():
        session.connection().execute(sa.text("INSERT INTO notes (text) VALUES ('before')"))
        if place == "flush":
            session.add(app.models.Tag(name="x"))
            session.flush()
        else:
            session.execute(sa.insert(app.models.Tag), [{"name": "x"}])
        session.add(app.models.Tag(name="y"))
        session.commit()
        return "done"

    assert cookie_of(app).post("/write").text == "done"
    found = app.activities(table_name="tags")
    assert [(a.changed_data["name"], a.transaction.actor_id) for a in found] == [("x", None), ("y", None)]
    assert {a.transaction.context["session_user"] for a in found} == {"1"}
    assert len({a.native_transaction_id for a in found}) == 1
    assert "recorded as unknown" in caplog.text or fails == "half"
    with app.app.app_context():
        assert session.scalar(sa.text("SELECT text FROM notes")) == "before"
        assert session.scalar(sa.text("SELECT age FROM users")) is None


def test_a_loader_that_finds_nobody_is_asked_once(create_app):
    """Nobody is logged in: that is an answer, and no name of a session is recorded beside it."""
    app = create_app()
    loaded = loader(app, lambda: None)
    with app.app.test_request_context("/"):
        for name in "ab":
            app.db.session.add(app.models.Tag(name=name))
            app.db.session.commit()
    assert len(loaded) == 1
    assert [(t.actor_id, t.context.get("session_user")) for t in app.transactions()] == [(None, None)] * 2


@pytest.mark.parametrize("scope", [threading.get_ident, lambda: 1])
def test_a_session_of_another_scope_survives(create_app, scope):
    """The session that flushes stays the session."""
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
        session.remove()
    assert actors(app, table_name="tags") == [GRACE] * 2


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
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        own.add(app.models.Tag(name="in a session of its own"))
        own.commit()
        assert (TENANT.get(), ends) == ("acme", [])
    assert ends == ["acme"]
    assert actors(app, table_name="tags") == [GRACE] * 2


def test_a_loader_that_keeps_and_reads_things_in_g(create_app):
    """It is the ``g`` of the request, and what it keeps there is of the session of the request."""
    app = with_grace(create_app())
    loaded = loader(app, lambda: g.setdefault("account", app.db.session.get(app.models.User, 1 if g.tenant else 2)))
    with app.app.test_request_context("/"):
        g.tenant = "acme"
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        assert current_user.name == "Grace" and g.account in app.db.session
    assert len(loaded) == 1
    assert actors(app, table_name="tags") == [GRACE]


def test_a_search_path_of_the_session_counts(create_app, outside):
    """Such as one per tenant: the user is looked for where the session looks."""
    app = with_grace(create_app())
    with outside.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA tenant; CREATE TABLE tenant.users (LIKE public.users)")
        connection.exec_driver_sql("INSERT INTO tenant.users (id, name) VALUES (1, 'Grace of the tenant')")
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        app.db.session.execute(sa.text("SET LOCAL search_path TO tenant, public"))
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert actors(app, table_name="tags") == [(1, "Grace of the tenant")]


def test_sessions_of_others_are_left_alone(create_app):
    """A second database object of the process is not asked, whatever it writes."""
    app, other = with_grace(create_app()), create_app(audited=False, create_all=False)
    loaded = loader(other, lambda: None)
    with other.app.test_request_context("/"):
        other.db.session.add(other.models.Note(text="x"))
        other.db.session.commit()
    assert loaded == []
    assert app.activities(table_name="notes") == []


@pytest.mark.parametrize("way", ["connection", "bulk"])
def test_who_is_loaded_later_is_named_from_then_on(create_app, way):
    """What no session asks about is recorded with the name of the signed session, until the user is loaded."""
    app = with_grace(create_app())
    session = app.db.session

    @app.app.login_manager.user_loader
    def load_user(user_id):
        return session.get(app.models.User, int(user_id))

    def insert():
        if way == "bulk":
            session.bulk_insert_mappings(app.models.Tag, [{"name": "x"}])
        else:
            session.connection().execute(sa.insert(app.models.Tag), {"name": "x"})

    @app.app.post("/write")
    def write():
        insert()
        assert current_user.name == "Grace"
        insert()
        session.commit()
        return "done"

    assert cookie_of(app).post("/write").text == "done"
    assert actors(app, table_name="tags") == [NOBODY, GRACE]
    assert [t.context.get("session_user") for t in app.transactions()[1:]] == ["1", None]


def test_pages_say_that_a_session_was_not_verified(create_app):
    """On the list, the page of the change and that of the transaction."""
    app = with_grace(create_app(ui=AuditUI(permission=lambda *_: True)))

    @app.app.login_manager.user_loader
    def load_user(user_id):
        return app.db.session.get(app.models.User, int(user_id))

    @app.app.post("/write")
    def write():
        app.db.session.connection().execute(sa.insert(app.models.Tag), {"name": "x"})
        app.db.session.commit()
        return "done"

    assert cookie_of(app, "7").post("/write").text == "done"
    client = app.app.test_client()
    (activity,) = app.activities(table_name="tags")
    for page in ("/?period=all", f"/transaction/{activity.transaction_id}", "/transactions?period=all"):
        assert "session of user 7, not verified" in client.get(f"/audit{page}", headers=logged_in_as(1)).text, page


# Callbacks


@pytest.mark.parametrize("which", [{"get_actor_id"}, {"get_actor_label", "get_client_addr"}], ids=["who", "the rest"])
@pytest.mark.parametrize("does", ["fails", "commits", "removes", "flushes", "rolls back"])
@pytest.mark.parametrize("place", ["flush", "statement", "connection"])
def test_callbacks_that_use_the_session_disturb_no_write(create_app, which, does, place):
    """A query that fails would abort the transaction of the write, a commit would end it, a rollback would undo it."""

    asked = set()

    def ask(callback, answer):
        asked.add(callback)
        if callback not in which:
            return answer
        session = app.db.session
        if does == "fails":
            session.execute(sa.text("SELECT * FROM missing"))
        elif does == "flushes":
            session.flush()
        elif does == "rolls back":
            session.rollback()
        else:
            session.commit() if does == "commits" else session.remove()
        return answer

    answers = {"get_actor_id": 1, "get_actor_label": "Grace", "get_client_addr": "192.0.2.1"}
    app = create_app(**{callback: partial(ask, callback, answer) for callback, answer in answers.items()})
    session = app.db.session
    with app.app.test_request_context("/"):
        for name in "ab":
            if place == "flush":
                session.add(app.models.Tag(name=name))
                session.flush()
            elif place == "statement":
                session.execute(sa.insert(app.models.Tag), [{"name": name}])
            else:
                session.add(app.models.Tag(name=f"{name} pending"))
                session.connection().execute(sa.insert(app.models.Tag), {"name": name})
                session.flush()
        session.commit()
    found = app.activities()
    assert sorted({a.changed_data["name"] for a in found} & {"a", "b"}) == ["a", "b"]
    assert len(found) == (4 if place == "connection" else 2)
    assert len({a.native_transaction_id for a in found}) == 1
    is_unknown = does in ("fails", "removes") and "get_actor_id" in which
    assert asked == set(answers) - ({"get_actor_label"} if is_unknown else set())
    assert {a.transaction.actor_id for a in found} == {None if is_unknown else 1}


@both_drivers
@pytest.mark.parametrize("many", [False, True])
def test_a_callback_that_queries(create_app, many):
    """Before a session writes it may; what it answers holds for that flush or statement, and for no other write."""
    asked = []

    def get_actor_id():
        asked.append(g.name)
        return app.db.session.scalar(sa.select(app.models.User.id).filter_by(name=g.name))

    app = create_app(get_actor_id=get_actor_id)
    session = app.db.session
    with app.app.app_context():
        g.name = "nobody yet"
        session.add_all([app.models.User(name="Grace"), app.models.User(name="Ada")])
        session.commit()
    asked.clear()
    with app.app.test_request_context("/"):
        for name in ("Grace", "Ada"):
            g.name = name
            if many:
                session.execute(sa.insert(app.models.Tag), [{"name": name}, {"name": name}])
            else:
                session.add_all([app.models.Tag(name=name), app.models.Tag(name=name)])
                session.flush()
        # of a connection nobody is asked with the database, and what was said before is not said of it
        session.connection().execute(sa.insert(app.models.Tag), {"name": "unknown"})
        session.commit()
    names = [(a.changed_data["name"], a.transaction.actor_id) for a in app.activities(table_name="tags")]
    assert names == [("Grace", 1), ("Grace", 1), ("Ada", 2), ("Ada", 2), ("unknown", None)]


def test_what_a_callback_said_before_a_flush_that_did_not_happen(create_app):
    """A listener of the application may stop a flush; what follows is not by whoever was asked about for it."""

    class Stopped(Exception):
        pass

    def stop(session, *args):
        if g.name == "Grace":
            raise Stopped

    app = with_grace(create_app())
    app.audit_logger.detach()
    AuditLogger(
        app.db, get_actor_id=lambda: app.db.session.scalar(sa.select(app.models.User.id).filter_by(name=g.name))
    ).init_app(app.app)
    session = app.db.session
    sa.event.listen(session, "before_flush", stop)
    with app.app.test_request_context("/"):
        g.name = "Grace"
        session.add(app.models.Tag(name="x"))
        with pytest.raises(Stopped):
            session.flush()
        g.name = "somebody else"
        with app.db.engine.begin() as connection:
            connection.execute(sa.insert(app.models.Tag), {"name": "y"})
    assert actors(app, table_name="tags") == [NOBODY]


def test_a_callback_that_needs_no_database_is_asked_everywhere(create_app):
    """On a connection of the engine, too, and what it says is of that moment."""
    app = create_app(get_actor_id=lambda: g.user_id)
    with app.app.test_request_context("/"), app.db.engine.begin() as connection:
        for g.user_id in (1, 2):
            connection.execute(sa.insert(app.models.Tag), {"name": "x"})
    assert [actor for actor, _ in actors(app)] == [1, 2]


def test_a_callback_never_half_loads_the_current_user(create_app):
    """On a connection of the engine the loader doesn't run: if it took an error for nobody, the user would be out."""
    app = with_grace(create_app(get_actor_id=lambda: current_user.id))

    def load():
        try:
            return app.db.session.get(app.models.User, 1)
        except Exception:
            return None

    loaded = loader(app, load)
    with app.app.test_request_context("/"):
        with app.db.engine.begin() as connection:
            connection.execute(sa.insert(app.models.Tag), {"name": "x"})
        assert loaded == [] and current_user.name == "Grace"
        with app.db.engine.begin() as connection:
            connection.execute(sa.insert(app.models.Tag), {"name": "y"})
    assert actors(app, table_name="tags") == [NOBODY, GRACE]


def test_a_callback_that_writes_is_not_asked_who_wrote_that(create_app):
    """No recursion: what it writes is by nobody, the write that asked by whom it names."""

    def get_actor_id():
        app.db.session.execute(sa.insert(app.models.Tag), [{"name": "by the callback"}])
        return 1

    app = create_app(get_actor_id=get_actor_id)
    with app.app.test_request_context("/"):
        app.db.session.add(app.models.Article(title="x"))
        app.db.session.commit()
    assert [(a.table_name, a.transaction.actor_id) for a in app.activities()] == [("tags", None), ("articles", 1)]


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


def test_a_mapped_object_that_a_callback_keeps_is_the_applications(create_app):
    """It is of the session of the request, so that what is changed in it is written."""

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


@pytest.mark.parametrize("by", ["loader", "callback"])
def test_threads_that_share_a_context(create_app, by):
    """Threads in a copy of the request's context write under its user, and never see what stands in for it."""
    app = with_grace(create_app(**{"get_actor_id": lambda: current_user.id} if by == "callback" else {}))
    meeting = threading.Barrier(2, timeout=20)

    def work(name):
        meeting.wait()
        with app.db.engine.begin() as connection:
            connection.execute(sa.insert(app.models.Tag), {"name": name})
        return current_user.name

    with app.app.test_request_context("/", headers=logged_in_as(1)):
        app.db.session.add(app.models.Tag(name="request"))
        app.db.session.commit()
        assert current_user.name == "Grace"
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(copy_context().run, work, f"worker {number}") for number in range(2)]
            assert [future.result(20) for future in running] == ["Grace"] * 2
    assert actors(app, table_name="tags") == [GRACE] * 3


def test_another_bind_that_shares_its_connection(create_app):
    """SQLite in memory beside the log: a loader that reads it undoes nothing there, and names the user."""
    app = with_grace(create_app(config={"SQLALCHEMY_BINDS": {"cache": "sqlite://"}}))
    session = app.db.session

    def load():
        session.execute(sa.text("SELECT * FROM hits"), bind_arguments={"bind": app.db.engines["cache"]})
        return session.get(app.models.User, 1)

    loader(app, load)
    with app.app.test_request_context("/"):
        cache = session.connection(bind_arguments={"bind": app.db.engines["cache"]})
        cache.execute(sa.text("CREATE TABLE hits (n int)"))
        cache.execute(sa.text("INSERT INTO hits VALUES (1)"))
        session.add(app.models.Tag(name="x"))
        session.flush()
        assert cache.scalar(sa.text("SELECT count(*) FROM hits")) == 1
        session.commit()
    assert actors(app, table_name="tags") == [GRACE]


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
            __table_args__ = (AUDITED,)
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
    assert actors(app, table_name="tags") == [GRACE]


# Names


def test_a_user_that_a_commit_expired_keeps_its_name(create_app):
    """The name is kept per request; one that was never read before is loaded before the session writes."""
    app = with_grace(create_app())
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        assert current_user.id == 1
        app.db.session.commit()  # expires it before any write
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        with app.db.engine.begin() as connection:
            connection.execute(sa.insert(app.models.Tag), {"name": "y"})
    assert actors(app, table_name="tags") == [GRACE] * 2


def test_a_column_that_says_whether_the_user_is_active(create_app):
    """Its value is read once in a request, so that an expired user is the same person on a connection."""

    def declare(db):
        models = declare_blog(db)
        models.User.is_active = sa.orm.column_property(models.User.__table__.c.age == 40)
        return models

    app = create_app(declare=declare)
    with app.app.app_context():
        app.db.session.add_all([app.models.User(name="Grace", age=40), app.models.User(name="Gone", age=1)])
        app.db.session.commit()
    for key in (1, 2):
        with app.app.test_request_context("/", headers=logged_in_as(key)):
            app.db.session.add(app.models.Tag(name="x"))
            app.db.session.commit()
            with app.db.engine.begin() as connection:
                connection.execute(sa.insert(app.models.Tag), {"name": "y"})
    assert actors(app, table_name="tags") == [GRACE] * 2 + [NOBODY] * 2


def test_logging_in_as_somebody_else_changes_the_name_at_once(create_app):
    """What is kept is kept per actor."""
    app = with_grace(create_app())
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Ada"))
        app.db.session.commit()
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        session = app.db.session
        for key in (1, 2, 1):
            login_user(session.get(app.models.User, key))
            session.add(app.models.Tag(name="x"))
            session.flush()
            session.connection().execute(sa.insert(app.models.Tag), {"name": "y"})
        session.commit()
    assert actors(app, table_name="tags") == [GRACE] * 2 + [(2, "Ada")] * 2 + [GRACE] * 2
