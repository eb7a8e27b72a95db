"""Promise P7 as far as capture goes: whoever may write to a table may neither forge nor redirect its log."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError

from flask_audit_logger.schema.objects import Triggers, snapshot
from flask_audit_logger.schema.table_options import TableOptions
from flask_audit_logger.sql import CALLABLE, CURRENT_VERSION, FUNCTIONS, function_signature
from tests.capture.tables import audited, logged, run, short
from tests.support.server import both_drivers


@pytest.fixture
def mallory(server, outside):
    """A role that may create in schema public and write to the audited table, but has no right on the log."""
    with server.role() as name:
        run(outside, f'CREATE TABLE t (id int PRIMARY KEY, n int); GRANT ALL ON t TO "{name}"')
        run(outside, f'GRANT CREATE, USAGE ON SCHEMA public TO "{name}"')
        audited(outside, "t")
        yield name
        run(outside, f'DROP OWNED BY "{name}" CASCADE')


def test_the_app_needs_no_right_on_the_log(outside, mallory):
    """A role that may write to the table has its changes logged without any right on the log, and can't touch it."""
    run(outside, "INSERT INTO t VALUES (1, 1); UPDATE t SET n = 2; DELETE FROM t; TRUNCATE t", role=mallory)
    assert [a.verb for a in logged(outside)] == ["insert", "update", "delete", "truncate"]
    for forbidden in (
        "SELECT * FROM activity",
        "UPDATE activity SET verb = 'insert'",
        "DELETE FROM transaction",
        "TRUNCATE activity",
        "INSERT INTO transaction (native_transaction_id, issued_at) VALUES (1, now())",
    ):
        with pytest.raises(Exception, match="permission denied"):
            run(outside, forbidden, role=mallory)


def test_nobody_but_the_owner_can_call_the_functions(outside, mallory):
    """EXECUTE on each function is revoked from PUBLIC, but on the one that applications call."""
    with outside.connect() as connection:
        for name, _ in FUNCTIONS:
            signature = function_signature(name, "public")
            query = sa.text("SELECT has_function_privilege(:role, :signature, 'EXECUTE')")
            may_call = connection.scalar(query, {"role": mallory, "signature": signature})
            assert may_call == (name == CALLABLE), name


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT public.audit_logger_current_transaction()",
        "CREATE TEMP TABLE users (id int); CREATE TRIGGER forge AFTER INSERT ON users "
        "REFERENCING NEW TABLE AS new_table FOR EACH STATEMENT EXECUTE FUNCTION public.audit_logger_capture()",
        "CREATE TABLE users (id int); CREATE TRIGGER forge AFTER DELETE ON users "
        "REFERENCING OLD TABLE AS old_table FOR EACH STATEMENT EXECUTE FUNCTION public.audit_logger_capture()",
    ],
)
def test_activities_can_not_be_forged(outside, mallory, attack):
    """Neither a direct call nor a trigger on a table of one's own reaches the log."""
    with pytest.raises(Exception, match="permission denied for function"):
        run(outside, attack, role=mallory)
    assert logged(outside) == []


def test_a_change_is_not_logged_under_what_another_session_committed_meanwhile(outside, mallory):
    """Settings of another session, taken over whole: its row is newer than the forger's transaction, but not of it."""
    both = "unnest(CAST(:names AS text[]), CAST(:given AS text[])) AS s (n, v)"
    name_both = sa.text(f"SELECT set_config(n, v, true) FROM {both}")
    names = ["flask_audit_logger.context", "flask_audit_logger.transaction"]
    with outside.connect() as forger, outside.connect() as victim:
        forger.exec_driver_sql(f'SET LOCAL ROLE "{mallory}"')
        victim.execute(name_both, {"names": names[:1], "given": ['{"actor_label": "Grace"}']})
        victim.exec_driver_sql("INSERT INTO t VALUES (1, 1)")
        told = list(
            victim.execute(
                sa.text("SELECT current_setting(n) FROM unnest(CAST(:names AS text[])) AS n"), {"names": names}
            ).scalars()
        )
        victim.commit()
        forger.execute(name_both, {"names": names, "given": told})
        forger.exec_driver_sql("INSERT INTO t VALUES (2, 2)")
        forger.commit()
    by_victim, by_forger = logged(outside)
    assert by_forger.transaction_id != by_victim.transaction_id
    with outside.connect() as connection:
        natives = (
            connection.exec_driver_sql("SELECT native_transaction_id FROM transaction ORDER BY id").scalars().all()
        )
    assert natives == [by_victim.native_transaction_id, by_forger.native_transaction_id] and len(set(natives)) == 2


HIJACK = """
CREATE TABLE public.stolen (who text);
CREATE FUNCTION public.steal() RETURNS void LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.stolen VALUES (current_user); END';
CREATE FUNCTION public.nextval(text) RETURNS bigint LANGUAGE sql AS 'SELECT public.steal(); SELECT 1::bigint';
CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT public.steal(); SELECT ''false''::text';
CREATE FUNCTION public.current_setting(text, boolean) RETURNS text LANGUAGE sql AS
    'SELECT public.steal(); SELECT ''false''::text';
CREATE FUNCTION public.to_jsonb(public.t) RETURNS jsonb LANGUAGE sql AS 'SELECT public.steal(); SELECT ''{}''::jsonb';
CREATE FUNCTION public.is_other(public.t, public.t) RETURNS boolean LANGUAGE sql AS
    'SELECT public.steal(); SELECT false';
CREATE OPERATOR public.*<> (LEFTARG = public.t, RIGHTARG = public.t, FUNCTION = public.is_other);
CREATE TEMP TABLE pg_attribute (attname text);
CREATE TEMP TABLE activity (id int);
CREATE TEMP TABLE transaction (id int);
SET LOCAL search_path = public, pg_temp, pg_catalog;
"""


def test_the_search_path_of_the_session_means_nothing(outside, mallory):
    """Functions, operators and temporary tables put before PostgreSQL's own are not used by the trigger function."""
    run(outside, f'ALTER TABLE t OWNER TO "{mallory}"')
    run(outside, f"{HIJACK} INSERT INTO t VALUES (1, 1), (2, 2); UPDATE t SET n = n + 1; DELETE FROM t", role=mallory)
    assert [a.verb for a in logged(outside)] == ["insert", "insert", "update", "update", "delete", "delete"]
    with outside.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM public.stolen")).all() == []


CAST = """
CREATE FUNCTION public.steal() RETURNS void LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.stolen VALUES (current_user); END';
CREATE FUNCTION public.as_json(@type@) RETURNS json LANGUAGE sql AS 'SELECT public.steal(); SELECT ''1''::json';
CREATE FUNCTION public.as_text(@type@) RETURNS text LANGUAGE sql AS 'SELECT public.steal(); SELECT ''1''::text';
CREATE CAST (@type@ AS json) WITH FUNCTION public.as_json(@type@);
CREATE CAST (@type@ AS text) WITH FUNCTION public.as_text(@type@);
"""


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("type_", ["mood", "pair"])
def test_casts_of_others_are_not_called(outside, mallory, type_, rows):
    """A cast to json or text is not run, whoever made it; before and after it the values are logged alike."""
    run(
        outside,
        "CREATE TYPE mood AS ENUM ('fine'); CREATE TYPE pair AS (a mood); CREATE TABLE public.stolen (who text);"
        "ALTER TABLE t ADD COLUMN m mood, ADD COLUMN p pair, ADD COLUMN ms mood[];"
        f'ALTER TYPE mood OWNER TO "{mallory}"; ALTER TYPE pair OWNER TO "{mallory}";'
        f'GRANT INSERT ON public.stolen TO "{mallory}"',
    )
    values = "'fine'::mood, '(fine)'::pair, '{fine}'::mood[]"
    write = f"INSERT INTO t SELECT g, 1, {values} FROM generate_series(1, {rows}) AS g"
    run(outside, f"{write}; UPDATE t SET n = n + 1; DELETE FROM t", role=mallory)
    run(outside, CAST.replace("@type@", type_), role=mallory)
    run(outside, f"{write}; UPDATE t SET n = n + 1; DELETE FROM t", role=mallory)
    with outside.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM public.stolen")).all() == []
    before, *_, after = logged(outside)
    for row in (before.changed_data, after.old_data):
        assert (row["m"], row["p"], row["ms"]) == ("fine", "(fine)", ["fine"])


#: Functions that match calls of the first version better than its own did, and others that are near to those of today.
OVERLOADS = (
    "audit_logger_safe_value(json, bigint, boolean) RETURNS jsonb",
    "audit_logger_safe_value(json, integer, boolean) RETURNS jsonb",
    "audit_logger_safe_value(text, bigint, boolean) RETURNS jsonb",
    "audit_logger_safe_value(public.mood, bigint, boolean) RETURNS jsonb",
    "audit_logger_safe_value(json, text, integer, integer) RETURNS jsonb",
    "audit_logger_safe_value(text, text, integer, integer) RETURNS jsonb",
    "audit_logger_safe_value(public.mood, text, bigint, bigint) RETURNS jsonb",
    "audit_logger_whole_row(record, text[]) RETURNS jsonb",
    "audit_logger_whole_row(public.t, text[]) RETURNS jsonb",
    "audit_logger_projection(regclass, jsonb) RETURNS text",
    "audit_logger_projection(oid, json) RETURNS text",
    "audit_logger_projection(regclass, jsonb, boolean) RETURNS text",
    "audit_logger_record_key(json, text[]) RETURNS text",
    "audit_logger_record_key(jsonb, name[]) RETURNS text",
    "audit_logger_record_key(jsonb, VARIADIC anyarray) RETURNS text",
    "audit_logger_columns_of(json, jsonb) RETURNS jsonb",
    "audit_logger_current_transaction(VARIADIC text[]) RETURNS bigint",
    "audit_logger_note(VARIADIC text[]) RETURNS bigint",
    "audit_logger_note(name, name, name) RETURNS bigint",
    "audit_logger_key_columns(regclass, jsonb) RETURNS text[]",
)


@pytest.mark.parametrize("options", [{}, {"old_data": "changed", "exclude": ["x"]}], ids=["whole", "part"])
@pytest.mark.parametrize("rows", [1, 2])
def test_functions_that_match_a_call_better_are_not_called(outside, mallory, options, rows):
    """A role that may create in the schema of the log has none of its functions run by the log's owner."""
    run(
        outside,
        "CREATE TYPE mood AS ENUM ('fine'); CREATE TYPE pair AS (a mood);"
        "ALTER TABLE t ADD COLUMN j json, ADD COLUMN b jsonb, ADD COLUMN x text, ADD COLUMN m mood, ADD COLUMN p pair",
    )
    audited(outside, "t", **options)
    for overload in OVERLOADS:
        body = "BEGIN DELETE FROM public.activity; RETURN NULL; END"
        run(outside, f"CREATE FUNCTION public.{overload} LANGUAGE plpgsql AS $$ {body} $$", role=mallory)
    run(
        outside,
        "INSERT INTO t SELECT g, 1, '[1]', 'null', repeat(md5(g::text), 10000), 'fine', '(fine)'"
        f" FROM generate_series(1, {rows}) AS g; UPDATE t SET n = n + 1, j = 'null'; UPDATE t SET id = id + 10, x = '';"
        "DELETE FROM t",
        role=mallory,
    )
    assert [a.verb for a in logged(outside)] == [
        verb for verb in ("insert", "update", "update", "delete") for _ in range(rows)
    ]
    run(outside, "ALTER TABLE t DISABLE TRIGGER USER; INSERT INTO t VALUES (100, 1, '[1]', 'null')")
    triggers = Triggers("t", None, None, CURRENT_VERSION, TableOptions.make(**options))
    run(outside, snapshot(triggers))
    assert [a.verb for a in logged(outside)][-2:] == ["delete", "snapshot"]


def test_no_function_takes_any_type(outside, mallory):
    """A call of each function can be exact: PostgreSQL then looks at no other function of the name."""
    with outside.connect() as connection:
        loose = connection.scalars(
            sa.text(
                "SELECT p.oid::regprocedure::text FROM pg_proc AS p, unnest(p.proargtypes) AS a (type)"
                " JOIN pg_type AS t ON t.oid = a.type WHERE p.proname LIKE 'audit\\_logger\\_%' AND t.typtype = 'p'"
            )
        ).all()
    assert loose == []


@pytest.fixture
def keeper(server, outside, mallory):
    """The role that owns the log and its functions, and is not the owner of the table."""
    with server.role() as name:
        run(outside, f'GRANT USAGE ON SCHEMA public TO "{name}"')
        for table in ("activity", "transaction"):
            run(outside, f'ALTER TABLE {table} OWNER TO "{name}"')
        for function, _ in FUNCTIONS:
            run(outside, f'ALTER FUNCTION {function_signature(function, "public")} OWNER TO "{name}"')
        yield name
        run(outside, f'REASSIGN OWNED BY "{name}" TO CURRENT_USER; DROP OWNED BY "{name}" CASCADE')


def marks(engine):
    """The marks of the transactions, oldest first."""
    with engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT marks FROM transaction ORDER BY id")).scalars())


HIDDEN = {
    "no right": "SELECT",
    "no right on the schema": 'GRANT SELECT ON t TO "@keeper@"; CREATE SCHEMA data; ALTER TABLE t SET SCHEMA data',
    "row security": 'GRANT SELECT ON t TO "@keeper@"; ALTER TABLE t ENABLE ROW LEVEL SECURITY;'
    'CREATE POLICY visible ON t FOR SELECT TO "@keeper@" USING (id = 1)',
    "forced row security": 'ALTER TABLE t OWNER TO "@keeper@"; ALTER TABLE t FORCE ROW LEVEL SECURITY;'
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY visible ON t FOR SELECT USING (id = 1)",
}


@both_drivers
@pytest.mark.parametrize("hidden", HIDDEN)
def test_rows_that_the_log_may_not_read_are_emptied_with_a_note(outside, mallory, keeper, hidden):
    """With truncate="rows" TRUNCATE neither fails without a right, nor logs some of the rows as if they were all."""
    audited(outside, "t", truncate="rows")
    run(outside, "INSERT INTO t VALUES (1, 1), (2, 1)")
    run(outside, HIDDEN[hidden].replace("@keeper@", keeper))
    schema = "data" if "schema" in hidden else "public"
    run(outside, f"TRUNCATE {schema}.t; TRUNCATE {schema}.t")
    assert [(a.verb, a.old_data) for a in logged(outside)[2:]] == [("truncate", {})] * 2
    assert marks(outside) == [{}, {"rows_unread": [f"{schema}.t"]}]


def test_rows_that_the_log_may_read_are_logged(outside, mallory, keeper):
    """A right to read the table is all that the owner of the log needs."""
    audited(outside, "t", truncate="rows")
    run(outside, f'INSERT INTO t VALUES (1, 1), (2, 1); GRANT SELECT ON t TO "{keeper}"')
    run(outside, "TRUNCATE t", role=mallory)
    assert short(logged(outside)[2:]) == [("delete", "t", "1"), ("delete", "t", "2")]
    assert marks(outside) == [{}, {}]


def test_switching_capture_off_tells_by_whom(outside, mallory):
    """Any role may switch capture off for its transaction; the log then has the role and the table."""
    run(outside, "SET LOCAL flask_audit_logger.enable_versioning = 'off'; INSERT INTO t VALUES (1, 1)", role=mallory)
    with outside.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT db_user, marks FROM transaction")).all()
    assert row.db_user == outside.url.username
    assert row.marks == {"capture_off": ["public.t"]}


def test_serializable_transactions_have_no_false_conflicts(outside):
    """Transactions that write to different rows at the same time in SERIALIZABLE all commit."""
    run(outside, "CREATE TABLE t (id int, n int)")
    audited(outside, "t")
    engine = outside.execution_options(isolation_level="SERIALIZABLE")
    connections = [engine.connect() for _ in range(4)]
    for round_ in range(3):
        for number, connection in enumerate(connections):
            connection.exec_driver_sql("INSERT INTO t VALUES (%s, %s)", (number, round_))
    for connection in connections:
        connection.commit()
        connection.close()
    assert len(logged(outside)) == 12
    with outside.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM transaction")) == 4


def test_actor_changes_do_not_conflict_either(outside):
    """The same with an actor that changes inside the transaction, and with capture switched off in between."""
    run(outside, "CREATE TABLE t (id int, n int)")
    audited(outside, "t")
    engine = outside.execution_options(isolation_level="SERIALIZABLE")
    connections = [engine.connect() for _ in range(4)]
    settings = ["context = '{}'", """context = '{"actor_label": "a"}'""", "enable_versioning = 'off'", "context = ''"]
    for setting in settings:
        for number, connection in enumerate(connections):
            connection.exec_driver_sql(f"SET LOCAL flask_audit_logger.{setting}")
            connection.exec_driver_sql("INSERT INTO t VALUES (%s, 1)", (number,))
    for connection in connections:
        connection.commit()
        connection.close()
    assert len(logged(outside)) == 8


def test_a_log_in_a_schema_of_its_own(outside, server):
    """Table, log and functions in three schemas, none of which is in anybody's search path."""
    run(outside, "CREATE SCHEMA data; CREATE TABLE data.t (id int PRIMARY KEY)")
    audited(outside, "t", schema="data", audit_schema="logs")
    with server.role() as name:
        run(outside, f'GRANT USAGE ON SCHEMA data TO "{name}"; GRANT ALL ON data.t TO "{name}"')
        run(outside, "INSERT INTO data.t VALUES (1)", role=name)
        with pytest.raises(Exception, match="permission denied for schema logs"):
            run(outside, "SELECT * FROM logs.activity", role=name)
        run(outside, f'DROP OWNED BY "{name}" CASCADE')
    assert short(logged(outside, "logs")) == [("insert", "t", "1")]


def test_a_write_needs_no_owner(outside):
    """An error of a role without rights stays what it is, and logs nothing."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY)")
    audited(outside, "t")
    with pytest.raises(DBAPIError, match="permission denied"), outside.begin() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE pg_read_all_stats")
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert logged(outside) == []


#: What matches calls of any type better than PostgreSQL's own does, with what it returns.
BETTER_MATCHES = (
    ("FUNCTION", "format(text, regclass)", "text", "pg_catalog.format($1, $2::text)"),
    ("FUNCTION", "jsonb_build_object(text, jsonb)", "jsonb", "pg_catalog.jsonb_build_object($1, $2)"),
    ("FUNCTION", "pg_sleep(numeric)", "void", "pg_catalog.pg_sleep(0)"),
    ("OPERATOR", "=(oid, regclass)", "boolean", "$1 OPERATOR(pg_catalog.=) $2::oid"),
    ("OPERATOR", "<>(oid, regclass)", "boolean", "$1 OPERATOR(pg_catalog.<>) $2::oid"),
    ("OPERATOR", "*(numeric, integer)", "numeric", "$1 OPERATOR(pg_catalog.*) $2::numeric"),
    ("AGGREGATE", "jsonb_object_agg(text, text)", "jsonb", "$1 || pg_catalog.jsonb_build_object($2, $3)"),
    ("AGGREGATE", "jsonb_object_agg(text, jsonb)", "jsonb", "$1 || pg_catalog.jsonb_build_object($2, $3)"),
)


def spring_traps(outside, mallory):
    """Make such functions, operators and aggregates in public; each leaves a row in public.stolen when it is called."""
    run(outside, "CREATE TABLE stolen (via text); GRANT INSERT ON stolen TO public")
    for number, (kind, signature, result, body) in enumerate(BETTER_MATCHES):
        name, _, types = signature.rstrip(")").partition("(")
        own = f"trap_{number}" if kind != "FUNCTION" else name
        arguments = f"jsonb, {types}" if kind == "AGGREGATE" else types
        value = "RETURN;" if result == "void" else f"RETURN {body};"
        run(
            outside,
            f"CREATE FUNCTION public.{own}({arguments}) RETURNS {result} LANGUAGE plpgsql AS"
            f" $$ BEGIN INSERT INTO public.stolen VALUES ('{signature}'); {value} END $$",
            role=mallory,
        )
        if kind == "OPERATOR":
            left, right = types.split(", ")
            run(
                outside,
                f"CREATE OPERATOR public.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.{own})",
                role=mallory,
            )
        elif kind == "AGGREGATE":
            run(
                outside,
                f"CREATE AGGREGATE public.{name}({types}) (SFUNC = public.{own}, STYPE = jsonb, INITCOND = '{{}}')",
                role=mallory,
            )


def test_a_migration_and_a_baseline_call_nothing_of_others(outside, mallory):
    """Who may create in a schema on the path can't let them run code with the rights of their user."""
    run(outside, f'GRANT CREATE ON SCHEMA public TO "{mallory}"')
    run(outside, "CREATE TABLE parted (id int PRIMARY KEY, x text) PARTITION BY RANGE (id)")
    run(
        outside,
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100); INSERT INTO parted VALUES (1, 'old')",
    )
    spring_traps(outside, mallory)
    triggers = Triggers("parted", None, None, CURRENT_VERSION, TableOptions.make(partitioned=True))
    with outside.begin() as connection:
        op = Operations(MigrationContext.configure(connection))
        op.lock_audit_logger_tables("parted")
        op.init_audit_logger_triggers("parted", partitioned=True, version=CURRENT_VERSION)
        op.init_audit_logger_triggers("parted", partitioned=True, verbs=["insert", "update"], version=CURRENT_VERSION)
    run(outside, snapshot(triggers))
    run(outside, "UPDATE parted SET x = 'new'")
    with outside.begin() as connection:
        op = Operations(MigrationContext.configure(connection))
        op.rename_audit_logger_column("parted", "x", "y")
    assert [(a.verb, sorted(a.changed_data)) for a in logged(outside)] == [("snapshot", ["id", "y"]), ("update", ["y"])]
    with outside.connect() as connection:
        assert connection.scalars(sa.text("SELECT DISTINCT via FROM stolen")).all() == []
        connection.execute(sa.text("SELECT jsonb_object_agg('a'::text, 'b'::text)"))
        assert connection.scalars(sa.text("SELECT via FROM stolen")).all() == ["jsonb_object_agg(text, text)"]


def test_a_baseline_stores_no_masked_key(outside, mallory):
    """A key that must not be stored is none for the snapshot either, as it is none for the triggers."""
    run(outside, "CREATE TABLE people (ssn text PRIMARY KEY, x int); INSERT INTO people VALUES ('078-05-1120', 1)")
    triggers = Triggers("people", None, None, CURRENT_VERSION, TableOptions(mask=("ssn",)))
    with pytest.raises(Exception, match="have no record key"):
        run(outside, snapshot(triggers))
    assert logged(outside) == []
