"""Promise: a value that the table accepts never makes the write fail, and is logged as it is."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.capture.tables import audited, logged, run

pytestmark = pytest.mark.usefixtures("log_database")

#: Types and values; what is logged of each as JSON, if that isn't the same text.
VALUES = [
    ("integer", "42", 42),
    ("numeric", "1.00", 1.00),
    ("numeric", "'NaN'", "NaN"),
    ("numeric", "'-Infinity'", "-Infinity"),
    ("numeric", "1e100", 10**100),
    ("double precision", "'Infinity'", "Infinity"),
    ("double precision", "'NaN'", "NaN"),
    ("double precision", "0.1::float8 + 0.2::float8", 0.30000000000000004),
    ("text", "''", ""),
    ("text", "E'a\\tb\\nc\\\\d\"e'", 'a\tb\nc\\d"e'),
    ("text", "'\N{GRINNING FACE}'", "\N{GRINNING FACE}"),
    ("bytea", "'\\x00ff'", "\\x00ff"),
    ("date", "'infinity'", "infinity"),
    ("date", "'2026-12-31'", "2026-12-31"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("timestamptz", "'-infinity'", "-infinity"),
    ("timestamptz", "'2026-07-01 12:00:00.5+02'", "2026-07-01T10:00:00.5+00:00"),
    ("timestamp", "'2026-07-01 12:00'", "2026-07-01T12:00:00"),
    ("time", "'24:00'", "24:00:00"),
    ("interval", "'1 year 2 days 03:04:05'", "1 year 2 days 03:04:05"),
    ("boolean", "true", True),
    ("uuid", "'00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
    ("point", "'(1,2)'", "(1,2)"),
    ("bit varying", "B'101'", "101"),
    ("money", "'1.50'", "$1.50"),
    ("integer[]", "'{1,NULL,3}'", [1, None, 3]),
    ("text[]", "ARRAY[]::text[]", []),
    ("text[]", "'{{a,b},{c,d}}'", [["a", "b"], ["c", "d"]]),
    ("int4range", "'[1,5)'", "[1,5)"),
    ("int4multirange", "'{[1,2),[5,6)}'", "{[1,2),[5,6)}"),
    ("tsvector", "'a:1 b:2'", "'a':1 'b':2"),
    ("json", """'{"b": 1, "a": [null]}'""", {"b": 1, "a": [None]}),
    ("json", """'{"a": "\\u0000"}'""", {"audit_logger": "text", "text": '{"a": "\\u0000"}'}),
    ("json", "'1e999999'", {"audit_logger": "text", "text": "1e999999"}),
    (
        "json[]",
        """ARRAY['{"a": "\\u0000"}'::json]""",
        ['{"a": "\\u0000"}'],
    ),
    ("json", "'null'", {"audit_logger": "json null"}),
    ("jsonb", "'null'", {"audit_logger": "json null"}),
    ("json", '\'{"audit_logger": "json null"}\'', {"audit_logger": "value", "value": {"audit_logger": "json null"}}),
    ("jsonb", '\'{"audit_logger": "masked"}\'', {"audit_logger": "value", "value": {"audit_logger": "masked"}}),
    ("jsonb", "'[\"audit_logger\"]'", ["audit_logger"]),
    ("jsonb", "'\"audit_logger\"'", "audit_logger"),
    ("jsonb", '\'{"a": {"audit_logger": "masked"}}\'', {"a": {"audit_logger": "masked"}}),
    ("jsonb", "NULL", None),
    ("jsonb", """'{"a": 1.50}'""", {"a": 1.50}),
    ("mood", "'so la la'", "so la la"),
    ("mood[]", "'{fine,NULL}'", ["fine", None]),
    ("positive", "7", 7),
    ("small", "7", 7),
    ("small[]", "'{7,NULL}'", ["7", None]),
    ("word", "'a  '", "a  "),
    ("document", """'{"a": "\\u0000"}'""", {"audit_logger": "text", "text": '{"a": "\\u0000"}'}),
    ("pair", "ROW(1, 'x')", "(1,x)"),
    ("pair[]", "ARRAY[ROW(1, NULL)::pair]", ["(1,)"]),
    ("holder", """ROW('{"a": "\\u0000"}')""", '("{""a"": ""\\\\u0000""}")'),
    ("floatrange", "'[1.5,2.5]'", "[1.5,2.5]"),
]

TYPES = """
CREATE TYPE mood AS ENUM ('fine', 'so la la');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN small AS positive;
CREATE DOMAIN word AS char(3);
CREATE DOMAIN document AS json;
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE holder AS (j json);
CREATE TYPE floatrange AS RANGE (subtype = float8);
"""

HOSTILE_SESSION = (
    "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'; "
    "SET bytea_output = 'escape'; SET extra_float_digits = -5; SET search_path = ''"
)


@pytest.mark.parametrize("kind", ["alone", "json", "exclude"])
def test_values(outside, kind):
    """Each value is accepted, logged the same on insert, update and delete, whatever the session's settings are."""
    more = {"json": ", j json DEFAULT '1'", "exclude": ", x text DEFAULT 'y'"}.get(kind, "")
    options = {"exclude": ["x"]} if kind == "exclude" else {}
    run(outside, TYPES)
    for number, (type_, value, expected) in enumerate(VALUES):
        table = f"t{number}"
        run(outside, f"CREATE TABLE {table} (id int PRIMARY KEY, v {type_}, w int DEFAULT 0{more})")
        audited(outside, table, **options)
        with outside.begin() as connection:
            connection.exec_driver_sql("SET search_path = public")
            statement = f"INSERT INTO public.{table} (id, v) VALUES (1, {value})".replace("%", "%%")
            connection.exec_driver_sql(statement)
            connection.exec_driver_sql(HOSTILE_SESSION)
            connection.exec_driver_sql(f"UPDATE public.{table} SET w = 1")
            connection.exec_driver_sql(f"UPDATE public.{table} SET v = NULL")
            connection.exec_driver_sql(f"DELETE FROM public.{table}")
        insert, update, *to_null, _ = logged(outside, table_name=table)
        assert insert.changed_data["v"] == expected, (type_, value)
        assert update.old_data["v"] == expected, (type_, value)
        assert update.changed_data == {"w": 1}
        assert [a.old_data["v"] for a in to_null] == ([] if expected is None else [expected])
        assert [a.changed_data for a in to_null] == ([] if expected is None else [{"v": None}])


@pytest.mark.parametrize("rows", [1, 2])
def test_equal_is_not_the_same(outside, rows):
    """A change between values that the type calls equal is a change: 1.0 to 1.00, SQL NULL to JSON null."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, n numeric, j jsonb, c char(3))")
    run(outside, f"INSERT INTO t SELECT g, 1.0, NULL, 'a' FROM generate_series(1, {rows}) AS g")
    audited(outside, "t")
    for change in ("n = 1.00", "j = 'null'", "n = 1.00", "c = 'a  '", "j = '[1]'", "j = '[1.0]'"):
        run(outside, f"UPDATE t SET {change}")
    seen = [["n"], ["j"], ["j"], ["j"]]
    assert [list(a.changed_data) for a in logged(outside)] == [columns for columns in seen for _ in range(rows)]


@pytest.mark.slow
def test_large_values(outside):
    """10 MB texts and bytes are logged whole; the write of many large values at once doesn't fail either."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, c text, d text)")
    audited(outside, "t")
    run(outside, "INSERT INTO t VALUES (1, repeat('ab', 5000000), decode(repeat('00ff', 5000000), 'hex'))")
    run(outside, "UPDATE t SET a = a || 'c'")
    insert, update = logged(outside)
    assert insert.changed_data["a"] == "ab" * 5000000
    assert insert.changed_data["b"] == "\\x" + "00ff" * 5000000
    assert update.changed_data == {"a": "ab" * 5000000 + "c"}
    run(outside, "INSERT INTO t SELECT 2, x, NULL, x, x FROM repeat('x', 60000000) AS x")
    (large,) = logged(outside, record_key="2")
    assert [large.changed_data[name] for name in "acd"] == [{"audit_logger": "too large", "bytes": 60000004}] * 3


@pytest.mark.long
def test_compressed_values_that_unfold(outside):
    """What is small on disk and huge as JSON doesn't fail the write: 10 columns of 20 MB, 30 million nulls."""
    columns = ", ".join(f"c{n} text" for n in range(10))
    run(outside, f"CREATE TABLE t (id int PRIMARY KEY, {columns}, n int[])")
    audited(outside, "t")
    run(outside, "INSERT INTO t SELECT 1, x, x, x, x, x, x, x, x, x, x FROM repeat('x', 20000000) AS x")
    run(outside, "UPDATE t SET n = array_fill(NULL::int, ARRAY[30000000])")
    run(outside, "UPDATE t SET id = 2")
    assert [a.verb for a in logged(outside)] == ["insert", "update", "update"]


@pytest.mark.long
def test_rows_that_are_too_large_for_one_value(outside):
    """A row whose values together are more than PostgreSQL can hold in one value doesn't fail the write."""
    columns = ", ".join(f"c{n} text" for n in range(6))
    run(outside, f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
    run(outside, "INSERT INTO t VALUES (1)")
    for number in range(6):
        run(outside, f"UPDATE t SET c{number} = repeat('x', 200000000)")
    audited(outside, "t")
    run(outside, "UPDATE t SET id = 2")
    run(outside, "DELETE FROM t")
    update, delete = logged(outside)
    assert update.changed_data == {"id": 2}
    assert delete.old_data["c5"]["audit_logger"] == "too large"


def toast_blocks(engine, table):
    """How many blocks of values that are stored apart were read so far."""
    with engine.connect() as connection:
        return connection.exec_driver_sql(
            "SELECT coalesce(toast_blks_read, 0) + coalesce(toast_blks_hit, 0) + coalesce(tidx_blks_read, 0)"
            f" + coalesce(tidx_blks_hit, 0) FROM pg_statio_user_tables WHERE relname = '{table}'"
        ).scalar_one()


@pytest.mark.slow
def test_a_large_excluded_value_costs_nothing(outside):
    """A 60 MB value that is excluded is neither read nor converted."""
    run(
        outside,
        "CREATE TABLE t (id int PRIMARY KEY, n int, blob bytea); ALTER TABLE t ALTER blob SET STORAGE EXTERNAL;"
        "INSERT INTO t SELECT 1, 0, b || b FROM decode(repeat('00', 30000000), 'hex') AS b;"
        "SELECT pg_stat_force_next_flush()",
    )
    audited(outside, "t", exclude=["blob"])
    before = toast_blocks(outside, "t")
    run(outside, "UPDATE t SET n = n + 1; SELECT pg_stat_force_next_flush()")
    assert toast_blocks(outside, "t") - before < 10
    run(outside, "INSERT INTO t SELECT 2, 0, blob FROM t")
    run(outside, "UPDATE t SET blob = NULL WHERE id = 2")
    update, insert = logged(outside)
    assert update.changed_data == {"n": 1}
    assert insert.changed_data == {"id": 2, "n": 0}


@pytest.mark.parametrize("options", [{}, {"exclude": ["x"]}], ids=["whole", "part"])
def test_long_keys(outside, options):
    """Keys that no index could hold are hashed, alike in every activity; the data has them in full."""
    run(outside, "CREATE TABLE t (k text, x text, n int DEFAULT 0); CREATE UNIQUE INDEX ON t (md5(k))")
    audited(outside, "t", key=["k"], **options)
    run(outside, "INSERT INTO t VALUES (repeat('k', 1000)), (repeat('k', 1001)), (repeat(chr(9731), 400))")
    run(outside, "UPDATE t SET n = 1 WHERE length(k) = 1001")
    short_key, long_key, wide_key, update = [a.record_key for a in logged(outside)]
    assert short_key == "k" * 1000
    assert long_key == update
    assert long_key.startswith("sha256:")
    assert wide_key.startswith("sha256:")
    assert logged(outside)[1].changed_data["k"] == "k" * 1001


def test_generated_and_identity_columns(outside, server):
    """Identity and stored columns are logged; virtual ones (PostgreSQL 18) have no value of their own."""
    virtual = ", v int GENERATED ALWAYS AS (n * 3) VIRTUAL" if server.version >= 18 else ""
    run(
        outside,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, "
        f"s int GENERATED ALWAYS AS (n * 2) STORED{virtual}, \"V V\" text DEFAULT 'x')",
    )
    audited(outside, "t")
    run(outside, "INSERT INTO t (n) VALUES (2)")
    insert = logged(outside)[0]
    assert insert.changed_data == {"id": 1, "n": 2, "s": 4, "V V": "x"}
    run(outside, "UPDATE t SET n = 3")
    assert logged(outside)[1].changed_data == {"n": 3, "s": 6}
    run(outside, "DELETE FROM t")
    assert logged(outside)[2].old_data == {"id": 1, "n": 3, "s": 6, "V V": "x"}


def test_hstore(outside):
    """A value of a type of an extension is logged as its text, even if there is a cast to json."""
    with outside.connect() as connection:
        if not connection.scalar(sa.text("SELECT true FROM pg_available_extensions WHERE name = 'hstore'")):
            pytest.skip("hstore is not installed")
    run(outside, "CREATE EXTENSION hstore; CREATE TABLE t (id int PRIMARY KEY, h hstore)")
    audited(outside, "t")
    run(outside, "INSERT INTO t VALUES (1, 'a=>1, b=>NULL')")
    assert logged(outside)[0].changed_data["h"] == '"a"=>"1", "b"=>NULL'


@pytest.mark.slow
def test_large_values_of_other_types(outside):
    """Arrays, json, and values of types that somebody made are logged whole up to 64 MB, larger ones are told of."""
    run(
        outside,
        "CREATE TYPE mood AS ENUM ('fine'); CREATE TYPE pair AS (a int, b text);"
        "CREATE TABLE t (id int PRIMARY KEY, n int[], m mood[], p pair, j json)",
    )
    audited(outside, "t")
    numbers = "array_fill(7, ARRAY[100000]), array_fill('fine'::mood, ARRAY[100000])"
    run(
        outside,
        f"INSERT INTO t SELECT 1, {numbers}, format('(1,%s)', x)::pair, to_json(x) FROM repeat('x', 1000000) AS x",
    )
    run(
        outside,
        "INSERT INTO t SELECT 2, NULL, NULL, format('(1,%s)', x)::pair, to_json(x) FROM repeat('x', 70000000) AS x",
    )
    whole, large = [a.changed_data for a in logged(outside)]
    assert (whole["n"], whole["m"]) == ([7] * 100000, ["fine"] * 100000)
    assert (whole["p"], whole["j"]) == (f"(1,{'x' * 1000000})", "x" * 1000000)
    assert [large[name]["audit_logger"] for name in "pj"] == ["too large"] * 2


def test_columns_added_and_dropped_by_hand(outside):
    """A column added or dropped by plain SQL counts from the next statement on, whatever plans are cached."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, a int, x text)")
    audited(outside, "t", exclude=["x"])
    with outside.connect() as connection:

        def write(sql):
            connection.exec_driver_sql(sql)
            connection.commit()

        for _ in range(7):
            write("UPDATE t SET a = 1")
            write("INSERT INTO t (id, a, x) VALUES (1, 0, 'x')")
            write("UPDATE t SET a = a + 1")
            write("DELETE FROM t")
        run(outside, "ALTER TABLE t ADD COLUMN b json DEFAULT '[1]'")
        write("INSERT INTO t (id, a) VALUES (1, 0)")
        run(outside, "ALTER TABLE t DROP COLUMN a")
        write("UPDATE t SET b = '[2]'")
        run(outside, "ALTER TABLE t ADD COLUMN a text DEFAULT 'new', DROP COLUMN b")
        write("UPDATE t SET a = 'newer'")
    *_, insert, update, last = logged(outside)
    assert insert.changed_data == {"id": 1, "a": 0, "b": [1]}
    assert (update.old_data, update.changed_data) == ({"id": 1, "b": [1]}, {"b": [2]})
    assert (last.old_data, last.changed_data) == ({"id": 1, "a": "new"}, {"a": "newer"})
