"""``flask audit status`` says what is not logged, and fails for CI; ``--probe`` tries it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from flask_audit_logger.schema.objects import LOG_INDEXES
from tests.migrations.conftest import declare_table
from tests.support.apps import make_app
from tests.support.documents import named
from tests.support.models import Models
from tests.support.server import both_drivers, plain_engine


@pytest.fixture
def execute(outside):
    def run(*statements):
        with outside.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    return run


def status(application, *options):
    result = application.app.test_cli_runner().invoke(args=["audit", "status", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def test_a_right_log_is_no_fault(blog):
    code, output = status(blog)
    assert code == 0
    for name in ("log in schema public", "article_tags", "articles", "tags", "users"):
        assert f"ok    {name}\n" in output
    assert "notes" not in output


@both_drivers
@pytest.mark.parametrize("lost", [{"database": "not_there"}, {"port": 1}])
def test_a_database_that_is_not_there_is_said_in_one_line(server, driver, lost):
    """The address is shown without its password, and the driver's reason; no traceback."""
    with server.database() as url:
        named = url.set(drivername=f"postgresql+{driver}", password="wordly", **lost)
        application = make_app(named, create_all=False)
        code, output = status(application)
        application.dispose()
    assert code == 1
    assert re.fullmatch(r"Error: postgresql\+\w+://\w+:\*\*\*@\S+: .*(failed|does not exist|refused|bad).*\n", output)
    assert "wordly" not in output


def test_an_unknown_column_is_said_in_one_line(create_app):
    def declare(db):
        class Product(db.Model):
            __table_args__ = ({"info": {"audit_logged": {"mask": ["nam"]}}},)
            id = sa.Column(sa.Integer, primary_key=True)
            name = sa.Column(sa.Text)

    said = "Error: Table 'product': option 'mask' names the unknown column 'nam'. Did you mean 'name'?\n"
    assert status(create_app(declare=declare, create_all=False)) == (1, said)


def test_a_table_altered_by_hand_is_noted_until_it_is_compiled(blog, execute):
    """Nothing is missing from the log, so it is no fault; only one table is named."""
    execute("ALTER TABLE users ADD COLUMN phone text")
    code, output = status(blog)
    assert code == 0
    assert "note  users\n        it was altered; until `flask audit compile`" in output
    assert output.count("it was altered") == 1
    result = blog.app.test_cli_runner().invoke(args=["audit", "compile", "users"])
    assert (result.exit_code, result.output) == (0, "users: compiled\n")
    assert "ok    users\n" in status(blog)[1]
    execute("INSERT INTO users (id, name, phone) VALUES (7, 'x', '1')")
    assert blog.activities()[-1].changed_data["phone"] == "1"


def test_only_an_audited_table_is_compiled(blog):
    result = blog.app.test_cli_runner().invoke(args=["audit", "compile", "user"])
    assert result.exit_code == 2
    assert "'user' is no audited table; there are" in result.output


def test_nothing_is_compiled_without_a_log(blog, execute):
    execute("DROP FUNCTION audit_logger_compile_again(oid)")
    result = blog.app.test_cli_runner().invoke(args=["audit", "compile"])
    assert result.exit_code == 1
    assert result.output == "Error: Functions of the log are missing. Run `flask audit status`.\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DROP TRIGGER audit_logger_delete ON users", "no working trigger for delete"),
        ("ALTER TABLE users DISABLE TRIGGER audit_logger_insert", "no working trigger for insert"),
        (
            "ALTER FUNCTION audit_logger_capture() SECURITY INVOKER",
            "its functions are outdated or were changed",
        ),
        ("DROP TABLE activity CASCADE", "its tables are missing"),
        ("DROP TABLE users CASCADE", "the table is missing"),
        ("DROP FUNCTION audit_logger_capture() CASCADE", "its functions are missing"),
    ],
)
def test_each_fault_is_named_and_fails(blog, execute, damage, said):
    execute(damage)
    code, output = status(blog)
    assert code == 1
    assert said in output


def test_other_options_than_those_of_the_models_are_a_fault(create_app):
    create_app()
    other = create_app(create_all=False, mask=["name"])
    code, output = status(other)
    assert code == 1
    assert "FAIL  users\n        option mask differs\n" in output


def test_a_partition_without_triggers_is_a_fault(create_app, execute):
    def declare(db):
        table = declare_table(db.metadata, "measures", audit=True, key=["id", "year"], partition_by="RANGE (year)")
        return Models(measures=table)

    application = create_app(declare=declare)
    assert status(application)[0] == 0
    execute("CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM (2026) TO (2027)")
    code, output = status(application)
    assert code == 1
    assert "a partition has other triggers" in output


def test_triggers_on_a_table_outside_the_models_are_mentioned_and_no_fault(create_app, execute):
    def declare(db):
        table = declare_table(db.metadata, "measures", audit=True, key=["id", "year"], partition_by="RANGE (year)")
        return Models(measures=table)

    application = create_app(declare=declare)
    execute("CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM (2026) TO (2027)")
    with application.app.app_context():
        application.db.create_all()
    assert "note" not in status(application)[1]
    execute("ALTER TABLE measures DETACH PARTITION measures_2026")
    code, output = status(application, "--probe")
    assert code == 0
    assert "note  measures_2026\n        no audited model has this table, but its triggers write to the log" in output


def test_a_probe_tries_each_verb_and_leaves_nothing(blog, execute, outside):
    execute(
        "INSERT INTO users VALUES (1, 'Ann', 30)",
        "INSERT INTO articles VALUES (1, 'Title', NULL, 1)",
        "INSERT INTO article_tags SELECT 1, 1 WHERE false",
    )
    with outside.connect() as connection:
        before = connection.execute(
            sa.text("SELECT (SELECT count(*) FROM activity), u.*, a.* FROM users u, articles a")
        ).all()
    code, output = status(blog, "--probe")
    assert code == 0
    for verb in ("insert", "update", "delete"):
        assert f"ok    users: {verb}\n" in output
        assert f"ok    articles: {verb}\n" in output
        assert f"--    tags: {verb} was not tried, the table is empty\n" in output
    with outside.connect() as connection:
        after = connection.execute(
            sa.text("SELECT (SELECT count(*) FROM activity), u.*, a.* FROM users u, articles a")
        ).all()
    assert before == after


def test_a_probe_notices_what_no_catalog_shows(blog, execute):
    """A trigger of somebody else deletes the row of the log."""
    execute(
        "INSERT INTO users VALUES (1, 'Ann', 30)",
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN DELETE FROM public.activity WHERE transaction_id = NEW.transaction_id; RETURN NULL; END'",
        "CREATE TRIGGER lose AFTER INSERT ON activity FOR EACH ROW WHEN (NEW.verb = 'update') EXECUTE FUNCTION lose()",
    )
    assert status(blog)[0] == 0
    code, output = status(blog, "--probe")
    assert code == 1
    assert "FAIL  users: update\n" in output


def test_who_can_change_the_log_is_said_and_fails_if_that_is_asked_for(server, blog, create_app, database_url, execute):
    code, output = status(blog, "--strict")
    assert (code, "role postgres is a superuser" in output) == (1, True)
    assert "flask db migrate" not in output, "no migration takes a right away"
    with server.role() as role:
        execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
        application = create_app(database_url.set(username=role), create_all=False)
        assert status(application, "--strict")[0] == 0
        execute(f'GRANT DELETE ON activity TO "{role}"', f'ALTER TABLE tags OWNER TO "{role}"')
        code, output = status(application, "--strict")
        assert code == 1
        assert "has DELETE on activity" in output
        assert "owns tags, so it can disable its triggers" in output
        execute(f'REVOKE DELETE ON activity FROM "{role}"')
        assert (status(application)[0], status(application, "--strict")[0]) == (0, 1)
        application.dispose()
        execute("ALTER TABLE tags OWNER TO postgres", f'DROP OWNED BY "{role}"')


@pytest.fixture
def restricted(server, blog, create_app, database_url, execute):
    """The application as a role that has only the usual rights on its own tables, and may make other roles' objects."""
    execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    with server.role() as role:
        execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON users, articles, tags, article_tags TO "{role}"')
        application = create_app(database_url.set(username=role), create_all=False)
        assert status(application, "--strict")[0] == 0
        yield role, application
        application.dispose()
        execute("ALTER SCHEMA public OWNER TO postgres", f'DROP OWNED BY "{role}"')


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("GRANT TRIGGER ON users TO {role}", "has TRIGGER on users, so it can replace its triggers"),
        ("GRANT TRIGGER ON activity TO {role}", "has TRIGGER on activity"),
        ("GRANT UPDATE (old_data) ON activity TO {role}", "has UPDATE on activity"),
        (
            "GRANT SET ON PARAMETER session_replication_role TO {role}",
            "can set session_replication_role, so it can write without triggers",
        ),
        ("ALTER SCHEMA public OWNER TO {role}", "owns the schema of activity, so it can drop it"),
    ],
)
def test_each_way_to_hide_or_forge_something_is_named(server, restricted, execute, grant, said):
    role, application = restricted
    if "PARAMETER" in grant and server.version < 15:
        pytest.skip("only a superuser may set it there")
    execute(grant.format(role=f'"{role}"'))
    code, output = status(application, "--strict")
    assert (code, f"role {role} {said}\n" in output) == (1, True)


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "every role can create objects in the schema public of the log"),
        ("GRANT CREATE ON SCHEMA public TO {role}", "role {name} can create objects in the schema public of the log"),
    ],
)
def test_who_may_create_in_the_schema_of_the_log_is_named(restricted, execute, grant, said):
    """It is everybody in "public" of PostgreSQL 14 and of databases that were upgraded from there."""
    role, application = restricted
    execute(grant.format(role=f'"{role}"'))
    code, output = status(application, "--strict")
    assert (code, f"  {said.format(name=role)}\n" in output) == (1, True)
    assert status(application)[0] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ALTER TABLE activity OWNER TO {owner}", "owns activity"),
        ("ALTER TABLE users OWNER TO {owner}", "owns users, so it can disable its triggers"),
        ("GRANT DELETE ON activity TO {owner}", "has DELETE on activity"),
        ("ALTER ROLE {owner} SUPERUSER", "can become the superuser {name}"),
    ],
)
def test_what_a_role_can_only_do_as_another_role_counts(server, restricted, execute, given, said):
    role, application = restricted
    with server.role("NOLOGIN") as owner:
        execute(f'ALTER ROLE "{role}" NOINHERIT', f'GRANT "{owner}" TO "{role}"', given.format(owner=f'"{owner}"'))
        code, output = status(application, "--strict")
        assert (code, f"role {role} {said.format(name=owner)}\n" in output) == (1, True)
        execute(f'REASSIGN OWNED BY "{owner}" TO postgres', f'DROP OWNED BY "{owner}"')


def test_the_owner_of_the_database_owns_the_schema_public(server, restricted, execute, database_url):
    if server.version < 15:
        pytest.skip("the schema belongs to a superuser there")
    role, application = restricted
    execute(
        "ALTER SCHEMA public OWNER TO pg_database_owner", f'ALTER DATABASE "{database_url.database}" OWNER TO "{role}"'
    )
    code, output = status(application, "--strict")
    assert (code, f"role {role} owns the schema of activity, so it can drop it\n" in output) == (1, True)
    execute(f'ALTER DATABASE "{database_url.database}" OWNER TO postgres')


def test_a_trigger_on_a_partition_can_be_replaced_as_well(server, create_app, execute, database_url):
    def declare(db):
        table = declare_table(db.metadata, "measures", audit=True, key=["id", "year"], partition_by="RANGE (year)")
        return Models(measures=table)

    create_app(declare=declare)
    execute("CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM (2026) TO (2027)")
    with server.role() as role:
        execute(f'GRANT TRIGGER ON measures_2026 TO "{role}"')
        application = create_app(database_url.set(username=role), declare=declare, create_all=False)
        output = status(application)[1]
        application.dispose()
        execute(f'DROP OWNED BY "{role}"')
    assert "has TRIGGER on measures, so it can replace its triggers" in output


def test_a_role_without_any_right_on_the_log_gets_an_answer(server, create_app, execute, database_url):
    """That is the safest role there is."""
    create_app(schema="audit_logs")
    execute("INSERT INTO users VALUES (1, 'Ann', 30)")
    with server.role() as role:
        execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON users, articles, tags, article_tags TO "{role}"')
        application = create_app(database_url.set(username=role), schema="audit_logs", create_all=False)
        found = [status(application, *options) for options in ([], ["--strict"], ["--probe"])]
        application.dispose()
        execute(f'DROP OWNED BY "{role}"')
    assert [code for code, _ in found] == [0, 0, 0], found
    assert "users: update was not tried, permission denied for schema audit_logs" in found[2][1]


@both_drivers
def test_names_in_a_database_of_another_encoding(server, create_app, driver):
    name = server.unique_name("db")
    server.execute(f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:

        def declare(db):
            table = declare_table(db.metadata, "tähle", audit={"mask": ["größe"]}, columns=["größe"], key=["schlüssel"])
            return Models(table=table)

        application = create_app(server.url(name, driver), declare=declare)
        code, output = status(application)
        assert (code, "ok    tähle\n" in output) == (0, True), output
        application.dispose()
    finally:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@both_drivers
def test_two_roles_as_the_documentation_makes_them(server, create_app, database_url, execute):
    """Each has what it needs and the application can't touch the log: the statements of docs/security.md."""
    documented = named(Path(__file__).parents[2] / "docs" / "security.md")
    owner, role = server.unique_name("owner"), server.unique_name("app")

    def statements(name):
        sql = documented[name]
        return [s.replace("shop_owner", f'"{owner}"').replace("shop_app", f'"{role}"') for s in sql.split(";")[:-1]]

    try:
        execute(*statements("two_roles"))
        maker = create_app(database_url.set(username=owner))
        application = create_app(database_url.set(username=role), create_all=False)
        with application.app.app_context():
            application.db.session.add(application.models.User(id=1, name="Ann"))
            application.db.session.commit()
            for write in ("DELETE FROM activity", "SELECT setval('activity_id_seq', 7)"):
                with pytest.raises(DBAPIError, match="permission denied"):
                    application.db.session.execute(sa.text(write))
                application.db.session.rollback()
        assert [a.record_key for a in application.activities()] == ["1"]
        assert [status(maker)[0], status(application)[0], status(application, "--strict")[0]] == [0, 0, 0]
        execute(f'GRANT ALL ON activity, transaction TO "{role}"')
        assert status(application)[0] == 1
        execute(*statements("take_rights"))
        assert status(application, "--strict")[0] == 0
        maker.dispose()
        application.dispose()
    finally:
        for name in (owner, role):
            execute(f'DROP OWNED BY "{name}" CASCADE')
        execute(f'DROP ROLE "{owner}"', f'DROP ROLE "{role}"')


GRANTS = {
    "GRANT INSERT, UPDATE ON activity TO {role}": "role {name} has INSERT, UPDATE on table activity: REVOKE it",
    "GRANT UPDATE (marks) ON transaction TO PUBLIC": "every role has UPDATE on table transaction: REVOKE it",
    "GRANT USAGE ON SEQUENCE activity_id_seq TO {role}": "role {name} has USAGE on sequence activity_id_seq: REVOKE it",
    "GRANT EXECUTE ON FUNCTION audit_logger_truncate() TO {role}":
        "role {name} has EXECUTE on function audit_logger_truncate: REVOKE it",
}  # fmt: skip


@pytest.mark.parametrize("grant", GRANTS)
def test_a_right_to_write_to_the_log_is_a_fault(server, blog, execute, grant):
    with server.role() as role:
        assert status(blog)[0] == 0
        execute(grant.format(role=f'"{role}"'))
        code, output = status(blog)
        assert (code, f"        {GRANTS[grant].format(name=role)}\n" in output) == (1, True), output
        execute(f'DROP OWNED BY "{role}"')


@pytest.mark.parametrize("index", LOG_INDEXES)
def test_a_missing_index_of_the_log_is_a_fault(blog, execute, index):
    table = index.partition("_")[0]
    execute(f"ALTER TABLE {table} DROP CONSTRAINT {index}" if index.endswith("pkey") else f"DROP INDEX {index}")
    code, output = status(blog)
    assert (code, f"its index {index} is missing or not valid\n" in output) == (1, True), output


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE activity DISABLE TRIGGER audit_logger_append_only",
        "ALTER TABLE activity ENABLE TRIGGER audit_logger_append_only",
        "DROP TRIGGER audit_logger_append_only ON transaction",
    ],
)
def test_a_log_that_is_open_to_grants_is_a_fault(blog, execute, damage):
    assert status(blog)[0] == 0
    execute(damage)
    assert status(blog)[0] == 1


def test_a_probe_names_engines_of_the_process_that_nobody_watches(create_app, database_url):
    """Also those behind an async engine; not those of the application, watched ones, and those of other databases."""
    application = create_app()
    own = sa.create_engine(database_url.set(query={"application_name": "worker"}))
    elsewhere = sa.create_engine(database_url.set(database="elsewhere", query={"application_name": "elsewhere"}))
    code, output = status(application, "--probe")
    assert code == 0
    assert re.search(r"note  engine .*\?application_name=worker\n        nobody is named", output)
    assert "elsewhere" not in output
    assert "nobody is named" not in status(application)[1]
    application.audit_logger.watch(own)
    assert "application_name=worker" not in status(application, "--probe")[1]
    del elsewhere


@pytest.fixture
def settings_of_roles(server):
    """Run ALTER ROLE and ALTER DATABASE; what they set is reset at the end."""
    done = []

    def run(target, name, value):
        server.execute(f"ALTER {target} SET {name} = '{value}'")
        done.append(f"ALTER {target} RESET {name}")

    yield run
    for statement in done:
        server.execute(statement)


@pytest.mark.parametrize(
    ("place", "name", "value", "said"),
    [
        ("DATABASE {db}", "flask_audit_logger.enable_versioning", "off", "changes are not logged"),
        ("ROLE {role} IN DATABASE {db}", "flask_audit_logger.enable_versioning", "false", "changes are not logged"),
        ("ROLE {role} IN DATABASE {db}", "session_replication_role", "replica", "no trigger runs"),
        ("ROLE {role} IN DATABASE {db}", "flask_audit_logger.context", "{{}}", "is taken for somebody else"),
        ("DATABASE {db}", "session_replication_role", "local", None),
        ("DATABASE {db}", "flask_audit_logger.enable_versioning", "true", None),
    ],
)
def test_a_setting_that_keeps_changes_out_is_a_fault(blog, database_url, settings_of_roles, place, name, value, said):
    """Not only on the connection that asks, and with the statement that takes it back."""
    place = place.format(role='"postgres"', db=f'"{database_url.database}"')
    settings_of_roles(place, name, value)
    code, output = status(blog)
    assert (code, f"{name} is set to" in output) == ((0, False) if said is None else (1, True))
    if said:
        assert said in output
        assert f"ALTER {place} RESET {name}\n" in output


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("-c session_replication_role=replica", "no trigger runs"),
        ("-c flask_audit_logger.enable_versioning=off", "changes are not logged"),
    ],
)
def test_an_option_of_the_connection_that_keeps_changes_out_is_a_fault(blog, create_app, option, said):
    options = {"engine_options": {"connect_args": {"options": option}}}
    code, output = status(create_app(create_all=False, db_options=options))
    assert (code, said in output) == (1, True)


LOSE = "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (["CREATE RULE lose AS ON INSERT TO activity DO INSTEAD NOTHING"], "the rule lose on activity may take"),
        (
            [LOSE, "CREATE TRIGGER lose BEFORE INSERT ON transaction FOR EACH ROW EXECUTE FUNCTION lose()"],
            "the trigger lose on transaction may take",
        ),
        (["ALTER TABLE activity SET UNLOGGED"], "a crash of the server, as it is UNLOGGED, on activity may take"),
        (["ALTER TABLE activity DROP COLUMN record_key"], "its tables lack columns"),
    ],
)
def test_what_takes_entries_out_of_the_log_is_a_fault(blog, execute, damage, said):
    execute(*damage)
    code, output = status(blog)
    assert (code, said in output) == (1, True)


@pytest.mark.parametrize(("option", "column"), [("mask", "name"), ("exclude", "age"), ("key", "id")])
def test_a_column_renamed_by_hand_is_a_fault(create_app, execute, option, column):
    """Its values are logged under the new name, and the option counts for nothing."""
    application = create_app(**({} if option == "key" else {option: [column]}))
    execute(f"ALTER TABLE users RENAME COLUMN {column} TO renamed")
    code, output = status(application)
    assert code == 1
    assert f"FAIL  users\n        option {option} is about the column {column}, which the table has no longer" in output


def test_rows_of_a_subscription_are_a_fault(blog, execute, server, database_url):
    """PostgreSQL runs no statement triggers for them."""
    outside = plain_engine(database_url).execution_options(isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.exec_driver_sql(
            "CREATE SUBSCRIPTION incoming CONNECTION 'dbname=nowhere' PUBLICATION p "
            "WITH (connect = false, slot_name = NONE)"
        )
        try:
            connection.exec_driver_sql(
                "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) "
                "SELECT oid, 'users'::regclass, 'r' FROM pg_subscription WHERE subname = 'incoming'"
            )
            assert status(blog)[0] == 0, "it is not enabled"
            connection.exec_driver_sql("UPDATE pg_subscription SET subenabled = true WHERE subname = 'incoming'")
            code, output = status(blog)
            connection.exec_driver_sql("UPDATE pg_subscription SET subenabled = false WHERE subname = 'incoming'")
        finally:
            connection.exec_driver_sql("DROP SUBSCRIPTION incoming")
    outside.dispose()
    assert code == 1
    assert "FAIL  users\n        what the subscription incoming writes is not logged" in output


def test_extensions_with_limits_are_noted(blog, execute):
    """Citus and TimescaleDB can't be installed here, so they are only entered as if they were."""
    execute(
        "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) "
        "SELECT 99999, 'citus', 10, oid, false, '12' FROM pg_namespace WHERE nspname = 'public'"
    )
    code, output = status(blog)
    assert code == 0
    assert (
        "note  log in schema public\n        the extension citus is installed: distributed and reference tables refuse"
        in output
    )


def test_status_as_json(blog, execute):
    execute("INSERT INTO users VALUES (1, 'Ann', 30)", "ALTER TABLE tags DISABLE TRIGGER audit_logger_insert")
    code, output = status(blog, "--json", "--probe", "--strict")
    found = json.loads(output)
    database = found["databases"][0]
    assert (code, found["ok"], database["unsupported"]) == (1, False, None)
    assert "password" not in output and database["url"].startswith("postgresql")
    (tags,) = (finding for finding in database["findings"] if finding["name"] == "tags")
    assert (tags["problems"], tags["note"]) == (["no working trigger for insert"], None)
    assert {"table": "users", "verb": "update", "is_logged": True, "reason": ""} in database["probes"]
    assert database["risks"] == ["role postgres is a superuser"]


def test_before_the_upgrade_it_says_what_to_run(create_app):
    code, output = status(create_app(create_all=False))
    assert code == 1
    assert "`flask db upgrade`" in output.splitlines()[-1]


def test_a_foreign_table_is_not_taken_for_the_log(create_app, execute):
    execute("CREATE TABLE activity (id int)")
    with pytest.raises(DBAPIError, match="a table activity in the schema public that is not of this log"):
        create_app()


@pytest.mark.parametrize("schema", [None, 'Log "x"'])
def test_an_operator_switches_everything_off_and_on(create_app, execute, outside, schema):
    """By a pasted statement, without a deploy; the log says it, status says it, and pooled connections need nothing."""
    from flask_audit_logger.sql import quote_ident

    application = create_app(schema=schema)
    function = quote_ident(schema or "public", "audit_logger_switch")
    off, on, _ = named(Path(__file__).parents[2] / "docs" / "operating.md")["switch"].split(";")
    execute("INSERT INTO users VALUES (1, 'Ann', 30)")
    execute(off.replace("public.audit_logger_switch", function))
    execute("INSERT INTO users VALUES (2, 'Bob', 30)", "TRUNCATE article_tags")
    code, output = status(application)
    assert code == 1
    assert "it was switched off by postgres at " in output
    assert f"the disk of the log is full: SELECT {function}('on', 'why')" in output
    execute(on.replace("public.audit_logger_switch", function))
    execute("INSERT INTO users VALUES (3, 'Cleo', 30)")
    assert status(application)[0] == 0
    assert [a.changed_data["name"] for a in application.activities()] == ["Ann", "Cleo"]
    off, on = (t for t in application.transactions() if t.marks)
    tables = {"public.article_tags", "public.articles", "public.tags", "public.users"}
    assert (set(off.marks["switched_off"]), off.context["reason"]) == (tables, "the disk of the log is full")
    assert off.db_user == "postgres"
    assert (set(on.marks["switched_on"]), on.context["reason"]) == (tables, "there is room again")


def test_a_log_that_is_broken_can_be_switched_off(blog, execute):
    """That is what the switch is for; then only the comments of the triggers tell of it."""
    execute("ALTER TABLE transaction ADD CHECK (id < 0) NOT VALID")
    with pytest.raises(DBAPIError):
        execute("INSERT INTO users VALUES (1, 'Ann', 30)")
    execute("SELECT audit_logger_switch('off', 'broken')", "INSERT INTO users VALUES (1, 'Ann', 30)")
    assert "it was switched off by postgres" in status(blog)[1]


@pytest.mark.parametrize(("state", "reason"), [("out", "x"), ("off", ""), ("off", None)])
def test_the_switch_wants_a_state_and_a_reason(blog, outside, state, reason):
    with pytest.raises(DBAPIError, match="say 'off' or 'on', and why"), outside.begin() as connection:
        connection.execute(sa.text("SELECT audit_logger_switch(:state, :reason)"), {"state": state, "reason": reason})


def test_nobody_but_the_owner_can_switch(server, blog, execute, outside):
    with server.role() as role, outside.begin() as connection:
        connection.exec_driver_sql(f'SET ROLE "{role}"')
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.exec_driver_sql("SELECT audit_logger_switch('off', 'mischief')")
