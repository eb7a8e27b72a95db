"""Promise P2: what a database transaction was told, and what of it PostgreSQL forgets, never names the wrong person."""

from __future__ import annotations

import flask
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from tests.capture.statements import statements
from tests.capture.tables import run
from tests.support.server import plain_engine

INSERT = sa.text("INSERT INTO loose VALUES (1, :b)")
TOUCH = sa.text("SELECT * FROM touching")


@pytest.fixture
def touching(shop):
    """The shop with a view whose function writes, which the text of a query on it doesn't tell."""
    engine = plain_engine(shop.app.config["SQLALCHEMY_DATABASE_URI"])
    run(
        engine,
        "CREATE FUNCTION touched() RETURNS int LANGUAGE sql AS "
        "$$ INSERT INTO loose VALUES (1, 'touched') RETURNING 1 $$; CREATE VIEW touching AS SELECT touched() AS n",
    )
    yield shop
    run(engine, "DROP VIEW touching; DROP FUNCTION touched")


def actors(application):
    return [a.transaction.actor_id for a in application.activities()]


def savepoint(connection):
    nested = connection.begin_nested()
    connection.execute(INSERT, {"b": "gone"})
    nested.rollback()


def savepoint_as_text(connection):
    connection.execute(sa.text('SAVEPOINT "A b"'))
    connection.execute(INSERT, {"b": "gone"})
    connection.execute(sa.text('ROLLBACK WORK TO SAVEPOINT "A b"'))


def released(connection):
    connection.execute(sa.text("SAVEPOINT a"))
    connection.execute(INSERT, {"b": "kept"})
    connection.execute(sa.text("RELEASE a"))


def prepare(connection):
    connection.execute(sa.text("PREPARE nothing AS SELECT 1"))
    connection.execute(sa.text("DEALLOCATE nothing"))


def several_at_once(connection):
    connection.exec_driver_sql("SELECT 1; SAVEPOINT a; SELECT 2; ROLLBACK TO a")


def reset(connection):
    connection.execute(sa.text("RESET ALL"))


def unseen(connection):
    connection.execute(sa.text("SAVEPOINT a"))
    with connection.connection.cursor() as cursor:
        cursor.execute("SAVEPOINT b")
    connection.execute(sa.text("ROLLBACK TO b"))


INTERRUPTIONS = [savepoint, savepoint_as_text, released, prepare, several_at_once, reset, unseen]


@pytest.mark.parametrize("interrupt", INTERRUPTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("then", [1, 2, None])
def test_no_query_runs_under_the_name_of_who_wrote_before(touching, interrupt, then):
    """A writes, something happens to the settings, A, B or nobody acts: a query that writes secretly is theirs."""
    with touching.app.app_context(), touching.db.engine.begin() as connection:
        with touching.audit_logger.context(actor=1):
            connection.execute(INSERT, {"b": "a"})
            interrupt(connection)
        if then is None:
            connection.execute(TOUCH).all()
        else:
            with touching.audit_logger.context(actor=then):
                connection.execute(TOUCH).all()
    assert actors(touching)[-1] == then
    assert set(actors(touching)[:-1]) == {1}


@pytest.mark.parametrize("unseen_by", ["savepoint", "driver"])
def test_savepoints_bring_back_whom_they_knew(touching, unseen_by):
    """Actors change inside savepoints that are kept or undone; each write has the actor of its moment."""
    with touching.app.app_context(), touching.db.engine.connect() as connection:

        def write(actor):
            with touching.audit_logger.context(actor=actor):
                connection.execute(INSERT, {"b": str(actor)})

        connection.begin()
        outer = connection.begin_nested()
        write(1)
        inner = connection.begin_nested()
        write(2)
        inner.rollback()
        write(1)
        inner = connection.begin_nested()
        write(3)
        inner.commit()
        write(1)
        if unseen_by == "driver":
            connection.exec_driver_sql("SELECT 1; ROLLBACK TO SAVEPOINT sa_savepoint_1")
        else:
            outer.rollback()
        with touching.audit_logger.context(actor=4):
            connection.execute(TOUCH).all()
        write(1)
        connection.execute(TOUCH).all()
        connection.get_transaction().commit()
    # once that is undone, the transaction was told nothing: a query is sent as it is, and nobody is named for it
    assert actors(touching) == [None if unseen_by == "savepoint" else 4, 1, None]


def test_what_a_savepoint_undid_is_not_said_again(shop):
    """20 savepoints that are rolled back cost no setting: what was told before them still holds."""
    with shop.app.app_context(), statements(shop.db.engine) as sent, shop.audit_logger.context(actor=1):
        session = shop.db.session
        session.execute(INSERT, {"b": "first"})
        for _ in range(20):
            nested = session.begin_nested()
            session.execute(INSERT, {"b": "gone"})
            nested.rollback()
            session.execute(INSERT, {"b": "kept"})
        session.commit()
        assert sum("set_config" in s for s in sent) == 1
    assert actors(shop) == [1] * 21


def test_a_failed_statement_makes_sure(shop):
    """After an error only a savepoint that the driver undid can be what goes on: what it forgot is said again."""
    with shop.app.app_context(), shop.db.engine.begin() as connection, shop.audit_logger.context(actor=1):
        cursor = connection.connection.cursor()
        connection.execute(sa.text("SELECT 1"))
        cursor.execute("SAVEPOINT a")
        connection.execute(INSERT, {"b": "gone"})
        with pytest.raises(sa.exc.DBAPIError):
            connection.execute(sa.text("INSERT INTO loose VALUES ('x')"))
        cursor.execute("ROLLBACK TO a")
        connection.execute(INSERT, {"b": "kept"})
    assert actors(shop) == [1]


# Settings that somebody made for the whole session of a pooled connection

SETTINGS = {
    "switch": ("flask_audit_logger.enable_versioning", "false"),
    "context": ("flask_audit_logger.context", '{"actor_id": "2"}'),
    "transaction": ("flask_audit_logger.transaction", "(0,1) 1 1 {}"),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("by", ["driver", "text", "function"])
def test_a_setting_that_survives_in_the_pool_changes_nothing_for_others(touching, setting, by):
    """Whoever gets the connection next is logged, and by his own name."""
    name, value = SETTINGS[setting]
    with touching.app.app_context():
        with touching.db.engine.begin() as connection:
            driver = connection.connection.dbapi_connection
            if by == "driver":
                with connection.connection.cursor() as cursor:
                    cursor.execute(f"SET {name} = '{value}'")
            elif by == "text":
                connection.execute(sa.text(f"SET {name} = '{value}'"))
            else:
                connection.execute(sa.select(sa.func.set_config(name, value, False)))
        for actor in (1, None):
            with touching.audit_logger.context(actor=actor), touching.db.engine.begin() as connection:
                assert connection.connection.dbapi_connection is driver
                if by != "driver":
                    connection.execute(TOUCH).all()
                connection.execute(INSERT, {"b": "a"})
        touching.db.engine.dispose()
    assert actors(touching) == ([1, None] if by == "driver" else [1, 1, None, None])


@pytest.mark.parametrize(
    "command", ["VACUUM loose", "DROP INDEX CONCURRENTLY IF EXISTS nothing", "ALTER SYSTEM RESET ALL"]
)
def test_a_command_that_refuses_transactions_runs_in_autocommit(shop, command):
    """Even where somebody has made a setting of ours for the session, so that every other statement is told anew."""
    with shop.app.app_context(), shop.audit_logger.context(actor=1), shop.db.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET flask_audit_logger.enable_versioning = 'true'")
        connection.exec_driver_sql(command)
        connection.execute(INSERT, {"b": "a"})
        connection.exec_driver_sql("RESET flask_audit_logger.enable_versioning")
    assert actors(shop) == [1]


def test_a_connection_that_made_the_log_is_as_any_other(create_app):
    """The functions of the log speak of its settings; queries after them are sent as they are."""
    app = create_app(create_all=False)
    with app.app.app_context(), app.db.engine.connect() as connection:
        app.db.metadata.create_all(connection)
        connection.commit()
        connection.execute(sa.select(app.models.Tag.__table__)).all()
        setting = "SELECT current_setting('flask_audit_logger.context', true)"
        with connection.connection.cursor() as cursor:
            cursor.execute(setting)
            assert cursor.fetchone()[0] in ("", None)


def test_a_switch_of_the_role_or_the_connection_counts(shop, create_app):
    """What an administrator sets for a role or a connection is no leftover: an import that is not logged stays so."""
    url = shop.app.config["SQLALCHEMY_DATABASE_URI"]
    options = {"connect_args": {"options": "-c flask_audit_logger.enable_versioning=off"}}
    app = create_app(url, create_all=False, db_options={"engine_options": options})
    with app.app.app_context(), app.db.engine.begin() as connection:
        connection.execute(INSERT, {"b": "a"})
    assert shop.activities() == []


def test_a_switch_of_the_transaction_counts_until_it_ends(shop):
    """SET LOCAL as text of the session, as with release 2.0.0: a savepoint undoes it, the next one is logged."""
    off = sa.text("SET LOCAL flask_audit_logger.enable_versioning = 'false'")
    with shop.app.app_context():
        session = shop.db.session
        session.execute(off)
        session.execute(INSERT, {"b": "off"})
        with shop.audit_logger.context(actor=1):
            session.execute(INSERT, {"b": "off, too"})
        session.commit()
        session.execute(INSERT, {"b": "on"})
        nested = session.begin_nested()
        session.execute(off)
        session.execute(INSERT, {"b": "undone"})
        nested.rollback()
        with shop.audit_logger.context(actor=1):
            session.execute(INSERT, {"b": "on again"})
        session.commit()
    assert [a.changed_data["b"] for a in shop.activities()] == ["on", "on again"]


# Switched off for one session


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("scoped", [True, False])
def test_disable_of_a_session_is_of_that_session_only(shop, begun, scoped):
    """Other sessions and connections of the thread go on being logged, with what was said around."""
    with shop.app.app_context():
        ours = shop.db.session if scoped else Session(shop.db.engine)
        with Session(shop.db.engine) as other, shop.db.engine.connect() as connection:
            if begun:
                for one in (ours, other, connection):
                    one.execute(INSERT, {"b": "before"})
            with shop.audit_logger.context(actor=7), shop.audit_logger.disable(ours):
                for name, one in (("ours", ours), ("other", other), ("connection", connection)):
                    one.execute(INSERT, {"b": name})
                with shop.audit_logger.context(reason="inside"):
                    ours.execute(INSERT, {"b": "ours inside"})
                    connection.execute(INSERT, {"b": "connection inside"})
                ours.commit()
                ours.execute(INSERT, {"b": "ours again"})
                with shop.audit_logger.disable(other):
                    other.execute(INSERT, {"b": "other off"})
                    ours.execute(INSERT, {"b": "ours still off"})
                with shop.audit_logger.disable():
                    connection.execute(INSERT, {"b": "all off"})
            for name, one in (("ours", ours), ("other", other), ("connection", connection)):
                one.execute(INSERT, {"b": name + " after"})
                one.commit()
        ours.close()
    expected = {"other", "connection", "connection inside", "ours after", "other after", "connection after"}
    found = [a.changed_data["b"] for a in shop.activities()]
    assert sorted(found) == sorted([*expected, *["before"] * (3 if begun else 0)])
    named = {a.changed_data["b"]: a.transaction.actor_id for a in shop.activities()}
    assert (named["other"], named["connection inside"], named["other after"]) == (7, 7, None)


# Two applications behind one WSGI server, which hand the request on


def test_the_next_application_of_a_cascade_names_its_own_user(create_app, server, driver):
    """An environ that a 404 of the first application has left behind says nothing of the second one's user."""
    from flask_login import UserMixin, current_user

    class Person(UserMixin):
        def __init__(self, id, name):
            self.id, self.name = id, name

    with server.database(driver) as url:
        first, second = create_app(), create_app(url)
        for application, name, status in ((first, "Grace", 404), (second, "Ada", 200)):

            def load(request, name=name):
                return Person("7", name)

            def page(application=application, status=status, **arguments):
                assert current_user.id == "7"
                application.db.session.add(application.models.Tag(name="x"))
                application.db.session.commit()
                return "", status

            application.app.login_manager.request_loader(load)
            application.app.add_url_rule(f"/<path:{name}>", f"page of {name}", page, methods=["POST"])

        def cascade(environ, start_response):
            found = []
            body = first.app.wsgi_app(environ, lambda status, headers, exc=None: found.append(status))
            list(body)
            assert found[0].startswith("404")
            return second.app.wsgi_app(environ, start_response)

        from werkzeug.test import Client

        assert Client(cascade).post("/a").status_code == 200
        (one,), (other,) = first.transactions(), second.transactions()
        second.dispose()
    assert (one.actor_label, one.context["endpoint"]) == ("Grace", "page of Grace")
    assert (other.actor_label, other.context["endpoint"]) == ("Ada", "page of Ada")


# What is kept from one statement to the next


def test_equal_contexts_are_not_the_same(shop):
    """1, True and 1.0 are equal in Python, and three things in JSON."""
    with shop.app.test_request_context("/"):
        for value in (1, True, 1.0):
            with shop.audit_logger.context(value=value):
                shop.db.session.execute(INSERT, {"b": "a"})
        shop.db.session.commit()
    assert [repr(t.context["value"]) for t in shop.transactions()] == ["1", "True", "1.0"]


@pytest.mark.parametrize("pushed", ["request", "application"])
def test_what_changes_within_a_request_is_seen(shop, pushed):
    """The user, the address, what the code says, and whether it is captured, from one statement to the next."""
    from flask_login import login_user, logout_user

    logger, session = shop.audit_logger, shop.db.session
    contexts = {"request": shop.app.test_request_context("/"), "application": shop.app.app_context()}
    with contexts[pushed]:

        def write():
            session.execute(INSERT, {"b": "a"})
            session.execute(INSERT, {"b": "b"})

        write()
        if pushed == "request":
            login_user(session.get(shop.models.User, 1))
            write()
            flask.request.remote_addr = "10.0.0.9"
            write()
            logout_user()
        with logger.context(actor=2):
            write()
            with logger.disable():
                write()
            with logger.context(reason="r"):
                write()
            write()
        write()
        session.commit()
    found = [(t.actor_id, t.client_addr and str(t.client_addr), t.context.get("reason")) for t in shop.transactions()]
    here = "10.0.0.9" if pushed == "request" else None
    rest = [(2, here, None), (2, here, "r"), (2, here, None), (None, here, None)]
    if pushed == "request":
        assert found == [(None, None, None), (1, None, None), (1, here, None), *rest]
    else:
        assert found == [(None, None, None), *rest]
    assert len(shop.activities()) == 2 * len(found)


def test_threads_that_share_a_request_keep_their_stamps_apart(create_app):
    """What one thread finds out while another one says something else is not taken for that."""
    import threading

    is_asked, may_answer = threading.Event(), threading.Event()

    def redact(facts):
        if not is_asked.is_set():
            is_asked.set()
            assert may_answer.wait(20)
        return {name: value for name, value in facts.items() if name != "method"}

    app = create_app(redact_request=redact)

    def write(reason, times, wait=None):
        with app.audit_logger.context(actor=1, reason=reason), app.db.engine.begin() as connection:
            for _ in range(times):
                connection.execute(sa.insert(app.models.Tag.__table__).values(name=reason))
                if wait is not None:
                    may_answer.set()
                    wait.join(20)
                    wait = None

    with app.app.test_request_context("/"):
        other = threading.Thread(target=flask.copy_current_request_context(lambda: write("one", 1)))
        other.start()
        assert is_asked.wait(20)
        write("two", 3, other)
    found = {(a.changed_data["name"], a.transaction.context["reason"]) for a in app.activities()}
    assert found == {("one", "one"), ("two", "two")}
    assert not any("method" in t.context for t in app.transactions())


# Marks


def test_marks_can_not_be_forged_through_the_context(shop):
    """Words of the marks are words as any others in a context, and a context says nothing of marks."""
    words = {"capture_off": ["public.things"], "rows_unread": 1, "unreadable": None, "marks": {"capture_off": ["x"]}}
    with shop.app.app_context():
        with shop.audit_logger.context(**words):
            shop.db.session.execute(INSERT, {"b": "a"})
        shop.db.session.commit()
        forged = '{"marks": {"capture_off": ["x"]}, "id": 7, "db_user": "x", "context": {"a": 1}}'
        with shop.db.engine.begin() as connection, connection.connection.cursor() as cursor:
            cursor.execute("SELECT set_config('flask_audit_logger.context', %s, true)", (forged,))
            cursor.execute("INSERT INTO loose VALUES (1, 'b')")
    one, other = shop.transactions()
    assert (one.marks, one.context) == ({}, words)
    assert (other.marks, other.context) == ({}, {"a": 1})
    assert other.id > one.id and other.db_user == one.db_user


# Names


@pytest.mark.parametrize("way", ["callback", "context", "context of a job", "context around"])
def test_a_user_object_that_a_commit_expired_keeps_its_name(create_app, way):
    """From the second transaction of a request on the key has its name, whoever gives the object."""
    app = create_app(get_actor_id=(lambda: flask.g.get("user")) if way == "callback" else None)
    with app.app.app_context():
        app.db.session.add(app.models.User(name="Grace"))
        app.db.session.commit()

    def write():
        for _ in range(2):
            app.db.session.add(app.models.Tag(name="x"))
            app.db.session.commit()

    pushed = app.app.app_context() if way == "context of a job" else app.app.test_request_context("/", method="POST")
    with pushed:
        user = app.db.session.get(app.models.User, 1)
        if way == "callback":
            flask.g.user = user
            write()
        elif way == "context around":
            with app.audit_logger.context(actor=user):
                write()
        else:
            app.db.session.commit()
            for _ in range(2):
                with app.audit_logger.context(actor=user):
                    write()
                with app.audit_logger.context(actor=user), app.db.engine.begin() as connection:
                    connection.execute(sa.insert(app.models.Tag).values(name="y"))
    found = {(t.actor_id, t.actor_label) for a in app.activities(table_name="tags") for t in [a.transaction]}
    assert found == {(1, "Grace")}
