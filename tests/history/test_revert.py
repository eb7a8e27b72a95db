"""Promise: what is taken back is as it was before, exactly; who came later keeps theirs; one write, or none."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import unicodedata
from dataclasses import replace
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import BIT, DOMAIN, JSON, JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from flask_audit_logger.exceptions import ConfigurationError, Conflict, Refused, UnknownPast
from flask_audit_logger.history import reverts
from flask_audit_logger.history.references import pointing_rows
from flask_audit_logger.query.summaries import undone_by
from tests.capture.test_values import TYPES, VALUES
from tests.support.cluster import embedded_bindir
from tests.support.models import AUDITED, Models
from tests.support.server import both_drivers, plain_engine
from tests.ui.shop import ANN, declare_shop, make_shop

MASKED_VALUES = "some of its values are masked or hidden from you; in code, only= names the columns that may go back"

TABLES = ("leaves", "pairs", "trees", "spots", "ranks", "pages", "categories", "orders", "lines")


def declare(db):
    """Tables that are hard to bring back: trees, unique values, keys that change, numbered and generated columns."""
    models = declare_shop(db)
    audited = {"audit_logged": True}
    sa.Table(
        "leaves",
        db.metadata,
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("text", sa.Text),
        sa.Column("price", sa.Numeric),
        sa.Column("double", sa.Numeric, sa.Computed("price * 2", persisted=True)),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("data", sa.LargeBinary),
        sa.Column("parts", sa.ARRAY(sa.Text)),
        sa.Column("json", JSONB),
        info=audited,
    )
    sa.Table(
        "pairs",
        db.metadata,
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("it's %s", sa.Text),
        info=audited,
    )
    sa.Table(
        "trees",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent", sa.ForeignKey("trees.id", ondelete="CASCADE")),
        info=audited,
    )
    sa.Table(
        "spots", db.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer, unique=True),
        info=audited,
    )  # fmt: skip
    sa.Table(
        "ranks",
        db.metadata,
        sa.Column("n", sa.Integer),
        sa.Column("name", sa.Text),
        sa.PrimaryKeyConstraint("n", deferrable=True, initially="IMMEDIATE"),
        info=audited,
    )
    sa.Table(
        "orders",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("note", sa.Text),
        info={"audit_logged": {"old_data": "changed"}},
    )
    sa.Table(
        "lines",
        db.metadata,
        sa.Column("order_id", sa.ForeignKey("orders.id", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("category_id", sa.ForeignKey("categories.id", ondelete="SET NULL")),
        info=audited,
    )

    class Sheet(db.Model):
        __tablename__ = "pages"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        text = sa.Column(sa.Text)
        version = sa.Column(sa.Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as SQLAlchemy documents it

    models.Sheet = Sheet
    return models


FILL = r"""
INSERT INTO leaves (text, price, at, data, parts, json)
  SELECT 'it''s ' || n, n * 1.50, now(), '\x00ff', ARRAY['a', NULL, ''], '{"a": [1, null]}'
  FROM generate_series(1, 4) n;
INSERT INTO pairs ("group", n, "it's %s") SELECT 'a"b, ü', n, 'x' FROM generate_series(1, 4) n;
INSERT INTO trees SELECT n, nullif(n / 2, 0) FROM generate_series(1, 7) n;
INSERT INTO spots SELECT n, n FROM generate_series(1, 5) n;
INSERT INTO ranks SELECT n, 'r' || n FROM generate_series(1, 5) n;
INSERT INTO pages SELECT n, 'p', 1 FROM generate_series(1, 2) n;
INSERT INTO categories SELECT n, 'c' || n FROM generate_series(1, 3) n;
INSERT INTO orders SELECT n, 'o' FROM generate_series(1, 3) n;
INSERT INTO lines SELECT o, n, n FROM generate_series(1, 3) o, generate_series(1, 2) n;
"""


@pytest.fixture
def shop(create_app):
    shop = make_shop(create_app, declare=declare)
    engine = plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"])
    with engine.begin() as connection:
        connection.exec_driver_sql(FILL.replace("%", "%%"))
    shop.engine = engine
    with shop.application.app.app_context():
        yield shop


def content(shop, tables=TABLES):
    with shop.engine.connect() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT to_jsonb(r)::text FROM {table} r ORDER BY 1").scalars().all()
            for table in tables
        }


def write(shop, *statements):
    """Make changes in one transaction; its id."""
    with shop.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    return newest(shop)


EFFECTS = (
    "DELETE FROM categories WHERE id IN (SELECT category_id FROM lines)",
    "UPDATE orders SET id = id + 10",
    "DELETE FROM orders",
    "DELETE FROM trees WHERE parent IS NULL",
)


def test_what_a_statement_caused_goes_back_after_it(shop):
    """And of two changes of a value the older one tells what it was."""
    before = content(shop)
    for statement in (*EFFECTS, "UPDATE leaves SET text = 'x'"):
        changed = write(shop, statement, "UPDATE leaves SET text = 'y' WHERE id = 1")
        assert content(shop) != before, statement
        taken_back(shop, changed)
        assert without_versions(content(shop)) == without_versions(before), statement


def test_keys_that_two_statements_change_go_back_in_two_steps(shop):
    """A record that only the older one gave another key gets its own back when the other has made room."""
    before, shift = content(shop), "UPDATE ranks SET n = n + 1"
    write(shop, "SET CONSTRAINTS ALL DEFERRED", shift, "UPDATE ranks SET n = 50 WHERE n = 4")
    preview = revert(shop, newest(shop)).preview()
    assert preview.conflicts == preview.impossible == ()
    taken_back(shop, newest(shop))
    assert without_versions(content(shop)) == without_versions(before)


def newest(shop):
    return shop.sql("SELECT max(id) FROM transaction")[0][0]


def revert(shop, target, **options):
    return shop.application.audit_logger.revert(target, **options)


def taken_back(shop, target, **options):
    conflicts = options.pop("conflicts", "refuse")
    with shop.acting(ANN):
        return revert(shop, target, reason="A slip", **options).apply(conflicts=conflicts)


#: How many random examples, if not the few that are the same each time.
EXAMPLES = os.environ.get("AUDIT_TEST_EXAMPLES")
TEXTS = st.sampled_from(["plain", "it's", 'a "b" \\ c', "line\nline", "\u202eback", "-- ROLLBACK;", "$$", "%s :x {}"])
SMALL = st.integers(1, 7)
TEMPLATES = (
    "UPDATE leaves SET text = :text WHERE id >= :n",
    "UPDATE leaves SET price = NULL, data = NULL, json = 'null' WHERE id = :n",
    "UPDATE leaves SET price = price + :n, at = at - interval '1 h', json = to_jsonb(CAST(:text AS text))",
    "UPDATE leaves SET json = NULL WHERE id > :n",
    "DELETE FROM leaves WHERE id = :n",
    "INSERT INTO leaves (text, price) VALUES (:text, :n)",
    'INSERT INTO pairs ("group", n) VALUES (:text, 100 + :n)',
    'UPDATE pairs SET "group" = :text, "it\'s %s" = :text WHERE n = :n',
    "DELETE FROM pairs WHERE n = :n",
    "DELETE FROM trees WHERE id = :n",
    "INSERT INTO trees VALUES (:n + 10, NULL), (:n + 20, :n + 10)",
    "UPDATE trees SET parent = NULL WHERE id = :n",
    "UPDATE spots SET n = n + 100 WHERE id = :n",
    "UPDATE spots SET n = n - 100 WHERE n > 100",
    "INSERT INTO spots VALUES (:n + 10, :n)",
    "DELETE FROM spots WHERE id = :n",
    "SET CONSTRAINTS ALL DEFERRED; UPDATE ranks SET n = n + 1",
    "UPDATE ranks SET n = 50 + :n WHERE n = :n",
    "DELETE FROM ranks WHERE n = :n",
    "INSERT INTO ranks VALUES (:n, :text)",
    "UPDATE pages SET text = :text",
    "DELETE FROM categories WHERE id = :n",
    "UPDATE orders SET id = id + 10 WHERE id = :n",
    "UPDATE orders SET note = :text WHERE id < :n",
    "DELETE FROM orders WHERE id = :n",
    "UPDATE lines SET category_id = (SELECT max(id) FROM categories) WHERE n = :n",
)
STEPS = st.tuples(st.sampled_from(TEMPLATES), TEXTS, SMALL)


@settings(
    # the same examples each time: docs/decisions/history.md says what others still find
    derandomize=EXAMPLES is None,
    max_examples=int(EXAMPLES or 15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_a_transaction_is_taken_back(shop, steps):
    before, last = content(shop), newest(shop)
    with shop.engine.begin() as connection:
        for step, text, n in steps:
            try:
                with connection.begin_nested():
                    connection.execute(sa.text(step), {"text": text, "n": n})
                    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
            except sa.exc.IntegrityError:
                pass  # a key that is taken: the statement is undone, and the log of it
    transaction_id = newest(shop)
    if transaction_id == last:
        return
    script = "".join(revert(shop, transaction_id).sql())
    preview = revert(shop, transaction_id).preview()
    assert preview.conflicts == preview.impossible == ()
    after = content(shop)
    run(shop, script)
    assert content(shop) == after, "as it is, the script changes nothing"
    run(shop, script.removesuffix("ROLLBACK;\n") + "COMMIT;\n")
    assert without_versions(content(shop)) == without_versions(before)
    # the script's own transaction is taken back, and that one, too
    assert newest(shop) > transaction_id
    taken_back(shop, newest(shop))
    assert without_versions(content(shop)) == without_versions(after)
    taken_back(shop, newest(shop))
    assert without_versions(content(shop)) == without_versions(before)


def without_versions(found):
    return found | {"pages": [row.rpartition(', "version"')[0] for row in found["pages"]]}


def run(shop, script):
    """Run a script as psql does, which begins and ends its own transaction."""
    with shop.engine.connect() as connection, connection.connection.cursor() as cursor:
        cursor.execute(script)
        connection.rollback()


#: Ends lines, quotes, dollar quotes and comments, is a parameter to drivers and psql, and is not all seen.
EVIL = "x\nDROP TABLE users; -- */ \r\t'\"\\ $$ :x :'x' %s %(x)s {} \x7f\u2028\u202e\u2066\u200b\U000e0041"


def test_nothing_in_the_script_is_unseen_or_leaves_its_place(shop):
    """Whatever is in a key or value, which it brings back all the same."""
    with shop.engine.begin() as connection:
        pairs = [{"group": EVIL, "n": n, "value": EVIL} for n in (21, 22)]
        connection.execute(sa.text("INSERT INTO pairs VALUES (:group, :n, :value)"), pairs)
    before = content(shop)
    transaction_id = write(shop, "DELETE FROM pairs WHERE n = 21", 'UPDATE pairs SET "it\'s %s" = NULL WHERE n = 22')
    write(shop, 'INSERT INTO pairs ("group", n) SELECT "group", 21 FROM pairs WHERE n = 22')
    kept = "".join(revert(shop, transaction_id).sql())
    comment, _, rest = kept.partition("\n")
    assert comment.startswith("-- NOT TAKEN BACK: pairs: 1 (there is such a record again): 'x\\nDROP TABLE")
    assert rest.startswith("BEGIN;\n") and all(line.endswith(";") for line in rest.splitlines())
    write(shop, "DELETE FROM pairs WHERE n = 21")
    script = "".join(revert(shop, transaction_id).sql())
    for text in (kept, script):
        assert {character for character in text if unicodedata.category(character)[0] in "CZ"} == {"\n", " "}
    run_in_psql(shop, script.replace("ROLLBACK;", "COMMIT;"))
    assert content(shop) == before


class Raw(UserDefinedType):
    """A type that SQLAlchemy has no class for."""

    cache_ok = True

    def __init__(self, name):
        self.name = name

    def get_col_spec(self, **options):
        return self.name


#: Types by the names of the values, where SQLAlchemy has another one or needs arguments.
OTHER_TYPES = {
    "bit varying": BIT(varying=True),
    "timestamptz": sa.DateTime(timezone=True),
    "positive": DOMAIN("positive", sa.Integer(), create_type=False),
    "small": DOMAIN("small", sa.Integer(), create_type=False),
    "word": DOMAIN("word", sa.CHAR(3), create_type=False),
    "document": DOMAIN("document", JSON(), create_type=False),
}
#: Values of rows that don't become what they were, as docs/history.md says, by the thousands of the rows' numbers.
NOT_EXACT = {
    """'{"b": 1, "a": [null]}'""": (1, 2),  # in another order, as jsonb has it
    "'a:1 b:2'": (1, 2, 3),  # the search vector is left to the database
    "'1e999999'": (3, 4),  # no arithmetic with such a number: it can't be compared
}


def type_of(name):
    """The SQLAlchemy type of a column."""
    if name.endswith("[]"):
        return sa.ARRAY(type_of(name.removesuffix("[]")))
    return OTHER_TYPES.get(name) or ischema_names.get(name, lambda: Raw(name))()


def declare_every_type(db):
    """A table with a column for each of the values that the log is tested with."""
    models = declare_shop(db)
    table = sa.Table(
        "kinds",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(f"v{number}", type_of(name)) for number, (name, *_) in enumerate(VALUES)),
        info={"audit_logged": True},
    )
    sa.event.listen(table, "before_create", sa.DDL(TYPES))
    return models


def every_value(statement, kind):
    """A statement for each value, and the number of its row."""
    for n, (_, value, _) in enumerate(VALUES):
        yield statement % {"id": 1000 * kind + n, "column": f"v{n}", "value": value}


@pytest.mark.parametrize("how", ["apply", "psql"])
def test_each_type_is_taken_back_exactly(create_app, how):
    """A row that was emptied, removed, filled or made; what the log could not store stays, and is named."""
    shop = make_shop(create_app, declare=declare_every_type)
    shop.engine = plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"])
    made = "INSERT INTO kinds (id, %(column)s) VALUES (%(id)s, %(value)s)"
    write(shop, *every_value(made, 1), *every_value(made, 2), *every_value("INSERT INTO kinds (id) VALUES (%(id)s)", 3))
    before = exactly(shop)
    transaction_id = write(
        shop,
        *every_value("UPDATE kinds SET %(column)s = NULL WHERE id = %(id)s", 1),
        "DELETE FROM kinds WHERE id / 1000 = 2",
        *every_value("UPDATE kinds SET %(column)s = %(value)s WHERE id = %(id)s", 3),
        *every_value(made, 4),
    )
    stays = {1000 * kind + n for n, (_, value, _) in enumerate(VALUES) for kind in NOT_EXACT.get(value, ())}
    lost = {1000 * kind + n for n, (name, *_) in enumerate(VALUES) if name == "document" for kind in (1, 2, 3)}
    with shop.application.app.app_context():
        preview = revert(shop, transaction_id).preview()
        if how == "apply":
            taken_back(shop, transaction_id, conflicts="skip")
        else:
            run_in_psql(shop, "".join(revert(shop, transaction_id).sql()).replace("ROLLBACK;", "COMMIT;"))
    assert reasons(preview.conflicts) == [("kinds", "changed since", 2)]
    assert reasons(preview.impossible) == [("kinds", "the log could not store the exact value", len(lost))]
    after = exactly(shop)
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == stays | lost


def exactly(shop):
    """The rows by their keys, as PostgreSQL writes them."""
    with shop.engine.connect() as connection:
        return dict(map(tuple, connection.exec_driver_sql("SELECT id, k::text FROM kinds k")))


def run_in_psql(shop, script):
    url = shop.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    subprocess.run(
        [embedded_bindir() / "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", url],
        input=script, text=True, check=True, timeout=60,
    )  # fmt: skip


def reasons(problems):
    return [(problem.table.name, problem.reason, problem.number) for problem in problems]


def test_who_changed_a_row_later_keeps_it(shop):
    """Rows that nobody touched since go back. No row is half taken back."""
    transaction_id = write(
        shop,
        "UPDATE pairs SET \"it's %s\" = 'mine' WHERE n < 4",
        "INSERT INTO leaves (text) VALUES ('mine')",
        "UPDATE spots SET n = 77 WHERE id = 1",
        "DELETE FROM trees WHERE id = 7",
    )
    write(
        shop,
        "UPDATE pairs SET \"it's %s\" = 'theirs' WHERE n = 1",
        "DELETE FROM pairs WHERE n = 2",
        "UPDATE leaves SET price = 7 WHERE text = 'mine'",
        "INSERT INTO trees VALUES (7, NULL)",
    )
    found = revert(shop, transaction_id).preview()
    assert reasons(found.conflicts) == [
        ("trees", "there is such a record again", 1),
        ("leaves", "changed since", 1),
        ("pairs", "gone", 1),
        ("pairs", "changed since", 1),
    ]
    assert [(g.table.name, g.verb, g.columns, g.number) for g in found.groups] == [
        ("spots", "update", ("n",), 1),
        ("pairs", "update", ("it's %s",), 1),
    ]
    before = content(shop)
    with pytest.raises(Conflict):
        taken_back(shop, transaction_id)
    assert content(shop) == before
    done = taken_back(shop, transaction_id, conflicts="skip")
    assert shop.sql('SELECT n, "it\'s %s" FROM pairs ORDER BY n') == [(1, "theirs"), (3, "x"), (4, "x")]
    assert shop.sql("SELECT n FROM spots WHERE id = 1") == [(1,)]
    assert shop.sql("SELECT price FROM leaves WHERE text = 'mine'") == [(7,)]
    said = shop.sql(f"SELECT context, actor_id FROM transaction WHERE id = {done.transaction_id}")[0]
    assert (said[0]["undoes"], said[0]["reason"], said[1]) == (transaction_id, "A slip", ANN)
    with shop.application.app.app_context():
        log = shop.application.audit_logger
        undoing, undone = log.transaction(done.transaction_id), log.transaction(transaction_id)
        assert (undoing.undoes, undoing.undone_by) == (transaction_id, ())
        assert (undone.undoes, undone.undone_by) == (None, (done.transaction_id,))
        with undone.changes.source.reader.reading() as whole:
            assert whole.scalar(sa.select(undone_by(whole, transaction_id - 1))) is None
        others = replace(undone.changes.source.reader, scope=lambda select: select.where(sa.false()))
        with others.reading() as scoped:
            assert scoped.scalar(sa.select(undone_by(scoped, transaction_id))) is None


def test_a_row_to_which_others_point_by_now_stays(shop):
    """Deleting it would delete what came later, by a cascade that nobody previewed."""
    transaction_id = write(shop, "INSERT INTO trees VALUES (20, NULL), (21, 20), (30, NULL)")
    write(shop, "INSERT INTO trees VALUES (22, 21)")
    found = revert(shop, transaction_id).preview()
    assert reasons(found.conflicts) == [("trees", "other records point to it", 2)] and found.number == 1
    taken_back(shop, transaction_id, conflicts="skip")
    assert shop.sql("SELECT id FROM trees WHERE id > 10 ORDER BY id") == [(20,), (21,), (22,)]


def test_a_row_whose_parent_is_gone_is_not_made_again(shop):
    transaction_id = write(shop, "DELETE FROM trees WHERE id IN (4, 6)")
    write(shop, "DELETE FROM trees WHERE id = 2")
    found = revert(shop, transaction_id).preview()
    assert reasons(found.impossible) == [("trees", "the referenced record no longer exists", 1)] and found.number == 1
    taken_back(shop, transaction_id)
    assert shop.sql("SELECT id FROM trees ORDER BY id") == [(1,), (3,), (6,), (7,)]


def test_what_can_not_be_taken_back_says_why(shop):
    transaction_id = write(
        shop,
        "INSERT INTO products (id, name, secret) VALUES (1, 'a', 's')",
        "UPDATE products SET name = 'b', secret = 't'",
        "UPDATE order_items SET quantity = 1",
        "TRUNCATE order_items",
        "UPDATE leaves SET price = 0 WHERE id = 1",
    )
    found = revert(shop, transaction_id).preview()
    assert reasons(found.impossible) == [
        ("order_items", "the rows that TRUNCATE removed are not in the log", 1),
        ("products", MASKED_VALUES, 1),
    ]
    assert taken_back(shop, transaction_id).preview.number == found.number == 1
    assert shop.sql("SELECT price FROM leaves WHERE id = 1") == [(1.5,)]
    assert shop.sql("SELECT name FROM products") == [("b",)]
    taken_back(shop, transaction_id, only=["name"])
    assert shop.sql("SELECT name FROM products") == [("a",)]


def test_a_masked_value_that_was_set_later_keeps_its_row(shop):
    """It can't be compared, so the log is asked; a row that is made again says what it lacks."""
    made = write(shop, "INSERT INTO products (id, name, secret) VALUES (1, 'a', 's'), (2, 'b', 's')")
    write(shop, "UPDATE products SET secret = 'other' WHERE id = 1")
    assert reasons(revert(shop, made).preview().conflicts) == [("products", "changed since", 1)]
    gone = write(shop, "DELETE FROM products WHERE id = 2")
    (group,) = revert(shop, gone).preview().groups
    assert (group.verb, group.lacking, group.number) == ("insert", ("secret",), 1)
    taken_back(shop, gone)
    assert shop.sql("SELECT name, secret FROM products WHERE id = 2") == [("b", None)]


def test_an_excluded_column_is_not_in_the_log(create_app):
    """Updates and new rows go back without it; a row that is made again lacks it, or stays gone if it is required."""

    def declare_rooms(db):
        models = declare_shop(db)
        key = lambda: sa.Column("id", sa.Integer, primary_key=True)  # noqa: E731
        info = {"audit_logged": {"exclude": ["note"]}}
        sa.Table("rooms", db.metadata, key(), sa.Column("name", sa.Text), sa.Column("note", sa.Text), info=info)
        note = sa.Column("note", sa.Text, nullable=False)
        sa.Table("cells", db.metadata, key(), sa.Column("name", sa.Text), note, info=info)
        return models

    shop = make_shop(create_app, declare=declare_rooms)
    shop.engine = plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"])
    with shop.application.app.app_context():
        for table in ("rooms", "cells"):
            write(shop, f"INSERT INTO {table} VALUES (1, 'a', 'n'), (2, 'b', 'n')")
        changed = write(
            shop, "UPDATE rooms SET name = 'x', note = 'later' WHERE id = 1", "INSERT INTO rooms VALUES (3, 'c', 'n')",
            "DELETE FROM rooms WHERE id = 2", "DELETE FROM cells WHERE id = 2",
        )  # fmt: skip
        preview = revert(shop, changed).preview()
        assert [(group.verb, group.lacking) for group in preview.groups] == [
            ("insert", ("note",)), ("delete", ()), ("update", ()),
        ]  # fmt: skip
        assert reasons(preview.impossible) == [("cells", "the log has no values for columns that are required", 1)]
        taken_back(shop, changed)
    assert shop.sql("SELECT * FROM rooms ORDER BY id") == [(1, "a", "later"), (2, "b", None)]
    assert shop.sql("SELECT * FROM cells") == [(1, "a", "n")]


def test_an_object_of_two_joined_tables_goes_back_as_one(create_app):
    """Its row of the parent table comes first and goes last."""

    def declare_staff(db):
        class User(db.Model):
            __tablename__ = "users"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)
            name = sa.Column(sa.Text)
            kind = sa.Column(sa.Text)
            __mapper_args__ = dict(polymorphic_on=kind, polymorphic_identity="user")  # noqa: RUF012

        class Manager(User):
            __tablename__ = "managers"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.ForeignKey("users.id"), primary_key=True)
            budget = sa.Column(sa.Integer)
            __mapper_args__ = dict(polymorphic_identity="manager")  # noqa: RUF012

        return Models(User=User, Manager=Manager)

    shop = make_shop(create_app, declare=declare_staff)
    staff = lambda: shop.sql("SELECT id, name, kind, budget FROM users JOIN managers USING (id)")  # noqa: E731
    with shop.application.app.app_context():
        start = now(shop)
        shop.add(None, "Manager", id=9, name="Eve", budget=1)
        made, then = newest(shop), now(shop)
        shop.change(None, "Manager", 9, name="Eva", budget=2)
        shop.remove(None, "Manager", 9)
        gone = newest(shop)
        assert staff() == []
        taken_back(shop, gone)
        assert staff() == [(9, "Eva", "manager", 2)]
        taken_back(shop, (shop.models.Manager, 9), to=then)
        assert staff() == [(9, "Eve", "manager", 1)]
        taken_back(shop, made)
        assert shop.sql("SELECT id FROM users WHERE id = 9") == []
        taken_back(shop, (shop.models.Manager, 9), to=then)
        assert staff() == [(9, "Eve", "manager", 1)]
        with shop.db.session() as session:
            taken_back(shop, session.get(shop.models.User, 9), to=start)
        assert shop.sql("SELECT id FROM users WHERE id = 9") == []


def test_only_some_columns_go_back(shop):
    transaction_id = write(
        shop, "UPDATE leaves SET price = 0, text = 'mine' WHERE id = 1", "DELETE FROM leaves WHERE id = 2"
    )
    taken_back(shop, transaction_id, only=["price"])
    assert shop.sql("SELECT id, price, text FROM leaves WHERE id < 3") == [(1, 1.5, "mine")]


def test_columns_go_back_by_their_names_or_those_of_their_attributes(create_app):
    """A name that means nothing is an error, and a change of other columns is none that goes back."""

    def declare_parts(db):
        class Part(db.Model):
            __tablename__ = "parts"
            __table_args__ = (AUDITED,)
            code = sa.Column(sa.Text, primary_key=True)
            cost = sa.Column("price", sa.Integer)
            text = sa.Column(sa.Text)

        class Other(db.Model):
            __tablename__ = "others"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)
            price = sa.Column(sa.Integer)

        return Models(Part=Part, Other=Other, **vars(declare_shop(db)))

    shop = make_shop(create_app, declare=declare_parts)
    shop.engine = plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"])
    part = shop.models.Part
    with shop.application.app.app_context():
        write(shop, "INSERT INTO parts VALUES ('a', 1, 'x'), ('b', 1, 'x')", "INSERT INTO others VALUES (1, 1)")
        then = now(shop)
        update = ("UPDATE parts SET price = 2, text = 'y'", "UPDATE others SET price = 2")
        number = write(shop, *update, "UPDATE parts SET text = 'z' WHERE code = 'b'")
        for only, message in ((["nothing"], "there is no column 'nothing'"), ("price", "give a list")):
            with pytest.raises(ConfigurationError, match=message):
                revert(shop, number, only=only)
        assert revert(shop, number, only=["text"]).preview().number == 3
        assert revert(shop, number, only=["price"]).preview().number == 3
        assert taken_back(shop, number, only=["cost"]).preview.number == 2
        assert shop.sql("SELECT * FROM parts ORDER BY code") == [("a", 1, "y"), ("b", 1, "z")]
        assert shop.sql("SELECT price FROM others") == [(2,)]

        write(shop, "UPDATE parts SET code = 'c' WHERE code = 'b'")
        moved = write(shop, "UPDATE parts SET code = 'd', price = 9 WHERE code = 'a'")
        preview = revert(shop, (part, "c"), to=then, only=["text"]).preview()
        assert reasons(preview.impossible) == [("parts", "the record has no key, or its key has changed", 1)]
        taken_back(shop, moved, only=["price"])
        assert shop.sql("SELECT code, price FROM parts ORDER BY code") == [("c", 1), ("d", 1)]


def test_one_change_is_taken_back(shop):
    write(shop, "UPDATE leaves SET price = 0 WHERE id < 3")
    cursor = shop.application.audit_logger.activity_cls
    with shop.db.session() as session:
        row = session.scalars(sa.select(cursor).where(cursor.record_key == "2").order_by(cursor.id.desc())).first()
        taken_back(shop, row)
    assert shop.sql("SELECT id, price FROM leaves WHERE id < 3 ORDER BY id") == [(1, 0), (2, 3)]


def now(shop):
    return shop.sql("SELECT clock_timestamp()")[0][0]


def test_a_record_goes_back_to_a_time(shop):
    """Through a change of its key, a deletion, and made again."""
    sheet = shop.models.Sheet
    shop.add(ANN, "Category", id=50, name="then")
    then = now(shop)
    shop.change(ANN, "Category", 50, name="later")
    write(shop, "UPDATE categories SET id = 51 WHERE id = 50")
    later = now(shop)
    shop.remove(ANN, "Category", 51)
    taken_back(shop, (shop.models.Category, 51), to=later)
    assert shop.sql("SELECT id, name FROM categories WHERE id > 9") == [(51, "later")]
    with shop.db.session() as session:
        taken_back(shop, session.get(shop.models.Category, 51), to=then)
    assert shop.sql("SELECT id, name FROM categories WHERE id > 9") == [(50, "then")]
    with pytest.raises(Refused, match=r"^public\.categories 50 has another key now"):
        write(shop, "UPDATE categories SET id = 52 WHERE id = 50")
        taken_back(shop, (shop.models.Category, 50), to=then)
    for target, options in (
        ((sheet, 1), {}),
        (1, {"to": then}),
        ("1", {"to": then}),
        (None, {"to": then}),
        ((sheet, 1), {"to": then.date()}),
        ((sheet, 1), {"to": dt.datetime(2026, 1, 1)}),
    ):
        with pytest.raises(ConfigurationError):
            revert(shop, target, **options)


def test_a_record_goes_back_to_no_time_that_the_log_does_not_know(shop):
    """Else what is left of the log would be taken back, and the record be as it never was then."""
    sheet, start = shop.models.Sheet, now(shop)
    shop.change(ANN, "Sheet", 1, text="mine")
    preview = revert(shop, (sheet, 1), to=start).preview()
    assert preview.number == 1
    for when in (start - dt.timedelta(days=999), start + dt.timedelta(days=999)):
        with pytest.raises((UnknownPast, ConfigurationError), match=r"begins at|to come"):
            revert(shop, (sheet, 1), to=when).preview()
    first = shop.sql("SELECT issued_at FROM activity ORDER BY id LIMIT 1")[0][0]
    assert revert(shop, (sheet, 1), to=first).preview().number
    shop.sql(
        "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, "
        "transaction_id) SELECT 'public', 'pages', 0, clock_timestamp(), 1, 'pruned', "
        "jsonb_build_object('until', clock_timestamp()), max(id) FROM transaction"
    )
    with pytest.raises(UnknownPast, match=r"the log of public\.pages begins at"):
        revert(shop, (sheet, 1), to=start).preview()


def test_a_record_that_somebody_has_open_is_not_saved_over(shop):
    """SQLAlchemy's counter goes on, so that an object loaded before is found to be stale."""
    sheet = shop.models.Sheet
    shop.change(ANN, "Sheet", 1, text="mine")
    with shop.acting(ANN) as session:
        found = session.get(sheet, 1)
        assert found.version == 2
        session.commit()
        taken_back(shop, newest(shop))
        assert (found.text, found.version) == ("p", 3)


def test_what_a_trigger_or_constraint_refuses_changes_nothing(shop):
    transaction_id = write(shop, "UPDATE leaves SET price = price + 1", "UPDATE spots SET n = n + 100")
    shop.sql("ALTER TABLE leaves ADD CONSTRAINT high CHECK (price > 2) NOT VALID")
    before = content(shop)
    with pytest.raises(Refused, match="high"):
        taken_back(shop, transaction_id)
    shop.sql(
        "ALTER TABLE leaves DROP CONSTRAINT high;"
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep BEFORE UPDATE ON leaves FOR EACH ROW WHEN (old.id = 2) EXECUTE FUNCTION keep()"
    )
    with pytest.raises(Refused, match="trigger"):
        taken_back(shop, transaction_id)
    assert content(shop) == before
    shop.sql("DROP TRIGGER keep ON leaves")
    assert taken_back(shop, transaction_id).preview.number == 9


def test_unique_values_that_were_swapped_are_swapped_back(shop):
    before = content(shop)
    transaction_id = write(
        shop,
        "UPDATE spots SET n = -1 WHERE id = 1",
        "UPDATE spots SET n = 1 WHERE id = 2",
        "UPDATE spots SET n = 2 WHERE id = 1",
    )
    taken_back(shop, transaction_id)
    assert content(shop) == before


def test_what_was_previewed_is_applied_or_nothing(shop):
    transaction_id = write(shop, "UPDATE leaves SET price = 0 WHERE id < 3")
    wanted = revert(shop, transaction_id, reason="x")
    seen = wanted.preview()
    write(shop, "UPDATE leaves SET text = 'another column' WHERE id = 1")
    assert wanted.preview() == seen
    write(shop, "UPDATE leaves SET price = 5 WHERE id = 1")
    with shop.acting(ANN), pytest.raises(Conflict, match="preview"):
        wanted.apply(conflicts="skip", expected=seen.digest)
    with pytest.raises(ValueError, match="conflicts"):
        wanted.apply(conflicts="ignore")


def test_in_a_session_of_the_caller_nothing_is_committed(shop):
    transaction_id = write(shop, "UPDATE leaves SET price = 0 WHERE id = 1")
    with shop.acting(ANN) as session:
        revert(shop, transaction_id).apply(session=session)
        assert session.execute(sa.text("SELECT price FROM leaves WHERE id = 1")).scalar() == 1.5
        session.rollback()
    assert shop.sql("SELECT price FROM leaves WHERE id = 1") == [(0,)]
    assert newest(shop) == transaction_id


@both_drivers
def test_many_rows_go_back_in_few_statements(shop, monkeypatch):
    """6,000 rows: three reads of the log and three of the rows, twice, and three writes."""
    write(shop, "INSERT INTO leaves (text, price) SELECT 'x', n FROM generate_series(1, 6000) n")
    before = content(shop, ["leaves"])
    transaction_id = write(shop, "UPDATE leaves SET price = price * 2 WHERE text = 'x'")
    statements = []
    engine = shop.db.engine
    sa.event.listen(engine, "before_cursor_execute", lambda c, cursor, text, *rest: statements.append(text))
    assert taken_back(shop, transaction_id).preview.number == 6000
    assert content(shop, ["leaves"]) == before
    assert sum(text.startswith("UPDATE") for text in statements) == 3
    assert len(statements) < 45, len(statements)
    monkeypatch.setattr(reverts, "MOST_CHANGES", 5999)
    with pytest.raises(reverts.TooManyChanges, match="5,999"):
        revert(shop, transaction_id).preview()


def test_a_key_to_a_table_without_a_model_points_to_nothing():
    metadata = sa.MetaData()
    table = sa.Table("kept", metadata, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table("other", metadata, sa.Column("nowhere_id", sa.ForeignKey("nowhere.id")))
    assert list(pointing_rows(None, None, SimpleNamespace(table=table), [{"id": 1}])) == []
