"""What is recorded of a request beside its actor; and what it costs."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_login import current_user
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_audit_logger import AuditLogger
from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.settings import REQUEST_FACTS
from tests.capture.statements import statements
from tests.support.apps import logged_in_as
from tests.support.work import counted_calls

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {
    "X-Request-ID": "req-1",
    "User-Agent": "Mosaic/1.0",
    "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    "X-Forwarded-For": "203.0.113.9",
}
FACTS = {
    "method": "PUT",
    "url_rule": "/tags/<name>",
    "path": "/tags/7",
    "endpoint": "put_tag",
    "request_id": "req-1",
    "user_agent": "Mosaic/1.0",
    "trace_id": TRACE,
}


def put_tag(application, headers=None, **request):
    """Send a request that writes, and return the transaction row it made."""
    if "put_tag" not in application.app.view_functions:

        @application.app.put("/tags/<name>", endpoint="put_tag")
        def put(name):
            application.db.session.add(application.models.Tag(name=name))
            application.db.session.commit()
            return "done"

    response = application.app.test_client().put("/tags/7?secret=1", headers=headers or {}, **request)
    assert response.text == "done"
    return application.transactions()[-1]


def address(transaction):
    found = transaction.client_addr
    return None if found is None else str(found).removesuffix("/32").removesuffix("/128")


def test_facts(blog):
    """Method, URL rule, path without the query, endpoint, request id, user agent and trace id are recorded."""
    assert put_tag(blog, HEADERS).context == FACTS


@pytest.mark.parametrize("left_out", REQUEST_FACTS)
def test_each_fact_can_be_switched_off(create_app, left_out):
    """A fact that isn't in AUDIT_LOGGER_REQUEST_FACTS is not recorded."""
    app = create_app(config={"AUDIT_LOGGER_REQUEST_FACTS": [f for f in REQUEST_FACTS if f != left_out]})
    assert put_tag(app, HEADERS).context == {name: fact for name, fact in FACTS.items() if name != left_out}


def test_facts_can_all_be_switched_off_and_checked(create_app):
    """No fact at all is a choice, too; an unknown one is an error when the application is set up."""
    assert put_tag(create_app(config={"AUDIT_LOGGER_REQUEST_FACTS": []}), HEADERS).context == {}
    with pytest.raises(ConfigurationError, match="AUDIT_LOGGER_REQUEST_FACTS"):
        create_app(config={"AUDIT_LOGGER_REQUEST_FACTS": ["cookies"]}, create_all=False)


def test_the_header_of_the_request_id(create_app):
    """The request id is read from the configured header."""
    app = create_app(config={"AUDIT_LOGGER_REQUEST_ID_HEADER": "X-Amzn-Trace-Id"})
    assert put_tag(app, HEADERS | {"X-Amzn-Trace-Id": "Root=1"}).context["request_id"] == "Root=1"


def test_what_the_code_says_beats_the_request(blog):
    """A fact given to context() replaces the one of the request; anything JSON-like can be added."""
    said = blog.audit_logger.context(path="(batch)", ticket=7, tags=["a"], when=sa.text("1"))
    with blog.app.test_request_context("/x"), said:
        blog.db.session.add(blog.models.Tag(name="x"))
        blog.db.session.commit()
    (transaction,) = blog.transactions()
    assert transaction.context == {"method": "GET", "path": "(batch)", "ticket": 7, "tags": ["a"], "when": "1"}


def test_what_the_code_says_beats_the_request_where_both_say_it(blog):
    """A job that runs inside a request may say which method and user agent it stands for."""
    said = blog.audit_logger.context(method="BATCH", user_agent="importer/2")
    with blog.app.test_request_context("/", headers={"User-Agent": "curl"}), said:
        blog.db.session.add(blog.models.Tag(name="x"))
        blog.db.session.commit()
    (transaction,) = blog.transactions()
    assert (transaction.context["method"], transaction.context["user_agent"]) == ("BATCH", "importer/2")


class Unprintable:
    def __str__(self):
        raise RuntimeError


CIRCLE = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (CIRCLE, "{'self': {...}}"),
        ({"deep": Unprintable()}, {"deep": "<Unprintable>"}),
        (Unprintable(), "<Unprintable>"),
        (b"x", "b'x'"),
        ({1: 2}, {"1": 2}),
    ],
)
def test_what_json_can_not_hold_breaks_nothing(blog, value, expected):
    """A value that isn't JSON is recorded as text; the actor and the rest are recorded all the same."""
    with blog.app.app_context(), blog.audit_logger.context(actor=7, odd=value, reason="r"):
        blog.db.session.add(blog.models.Tag(name="x"))
        blog.db.session.commit()
    (transaction,) = blog.transactions()
    assert (transaction.actor_id, transaction.context) == (7, {"odd": expected, "reason": "r"})


@pytest.mark.parametrize("junk", ["\x00", "a\x00b", "\udcff", "x" * 100_000, '"; DROP', "\\u0000", "\N{GRINNING FACE}"])
def test_junk_in_a_context_breaks_no_write(blog, junk):
    """Text that PostgreSQL can't hold is repaired, wherever it comes from."""
    with blog.app.app_context(), blog.audit_logger.context(reason=junk, **{"k" + junk[:3]: {"deep": [junk]}}):
        blog.db.session.add(blog.models.Tag(name="x"))
        blog.db.session.commit()
    (transaction,) = blog.transactions()
    assert transaction.marks == {}
    if junk.isprintable() and junk != "\\u0000":
        assert transaction.context["reason"] == junk


@pytest.mark.parametrize("junk", ["\xff\xfe", "x" * 5000, "\ud83d"])
def test_junk_in_a_request_breaks_no_write(blog, junk):
    """Headers and paths are recorded as far as they can be, cut at 1,000 characters."""
    environ = {"HTTP_USER_AGENT": junk, "HTTP_X_REQUEST_ID": junk, "HTTP_TRACEPARENT": junk}
    transaction = put_tag(blog, environ_overrides=environ)
    context = transaction.context
    assert transaction.marks == {}
    assert "trace_id" not in context
    assert len(context["user_agent"]) <= 1000


def test_a_wrong_trace_is_left_out(blog):
    """Only a well-formed W3C traceparent is recorded."""
    for wrong in ("", "00", "00-xyz-b7ad6b7169203331-01", f"00-{TRACE.upper()}-b7ad6b7169203331-01"):
        assert "trace_id" not in put_tag(blog, {"traceparent": wrong}).context


ADDRESSES = [
    ("10.0.0.1", "10.0.0.1", None),
    (" 10.0.0.1 ", "10.0.0.1", None),
    ("2001:db8::1", "2001:db8::1", None),
    ("fe80::1%eth0", "fe80::1", "fe80::1%eth0"),
    ("unix:", None, "unix:"),
    ("unix:/run/app.sock", None, "unix:/run/app.sock"),
    ("10.0.0.1:5000", None, "10.0.0.1:5000"),
    ("[2001:db8::1]:443", None, "[2001:db8::1]:443"),
    ("unknown", None, "unknown"),
    ("localhost", None, "localhost"),
    ("10.0.0.1, 10.0.0.2", None, "10.0.0.1, 10.0.0.2"),
    ("010.0.0.1", None, "010.0.0.1"),
    ("10.0.0.1/8", None, "10.0.0.1/8"),
    ("_hidden", None, "_hidden"),
    ("\x00", None, "\N{REPLACEMENT CHARACTER}"),
    ("", None, None),
    (None, None, None),
]


@pytest.mark.parametrize(("given", "inet", "text"), ADDRESSES)
def test_addresses(blog, given, inet, text):
    """What is an address is recorded as one; what isn't is kept as text in the context, and breaks no write."""
    transaction = put_tag(blog, environ_overrides={"REMOTE_ADDR": given})
    assert (address(transaction), transaction.context.get("client_addr")) == (inet, text)


def test_addresses_of_a_callback(create_app):
    """get_client_addr may return anything, in a request and outside of one."""
    for given, inet, text in ADDRESSES:
        app = create_app(get_client_addr=lambda given=given: given)
        with app.app.app_context():
            app.db.session.add(app.models.Tag(name="x"))
            app.db.session.commit()
        transaction = app.transactions()[-1]
        assert (address(transaction), transaction.context.get("client_addr")) == (inet, text), given
        app.audit_logger.detach()


def test_a_header_is_never_trusted_unless_the_app_does(create_app):
    """X-Forwarded-For counts only behind the ProxyFix that the application put there."""
    app = create_app()
    assert address(put_tag(app, HEADERS)) == "127.0.0.1"
    app.app.wsgi_app = ProxyFix(app.app.wsgi_app, x_for=1)
    assert address(put_tag(app, HEADERS)) == "203.0.113.9"


def test_outside_of_a_request(blog):
    """Outside requests and commands there is the database role and the name of the program, and nothing else."""
    with blog.app.app_context():
        blog.db.session.add(blog.models.Tag(name="x"))
        blog.db.session.commit()
    (transaction,) = blog.transactions()
    assert (transaction.context, transaction.client_addr) == ({}, None)
    assert transaction.db_user == blog.app.config["SQLALCHEMY_DATABASE_URI"].username


# What it costs


@pytest.fixture
def sent(blog):
    """The statements that are sent, and a request that runs a function, as a user that was loaded before."""
    with blog.app.app_context():
        blog.db.session.add_all([blog.models.User(name="Grace"), blog.models.Tag(name="a")])
        blog.db.session.commit()
        engine = blog.db.engine

    with statements(engine) as recorded:

        def run(work, asked=True):
            with blog.app.test_request_context("/", headers=logged_in_as(1)):
                if asked:
                    assert current_user.name == "Grace"
                    blog.db.session.rollback()
                recorded.clear()
                work(blog)
                blog.db.session.commit()
                return [s for s in recorded if "set_config" in s], list(recorded)

        # what a new connection asks by itself
        run(lambda w: w.db.session.execute(sa.text("SELECT 1")))
        yield run


READS = [
    lambda w: w.db.session.scalars(sa.select(w.models.Tag)).all(),
    lambda w: w.db.session.get(w.models.Tag, 1),
    lambda w: w.db.session.scalar(sa.select(sa.func.count()).select_from(w.models.Article)),
    lambda w: w.db.session.execute(sa.select(sa.func.max(sa.func.lower(w.models.Tag.name))).group_by(w.models.Tag.id)),
    lambda w: w.db.session.scalars(sa.select(w.models.Tag).with_for_update()).all(),
    lambda w: w.db.session.execute(sa.text("WITH RECURSIVE n (i) AS (SELECT 1 UNION SELECT 2 FROM n) SELECT * FROM n")),
    lambda w: w.db.session.execute(sa.select(sa.values(sa.column("a", sa.Integer), name="v").data([(1,), (2,)]))),
    lambda w: w.db.session.execute(sa.text("EXPLAIN SELECT * FROM tags")),
    lambda w: w.db.session.begin_nested().rollback(),
]  # fmt: skip


@pytest.mark.parametrize("work", READS)
def test_reading_adds_no_statement(sent, work):
    """A request that only reads sends nothing for the log."""
    ours, everything = sent(work)
    assert (ours, len(everything) <= 2) == ([], True), everything


def many(w):
    session = w.db.session
    for number in range(5):
        session.add(w.models.Tag(name=str(number)))
        session.flush()
        session.execute(sa.text("UPDATE tags SET name = name || 'x'"))
    session.scalars(sa.select(w.models.Tag)).all()
    session.execute(sa.delete(w.models.Tag))


@pytest.mark.parametrize("asked", [True, False])
def test_writing_adds_one_statement(sent, asked):
    """A transaction that writes, however often, sends one statement for the log; loading the user is none of ours."""
    ours, _ = sent(many, asked)
    assert len(ours) == 1


def test_only_what_a_savepoint_undid_is_sent_again(sent):
    """What was first said under a savepoint that is rolled back is said once more."""

    def work(w):
        nested = w.db.session.begin_nested()
        w.db.session.execute(sa.text("DELETE FROM tags"))
        nested.rollback()
        w.db.session.execute(sa.text("DELETE FROM tags"))
        with w.db.session.begin_nested():
            w.db.session.execute(sa.text("INSERT INTO tags (name) VALUES ('c')"))

    ours, _ = sent(work)
    assert len(ours) == 2


def test_detach_is_the_reverse_of_attach(blog):
    """After detach() nothing is sent any more, changes are still captured, and nobody is named."""
    events = ("do_execute", "do_executemany", "do_execute_no_params", "handle_error")
    with blog.app.app_context():
        dispatch = blog.db.engine.dialect.dispatch
        assert [len(list(getattr(dispatch, name))) for name in events] == [1] * 4
        blog.audit_logger.detach()
        blog.audit_logger.detach()
        assert [len(list(getattr(dispatch, name))) for name in events] == [0] * 4
        with blog.audit_logger.context(actor=1):
            blog.db.session.add(blog.models.Tag(name="x"))
            blog.db.session.commit()
    assert [t.actor_id for t in blog.transactions()] == [None]


def test_an_application_that_comes_later(database_url):
    """AuditLogger() and db.init_app() in a factory, in any order, listen on the engines of each application once."""
    from flask_sqlalchemy import SQLAlchemy

    db = SQLAlchemy()
    audit_logger = AuditLogger(db)
    for _ in range(2):
        app = Flask("later")
        app.config["SQLALCHEMY_DATABASE_URI"] = database_url
        db.init_app(app)
        audit_logger.init_app(app)
        audit_logger.init_app(app)
        with app.app_context():
            assert len(list(db.engine.dialect.dispatch.do_execute)) == 1
            db.engine.dispose()
    audit_logger.detach()


def test_loaded_objects_cost_nothing(blog):
    """A flush with thousands of clean objects in the session costs no more than one without."""
    with blog.app.app_context():
        session = blog.db.session

        def calls_of_a_flush():
            session.add(blog.models.Tag(name="x"))
            with counted_calls() as counted:
                session.flush()
            return counted.made

        calls_of_a_flush()  # what is made once
        alone = calls_of_a_flush()
        session.execute(sa.insert(blog.models.Article), [{"title": str(n)} for n in range(5000)])
        kept = session.scalars(sa.select(blog.models.Article)).all()
        assert len(kept) == 5000
        assert calls_of_a_flush() < 1.1 * alone
        session.rollback()
