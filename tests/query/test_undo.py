"""Promise: the script of a transaction brings its tables back exactly, and takes nothing from who came later."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import Search, batches
from flask_audit_logger.query.paging import Paging
from flask_audit_logger.query.undo import undo_script
from tests.query.reads import catalog_of, reading
from tests.support.server import plain_engine
from tests.ui.shop import declare_shop, make_shop

TABLES = ("leaves", "pairs")


def declare(db):
    """Columns that are hard to write back, and a table whose key has two columns."""
    models = declare_shop(db)
    sa.Table(
        "leaves",
        db.metadata,
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("text", sa.Text),
        sa.Column("price", sa.Numeric),
        sa.Column("double", sa.Numeric, sa.Computed("price * 2")),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("data", sa.LargeBinary),
        sa.Column("parts", sa.ARRAY(sa.Text)),
        info={"audit_logged": True},
    )
    sa.Table(
        "pairs",
        db.metadata,
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("it's", sa.Text),
        info={"audit_logged": True},
    )
    return models


@pytest.fixture
def shop(create_app):
    shop = make_shop(create_app, declare=declare)
    shop.sql(
        "INSERT INTO leaves (text, price, at, data, parts) SELECT 'it''s ' || n, n * 1.50, now(), '\\x00ff',"
        " ARRAY['a', NULL, ''] FROM generate_series(1, 4) n"
    )
    shop.sql("""INSERT INTO pairs ("group", n, "it's") SELECT 'a"b, ü', n, 'x' FROM generate_series(1, 4) n""")
    return shop


TEXTS = st.sampled_from(["plain", "it's", 'a "b" \\ c', "line\nline", "\u202eback", "-- ROLLBACK;", "$$", "ü"])
STEPS = st.one_of(
    st.builds(lambda text, n: ("UPDATE leaves SET text = :text WHERE id >= :n", text, n), TEXTS, st.integers(1, 5)),
    st.builds(
        lambda text, n: ("UPDATE leaves SET price = NULL, data = NULL WHERE id = :n", text, n), TEXTS, st.just(2)
    ),
    st.builds(
        lambda text, n: ("UPDATE leaves SET price = price + :n, at = at - interval '1 h', parts = '{x}'", text, n),
        TEXTS,
        st.integers(1, 5),
    ),
    st.builds(lambda text, n: ("DELETE FROM leaves WHERE id = :n", text, n), TEXTS, st.integers(1, 5)),
    st.builds(lambda text, n: ("INSERT INTO leaves (text, price) VALUES (:text, :n)", text, n), TEXTS, st.integers()),
    st.builds(lambda text, n: ('INSERT INTO pairs ("group", n) VALUES (:text, 100 + :n)', text, n), TEXTS, st.just(1)),
    st.builds(
        lambda text, n: ('UPDATE pairs SET "group" = :text, "it\'s" = :text WHERE n = :n', text, n),
        TEXTS,
        st.integers(1, 4),
    ),
)


def content(connection):
    return [connection.exec_driver_sql(f"SELECT to_jsonb(r)::text FROM {table} r ORDER BY 1").all() for table in TABLES]


def script_of(shop, transaction_id, **options):
    with reading(shop) as log:
        search = Search(Criteria(transactions=(transaction_id,)))
        rows = (row for batch in batches(log, search, Paging(), most=1000, size=3) for row in batch)
        catalog = catalog_of(shop)
        lines = undo_script(rows, catalog.get, lambda table, column: column == "secret", **options)
        return "".join(lines)


def run(connection, script):
    """Run a script as psql does, which begins and ends its own transaction."""
    with connection.connection.cursor() as cursor:
        cursor.execute(script)
    connection.rollback()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=6))
def test_the_script_brings_the_tables_back(shop, steps):
    with plain_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"]).connect() as connection:
        before, newest = content(connection), last_transaction(connection)
        for step, text, n in steps:
            try:
                with connection.begin_nested():
                    connection.execute(sa.text(step), {"text": text, "n": n})
            except sa.exc.IntegrityError:
                pass  # a key that is taken: the statement is undone, and the log of it
        after, transaction_id = content(connection), last_transaction(connection)
        connection.commit()
        if transaction_id != newest:
            script = script_of(shop, transaction_id)
            run(connection, script)
            assert content(connection) == after, "as it is, it changes nothing"
            run(connection, script.removesuffix("ROLLBACK;\n") + "COMMIT;\n")
        assert content(connection) == before


def last_transaction(connection):
    return connection.exec_driver_sql("SELECT max(id) FROM transaction").scalar_one()


def test_who_changed_a_row_later_keeps_it(shop):
    """Other columns of such a row, and rows that nobody touched since, go back."""
    with shop.acting(None) as session:
        session.execute(sa.text("UPDATE pairs SET \"it's\" = 'mine' WHERE n < 4"))
        session.execute(sa.text("INSERT INTO leaves (text) VALUES ('mine')"))
    transaction_id = shop.sql("SELECT max(id) FROM transaction")[0][0]
    shop.sql("UPDATE pairs SET \"it's\" = 'theirs' WHERE n = 1; UPDATE leaves SET price = 7 WHERE text = 'mine'")
    shop.sql("DELETE FROM pairs WHERE n = 2")
    shop.sql(script_of(shop, transaction_id).replace("ROLLBACK;", "COMMIT;").replace(":", "\\:"))
    assert shop.sql('SELECT n, "it\'s" FROM pairs ORDER BY n') == [(1, "theirs"), (3, "x"), (4, "x")]
    assert shop.sql("SELECT price FROM leaves WHERE text = 'mine'") == [(7,)]


def test_what_can_not_be_undone_is_said_and_the_rest_is_undone(shop):
    with shop.acting(None) as session:
        session.execute(sa.text("INSERT INTO products (id, name, secret) VALUES (1, E'a\\nDELETE FROM users;', 's')"))
        session.execute(sa.text("UPDATE leaves SET price = 0"))
        session.execute(sa.text("TRUNCATE order_items"))
        session.execute(sa.text("UPDATE products SET name = 'b'"))
    transaction_id = shop.sql("SELECT max(id) FROM transaction")[0][0]
    taken = {row[0] for row in shop.sql("SELECT id FROM activity WHERE table_name = 'leaves' AND verb = 'update'")}
    script = script_of(shop, transaction_id, unreached={min(taken)}, remarks=["one\nDROP TABLE users;"])
    lines = script.splitlines()
    refused = [line.partition(": ")[2] for line in lines if line.startswith("-- NOT UNDONE")]
    assert [line.split()[0] + " " + line.split()[2] for line in refused] == [
        "truncate public.order_items",
        "update public.leaves,",
        "insert public.products,",
    ]
    assert lines[0] == "-- one\\nDROP TABLE users;"
    assert all(line.startswith(("-- ", "BEGIN;", "SET LOCAL ", "UPDATE ", "ROLLBACK;")) for line in lines)
    shop.sql(script.replace("ROLLBACK;", "COMMIT;").replace(":", "\\:"))
    assert shop.sql("SELECT name FROM products") == [("a\nDELETE FROM users;",)]
    assert shop.sql("SELECT count(*) FROM leaves WHERE price = 0") == [(1,)]
