"""What is stored is what the options allow, and a switch that is off leaves a mark."""

from __future__ import annotations

import re
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from flask_audit_logger.exceptions import UnknownOptionError
from tests.capture.shop import lines
from tests.capture.tables import audited, logged, run, short

pytestmark = pytest.mark.usefixtures("log_database")

SECRET = "4711-secret"

#: Columns that lead the trigger function along its different paths.
PATHS = {"whole": "", "projected": ", j json DEFAULT '1'", "exclude": ", x text DEFAULT 'x'", "large": ", b text"}


def whole_log(engine):
    """Everything the log holds, as one text."""
    with engine.connect() as connection:
        return "".join(
            str(connection.scalar(sa.text(f"SELECT string_agg(t::text, ' ') FROM {table} AS t")))
            for table in ("activity", "transaction")
        )


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("old_data", ["row", "changed"])
def test_a_masked_value_is_nowhere(outside, path, rows, old_data):
    """The value of a masked column is neither stored as new nor as old value, but its change is seen."""
    run(outside, f"CREATE TABLE t (id int PRIMARY KEY, secret text, n int DEFAULT 0{PATHS[path]})")
    audited(
        outside,
        "t",
        mask=["secret"],
        old_data=old_data,
        truncate="rows",
        **({"exclude": ["x"]} if path == "exclude" else {}),
    )
    run(outside, f"INSERT INTO t (id, secret) SELECT g, '{SECRET}' || g FROM generate_series(1, {rows}) AS g")
    if path == "large":
        run(outside, "UPDATE t SET b = repeat('x', 200000)")
    run(outside, "UPDATE t SET n = 1")
    run(outside, f"UPDATE t SET secret = secret || '{SECRET}', n = 2")
    run(outside, "UPDATE t SET secret = NULL")
    run(outside, f"UPDATE t SET secret = '{SECRET}'")
    run(outside, "DELETE FROM t WHERE id = 1")
    run(outside, "TRUNCATE t")
    masked = {"audit_logger": "masked"}
    assert SECRET not in whole_log(outside)
    changes = [
        a.changed_data for a in logged(outside, record_key="1") if a.verb == "update" and "b" not in a.changed_data
    ]
    assert changes == [{"n": 1}, {"n": 2, "secret": masked}, {"secret": masked}, {"secret": masked}]
    deleted = [a for a in logged(outside) if a.verb == "delete"]
    assert [a.old_data["secret"] for a in deleted] == [masked] * rows


def test_a_masked_key_is_no_key(outside):
    """A key that is masked or excluded is not stored as record key either."""
    for number, options in enumerate(({"mask": ["k"]}, {"exclude": ["k"]}, {"only": ["n"]})):
        run(outside, f"CREATE TABLE t{number} (k text, l int, n int, PRIMARY KEY (k, l))")
        audited(outside, f"t{number}", **options)
        run(
            outside,
            f"INSERT INTO t{number} VALUES ('{SECRET}', 1, 1); UPDATE t{number} SET n = 2; DELETE FROM t{number}",
        )
    assert SECRET not in whole_log(outside)
    assert {a.record_key for a in logged(outside)} == {None}
    assert len(logged(outside)) == 9


@pytest.mark.parametrize("path", ["whole", "projected"])
@pytest.mark.parametrize("options", [{"exclude": ["secret", "x"]}, {"only": ["id", "n"]}], ids=["exclude", "only"])
def test_an_excluded_value_is_nowhere(outside, path, options):
    """What is excluded, or not in `only`, is not stored, and its change alone is no activity."""
    run(outside, f"CREATE TABLE t (id int PRIMARY KEY, secret text, n int, x text{PATHS[path]})")
    audited(outside, "t", truncate="rows", **options)
    run(outside, f"INSERT INTO t VALUES (1, '{SECRET}', 0), (2, '{SECRET}', 0)")
    run(outside, f"UPDATE t SET secret = '{SECRET}+'")
    run(outside, f"UPDATE t SET secret = '{SECRET}+' WHERE id = 1")
    run(outside, f"UPDATE t SET secret = '{SECRET}', n = 1")
    run(outside, "DELETE FROM t WHERE id = 1; TRUNCATE t")
    assert SECRET not in whole_log(outside)
    # the update finds the rows in the order in which they lie
    assert sorted(short(logged(outside))) == [(v, "t", k) for v in ("delete", "insert", "update") for k in ("1", "2")]
    assert [set(a.changed_data) for a in logged(outside)[2:4]] == [{"n"}, {"n"}]


@pytest.mark.parametrize("path", ["whole", "projected", "exclude"])
@pytest.mark.parametrize("where", ["", " WHERE id = 1"])
def test_ignored_columns(outside, path, where):
    """A change of ignored columns alone is no activity; together with another they are stored."""
    run(
        outside,
        f"CREATE TABLE t (id int PRIMARY KEY, seen int, n int{PATHS[path]}); INSERT INTO t VALUES (1, 0, 0), (2, 0, 0)",
    )
    audited(outside, "t", ignore=["seen"], **({"exclude": ["x"]} if path == "exclude" else {}))
    run(outside, f"UPDATE t SET seen = 1{where}")
    run(outside, f"UPDATE t SET seen = 2, n = 2{where}")
    assert [a.changed_data for a in logged(outside)] == [{"seen": 2, "n": 2}] * (1 if where else 2)
    with outside.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM transaction")) == 1


@pytest.mark.parametrize("path", ["whole", "projected", "exclude"])
@pytest.mark.parametrize("where", ["", " WHERE id = 1"])
def test_old_data_changed(outside, path, where):
    """With old_data="changed" an update keeps only the old values of what changed; a delete keeps the row."""
    run(
        outside,
        f"CREATE TABLE t (id int PRIMARY KEY, a int, b int{PATHS[path]}); INSERT INTO t VALUES (1, 1, 1), (2, 1, 1)",
    )
    audited(outside, "t", old_data="changed", **({"exclude": ["x"]} if path == "exclude" else {}))
    run(outside, f"UPDATE t SET a = 2{where}")
    run(outside, f"DELETE FROM t{where}")
    count = 1 if where else 2
    activities = logged(outside)
    assert [(a.old_data, a.changed_data) for a in activities[:count]] == [({"a": 1}, {"a": 2})] * count
    assert {(a.old_data["a"], a.old_data["b"]) for a in activities[count:]} == {(2, 1)}


def test_verbs(outside):
    """Only the verbs of the option are captured, and a change of the option drops the others."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, a int)")
    audited(outside, "t")
    audited(outside, "t", verbs=["update", "delete"])
    run(
        outside,
        "INSERT INTO t VALUES (1, 1), (2, 2); UPDATE t SET a = 2 WHERE id = 1; DELETE FROM t WHERE id = 2; TRUNCATE t",
    )
    assert short(logged(outside)) == [("update", "t", "1"), ("delete", "t", "2")]


@pytest.mark.parametrize("path", PATHS)
def test_truncate(outside, path):
    """TRUNCATE gives a marker, or each row, or is refused with the name of the table."""
    run(outside, f"CREATE TABLE t (id int PRIMARY KEY, a int{PATHS[path]})")
    audited(outside, "t")
    run(outside, "INSERT INTO t VALUES (1, 1), (2, 2); TRUNCATE t")
    audited(outside, "t", truncate="rows")
    run(outside, "INSERT INTO t VALUES (1, 1), (2, 2); TRUNCATE t; TRUNCATE t")
    rows = [("insert", "t", "1"), ("insert", "t", "2")]
    assert short(logged(outside)) == [*rows, ("truncate", "t", None), *rows, ("delete", "t", "1"), ("delete", "t", "2")]
    assert logged(outside)[5].old_data["a"] == 1
    audited(outside, "t", truncate="refuse")
    run(outside, "INSERT INTO t VALUES (3, 1)")
    with pytest.raises(
        Exception, match=r"\(audit_logger\) TRUNCATE of the audited table public.t is refused"
    ) as refused:
        run(outside, "TRUNCATE t")
    assert (getattr(refused.value, "sqlstate", None) or refused.value.pgcode) == "55000"


@pytest.mark.parametrize("off", ["false", "off", "no", "0", "FALSE", "Off"])
def test_capture_off_leaves_a_mark(outside, off):
    """While capture is off nothing is logged but a transaction row that says by whom and for which tables."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
    audited(outside, "t")
    audited(outside, "u")
    run(
        outside,
        """
        SET LOCAL flask_audit_logger.context = '{"actor_label": "Ann", "context": {"reason": "import"}}';
        INSERT INTO t VALUES (0);
        SET LOCAL flask_audit_logger.enable_versioning = '@off@';
        INSERT INTO t VALUES (1); INSERT INTO u VALUES (1); INSERT INTO t VALUES (2); UPDATE t SET id = id WHERE id = 9;
        SET LOCAL flask_audit_logger.enable_versioning = 'true';
        INSERT INTO t VALUES (3);
        """.replace("@off@", off),
    )
    assert short(logged(outside)) == [("insert", "t", "0"), ("insert", "t", "3")]
    with outside.connect() as connection:
        rows = connection.execute(sa.text("SELECT actor_label, context, marks FROM transaction")).all()
    assert [(row.actor_label, row.context, row.marks) for row in rows] == [
        ("Ann", {"reason": "import"}, {"capture_off": ["public.t", "public.u"]})
    ]


@pytest.mark.parametrize(
    "value", ["", "true", "on", "1", "maybe", "'; DROP TABLE t", "fals", "\N{GRINNING FACE}", "null"]
)
def test_a_malformed_switch_leaves_capture_on(outside, value):
    """Anything but a clear "off" leaves capture on and breaks no write."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY)")
    audited(outside, "t")
    with outside.begin() as connection:
        connection.execute(sa.text("SELECT set_config('flask_audit_logger.enable_versioning', :v, true)"), {"v": value})
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert len(logged(outside)) == 1


BAD_CONTEXTS = [
    ("", {}, {}),
    ("x", {}, {"unreadable": "x"}),
    ("{", {}, {"unreadable": "{"}),
    ("[]", {}, {"unreadable": "[]"}),
    ("null", {}, {"unreadable": "null"}),
    ("7", {}, {"unreadable": "7"}),
    ('{"actor_id": {"a": 1}}', {}, {}),
    ('{"client_addr": "nowhere", "context": {"a": 1}}', {"a": 1}, {"unreadable": {"client_addr": "nowhere"}}),
    ('{"context": [1]}', {}, {"unreadable": [1]}),
    ('{"context": "x"}', {}, {"unreadable": "x"}),
    ('{"context": {"a": "\\u0000"}}', {}, {"unreadable": '{"context": {"a": "\\u0000"}}'}),
    ('{"id": 1, "issued_at": "2000-01-01", "db_user": "mallory", "marks": {"capture_off": ["t"]}}', {}, {}),
    ('{"context": {"capture_off": ["t"], "unreadable": 1}}', {"capture_off": ["t"], "unreadable": 1}, {}),
]


@pytest.mark.parametrize(("value", "context", "marks"), BAD_CONTEXTS)
def test_a_malformed_context_breaks_no_write(outside, value, context, marks):
    """A context that can't be read names nobody, is kept, and breaks no write, nor sets what isn't its own."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY)")
    audited(outside, "t")
    with outside.begin() as connection:
        connection.execute(sa.text("SELECT set_config('flask_audit_logger.context', :v, true)"), {"v": value})
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        connection.exec_driver_sql("INSERT INTO t VALUES (2)")
    with outside.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM transaction")).all()
    assert (row.context, row.marks) == (context, marks)
    assert row.db_user != "mallory"
    assert row.issued_at.year > 2000
    assert [a.transaction_id for a in logged(outside)] == [row.id] * 2


@pytest.mark.parametrize(
    "remembered",
    [
        "1", "(0,1) 1 TABLE {}", "(0,1) 1 TABLE ", "1 ", "(99999999999,1) 1 TABLE ", "(0,99999) 9 TABLE ", "'",
        "(0,1) 1 TABLE", "(0,1) 1 ", "(0,1) 1 99999999999 ",
        "(0,1) 1 9999999999 ", "(999999999,9999) 999999999999999999 4294967295 ",
    ],
)  # fmt: skip
def test_a_forged_transaction_attaches_to_nobody(outside, remembered):
    """Naming another transaction's row by hand neither attaches a change to it nor breaks the write."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY)")
    audited(outside, "t")
    run(outside, "INSERT INTO t VALUES (1)")
    with outside.begin() as connection:
        table = connection.scalar(sa.text("SELECT 'transaction'::regclass::oid"))
        forged = remembered.replace("TABLE", str(table))
        connection.execute(sa.text("SELECT set_config('flask_audit_logger.transaction', :v, false)"), {"v": forged})
        connection.exec_driver_sql("INSERT INTO t VALUES (2)")
        connection.exec_driver_sql("INSERT INTO t VALUES (3)")
    first, second, third = logged(outside)
    assert first.transaction_id != second.transaction_id == third.transaction_id
    assert second.native_transaction_id != first.native_transaction_id


def test_an_actor_that_is_no_key_is_kept_by_name(shop):
    """A job named as actor where keys are numbers is kept as the label, and the rest of the context with it."""
    with shop.app.app_context(), shop.audit_logger.context(actor="nightly import", reason="new prices"):
        shop.db.session.execute(sa.text("UPDATE things SET name = 'x' WHERE id = 1"))
        shop.db.session.commit()
    (transaction,) = shop.transactions()
    assert (transaction.actor_id, transaction.actor_label) == (None, "nightly import")
    assert transaction.context == {"reason": "new prices"}
    assert transaction.marks == {"unreadable": {"actor_id": "nightly import"}}


def test_disable(shop):
    """disable() counts for the code inside it only: nested, across commits, with an error, and it leaves a mark."""
    logger, session = shop.audit_logger, shop.db.session

    def write(name):
        session.execute(sa.text("UPDATE things SET name = :name WHERE id = 1"), {"name": name})

    with shop.app.app_context(), logger.context(actor=1):
        session.add(shop.models.Thing(name="before"))
        with logger.disable(session):
            write("n1")
            with logger.disable(session):
                write("n2")
                session.commit()
            write("n3")
            session.commit()
            session.add(shop.models.Thing(name="inside"))
        write("n4")
        with pytest.raises(ZeroDivisionError), logger.disable(session):
            write("n5")
            raise ZeroDivisionError
        write("n6")
        nested = session.begin_nested()
        with logger.disable(session):
            write("n7")
        nested.rollback()
        write("n8")
        session.commit()
    assert lines(shop.activities()) == [
        "insert things 3: id=3 name=before",
        "update things 1: name=n3>n4",
        "update things 1: name=n5>n6",
        "update things 1: name=n6>n8",
    ]
    marks = [(t.actor_id, t.marks.get("capture_off")) for t in shop.transactions()]
    assert marks == [(1, ["public.things"])] * 3


def test_a_set_of_the_application_is_respected(shop):
    """The setting of release 2.0.0, made by the application itself, still switches capture off in its transaction."""
    with shop.app.app_context():
        shop.db.session.execute(sa.text("SET LOCAL flask_audit_logger.enable_versioning = 'false'"))
        shop.db.session.add(shop.models.Thing(name="c"))
        shop.db.session.commit()
        shop.db.session.add(shop.models.Thing(name="d"))
        shop.db.session.commit()
    assert lines(shop.activities()) == ["insert things 4: id=4 name=d"]


def test_options_by_attribute_and_patterns(create_app):
    """Columns are named by column or attribute; patterns of the logger count for each table; a typo is an error."""
    from types import SimpleNamespace

    def declare(db):
        class User(db.Model):
            __tablename__ = "users"
            __table_args__ = ({"info": {"audit_logged": {"exclude": ["hair"]}}},)
            id = sa.Column(sa.BigInteger, primary_key=True)
            hair = sa.Column("hair_color", sa.Text)
            password_hash = sa.Column(sa.Text)
            api_token = sa.Column(sa.Text)

        return SimpleNamespace(User=User)

    app = create_app(declare=declare, mask=["*password*"], exclude=["*token*"])
    with app.app.app_context():
        app.db.session.add(app.models.User(hair="red", password_hash=SECRET, api_token=SECRET))
        app.db.session.commit()
    (activity,) = app.activities()
    assert activity.changed_data == {"id": 1, "password_hash": {"audit_logger": "masked"}}


def test_errors_reach_the_application_as_they_are(outside):
    """An error in the user's own trigger or constraint is what the application sees."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n > 0))")
    audited(outside, "t")
    with pytest.raises(DBAPIError, match="t_n_check"), outside.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1, 0)")
    assert logged(outside) == []


def declare_user(options, base_columns=None):
    """One audited table with these options, on a model base that may have columns of its own."""
    from types import SimpleNamespace

    def declare(db):
        class User(db.Model):
            __tablename__ = "users"
            __table_args__ = ({"info": {"audit_logged": options}},)
            id = sa.Column(sa.BigInteger, primary_key=True)
            hair = sa.Column("hair_color", sa.Text)

        return SimpleNamespace(User=User)

    return declare


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ["hair_colour"]}, "'hair_colour'. Did you mean 'hair_color'"),
        ({"exclude": "hair_color"}, "give a list of column names"),
        ({"exlude": ["hair_color"]}, "unknown option 'exlude'. Did you mean 'exclude'"),
        ({"mask": ["hairr"]}, "Did you mean 'hair'"),
        ({"verbs": ["upsert"]}, "'upsert'"),
        ({"truncate": "never"}, "'never'"),
        ({"old_data": "all"}, "'all'"),
        ("yes", "give True or a dictionary"),
    ],
)
def test_a_wrong_option_is_an_error(create_app, options, message):
    """An option, column or choice that doesn't exist is an error that names it and the nearest one there is."""
    with pytest.raises(UnknownOptionError, match=re.escape(message)):
        create_app(declare=declare_user(options))


def test_the_log_inherits_nothing_from_the_model_base(create_app):
    """A model base with columns that must be filled leaves the tables of the log alone."""
    from sqlalchemy.orm import DeclarativeBase

    class Base(DeclarativeBase):
        tenant = sa.Column(sa.Text, nullable=False)

    app = create_app(declare=declare_user(True), db_options={"model_class": Base})
    with app.app.app_context():
        app.db.session.add(app.models.User(tenant="a"))
        app.db.session.commit()
    assert [a.changed_data["tenant"] for a in app.activities()] == ["a"]
    assert "tenant" not in app.audit_logger.models.transaction.c


def test_disable_is_of_one_thread(shop):
    """While one thread has capture switched off, the changes of another are logged."""
    entered, done = threading.Event(), threading.Event()

    def off():
        with shop.app.app_context(), shop.audit_logger.disable():
            entered.set()
            done.wait(20)
            with shop.db.engine.begin() as connection:
                connection.execute(sa.text("INSERT INTO loose VALUES (1, 'off')"))

    thread = threading.Thread(target=off)
    thread.start()
    entered.wait(20)
    with shop.app.app_context(), shop.db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO loose VALUES (2, 'on')"))
    done.set()
    thread.join()
    assert lines(shop.activities()) == ["insert loose: a=2 b=on"]
