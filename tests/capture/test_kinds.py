"""Whether a statement may write, by its text. A mistake in one direction costs a statement, in the other an actor."""

from __future__ import annotations

import pytest

from flask_audit_logger.capture import statements
from flask_audit_logger.capture.statements import Kind, Step, traits_of

KINDS = {
    Kind.READ: [
        "SELECT 1",
        "/* /* a */ b */ SELECT 1 /* /* insert into t */ delete from t */",
        "  -- a comment\n/* insert into t */ SELECT 1",
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT count(*), max(a) FILTER (WHERE b IN (1, 2)) OVER (PARTITION BY c) FROM t",
        "SELECT 'insert into t', $$delete from t$$, $x$ update t $x$, E'it\\'s f(1)'",
        'SELECT t.update, "delete from", t.insert FROM t',
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED",
        "WITH x (a, b) AS (SELECT 1, 2), y(c) AS NOT MATERIALIZED (SELECT 3) SELECT * FROM x, y",
        "WITH RECURSIVE x(a) AS (VALUES (1)) SELECT * FROM x",
        "SELECT * FROM (SELECT 1) AS u (a), (VALUES (1, 2)) AS v(a, b)",
        "SELECT pg_catalog.lower(a)::varchar(10), CAST(b AS numeric(10, 2)) FROM t",
        "SELECT a FROM t WHERE b = %(b_1)s AND (a, c) IN (SELECT 1, 2)",
        "VALUES (1, 2)",
        "TABLE t",
        "EXPLAIN SELECT 1",
        "SELECT a FROM t WHERE a IN (%(a_1)s, %(a_2)s) AND b %% 2 = %(count)s",
        "FETCH 10 FROM c",
        "SHOW timezone",
        "SET LOCAL timezone = 'UTC'",
        "ALTER TABLE t ADD COLUMN a varchar(10)",
        "",
        ";",
    ],
    Kind.WRITE: [
        "INSERT INTO t VALUES (1)",
        "insert\ninto t values (1)",
        "/* c */ UPDATE t SET a = 1",
        "/* /* a */ b */ UPDATE t SET a = 1",
        "/** a /* b /**/ **/ c */ UPDATE t SET a = 1",
        "SELECT 1 /* /* a */ it's */; DELETE FROM t -- it's",
        "DELETE FROM t",
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
        "COPY t FROM STDIN",
        "TRUNCATE t",
        "EXECUTE prepared (1)",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM x",
        "WITH x (a) AS (SELECT 1), y AS (DELETE FROM t RETURNING 1) SELECT * FROM x",
        "WITH x AS (SELECT 1) UPDATE t SET a = 1",
        "SELECT save(1)",
        "SELECT public.count(1)",
        'SELECT "count it"(1)',
        'SELECT a."b"(1)',
        "SELECT log('something')",
        "SELECT to_archive(1), tsync(2), json_import(3), array_store(4), pg_save(5), date_shift(6), st_save(7)",
        "SELECT * FROM save(1) AS (a int)",
        "SELECT 1 -- it's\n, save(1) -- won't",
        "SELECT E'\\'', save('x')",
        "SELECT $a$it's$a$, save(1)",
        "SELECT 'it''s', save('x')",
        "SELECT \"it's\", save('x') FROM t",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN (ANALYZE) EXECUTE prepared (1)",
        "WITH x AS (SELECT 1) DELETE /* old */ FROM t",
        "WITH x AS (SELECT 1) INSERT -- new\n INTO t VALUES (1)",
        "DECLARE c CURSOR FOR SELECT save(1)",
        "; INSERT INTO t VALUES (1)",
        "SELECT 1; TRUNCATE t",
        "SELECT 1; CALL p()",
    ],
    Kind.CALL: [
        "CALL p()",
        "DO $$ BEGIN END $$",
        "SET x = 1; INSERT INTO t VALUES (1)",
        "SAVEPOINT a; SELECT save(1)",
        "LOCK TABLE t; UPDATE t SET a = 1",
        "CREATE TABLE u AS SELECT save(1)",
    ],
    Kind.CONTROL: [
        "BEGIN",
        "start transaction",
        "COMMIT",
        "END",
        "ROLLBACK",
        "rollback to savepoint a",
        "ABORT",
        "SAVEPOINT a",
        "RELEASE SAVEPOINT a",
        "PREPARE p AS INSERT INTO t VALUES (1)",
        "PREPARE TRANSACTION 'x'",
        "DISCARD ALL",
        "RESET ALL",
    ],
}


@pytest.mark.parametrize(("statement", "kind"), [(s, kind) for kind, texts in KINDS.items() for s in texts])
def test_kinds(statement, kind):
    """Each statement is taken for what it may do."""
    assert traits_of(statement).kind is kind
    assert traits_of(statement + " " * 6000).kind is kind


def test_the_list_of_harmless_names_is_short():
    """Words of the grammar, types and aggregates; no function that an application would call its own."""
    assert len(statements._HARMLESS) <= 64
    assert traits_of("SELECT date_trunc('day', now())").kind is Kind.WRITE


SAVEPOINTS = {
    "SAVEPOINT sa_savepoint_1": (Step.BEGIN, "sa_savepoint_1"),
    "/* c */ savepoint A; -- c": (Step.BEGIN, "a"),
    'SAVEPOINT "A ""b"""': (Step.BEGIN, 'A "b"'),
    "RELEASE a": (Step.RELEASE, "a"),
    "RELEASE SAVEPOINT a": (Step.RELEASE, "a"),
    "ROLLBACK TO a": (Step.UNDO, "a"),
    "rollback work to savepoint a": (Step.UNDO, "a"),
    "ROLLBACK TRANSACTION TO SAVEPOINT a ;": (Step.UNDO, "a"),
    "ROLLBACK": None,
    "SAVEPOINT a; SELECT 1": None,
    "SELECT 'SAVEPOINT a'": None,
}


@pytest.mark.parametrize("statement", SAVEPOINTS)
def test_savepoints(statement):
    """Each statement for one savepoint is followed."""
    assert traits_of(statement).savepoint == SAVEPOINTS[statement]


@pytest.mark.parametrize(
    ("statement", "forgets"),
    [
        ("ROLLBACK", True),
        ("COMMIT AND CHAIN", True),
        ("UPDATE t SET a = 1; ROLLBACK TO a", True),
        ("SELECT 1; /* c */ release a", True),
        ("RESET ALL", True),
        ("PREPARE TRANSACTION 'x'", True),
        ("RESET search_path", False),
        ("PREPARE rollback AS SELECT 1", False),
        ("INSERT INTO t VALUES ('; ROLLBACK')", False),
        ("ROLLBACK TO a", False),
        ("SELECT release FROM commits", False),
    ],
)
def test_what_may_undo_settings_in_a_way_that_can_not_be_followed(statement, forgets):
    assert traits_of(statement).forgets is forgets


@pytest.mark.parametrize(
    ("statement", "may_set"),
    [
        ("SET flask_audit_logger.context = ''", True),
        ('SET LOCAL "flask_audit_logger"."context" TO \'\'', True),
        ("SELECT 1; set Flask_Audit_Logger.enable_versioning = off", True),
        ("SELECT set_config(%s, %s, false)", True),
        ("DO $$ BEGIN PERFORM set_config('flask_audit_logger.context', '', false); END $$", True),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT set_config('a', 'b', true) $$", False),
        ("ALTER ROLE x SET flask_audit_logger.enable_versioning = off", False),
        ("SET LOCAL timezone = 'UTC'", False),
        ("SELECT config FROM sets", False),
    ],
)
def test_what_may_make_settings_of_ours(statement, may_set):
    """Functions of the log speak of them, too; to make those sets nothing."""
    assert traits_of(statement).may_set is may_set
