"""Promise P2: an activity carries the actor of the code that made it or, if that is unknown, none."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import count
from types import SimpleNamespace

import click
import flask
import pytest
import sqlalchemy as sa
from flask import g
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sqlalchemy.orm import relationship

from flask_audit_logger.capture.actors import identify
from tests.capture.shop import lines
from tests.capture.statements import statements
from tests.support.apps import logged_in_as
from tests.support.models import AUDITED

GRACE, ADA, JOAN = (1, "Grace"), (2, "Ada"), (3, "Joan")
NOBODY = (None, None)


def rename(shop, name, number=1):
    shop.db.session.execute(sa.text("UPDATE things SET name = :name WHERE id = :id"), {"name": name, "id": number})


def user(shop, number):
    found = shop.db.session.get(shop.models.User, number)
    assert found is not None
    return found


def who(application, **columns):
    """Key and name of the actor of each activity."""
    return [(a.transaction.actor_id, a.transaction.actor_label) for a in application.activities(**columns)]


# Changes of the actor


@pytest.mark.parametrize("ends", ["commit", "flush"])
def test_login_and_logout_inside_a_request(shop, ends):
    """A write has no actor before the login, has one after it, and none after the logout: in one transaction, too."""
    end = getattr(shop.db.session, ends)
    with shop.app.test_request_context("/login", method="POST"):
        rename(shop, "anonymous")
        end()
        login_user(user(shop, 1))
        rename(shop, "logged in")
        end()
        logout_user()
        rename(shop, "logged out")
        end()
        login_user(user(shop, 2))
        rename(shop, "again")
        shop.db.session.commit()
    assert who(shop) == [NOBODY, GRACE, NOBODY, ADA]


def test_the_actor_changes_inside_a_transaction(shop):
    """Each activity has the actor of its moment; rows of one database transaction share its native id."""
    with shop.app.app_context():
        for actor in (1, None, 2, 1):
            with shop.audit_logger.context(actor=actor):
                rename(shop, f"by {actor}")
        shop.db.session.commit()
    assert [actor for actor, _ in who(shop)] == [1, None, 2, 1]
    assert len({t.native_transaction_id for t in shop.transactions()}) == 1


@pytest.mark.parametrize("name", ["actr", "impersonater", "resaon"])
def test_a_slip_in_the_name_of_an_argument_is_said_where_it_stands(shop, name):
    with (
        shop.app.app_context(),
        pytest.warns(UserWarning, match=rf"context\({name}=…\) .* meant\?") as told,
        shop.audit_logger.context(**{name: 3}),
    ):
        rename(shop, name)
        shop.db.session.commit()
    assert [warning.filename for warning in told] == [__file__]
    assert shop.activities()[-1].transaction.context[name] == 3


@pytest.mark.parametrize("name", ["season", "factor", "jobs", "job_id", "ticket", "reasons", "j", "author"])
def test_other_facts_are_no_slips(shop, name):
    with shop.app.app_context(), shop.audit_logger.context(**{name: 3}):  # warnings are errors here
        pass


def test_context_nests(shop):
    """An inner context() adds to the outer one, an actor of None is nobody, and all is restored after an error."""
    logger = shop.audit_logger
    with shop.app.app_context():
        grace, ada = user(shop, 1), user(shop, 2)
        with logger.context(actor=grace, reason="outer", ticket=7):
            rename(shop, "a1")
            with pytest.raises(ZeroDivisionError), logger.context(actor=ada, reason="inner"):
                rename(shop, "a2")
                raise ZeroDivisionError
            with logger.context(actor=None, job="sweep"):
                rename(shop, "a3")
            with logger.context(impersonator=ada):
                rename(shop, "a4")
            rename(shop, "a5")
        rename(shop, "a6")
        shop.db.session.commit()
    assert who(shop) == [GRACE, ADA, NOBODY, GRACE, GRACE, NOBODY]
    assert [a.transaction.context for a in shop.activities()] == [
        {"reason": "outer", "ticket": 7},
        {"reason": "inner", "ticket": 7},
        {"reason": "outer", "ticket": 7, "job": "sweep"},
        {"reason": "outer", "ticket": 7, "impersonator": {"id": "2", "label": "Ada"}},
        {"reason": "outer", "ticket": 7},
        {},
    ]


def test_an_inner_context_keeps_the_impersonator(shop):
    """Whoever acts in the name of another is named with every change, whatever else is said further inside."""
    with shop.app.app_context():
        grace, ada = user(shop, 1), user(shop, 2)
        with shop.audit_logger.context(impersonator=ada, actor=grace), shop.audit_logger.context(reason="a slip"):
            rename(shop, "x")
            shop.db.session.commit()
    (transaction,) = shop.transactions()
    assert transaction.context == {"reason": "a slip", "impersonator": {"id": "2", "label": "Ada"}}


def test_an_inner_context_says_more_exactly_what_an_outer_one_said(shop):
    """Of two values of one name the inner one counts, for facts of the application's own as well."""
    with shop.app.app_context(), shop.audit_logger.context(ticket=7, run="a"), shop.audit_logger.context(ticket=8):
        rename(shop, "x")
        shop.db.session.commit()
    (transaction,) = shop.transactions()
    assert transaction.context == {"ticket": 8, "run": "a"}


def test_context_beats_the_request(shop):
    """What the code says counts more than who is logged in."""
    with shop.app.test_request_context("/", headers=logged_in_as(1)):
        rename(shop, "by the user")
        with shop.audit_logger.context(actor=user(shop, 2)):
            rename(shop, "on behalf")
        with shop.audit_logger.context(actor=None):
            rename(shop, "by nobody")
        shop.db.session.commit()
    assert who(shop) == [GRACE, ADA, NOBODY]


def written_by(shop, actor):
    """A generator that is inside context() while it is suspended."""
    with shop.audit_logger.context(actor=actor, job="generator"):
        for number in range(2):
            rename(shop, f"{actor} {number}")
            yield number


KEPT = []


def ends_in_any_order(shop):
    assert len(list(zip(written_by(shop, 2), written_by(shop, 3), strict=True))) == 2


def is_kept(shop):
    KEPT.append(written_by(shop, 2))
    next(KEPT[-1])


def is_kept_with_capture_off(shop):
    def off():
        with shop.audit_logger.disable():
            yield

    KEPT.append(off())
    next(KEPT[-1])


def ends_elsewhere(shop):
    generator = written_by(shop, 2)
    copy_context().run(next, generator)
    generator.close()


@pytest.mark.parametrize("generate", [ends_in_any_order, is_kept, is_kept_with_capture_off, ends_elsewhere])
def test_what_a_generator_says_is_not_said_of_the_next_request(shop, generate):
    """A block of context() or disable() in a generator is over with its request, in whatever order they end."""
    with shop.app.test_request_context("/", headers=logged_in_as(1)):
        generate(shop)
        shop.db.session.commit()
    seen = len(shop.activities())
    for name in ("next", "after next"):
        with shop.app.test_request_context("/", headers=logged_in_as(1)):
            rename(shop, name)
            shop.db.session.commit()
    assert who(shop)[seen:] == [GRACE] * 2
    assert not any("job" in a.transaction.context for a in shop.activities()[seen:])
    KEPT.clear()


def test_generators_that_end_in_any_order_leave_nothing_in_their_request(shop):
    """After the generators the request is itself again."""
    with shop.app.test_request_context("/", headers=logged_in_as(1)):
        ends_in_any_order(shop)
        rename(shop, "after")
        shop.db.session.commit()
    assert who(shop)[-1] == GRACE


def test_what_is_said_counts_in_the_contexts_inside(shop):
    """A job may enter context() before or after it pushes contexts, call its own pages, or hand it to a thread."""
    audit_logger, names = shop.audit_logger, count()

    def write():
        rename(shop, str(next(names)))
        shop.db.session.commit()

    @shop.app.post("/written")
    def written():
        write()
        return "done"

    def nested():
        with shop.app.app_context():
            write()
        with shop.app.test_request_context("/"):
            write()
        assert shop.app.test_client().post("/written").text == "done"

    with audit_logger.context(actor=1):
        nested()
        with shop.app.app_context(), audit_logger.context(actor=2):
            write()
            nested()
            handed = copy_context()
    # the thread outlives the context it was started in
    with ThreadPoolExecutor(1) as pool:
        pool.submit(handed.run, write).result(20)
        pool.submit(handed.run, nested).result(20)
    assert [actor for actor, _ in who(shop)] == [1] * 3 + [2] * 8


def test_threads_do_not_share_an_actor(shop):
    """Threads that write at the same time through one pool each have their own actor; a new thread has none."""
    barrier = threading.Barrier(4, timeout=20)
    errors = []

    def work(number):
        try:
            with shop.app.app_context(), shop.audit_logger.context(actor=number or None):
                for round_ in range(10):
                    barrier.wait()
                    with shop.db.engine.begin() as connection:
                        connection.execute(
                            sa.text("INSERT INTO loose VALUES (:n, :r)"), {"n": number, "r": str(round_)}
                        )
        except Exception as error:
            errors.append(error)
            barrier.abort()

    with shop.audit_logger.context(actor=9):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert len(shop.activities()) == 40
    assert {(a.changed_data["a"] or None) == a.transaction.actor_id for a in shop.activities()} == {True}


def test_greenlets_do_not_share_an_actor(shop):
    """Greenlets of gevent that take turns in the middle of their transactions each have their own actor."""
    gevent = pytest.importorskip("gevent")

    def work(number):
        with shop.app.app_context(), shop.audit_logger.context(actor=number):
            for round_ in range(5):
                with shop.db.engine.begin() as connection:
                    for part in range(2):
                        gevent.sleep(0)
                        connection.execute(
                            sa.text("INSERT INTO loose VALUES (:n, :r)"), {"n": number, "r": f"{round_} {part}"}
                        )

    gevent.joinall([gevent.spawn(work, number) for number in range(1, 5)], raise_error=True)
    assert len(shop.activities()) == 40
    assert all(a.changed_data["a"] == a.transaction.actor_id for a in shop.activities())


def test_a_pooled_connection_brings_no_actor(create_app):
    """A connection that one actor used is used by the next actor, by nobody, and after an error, without a trace."""
    app = create_app(db_options={"engine_options": {"pool_size": 1, "max_overflow": 0}})
    insert = sa.text("INSERT INTO tags (name) VALUES (:name)")
    with app.app.app_context():
        for actor in (1, None, 2):
            with app.audit_logger.context(actor=actor), app.db.engine.begin() as connection:
                connection.execute(insert, {"name": str(actor)})
        with app.audit_logger.context(actor=3), pytest.raises(sa.exc.DBAPIError), app.db.engine.begin() as connection:
            connection.execute(insert, {"name": "gone"})
            connection.execute(sa.text("SELECT 1 / 0"))
        with app.db.engine.begin() as connection:
            connection.execute(insert, {"name": "after"})
        # left without commit or rollback, as when an object is collected
        connection = app.db.engine.raw_connection()
        with app.audit_logger.context(actor=4):
            app.audit_logger.stamp(connection)
        connection.close()
        with app.db.engine.begin() as connection:
            connection.execute(insert, {"name": "last"})
    assert [actor for actor, _ in who(app)] == [1, None, 2, None, None]


# Errors


def test_errors_at_every_point(shop):
    """After an error in flush, statement, commit or callback the next write has its own actor again."""
    session = shop.db.session
    with shop.app.app_context():
        with shop.audit_logger.context(actor=1):
            session.add(shop.models.Thing(name="a"))
            with pytest.raises(sa.exc.IntegrityError):
                session.flush()
            session.rollback()
            with pytest.raises(sa.exc.DBAPIError):
                session.execute(sa.text("UPDATE things SET nothing = 1"))
            with pytest.raises(sa.exc.DBAPIError):
                rename(shop, "in an aborted transaction")
            session.rollback()
        rename(shop, "x")
        session.commit()
        with shop.audit_logger.context(actor=2):
            session.execute(
                sa.text("ALTER TABLE parts ALTER CONSTRAINT parts_thing_id_fkey DEFERRABLE INITIALLY DEFERRED")
            )
            session.commit()
            session.execute(sa.text("INSERT INTO parts (thing_id) VALUES (99)"))
            with pytest.raises(sa.exc.IntegrityError):
                session.commit()
            session.rollback()
        rename(shop, "y")
        session.commit()
    assert who(shop) == [NOBODY, NOBODY]


@pytest.mark.parametrize("part", ["get_actor_id", "get_client_addr", "get_actor_label"])
def test_a_callback_that_fails_fails_nothing(create_app, part):
    """A callback that raises makes its part unknown; the write, and what the others say, is not affected."""

    def fail():
        raise RuntimeError("no idea")

    callbacks = {"get_actor_id": lambda: 7, "get_client_addr": lambda: "10.0.0.1", "get_actor_label": lambda: "Seven"}
    app = create_app(**callbacks | {part: fail})
    with app.app.app_context():
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    (t,) = app.transactions()
    said = {
        "get_actor_id": t.actor_id,
        "get_client_addr": t.client_addr and str(t.client_addr),
        "get_actor_label": t.actor_label,
    }
    expected = {"get_actor_id": 7, "get_client_addr": "10.0.0.1", "get_actor_label": "Seven", part: None}
    if part == "get_actor_id":
        expected["get_actor_label"] = None
    assert {k: v and str(v).removesuffix("/32") for k, v in said.items()} == {
        k: v and str(v) for k, v in expected.items()
    }


# Kinds of users


def make_user_cls(db, *columns, label="name", **attributes):
    key = {column.name: column for column in columns}
    return type(
        "User",
        (UserMixin, db.Model),
        {
            "__tablename__": "users",
            "__table_args__": (AUDITED,),
            **key,
            label: sa.Column(sa.Text),
            "get_id": lambda self: "token that is no key",
            **attributes,
        },
    )


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
KEYS = {
    "other name": ([sa.Column("user_no", sa.Integer, primary_key=True)], {"user_no": 7}, 7),
    "text": ([sa.Column("login", sa.Text, primary_key=True)], {"login": "grace@x"}, "grace@x"),
    "uuid": ([sa.Column("id", sa.Uuid, primary_key=True)], {"id": UUID}, UUID),
    "composite": (
        [sa.Column("tenant", sa.Text, primary_key=True), sa.Column("no", sa.Integer, primary_key=True)],
        {"tenant": 'a"b', "no": 7},
        '["a\\"b", "7"]',
    ),
    "column name": ([], {"pk": 7}, 7),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_users(create_app, kind):
    """The key of the actor is the key of the user's row, whatever it is called, typed or composed of."""
    columns, values, expected = KEYS[kind]
    more = {} if columns else {"pk": sa.Column("user_id", sa.Integer, primary_key=True)}

    def declare(db):
        class Thing(db.Model):
            __tablename__ = "things"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.BigInteger, primary_key=True)

        return SimpleNamespace(
            User=make_user_cls(db, *[c._copy() for c in columns], **more),
            Thing=Thing,
        )

    app = create_app(declare=declare)
    with app.app.test_request_context("/"):
        app.db.session.add(app.models.User(name="Grace", **values))
        app.db.session.commit()
        login_user(app.db.session.scalars(sa.select(app.models.User)).one())
        app.db.session.add(app.models.Thing())
        app.db.session.commit()
        app.db.session.add(app.models.Thing())
        app.db.session.commit()
    assert who(app, table_name="things") == [(expected, "Grace")] * 2
    if kind != "composite":
        with app.app.app_context():
            t = app.audit_logger.transaction_cls
            assert [x.actor.name for x in app.db.session.scalars(sa.select(t).where(t.actor_id.is_not(None)))] == [
                "Grace"
            ] * 2


def declare_two_kinds_of_users(db):
    class Person(UserMixin):
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)

        def get_id(self):
            return f"{type(self).__name__}-{self.id}"

    class User(Person, db.Model):
        __tablename__ = "users"

    class Admin(User):
        __tablename__ = "admins"
        id = sa.Column(sa.ForeignKey("users.id"), primary_key=True)

    class Customer(Person, db.Model):
        __tablename__ = "customers"

    class Tag(db.Model):
        __tablename__ = "tags"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)

    return SimpleNamespace(User=User, Customer=Customer, Admin=Admin, Tag=Tag)


@pytest.mark.parametrize("way", ["login", "loader", "callback", "context"])
def test_the_key_of_another_class_names_nobody_of_the_actor_class(create_app, way):
    """A customer with the key of a member of staff is recorded by class and key, and not as that member."""
    options = {"get_actor_id": lambda: current_user._get_current_object()} if way == "callback" else {}
    app = create_app(declare=declare_two_kinds_of_users, **options)
    session, models = app.db.session, app.models

    @LoginManager(app.app).user_loader
    def load(key):
        name, _, number = key.partition("-")
        return session.get(getattr(models, name), int(number))

    with app.app.app_context():
        session.add_all([models.Admin(name="boss"), models.Customer(name="carl")])
        session.commit()

    def write(model, *, actor):
        with app.app.test_request_context("/"):
            who = session.get(model, 1)
            if way == "loader":
                flask.session["_user_id"] = who.get_id()
            elif way != "context":
                login_user(who)
            with app.audit_logger.context(**{"actor": who} if way == "context" else {}):
                session.add(models.Tag())
                session.commit()
                session.add(models.Tag())  # by now the user is expired
                session.commit()
        assert who_acted(app)[-2:] == [actor] * 2

    carl = (None, "carl", {"class": "Customer", "key": "1"})
    write(models.User, actor=(1, "boss", None))
    write(models.Customer, actor=carl)
    write(models.Admin, actor=(1, "boss", None))


def who_acted(app):
    found = app.activities(table_name="tags")
    return [(t.actor_id, t.actor_label, t.context.get("actor")) for t in (a.transaction for a in found)]


def test_an_impersonator_of_another_class(create_app):
    """The key of an impersonator who is none of the actor class is not its ``id``, by which the pages look for it."""
    app = create_app(declare=declare_two_kinds_of_users)
    carl = app.models.Customer(id=1, name="carl")
    with app.app.app_context(), app.audit_logger.context(actor=7, impersonator=carl):
        app.db.session.add(app.models.Tag())
        app.db.session.commit()
    assert app.transactions()[-1].context == {"impersonator": {"label": "carl", "class": "Customer", "key": "1"}}


def test_the_name_of_a_key_is_not_taken_from_another_class(create_app):
    """If get_actor_id returns a key, the current user gives its name only if it is of the actor class."""
    app = create_app(declare=declare_two_kinds_of_users, get_actor_id=lambda: 1)
    for user, label in ((app.models.Customer(id=1, name="carl"), None), (app.models.User(id=1, name="boss"), "boss")):
        with app.app.test_request_context("/"):
            login_user(user)
            app.db.session.add(app.models.Tag())
            app.db.session.commit()
        assert who_acted(app)[-1] == (1, label, None)


def test_the_name_of_a_key_is_not_that_of_another_user(create_app):
    """If get_actor_id returns the key of somebody else than the current user, that one has no name here."""
    app = create_app(declare=declare_two_kinds_of_users, get_actor_id=lambda: 2)
    for key, label in ((1, None), (2, "boss")):
        with app.app.test_request_context("/"):
            login_user(app.models.User(id=key, name="boss"))
            app.db.session.add(app.models.Tag())
            app.db.session.commit()
        assert who_acted(app)[-1] == (2, label, None)


@pytest.mark.parametrize("state", ["expired", "detached", "detached and expired", "deleted", "row gone"])
def test_states_of_the_current_user(shop, state):
    """An expired, detached or deleted current_user is still named, and nothing is loaded for it."""
    with shop.app.test_request_context("/", headers=logged_in_as(2)):
        session = shop.db.session
        ada = current_user._get_current_object()
        rename(shop, "before")
        session.commit()
        if state != "detached":
            session.expire(ada) if state != "deleted" else None
        else:
            session.refresh(ada)
        if state.startswith("detached"):
            session.expunge(ada)
        elif state == "deleted":
            session.delete(session.merge(ada))
            session.flush()
        elif state == "row gone":
            session.execute(sa.text("DELETE FROM users WHERE id = 2"))
        rename(shop, "after")
        if state in ("deleted", "row gone"):
            session.execute(sa.text("INSERT INTO users VALUES (2, 'Ada')"))
        session.commit()
    assert who(shop) == [ADA, ADA]


LOADERS = ["plain", "queries", "flushes", "commits", "rolls back", "removes", "raises", "writes", "none"]


@pytest.mark.parametrize("asked", [False, True], ids=["not asked", "asked"])
@pytest.mark.parametrize("kind", LOADERS)
def test_user_loaders(create_app, kind, asked):
    """A user_loader that queries, commits, writes or fails disturbs neither flush nor transaction of the request.

    Its commit is left to the write that is under way. Only one that fails, or closes the session, makes nobody known.
    """
    app = create_app()
    session = app.db.session
    with app.app.app_context():
        session.add(app.models.User(name="Grace"))
        session.commit()

    @LoginManager(app.app).user_loader
    def load(user_id):
        found = session.get(app.models.User, int(user_id))
        if kind == "queries":
            session.scalars(sa.select(app.models.Tag)).all()
        elif kind == "flushes":
            session.flush()
        elif kind == "commits":
            session.commit()
        elif kind == "rolls back":
            session.rollback()
        elif kind == "removes":
            session.remove()
        elif kind == "raises":
            raise RuntimeError("broken loader")
        elif kind == "writes":
            session.add(app.models.Tag(name="seen"))
            session.commit()
        return None if kind == "none" else found

    @app.app.post("/write")
    def write():
        if asked:
            str(current_user.is_authenticated)
        session.add(app.models.Article(title="one", tags=[app.models.Tag(name="new")]))
        session.flush()
        session.execute(sa.text("UPDATE articles SET title = 'two'"))
        session.commit()
        return "done"

    client = app.app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"] = "1"
    if kind == "raises" and asked:
        with pytest.raises(RuntimeError):
            client.post("/write")
        return
    assert client.post("/write").text == "done"
    expected = NOBODY if kind in ("raises", "none") or (kind == "removes" and not asked) else GRACE
    written = [a for a in app.activities() if a.table_name != "users" and a.changed_data.get("name") != "seen"]
    assert [(a.verb, a.table_name) for a in written] == [
        ("insert", "articles"),
        ("insert", "tags"),
        ("insert", "article_tags"),
        ("update", "articles"),
    ]
    assert {(a.transaction.actor_id, a.transaction.actor_label) for a in written} == {expected}
    # what the loader itself writes is written by nobody yet, or by the user it loads
    assert {a.transaction.actor_id for a in app.activities() if a.changed_data.get("name") == "seen"} <= {None, 1}


@pytest.mark.parametrize("callback", [lambda: current_user.id, lambda: current_user, lambda: current_user.get_id()])
def test_a_callback_that_asks_for_the_current_user(create_app, callback):
    """get_actor_id may use current_user although nobody asked before, and the request then loads its own."""
    app = create_app(get_actor_id=callback)
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        assert current_user in app.db.session
        app.db.session.add(app.models.Tag(name="y"))
        app.db.session.commit()
    assert who(app, table_name="tags") == [GRACE] * 2


def test_a_callback_that_uses_g(create_app):
    """get_actor_id may read what a before_request function left in g; it never sees another application context."""
    app = create_app(get_actor_id=lambda: g.user_id)
    with app.app.test_request_context("/"):
        g.user_id = 5
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert [actor for actor, _ in who(app)] == [5]


@pytest.mark.parametrize(
    "engine_options",
    [{"pool_size": 1, "max_overflow": 0, "pool_timeout": 3}, {"poolclass": sa.pool.StaticPool}],
    ids=["one", "shared"],
)
def test_a_pool_of_one_connection(create_app, engine_options):
    """The user is loaded on the connection that writes, so that one is enough."""
    app = create_app(db_options={"engine_options": engine_options})
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        app.db.session.execute(sa.insert(app.models.Tag), [{"name": "y"}])
        app.db.session.commit()
    assert who(app, table_name="tags") == [GRACE] * 2


def test_anonymous_and_no_login(shop, create_app):
    """Without a user, or without Flask-Login in the application, nobody is named and nothing fails."""
    with shop.app.test_request_context("/"):
        assert not current_user.is_authenticated
        rename(shop, "x")
        shop.db.session.commit()
    assert who(shop) == [NOBODY]
    app = create_app()
    del app.app.login_manager
    with app.app.test_request_context("/"):
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert who(app) == [NOBODY]


def test_self_registration(blog):
    """Whoever signs up is nobody at the insert of the own row, and somebody from the login on."""
    with blog.app.test_request_context("/register", method="POST"):
        new = blog.models.User(name="Grace")
        blog.db.session.add(new)
        blog.db.session.flush()
        login_user(new)
        new.age = 30
        blog.db.session.commit()
    assert who(blog) == [NOBODY, GRACE]


def test_self_registration_with_a_key_of_the_client(create_app):
    """A user with a key made by the application may be logged in before the flush: the insert is then its own."""

    def declare(db):
        return SimpleNamespace(User=make_user_cls(db, sa.Column("id", sa.Uuid, primary_key=True)))

    app = create_app(declare=declare)
    with app.app.test_request_context("/register", method="POST"):
        new = app.models.User(id=UUID, name="Grace")
        login_user(new)
        app.db.session.add(new)
        app.db.session.commit()
    assert who(app) == [(UUID, "Grace")]


def test_self_deletion(blog):
    """A user with history can be deleted, also by itself, and the history still names it."""
    with blog.app.app_context():
        blog.db.session.add(blog.models.User(name="Grace"))
        blog.db.session.commit()
    with blog.app.test_request_context("/me", method="DELETE", headers=logged_in_as(1)):
        me = current_user._get_current_object()
        me.age = 30
        blog.db.session.commit()
        blog.db.session.delete(me)
        blog.db.session.flush()
        blog.db.session.add(blog.models.Tag(name="left behind"))
        blog.db.session.commit()
        blog.db.session.add(blog.models.Tag(name="after"))
        blog.db.session.commit()
    assert who(blog)[1:] == [GRACE] * 4
    with blog.app.app_context():
        last = blog.db.session.get(blog.audit_logger.transaction_cls, blog.transactions()[-1].id)
        assert (last.actor, last.actor_id, last.actor_label) == (None, 1, "Grace")


# Names


def test_labels(create_app):
    """The name is str() of the user if its class has one, else display_name, full_name, name and so on."""

    def declare(db, **attributes):
        return SimpleNamespace(User=make_user_cls(db, sa.Column("id", sa.Integer, primary_key=True), **attributes))

    def boom(self):
        raise RuntimeError("needs a session")

    cases = [
        ({"label": "name"}, "Grace"),
        ({"label": "display_name"}, "Grace"),
        ({"label": "email"}, "Grace"),
        ({"label": "callsign"}, None),
        ({"label": "callsign", "__str__": lambda self: f"agent {self.callsign}"}, "agent Grace"),
        ({"label": "name", "__str__": boom}, "Grace"),
    ]
    for attributes, expected in cases:
        column = attributes.get("label", "name")
        app = create_app(declare=lambda db, attributes=attributes: declare(db, **attributes))
        with app.app.test_request_context("/"):
            new = app.models.User(id=1, **{column: "Grace"})
            login_user(new)
            app.db.session.add(new)
            app.db.session.commit()
        assert who(app) == [(1, expected)], attributes
        with app.app.app_context():
            app.db.drop_all()


def test_a_label_that_would_load(shop):
    """A __str__ that needs a row that isn't loaded is not asked, and nothing is loaded for it."""
    with shop.app.app_context():
        engine = shop.db.engine
    with statements(engine) as sent, shop.app.test_request_context("/", headers=logged_in_as(1)):
        assert current_user.name == "Grace"
        rename(shop, "x")
        shop.db.session.commit()  # expires the user
        sent.clear()
        rename(shop, "y")
        assert [s for s in sent if "users" in s] == []
        shop.db.session.commit()
    assert who(shop) == [GRACE, GRACE]


def test_get_actor_label(create_app):
    """The callback names the actor, in a request and outside of one."""
    app = create_app(get_actor_id=lambda: 7, get_actor_label=lambda: "Agent \N{SNOWMAN}")
    with app.app.app_context():
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
    assert who(app) == [(7, "Agent \N{SNOWMAN}")]


def test_impersonation(shop):
    """Whoever acts in the name of somebody else is recorded beside that one."""
    request_ = shop.app.test_request_context("/", headers=logged_in_as(2))
    with request_, shop.audit_logger.context(impersonator=user(shop, 1)):
        rename(shop, "x")
        shop.db.session.commit()
    (transaction,) = shop.transactions()
    assert (transaction.actor_id, transaction.actor_label) == ADA
    assert transaction.context["impersonator"] == {"id": "1", "label": "Grace"}


# Outside requests


def test_commands_are_named(shop):
    """Changes made by a flask command carry its name; a command may say more."""

    @shop.app.cli.group("prices")
    def prices():
        pass

    @prices.command("raise")
    @click.argument("percent")
    def raise_(percent):
        rename(shop, "x")
        shop.db.session.commit()
        with shop.audit_logger.context(actor=user(shop, 1), reason=f"{percent} %"):
            rename(shop, "y")
            shop.db.session.commit()

    result = shop.app.test_cli_runner().invoke(args=["prices", "raise", "5"])
    assert result.exception is None, result.output
    assert who(shop) == [NOBODY, GRACE]
    assert [t.context for t in shop.transactions()] == [
        {"command": "prices raise"},
        {"command": "prices raise", "reason": "5 %"},
    ]


# Several applications


def test_two_applications_in_one_process(create_app, server):
    """Two applications with their own loggers and databases never see each other's actors or activities."""
    with server.database() as other_url:
        one, two = create_app(), create_app(url=other_url, get_actor_id=lambda: 2)
        with one.app.app_context(), one.audit_logger.context(actor=1):
            one.db.session.add(one.models.Tag(name="one"))
            with two.app.app_context():
                two.db.session.add(two.models.Tag(name="two"))
                two.db.session.commit()
            one.db.session.commit()
        assert (who(one), who(two)) == ([(1, None)], [(2, None)])
        assert lines(one.activities()) == ["insert tags 1: id=1 name=one"]
        two.dispose()


def test_several_binds(create_app, server):
    """Tables of another bind are captured by the log of that database, with the same actor."""
    with server.database() as other_url:

        def declare(db):
            class Event(db.Model):
                __tablename__ = "events"
                __bind_key__ = "other"
                __table_args__ = (AUDITED,)
                id = sa.Column(sa.BigInteger, primary_key=True)

            class Tag(db.Model):
                __tablename__ = "tags"
                __table_args__ = (AUDITED,)
                id = sa.Column(sa.BigInteger, primary_key=True)

            return SimpleNamespace(Event=Event, Tag=Tag)

        app = create_app(declare=declare, config={"SQLALCHEMY_BINDS": {"other": other_url}})
        with app.app.app_context(), app.audit_logger.context(actor="7"):
            app.db.session.add_all([app.models.Event(), app.models.Tag()])
            app.db.session.commit()
        with app.app.app_context(), app.db.engines["other"].connect() as connection:
            rows = connection.execute(
                sa.text("SELECT a.table_name, t.actor_id FROM activity a JOIN transaction t ON t.id = a.transaction_id")
            ).all()
        assert [tuple(row) for row in rows] == [("events", "7")]
        assert who(app) == [("7", None)]
        app.dispose()


def test_a_model_with_relations_in_its_name(create_app):
    """A __str__ that lazy-loads a relation is answered in the middle of a flush without harm."""

    def declare(db):
        class Team(db.Model):
            __tablename__ = "teams"
            id = sa.Column(sa.Integer, primary_key=True)
            name = sa.Column(sa.Text)

        class User(UserMixin, db.Model):
            __tablename__ = "users"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)
            team_id = sa.Column(sa.ForeignKey("teams.id"))
            team = relationship(Team)

            def __str__(self):
                return f"member of {self.team.name}"

        return SimpleNamespace(User=User, Team=Team)

    app = create_app(declare=declare)
    with app.app.app_context():
        app.db.session.add(app.models.User(id=1, team=app.models.Team(name="blue")))
        app.db.session.commit()
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        current_user.get_id()
        app.db.session.add(app.models.User(id=2))
        app.db.session.commit()
    assert who(app)[1:] == [(1, "member of blue")]


@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # the env.py of Flask-Migrate
def test_data_migrations_are_named(blog, tmp_path):
    """What a migration changes in audited tables is recorded with the command that ran it."""
    flask_migrate = pytest.importorskip("flask_migrate")
    folder = tmp_path / "migrations"
    flask_migrate.Migrate(blog.app, blog.db, directory=str(folder))
    with blog.app.app_context():
        blog.db.session.add(blog.models.Tag(name="old"))
        blog.db.session.commit()
        flask_migrate.init(str(folder))
        flask_migrate.revision(str(folder), message="rename")
    environment = folder / "env.py"
    # it would switch off the loggers of all other tests
    environment.write_text(environment.read_text().replace("fileConfig(config.config_file_name)", "pass"))
    (migration,) = (folder / "versions").glob("*.py")
    upgrade = "def upgrade():\n    op.execute(\"UPDATE tags SET name = 'new'\")"
    migration.write_text(migration.read_text().replace("def upgrade():\n    pass", upgrade))
    blog.app.cli.add_command(flask_migrate.cli.db)
    result = blog.app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exception is None, result.output
    assert [(a.verb, a.transaction.context) for a in blog.activities()] == [
        ("insert", {}),
        ("update", {"command": "db upgrade"}),
    ]


def test_everything_in_another_schema(create_app, outside):
    """Users, audited tables and the log may each be in a schema of their own."""
    with outside.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA people; CREATE SCHEMA sales")

    def declare(db):
        class User(UserMixin, db.Model):
            __tablename__ = "users"
            __table_args__ = (AUDITED | {"schema": "people"},)
            id = sa.Column(sa.BigInteger, primary_key=True)
            name = sa.Column(sa.Text)

        class Tag(db.Model):
            __tablename__ = "tags"
            __table_args__ = (AUDITED | {"schema": "sales"},)
            id = sa.Column(sa.BigInteger, primary_key=True)

        return SimpleNamespace(User=User, Tag=Tag)

    app = create_app(declare=declare, schema="audit_logs")
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()
    with app.app.test_request_context("/", headers=logged_in_as(1)):
        app.db.session.add(app.models.Tag())
        app.db.session.commit()
        transaction = app.db.session.scalars(sa.select(app.audit_logger.transaction_cls).filter_by(actor_id=1)).one()
        assert transaction.actor.name == "Grace"
    assert [(a.schema, a.table_name) for a in app.activities()] == [("people", "users"), ("sales", "tags")]
    assert who(app) == [NOBODY, GRACE]


def test_the_current_user_can_be_given_as_it_is(shop):
    """``current_user`` itself, not only the object behind it, and a composite key as a tuple."""
    with shop.app.test_request_context("/", headers=logged_in_as(1)):
        with shop.audit_logger.context(actor=current_user, impersonator=current_user):
            rename(shop, "x")
        shop.db.session.commit()
    assert who(shop) == [GRACE]
    assert shop.transactions()[0].context["impersonator"] == {"id": "1", "label": "Grace"}
    assert identify((1, "b")).id == '["1", "b"]'
    assert identify((None, 2)).id is None


# Names of keys alone, as a token brings them


@pytest.mark.parametrize("way", ["get_actor_id", "context", "impersonator"])
def test_a_key_alone_has_the_name_of_who_is_loaded(create_app, way):
    """The actor is in the session, as most views load it, so nothing is asked of the database for the name."""
    app = create_app(**({"get_actor_id": lambda: 1} if way == "get_actor_id" else {}))
    with app.app.app_context():
        app.db.session.add(app.models.User(id=1, name="Grace"))
        app.db.session.commit()
        block = {"context": {"actor": 1}, "impersonator": {"actor": 2, "impersonator": 1}}.get(way, {})
        app.db.session.remove()
        for load in (False, True):
            with statements(app.db.engine) as sent:
                grace = app.db.session.get(app.models.User, 1) if load else None
                sent.clear()
                with app.audit_logger.context(**block):
                    app.db.session.execute(sa.insert(app.models.Tag).values(name="x"))
                assert [s for s in sent if "users" in s] == []
                app.db.session.commit()
                assert grace is None or grace.name == "Grace"
                app.db.session.remove()
    unnamed, named = app.transactions()[-2:]
    if way == "impersonator":
        assert [t.context["impersonator"]["label"] for t in (unnamed, named)] == [None, "Grace"]
        assert named.actor_label is None
    else:
        assert [t.actor_label for t in (unnamed, named)] == [None, "Grace"]


@pytest.mark.parametrize(("way", "has_str"), [("loaded", False), ("loaded", True), ("expired", False)])
def test_who_renames_themself_does_it_by_the_old_name(create_app, way, has_str):
    def declare(db):
        attributes = {"__str__": lambda self: f"agent {self.name}"} if has_str else {}
        user_cls = make_user_cls(db, sa.Column("id", sa.Integer, primary_key=True), **attributes)
        return SimpleNamespace(User=user_cls)

    app = create_app(declare=declare)
    LoginManager(app.app).user_loader(lambda key: app.db.session.get(app.models.User, int(key)))
    with app.app.test_request_context("/"):
        grace = app.models.User(id=1, name="Grace")
        app.db.session.add(grace)
        app.db.session.commit()
        login_user(grace)
        if way == "expired":
            app.db.session.execute(sa.insert(app.models.User).values(id=2, name="Ada"))
            app.db.session.commit()
        else:
            assert grace.name == "Grace"
        grace.name = "Grace Hopper"
        app.db.session.flush()
        assert grace.name == "Grace Hopper"
        app.db.session.commit()
        assert grace.name == "Grace Hopper"
    assert who(app)[-1] == (1, "agent Grace" if has_str else "Grace")
    assert app.activities()[-1].changed_data == {"name": "Grace Hopper"}


def test_a_callback_that_fails_is_named_each_time_and_traced_once(create_app, caplog):
    def who_is_it():
        raise RuntimeError("no idea")

    app = create_app(get_actor_id=who_is_it)
    with app.app.app_context():
        for name in "ab":
            app.db.session.add(app.models.Tag(name=name))
            app.db.session.commit()
    lines = [r for r in caplog.records if "recorded as unknown" in r.getMessage()]
    assert len(lines) >= 2
    assert all("who_is_it failed (RuntimeError: no idea)" in r.getMessage() for r in lines)
    assert [bool(r.exc_info) for r in lines] == [True] + [False] * (len(lines) - 1)
