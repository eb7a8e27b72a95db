"""Promise P1: any table that PostgreSQL allows can be audited, whatever it is called and however it is made."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa

from flask_audit_logger.sql import quote_ident
from tests.capture.tables import audited, install, logged, run, short

pytestmark = pytest.mark.usefixtures("log_database")

NAMES = [
    *"""
    select user table order quo"te apo'strophe com,ma cur{ly} back\\slash co:lon per%cent %s dol$lar $function$ $sql$
    ünïcode a.b semi;colon @table@ @schema@ (paren) --comment /* old_table new_table activity transaction pg_class
    o n c p capture \N{GRINNING FACE}
    """.split(),
    "Mixed Case",
    "new\nline",
    " space ",
    "x" * 63,
]

#: Names of a log: each costs as much as thirty tables, so they have several of the odd characters each.
LOGS = [
    *"""
    user activity n quo"te,apo'strophe{curly}back\\slash co:lon.per%cent%s@table@@schema@
    ünïcode;semi--comment(paren)\N{GRINNING FACE}
    """.split(),
    "Mixed Case",
    "new\nline",
    " space ",
    "x" * 63,
]

COLUMNS = """
    tg_op old_table new_table id verb capture options n o c p e a t key value record position changed old_row new_row
    old_data changed_data schema table_name relid transaction_id xact_id mask excluded only_key key_columns count size
    audit_logger_position audit_logger_position_ relation names unchanged has_shape is_captured missing
    select user all Mixed quo"te %I %1$I @schema@ ctid_ row x:y $1 com,ma {brace}
""".split()

SHAPES = {"plain": {}, "part": {"exclude": ["left out"]}, "projected": {}}


@pytest.mark.parametrize("kind", ["table", "schema", "log"])
def test_names(outside, kind):
    """Tables, their schemas and the schema of the log may have any legal name."""
    for number, name in enumerate(LOGS if kind == "log" else NAMES):
        if kind != "table" and name.startswith("pg_"):
            continue
        schema = name if kind == "schema" else "tables"
        table = name if kind == "table" else f"t{number}"
        log = name if kind == "log" else "logs"
        install(outside, log)
        target = quote_ident(schema, table)
        run(
            outside,
            f"CREATE SCHEMA IF NOT EXISTS {quote_ident(schema)}; CREATE TABLE {target} (id int PRIMARY KEY, a json)",
        )
        audited(outside, table, schema=schema, audit_schema=log)
        run(outside, f"INSERT INTO {target} VALUES (1, '1'), (2, '1')")
        run(outside, f"UPDATE {target} SET a = '2'; DELETE FROM {target}; TRUNCATE {target}")
        rows = [(a.schema, a.table_name, a.verb) for a in logged(outside, log.replace('"', '""'), table_name=table)]
        verbs = [*["insert"] * 2, *["update"] * 2, *["delete"] * 2, "truncate"]
        assert rows == [(schema, table, verb) for verb in verbs], name


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 3])
def test_columns(outside, shape, rows):
    """Columns may be called like anything the trigger function uses, in each of its paths."""
    more = ', "left out" text' + (", j json DEFAULT '1'" if shape == "projected" else "")
    columns = ", ".join(f"{quote_ident(name)} text" for name in COLUMNS)
    run(outside, f"CREATE TABLE t (k int PRIMARY KEY, {columns}{more})")
    audited(outside, "t", **SHAPES[shape])
    run(outside, f"INSERT INTO t SELECT g FROM generate_series(1, {rows}) AS g")
    for name in COLUMNS:
        run(outside, f"UPDATE t SET {quote_ident(name)} = 'x'")
    run(outside, "DELETE FROM t")
    activities = logged(outside)
    changes = [a.changed_data for a in activities if a.verb == "update"]
    assert changes == [change for name in COLUMNS for change in [{name: "x"}] * rows]
    for deleted in activities[-rows:]:
        assert {deleted.old_data[name] for name in COLUMNS} == {"x"}


def test_one_row_type_named_like_a_variable(outside):
    """A column of a composite type called like an alias of the trigger function isn't taken for it."""
    run(
        outside,
        "CREATE TYPE pair AS (is_part bool, changed jsonb); CREATE TABLE t (id int PRIMARY KEY, n pair, capture pair)",
    )
    audited(outside, "t")
    run(outside, "INSERT INTO t VALUES (1, ROW(true, '1'), ROW(false, '2'))")
    run(outside, "UPDATE t SET n = ROW(true, '3')")
    assert logged(outside)[1].changed_data == {"n": "(t,3)"}


def test_the_same_name_in_two_schemas(outside):
    """Tables of one name in two schemas have their own options and are told apart in the log."""
    run(
        outside,
        "CREATE SCHEMA other; CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE other.t (LIKE t INCLUDING ALL)",
    )
    audited(outside, "t", exclude=["a"])
    audited(outside, "t", schema="other")
    run(outside, "INSERT INTO t VALUES (1, 1); INSERT INTO other.t VALUES (1, 1)")
    assert [(a.schema, a.changed_data) for a in logged(outside)] == [
        ("public", {"id": 1}),
        ("other", {"id": 1, "a": 1}),
    ]


PARTITIONED = """
CREATE TABLE p (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p_north PARTITION OF p FOR VALUES IN ('north');
CREATE TABLE p_south PARTITION OF p FOR VALUES IN ('south') PARTITION BY RANGE (id);
CREATE TABLE p_south_low PARTITION OF p_south FOR VALUES FROM (0) TO (100);
CREATE SCHEMA deep;
CREATE TABLE deep.high (n int, region text, id int, PRIMARY KEY (id, region));
ALTER TABLE p_south ATTACH PARTITION deep.high FOR VALUES FROM (100) TO (200);
"""


@pytest.mark.parametrize("options", [{}, {"exclude": ["n"]}, {"mask": ["n"]}], ids=["all", "exclude", "mask"])
def test_partitions(outside, options):
    """A write through the parent, a middle table or a leaf is logged once, under the name of the partitioned table."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True, **options)
    run(outside, "INSERT INTO p VALUES (1, 'north', 0), (2, 'south', 0), (101, 'south', 0)")
    run(outside, "INSERT INTO p_north VALUES (3, 'north', 0)")
    run(outside, "INSERT INTO deep.high (id, region, n) VALUES (102, 'south', 0)")
    run(outside, "INSERT INTO p_south VALUES (5, 'south', 0)")
    run(outside, "UPDATE p SET region = 'south' WHERE id = 1")
    run(outside, "UPDATE p_south SET id = id + 100 WHERE id = 5")
    run(outside, "DELETE FROM p_south_low WHERE id = 2")
    run(outside, "DELETE FROM p WHERE id > 100")
    activities = logged(outside)
    assert [(a.verb, a.record_key) for a in activities] == [
        ("insert", '["1", "north"]'),
        ("insert", '["2", "south"]'),
        ("insert", '["101", "south"]'),
        ("insert", '["3", "north"]'),
        ("insert", '["102", "south"]'),
        ("insert", '["5", "south"]'),
        ("update", '["1", "north"]'),
        ("update", '["5", "south"]'),
        ("delete", '["2", "south"]'),
        ("delete", '["101", "south"]'),
        ("delete", '["102", "south"]'),
        ("delete", '["105", "south"]'),
    ]
    assert {(a.schema, a.table_name) for a in activities} == {("public", "p")}
    assert activities[6].changed_data == {"region": "south"}
    assert activities[7].changed_data == {"id": 105}


def test_truncate_of_partitions(outside):
    """TRUNCATE of a partitioned table is one activity; of a partition one, too."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True)
    run(outside, "TRUNCATE p")
    run(outside, "TRUNCATE p_south")
    run(outside, "TRUNCATE deep.high, p_north")
    assert [(a.verb, a.table_name) for a in logged(outside)] == [("truncate", "p")] * 4


def test_truncate_of_a_table_and_its_partition_in_one_text(outside):
    """Rows that came in between make the second one another activity."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True)
    run(outside, "TRUNCATE p; INSERT INTO p VALUES (1, 'north', 0); TRUNCATE p_north; TRUNCATE p")
    assert [a.verb for a in logged(outside)] == ["truncate", "insert", "truncate", "truncate"]


def test_truncate_of_partitions_by_rows(outside):
    """Each row is logged once, whether its partition is emptied or the whole; hidden is only what a partition hides."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True, truncate="rows")
    rows = "INSERT INTO p VALUES (1, 'north', 0), (2, 'south', 0), (101, 'south', 0)"
    run(outside, f"{rows}; ALTER TABLE p ENABLE ROW LEVEL SECURITY")
    run(outside, f"TRUNCATE p; {rows}; TRUNCATE deep.high")
    deleted = [(a.record_key, a.table_name) for a in logged(outside, verb="delete")]
    keys = ['["1", "north"]', '["2", "south"]', '["101", "south"]']
    assert deleted == [(key, "p") for key in [*keys, keys[2]]]


def test_truncate_by_rows_with_a_partition_that_has_no_triggers_yet(outside):
    """Its rows can't be told one by one, so there is a marker, and a note of the transaction."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True, truncate="rows")
    run(outside, "CREATE TABLE p_west PARTITION OF p FOR VALUES IN ('west')")
    run(outside, "INSERT INTO p VALUES (7, 'west', 0), (8, 'north', 0)")
    run(outside, "TRUNCATE p")
    marker, row = logged(outside)[2:]
    assert (marker.verb, marker.table_name, marker.marks) == ("truncate", "p", {"rows_unread": ["public.p"]})
    assert (row.verb, row.record_key) == ("delete", '["8", "north"]')


def test_a_move_that_a_trigger_suppresses(outside):
    """If a BEFORE trigger drops some of the rows that move to another partition, no row gets the values of another."""
    run(outside, PARTITIONED)
    run(
        outside,
        "CREATE FUNCTION drop_odd() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id % 2 = 1 THEN RETURN NULL; END IF; RETURN NEW; END';"
        "CREATE TRIGGER drop_odd BEFORE INSERT ON p_south_low FOR EACH ROW EXECUTE FUNCTION drop_odd()",
    )
    audited(outside, "p", partitioned=True)
    run(outside, "INSERT INTO p SELECT g, 'north', g * 10 FROM generate_series(1, 5) AS g")
    run(outside, "UPDATE p SET region = 'south', n = n + 1 WHERE id < 5; UPDATE p SET n = n + 1 WHERE id = 5")
    balance = {}
    for a in logged(outside):
        row = {**a.old_data, **a.changed_data}
        if a.verb != "insert":
            assert balance.pop((a.old_data["id"], a.old_data["region"])) == a.old_data["n"]
        if a.verb != "delete":
            balance[row["id"], row["region"]] = row["n"]
    with outside.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, region, n FROM p").all()
    assert balance == {(id_, region): n for id_, region, n in rows}


def test_a_partition_attached_later(outside):
    """Rows of a partition attached by hand are captured through the parent at once, and directly after a migration."""
    run(outside, PARTITIONED)
    audited(outside, "p", partitioned=True)
    run(outside, "CREATE TABLE p_west PARTITION OF p FOR VALUES IN ('west')")
    run(outside, "INSERT INTO p VALUES (7, 'west', 0)")
    audited(outside, "p", partitioned=True)
    run(outside, "UPDATE p_west SET n = 1")
    assert [(a.verb, a.record_key) for a in logged(outside)] == [
        ("insert", '["7", "west"]'),
        ("update", '["7", "west"]'),
    ]


def test_inheritance_of_postgresql(outside):
    """Rows of an inheriting table that are changed through the audited parent are logged as the parent sees them."""
    run(outside, "CREATE TABLE base (id int PRIMARY KEY, a int); CREATE TABLE heir (b int) INHERITS (base)")
    audited(outside, "base")
    run(outside, "INSERT INTO heir VALUES (1, 1, 1); INSERT INTO base VALUES (2, 2)")
    run(outside, "UPDATE base SET a = a + 1")
    run(outside, "DELETE FROM base")
    assert short(logged(outside)) == [
        ("insert", "base", "2"),
        ("update", "base", "2"),
        ("update", "base", "1"),
        ("delete", "base", "2"),
        ("delete", "base", "1"),
    ]


@pytest.mark.parametrize("shape", ["plain", "projected", "exclude"])
def test_without_a_key(outside, shape):
    """Rows of a table without a key are logged one by one, equal rows too, with no record key."""
    run(outside, f"CREATE TABLE t (a int, b text{', j json' if shape == 'projected' else ''})")
    audited(outside, "t", **({"exclude": ["b"]} if shape == "exclude" else {}))
    run(outside, "INSERT INTO t (a, b) VALUES (1, 'x'), (1, 'x')")
    run(outside, "UPDATE t SET a = 2")
    assert short(logged(outside)) == [("insert", "t", None)] * 2 + [("update", "t", None)] * 2
    assert [a.changed_data for a in logged(outside)[2:]] == [{"a": 2}] * 2


@pytest.mark.parametrize("rows", [1, 2])
def test_composite_keys(outside, rows):
    """A composite key is a JSON array of texts in the order of the key, as jsonb prints it, before the change."""
    run(outside, "CREATE TABLE t (a date, b text, n int, PRIMARY KEY (b, a))")
    audited(outside, "t")
    run(outside, f"INSERT INTO t SELECT date '2026-01-01', 'x\"' || g, 0 FROM generate_series(1, {rows}) AS g")
    run(outside, "UPDATE t SET a = a + 1")
    keys = [a.record_key for a in logged(outside)]
    assert keys == [f'["x\\"{g}", "2026-01-01"]' for g in range(1, rows + 1)] * 2


def test_no_shift_between_old_and_new_rows(outside):
    """Each new row of a large update in any physical order is compared with its own old row."""
    run(
        outside,
        "CREATE TABLE t (id int PRIMARY KEY, n int, pad text);"
        "INSERT INTO t SELECT g, g, repeat('x', (g % 7) * 300) FROM generate_series(1, 3000) AS g;"
        "UPDATE t SET n = n WHERE id % 3 = 0",
    )
    audited(outside, "t")
    run(outside, "UPDATE t SET n = n + 1000000, pad = repeat('y', (id % 5) * 400) WHERE id % 2 = 0")
    activities = logged(outside)
    assert len(activities) == 1500
    assert all(a.changed_data["n"] == a.old_data["n"] + 1000000 == int(a.record_key) + 1000000 for a in activities)


def test_no_quadratic_plan(outside):
    """After single-row updates on a connection, an update of 5,000 rows costs about what it costs on a fresh one."""
    import time

    run(
        outside,
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 5000) AS g",
    )
    audited(outside, "t")

    def seconds(connection):
        started = time.monotonic()
        connection.exec_driver_sql("UPDATE t SET n = n + 1")
        return time.monotonic() - started

    with outside.begin() as fresh:
        cold = seconds(fresh)
    with outside.begin() as used:
        for number in range(7):
            used.exec_driver_sql("UPDATE t SET n = n + 1 WHERE id = %s", (number + 1,))
        assert seconds(used) < 5 * cold + 0.2


def test_every_pair_of_verbs_in_one_statement(outside):
    """Statements with several CTEs that write log each of them, with options of any path."""
    for number, options in enumerate(({}, {"exclude": ["x"]}, {"old_data": "changed"})):
        table = f"t{number}"
        run(
            outside,
            f"CREATE TABLE {table} (id int PRIMARY KEY, n int, x text); INSERT INTO {table} VALUES (1, 0), (2, 0)",
        )
        audited(outside, table, **options)
        parts = {
            "insert": f"INSERT INTO {table} VALUES (3, 0) RETURNING id",
            "update": f"UPDATE {table} SET n = 1 WHERE id = 1 RETURNING id",
            "delete": f"DELETE FROM {table} WHERE id = 2 RETURNING id",
        }
        for verbs in itertools.permutations(parts, 2):
            ctes = ", ".join(f"{verb}_ AS ({parts[verb]})" for verb in verbs)
            wanted = sorted(verbs)
            with outside.connect() as connection:
                before = len(logged(outside, table_name=table))
                connection.execute(sa.text(f"WITH {ctes} SELECT 1")).all()
                connection.commit()
            assert sorted(a.verb for a in logged(outside, table_name=table)[before:]) == wanted
            run(outside, f"DELETE FROM {table}; INSERT INTO {table} VALUES (1, 0), (2, 0)")
