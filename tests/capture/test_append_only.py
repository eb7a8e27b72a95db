"""Promise P7: only the owner of the log changes it, whatever was granted to others, and no setting opens it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.capture.tables import audited, logged, run, short

WRITES = {
    "insert": "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, transaction_id)"
    " VALUES ('public', 't', 1, now(), 1, 'delete', 1)",
    "insert a transaction": "INSERT INTO transaction (native_transaction_id, issued_at) VALUES (1, now())",
    "upsert": "INSERT INTO transaction (id, native_transaction_id, issued_at) VALUES (1, 1, now())"
    " ON CONFLICT (id) DO UPDATE SET actor_label = 'Ann'",
    "copy": "COPY transaction (native_transaction_id, issued_at) FROM PROGRAM 'echo 1,2026-01-01' WITH (FORMAT csv)",
    "update": "UPDATE activity SET verb = 'insert'",
    "update nothing": "UPDATE transaction SET actor_label = 'Ann' WHERE false",
    "delete": "DELETE FROM activity",
    "delete a transaction": "DELETE FROM transaction",
    "merge": "MERGE INTO transaction AS t USING (SELECT 1 AS id) AS s ON s.id = t.id"
    " WHEN MATCHED THEN UPDATE SET actor_label = 'Ann'",
    "truncate": "TRUNCATE activity",
    "truncate both": "TRUNCATE transaction, activity",
    "view": "INSERT INTO through (native_transaction_id, issued_at) VALUES (1, now())",
}


@pytest.fixture
def app_role(server, outside):
    """The role of an application, which everything made later is granted to."""
    with server.role() as name:
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            run(outside, f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO "{name}" WITH GRANT OPTION')
            run(outside, f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO PUBLIC")
        run(outside, f'GRANT USAGE, CREATE ON SCHEMA public TO "{name}"; CREATE TABLE t (id int PRIMARY KEY, n int)')
        audited(outside, "t")
        run(outside, "INSERT INTO t VALUES (1, 1)", role=name)
        yield name
        run(outside, f'DROP OWNED BY "{name}" CASCADE; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC')


def test_default_privileges_give_nothing_but_reading(outside, app_role):
    assert short(logged(outside)) == [("insert", "t", "1")]
    run(outside, "SELECT * FROM activity, transaction", role=app_role)
    for name in ("insert", "insert a transaction", "upsert", "update", "delete", "merge", "truncate"):
        with pytest.raises(Exception, match="permission denied"):
            run(outside, WRITES[name], role=app_role)
    for sequence in ("activity_id_seq", "transaction_id_seq"):
        with pytest.raises(Exception, match="permission denied"):
            run(outside, f"SELECT setval('{sequence}', 1)", role=app_role)
    for function in ("audit_logger_capture", "audit_logger_truncate"):
        with pytest.raises(Exception, match="permission denied for function"):
            trigger = f"CREATE TRIGGER x AFTER TRUNCATE ON t EXECUTE FUNCTION {function}('{{}}')"
            run(outside, f"CREATE TEMP TABLE t (id int); {trigger}", role=app_role)
    with pytest.raises(Exception, match="permission denied for function"):
        run(outside, "SELECT audit_logger_current_transaction()", role=app_role)


@pytest.mark.parametrize(
    "setting", ["session_replication_role = 'replica'", "row_security = off", "search_path = evil"]
)
def test_a_grant_opens_nothing(outside, app_role, setting):
    run(outside, f'GRANT ALL ON activity, transaction, activity_id_seq, transaction_id_seq TO "{app_role}"')
    run(outside, f'GRANT pg_execute_server_program TO "{app_role}"; CREATE VIEW through AS SELECT * FROM transaction')
    # an operator that would match if names were looked up on the path
    run(
        outside,
        f"""
        CREATE SCHEMA evil;
        GRANT USAGE ON SCHEMA evil TO "{app_role}";
        CREATE FUNCTION evil.yes(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.yes);
        """,
    )
    before = contents(outside)
    if setting.startswith("search_path"):
        setting = "search_path = evil, public, pg_catalog"
    for write in WRITES.values():
        with pytest.raises(Exception, match=r"\(audit_logger\) .* only its owner may change the log") as refused:
            run(outside, f'SET LOCAL {setting}; SET LOCAL ROLE "{app_role}"; {write}')
        assert (getattr(refused.value, "sqlstate", None) or refused.value.pgcode) == "42501", write
        assert contents(outside) == before, write
    run(outside, "INSERT INTO t VALUES (2, 1)", role=app_role)
    assert short(logged(outside)) == [("insert", "t", "1"), ("insert", "t", "2")]


def contents(engine):
    with engine.connect() as connection:
        return [
            connection.execute(sa.text(f"SELECT x::text FROM {table} AS x ORDER BY id")).scalars().all()
            for table in ("activity", "transaction")
        ]


def test_whoever_has_the_rights_of_the_owner_may_correct_the_log(server, outside, app_role):
    """It protects against grants, not against the owner: they could drop the trigger, too."""
    with server.role("NOLOGIN") as owner, server.role() as member:
        run(outside, f'GRANT CREATE, USAGE ON SCHEMA public TO "{owner}"; GRANT "{owner}" TO "{member}"')
        run(outside, f'ALTER TABLE activity OWNER TO "{owner}"; ALTER TABLE transaction OWNER TO "{owner}"')
        for role in (owner, member):
            run(outside, "UPDATE transaction SET actor_label = 'Ann'", role=role)
        run(outside, "DELETE FROM activity")  # as the superuser
        run(outside, f'REASSIGN OWNED BY "{owner}" TO CURRENT_USER; DROP OWNED BY "{owner}", "{member}" CASCADE')
    assert logged(outside) == []
