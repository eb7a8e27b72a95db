"""Promise P1: what was decided when a table was compiled is used only as long as the table is what it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.capture.tables import audited, logged, run, short
from tests.support.cluster import Cluster
from tests.support.server import plain_engine

pytestmark = pytest.mark.usefixtures("log_database")

ROWS = "INSERT INTO t SELECT g, 'a' FROM generate_series(1, {}) AS g"


@pytest.fixture
def table(outside):
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, a text)")
    audited(outside, "t")
    return outside


def is_compiled(engine, table="t"):
    with engine.connect() as connection:
        return connection.scalar(sa.text("SELECT audit_logger_is_compiled(CAST(:t AS regclass)::oid)"), {"t": table})


def fallbacks(connection, statement):
    """Run a statement and count how often the statements had to be made again while it ran."""
    before = called(connection)
    connection.exec_driver_sql(statement)
    return called(connection) - before


def called(connection):
    return connection.scalar(
        sa.text(
            "SELECT coalesce(sum(pg_stat_get_xact_function_calls(oid)), 0)"
            " FROM pg_proc WHERE proname = 'audit_logger_fallback'"
        )
    )


@pytest.fixture
def counted(table):
    """A connection in a transaction in which calls of functions are counted."""
    with table.connect() as connection:
        connection.exec_driver_sql("SET track_functions = 'all'")
        connection.commit()
        yield connection


@pytest.mark.parametrize("rows", [1, 3])
def test_an_unaltered_table_uses_what_is_stored(table, counted, rows):
    assert fallbacks(counted, ROWS.format(rows)) == 0
    assert fallbacks(counted, "UPDATE t SET a = 'b'") == 0
    assert fallbacks(counted, "UPDATE t SET a = 'b'") == 0
    assert fallbacks(counted, "UPDATE t SET a = 'c' WHERE id < 0") == 0
    assert fallbacks(counted, "DELETE FROM t") == 0
    counted.commit()
    assert [a.verb for a in logged(table)] == ["insert"] * rows + ["update"] * rows + ["delete"] * rows


def test_large_rows_among_others(outside):
    """What the stored statements leave out because it may be too large for jsonb is logged once, and the rest once."""
    run(outside, 'CREATE TABLE t (id int PRIMARY KEY, "50%s" text, n int)')
    audited(outside, "t")
    texts = "repeat(md5(g::text), CASE g WHEN 2 THEN 2000 ELSE 1 END)"
    run(outside, f"INSERT INTO t SELECT g, {texts}, g FROM generate_series(1, 4) AS g")
    run(outside, "UPDATE t SET n = CASE id WHEN 3 THEN n ELSE n + 10 END WHERE id < 4")
    run(outside, "UPDATE t SET n = n WHERE id < 4")
    run(outside, "DELETE FROM t WHERE id > 1")
    entries = sorted((a.verb, a.record_key, len(a.old_data), len(a.changed_data)) for a in logged(outside))
    assert entries == [
        *[("delete", key, 3, 0) for key in "234"],
        *[("insert", key, 0, 3) for key in "1234"],
        *[("update", key, 3, 1) for key in "12"],
    ]
    assert {len(a.changed_data["50%s"]) for a in logged(outside, verb="insert", record_key="2")} == {64000}


ALTERED = [
    ("ALTER TABLE t ADD COLUMN b int DEFAULT 5", {"id": 1, "a": "a", "b": 5}),
    ("ALTER TABLE t DROP COLUMN a", {"id": 1}),
    ("ALTER TABLE t RENAME COLUMN a TO c", {"id": 1, "c": "a"}),
    ("ALTER TABLE t ALTER COLUMN id TYPE text", {"id": "1", "a": "a"}),
    ("ALTER TABLE t ALTER COLUMN a TYPE jsonb USING '{\"x\": 1}'", {"id": 1, "a": {"x": 1}}),
    ("ALTER TABLE t RENAME TO u", {"id": 1, "a": "a"}),
    ("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", {"id": 1, "a": "a"}),
]


@pytest.mark.parametrize(("ddl", "row"), ALTERED, ids=[ddl for ddl, _ in ALTERED])
def test_a_table_altered_by_hand(table, counted, ddl, row):
    """The very next statement of an open session is logged for the table as it is now, by whoever it was altered."""
    fallbacks(counted, ROWS.format(1))
    fallbacks(counted, "UPDATE t SET a = 'a'")
    counted.commit()
    run(table, ddl)
    with table.connect() as connection:
        name = connection.scalar(
            sa.text("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'audit_logger_delete'")
        )
    assert fallbacks(counted, f"DELETE FROM {name}") == 1
    counted.commit()
    assert logged(table)[-1].old_data == row
    assert logged(table)[-1].table_name == name.removeprefix("s.")
    run(table, f"SELECT audit_logger_compile_again('{name}'::regclass::oid)")
    assert is_compiled(table, name)
    last = next(reversed(row))
    more = f"INSERT INTO {name} SELECT (jsonb_populate_record(NULL::{name}, '{__import__('json').dumps(row)}')).*"
    assert fallbacks(counted, more) == 0, last
    counted.commit()
    assert logged(table)[-1].changed_data == row


def test_a_table_that_took_the_name_of_another(table, counted):
    """Two tables of one shape that changed names are logged under their own."""
    fallbacks(counted, ROWS.format(1))
    counted.commit()
    run(table, "ALTER TABLE t RENAME TO former; CREATE TABLE t (id int PRIMARY KEY, a text)")
    assert fallbacks(counted, "UPDATE former SET a = 'b'") == 1
    counted.commit()
    audited(table, "t")
    run(table, "INSERT INTO t VALUES (1, 'new')")
    run(table, "UPDATE former SET a = 'c'")
    assert short(logged(table))[1:] == [("update", "former", "1"), ("insert", "t", "1"), ("update", "former", "1")]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_table_altered_since_the_snapshot(table, level):
    """A transaction whose snapshot is older than the ALTER TABLE logs the new column, and so does its session later."""
    run(table, ROWS.format(2))
    with table.connect() as connection:
        connection.exec_driver_sql(f"SET default_transaction_isolation = '{level}'")
        connection.commit()
        connection.exec_driver_sql("UPDATE t SET a = 'b' WHERE id = 1")
        connection.commit()
        connection.exec_driver_sql("SELECT 1 FROM pg_class LIMIT 1")
        run(table, "ALTER TABLE t ADD COLUMN b text, DROP COLUMN a")
        connection.exec_driver_sql("UPDATE t SET b = 'x' WHERE id = 1")
        connection.commit()
        connection.exec_driver_sql("UPDATE t SET b = 'y' WHERE id = 1")
        connection.commit()
    assert [a.changed_data for a in logged(table)][-2:] == [{"b": "x"}, {"b": "y"}]
    assert [a.old_data for a in logged(table)][-2:] == [{"id": 1, "b": None}, {"id": 1, "b": "x"}]


def test_the_functions_go_with_the_triggers(table):
    query = sa.text("SELECT count(*) FROM pg_proc WHERE proname ~ '^audit_logger_[0-9a-f]{16}_'")
    with table.connect() as connection:
        assert connection.scalar(query) == 3
    audited(table, "t", verbs=["insert"])
    with table.connect() as connection:
        assert connection.scalar(query) == 1
    run(table, "SELECT audit_logger_drop_triggers('t'::regclass::oid, '{}'::text[])")
    with table.connect() as connection:
        assert connection.scalar(query) == 0


def test_nobody_may_call_what_was_compiled(table, server):
    with server.role() as role:
        run(table, f'ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO "{role}"')
        audited(table, "t", old_data="changed")
        query = (
            "SELECT count(*) FROM pg_proc WHERE proname ~ '^audit_logger_[0-9a-f]{16}_'"
            f" AND has_function_privilege('{role}', oid, 'EXECUTE')"
        )
        with table.connect() as connection:
            assert connection.scalar(sa.text(query)) == 0
        run(table, f'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM "{role}"')


def test_a_restored_database_stays_fast():
    """The fingerprint of a table has no numbers that a restore changes."""
    bindir = Path(os.environ["AUDIT_TEST_PG_BINDIR"]) if os.environ.get("AUDIT_TEST_PG_BINDIR") else None
    with Cluster(bindir) as cluster:
        engine = plain_engine(cluster.url())
        run(engine, "CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE t (id int PRIMARY KEY, m mood, n numeric(5, 2)[])")
        audited(engine, "t", mask=["n"])
        dump = subprocess.run(
            [cluster.bindir / "pg_dump", "-h", cluster.folder, "-U", "postgres", "postgres"],
            capture_output=True, check=True,
        )  # fmt: skip
        run_outside = plain_engine(cluster.url()).execution_options(isolation_level="AUTOCOMMIT")
        with run_outside.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE restored")
        subprocess.run(
            [cluster.bindir / "psql", "-qv", "ON_ERROR_STOP=1", "-h", cluster.folder, "-U", "postgres", "restored"],
            input=dump.stdout, capture_output=True, check=True,
        )  # fmt: skip
        restored = plain_engine(cluster.url("restored"))
        assert is_compiled(restored)
        with restored.begin() as connection:
            connection.exec_driver_sql("SET track_functions = 'all'")
            assert fallbacks(connection, "INSERT INTO t VALUES (1, 'fine', '{1}')") == 0
        assert logged(restored)[0].changed_data["m"] == "fine"


PARTITIONED = """
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (10) TO (20);
"""


@pytest.mark.parametrize("first", ["(1, 'new'), (2, 'changed')", "(2, 'changed'), (1, 'new'), (12, 'changed')"])
def test_merge_on_a_partitioned_table(outside, server, first):
    """PostgreSQL shows the inserted row as the new one of the update after it; the log has what is in the table."""
    if server.version < 15:
        pytest.skip("no MERGE")
    run(outside, PARTITIONED + "INSERT INTO p VALUES (2, 'old'), (12, 'old')")
    audited(outside, "p", partitioned=True)
    run(
        outside,
        f"MERGE INTO p USING (VALUES {first}) AS s (id, v) ON p.id = s.id "
        "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)",
    )
    found = {(a.verb, a.record_key): a.changed_data for a in logged(outside)}
    expected = {("insert", "1"): {"id": 1, "v": "new"}, ("update", "2"): {"v": "changed"}}
    if "12" in first:
        expected["update", "12"] = {"v": "changed"}
    assert found == expected


@pytest.mark.parametrize("change", ["id = id + 1", "id = id + 10", "id = id + 10, v = 'x'"])
def test_keys_of_a_partitioned_table_change(outside, change):
    """A row with a new key, in another partition or not, is an update of the record it was."""
    run(outside, PARTITIONED + "INSERT INTO p VALUES (2, 'a'), (4, 'b'), (6, 'c')")
    audited(outside, "p", partitioned=True)
    run(outside, f"UPDATE p SET {change}")
    rows = {a.record_key: a.old_data | a.changed_data for a in logged(outside)}
    assert set(rows) == {"2", "4", "6"}
    with outside.connect() as connection:
        there = {row.id: row.v for row in connection.exec_driver_sql("SELECT * FROM p")}
    assert {row["id"]: row["v"] for row in rows.values()} == there
    assert {a.verb for a in logged(outside)} == {"update"}


def test_what_jsonb_cannot_show_is_a_change(outside):
    """Zero and negative zero, another text of the same JSON, other bounds of an array: both sides are told apart."""
    run(
        outside,
        "CREATE TABLE t (id int PRIMARY KEY, f float8, fs real[], j json, js json[], n int[], b jsonb[], x numeric);"
        "INSERT INTO t VALUES (1, 0, '{0}', '{\"a\":1}', ARRAY['1'::json], '{1,2}', ARRAY[NULL::jsonb], 1.0)",
    )
    audited(outside, "t")
    changes = {
        "f": "'-0'", "fs": "'{-0}'", "j": "'{\"a\": 1}'", "js": "ARRAY['1 '::json]", "n": "'[0:1]={1,2}'",
        "b": "ARRAY['null'::jsonb]", "x": "1.00",
    }  # fmt: skip
    for column, value in changes.items():
        run(outside, f"UPDATE t SET {column} = {value}")
    activities = logged(outside)
    assert [list(a.changed_data) for a in activities] == [[column] for column in changes]
    for activity, column in zip(activities, changes, strict=True):
        if column != "x":  # 1.0 and 1.00 are two texts in jsonb, and one number to Python
            assert activity.old_data[column] != activity.changed_data[column], column


@pytest.mark.parametrize(
    ("column", "value"), [("f", "'-0'"), ("n", "'[0:1]={1,2}'"), ("js", "ARRAY['{\"a\":  1}'::json]")]
)
def test_what_is_logged_can_be_written_back(outside, column, value):
    """A value that jsonb has no equal for is logged as its text."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, f float8, n int[], js json[])")
    audited(outside, "t")
    run(outside, f"INSERT INTO t (id, {column}) VALUES (1, {value})")
    data = logged(outside)[0].changed_data[column]
    text = data["text"] if isinstance(data, dict) else None
    with outside.connect() as connection:
        same = connection.scalar(
            sa.text(f"SELECT {column}::text = :text FROM t")
            if text
            else sa.text(f"SELECT {column}::text[] = :text FROM t"),
            {"text": text or data},
        )
    assert same


def test_a_column_computed_from_a_hidden_one_is_masked(outside):
    run(
        outside,
        "CREATE TABLE t (id int PRIMARY KEY, secret text, other text, open text,"
        " a text GENERATED ALWAYS AS (upper(secret)) STORED, b text GENERATED ALWAYS AS (lower(other)) STORED,"
        " c text GENERATED ALWAYS AS (lower(open)) STORED)",
    )
    audited(outside, "t", mask=["secret"], exclude=["other"])
    run(outside, "INSERT INTO t VALUES (1, 'One', 'Two', 'Three')")
    run(outside, "UPDATE t SET secret = 'Four', other = 'Five'")
    masked = {"audit_logger": "masked"}
    insert, update = logged(outside)
    assert insert.changed_data == {"id": 1, "secret": masked, "open": "Three", "a": masked, "b": masked, "c": "three"}
    assert update.changed_data == {"secret": masked, "a": masked, "b": masked}


def test_a_virtual_column_that_cannot_be_computed(outside, server):
    """It has no value of its own, so it is not asked for: the write succeeds as without us."""
    if server.version < 18:
        pytest.skip("no virtual columns")
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, x int, v int GENERATED ALWAYS AS (100 / x) VIRTUAL)")
    audited(outside, "t")
    run(outside, "INSERT INTO t VALUES (1, 0); UPDATE t SET x = 1; UPDATE t SET x = 0; DELETE FROM t")
    assert [a.verb for a in logged(outside)] == ["insert", "update", "update", "delete"]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_truncate_by_rows_in_each_isolation_level(outside, level):
    """Rows that were committed since the snapshot can't be read, so a marker says that all are gone, and why."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a')")
    audited(outside, "t", truncate="rows")
    with outside.connect() as connection:
        connection.exec_driver_sql(f"SET default_transaction_isolation = '{level}'")
        connection.commit()
        connection.exec_driver_sql("SELECT 1 FROM pg_class LIMIT 1")
        run(outside, "INSERT INTO t VALUES (2, 'b')")
        connection.exec_driver_sql("TRUNCATE t")
        connection.commit()
    found = logged(outside)[1:]
    if level == "READ COMMITTED":
        assert short(found) == [("delete", "t", "1"), ("delete", "t", "2")]
        assert not found[0].marks
    else:
        assert short(found) == [("truncate", "t", None)]
        assert found[0].marks == {"rows_behind_snapshot": ["public.t"]}


def test_truncate_twice_where_inserts_leave_no_entry(outside):
    """In one text, both are logged: nothing tells that the second is not a part of the first."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True, verbs=["update", "delete", "truncate"])
    run(outside, "DO $$ BEGIN TRUNCATE p; INSERT INTO p VALUES (1, 'x'); TRUNCATE p_low; END $$")
    with outside.connect() as connection:
        names = connection.execute(
            sa.text("SELECT relid::regclass::text FROM activity WHERE verb = 'truncate' ORDER BY id")
        ).scalars().all()  # fmt: skip
    assert names == ["p", "p_low", "p_high", "p_low"]


CONTEXT = "SELECT set_config('flask_audit_logger.context', '{}', true);"


@pytest.mark.parametrize(
    "statement", ["INSERT INTO t VALUES (3, 'x')", "UPDATE t SET a = 'x'", "DELETE FROM t", "TRUNCATE t"]
)
def test_a_change_that_needs_an_actor_and_a_reason(outside, statement):
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    audited(outside, "t", require=["actor", "reason"])
    for context in ("{}", '{"actor_label": "Ann"}', '{"context": {"reason": "because"}}'):
        with pytest.raises(
            sa.exc.DBAPIError if False else Exception, match=r"\(audit_logger\) changes of the table public\.t need"
        ):
            run(outside, CONTEXT.replace("{}", context) + statement)
    assert logged(outside) == []
    given = '{"actor_label": "Ann", "context": {"reason": "because"}}'
    run(outside, CONTEXT.replace("{}", given) + statement)
    assert {a.context["reason"] for a in logged(outside)} == {"because"}


def test_what_a_requirement_does_not_refuse(outside):
    """Changes that change nothing, referential actions, and what is not logged."""
    run(
        outside,
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);"
        "CREATE TABLE t (id int PRIMARY KEY REFERENCES parent ON DELETE CASCADE, a text);"
        "INSERT INTO t VALUES (1, 'a')",
    )
    audited(outside, "t", require=["reason"])
    run(outside, "UPDATE t SET a = 'a'; UPDATE t SET a = 'b' WHERE false")
    run(outside, "DELETE FROM parent WHERE id = 1")
    assert short(logged(outside)) == [("delete", "t", "1")]
    run(outside, "SET LOCAL flask_audit_logger.enable_versioning = 'false'; INSERT INTO t VALUES (2, 'x')")
    assert len(logged(outside)) == 1
