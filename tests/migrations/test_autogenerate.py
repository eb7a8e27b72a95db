"""Autogenerate notices every difference, writes one migration that removes it, and its downgrade restores what was."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_audit_logger import ConfigurationError
from tests.migrations.project import downgrade_part, upgrade_part

USERS = {"audit": True, "columns": ["name", "hair_color", "email"]}


@pytest.fixture
def users(project, release):
    """An application with one audited table, installed."""
    application = release(users=USERS)
    project.migrate_and_upgrade(application)
    return application


@pytest.fixture
def goes(project, dump):
    """Migrate to a release of the application, and see that the way back and forth is exact."""

    def to(application):
        before = dump()
        written = project.migrate_and_upgrade(application)
        assert written, "no difference was noticed"
        after = dump()
        project.downgrade("-1")
        assert dump() == before
        project.upgrade()
        assert dump() == after
        return written

    return to


def test_a_new_audited_table_is_in_one_migration_with_its_triggers(users, release, goes):
    written = goes(release(users=USERS, pets={"audit": True}))
    assert [line.partition("(")[0] for line in upgrade_part(written)] == [
        "op.create_table",
        "op.init_audit_logger_triggers",
    ]


def test_auditing_switched_on_for_an_old_table(project, release, goes):
    project.migrate_and_upgrade(release(users=USERS, pets={}))
    written = goes(release(users=USERS, pets={"audit": True}))
    assert upgrade_part(written) == ["op.init_audit_logger_triggers('pets', key_columns=['id'], version=1)"]
    assert downgrade_part(written) == ["op.remove_audit_logger_triggers('pets')"]


def test_auditing_switched_off(users, release, goes):
    written = goes(release(users={**USERS, "audit": None}))
    assert upgrade_part(written) == ["op.remove_audit_logger_triggers('users')"]
    assert downgrade_part(written) == ["op.init_audit_logger_triggers('users', key_columns=['id'], version=1)"]


def test_what_was_found_is_said_as_alembic_says_it(project, users, release, caplog):
    caplog.set_level("INFO", "alembic.autogenerate")
    for options, how in (({"exclude": ["email"]}, "changed"), (None, "removed"), (True, "added")):
        caplog.clear()
        project.migrate_and_upgrade(release(users={**USERS, "audit": options}))
        assert caplog.messages == [f"Detected {how} audit triggers on table 'public.users'"]


def test_a_dropped_table_comes_back_with_its_triggers(project, release, goes):
    options = {"exclude": ["name"], "verbs": ["insert", "delete"], "truncate": "refuse", "old_data": "changed"}
    project.migrate_and_upgrade(release(users=USERS, pets={"audit": options}))
    written = goes(release(users=USERS))
    assert [line.partition("(")[0] for line in upgrade_part(written)] == [
        "op.remove_audit_logger_triggers",
        "op.drop_table",
    ]


def test_a_renamed_table(users, release, goes):
    goes(release(people=USERS))


def test_a_rename_by_hand_keeps_the_triggers(project, users, release):
    project.write("op.rename_table('users', 'people')", "op.rename_table('people', 'users')")
    project.upgrade()
    written = project.migrate_and_upgrade(release(people=USERS))
    assert upgrade_part(written) == ["op.compile_audit_logger_triggers('people', version=1)"]
    assert project.migrate(release(people=USERS)) == ""


def test_an_altered_table_is_compiled_in_the_same_revision(project, users, release, outside):
    """The functions of its triggers fit the table after the upgrade, and after the downgrade."""

    def are_compiled():
        with outside.connect() as connection:
            return connection.scalar(sa.text("SELECT audit_logger_is_compiled('users'::regclass::oid)"))

    written = project.migrate_and_upgrade(release(users={**USERS, "columns": [*USERS["columns"], "phone"]}))
    compiled = "op.compile_audit_logger_triggers('users', version=1)"
    assert [line.partition("(")[0] for line in upgrade_part(written)] == ["op.add_column", compiled.partition("(")[0]]
    assert downgrade_part(written)[-1] == compiled
    assert are_compiled()
    project.downgrade("-1")
    assert are_compiled()


def test_a_downgrade_goes_on_below_one_that_left_no_functions(project, users, release, execute, outside):
    """The downgrade of a repair drops what the repair made."""
    people = release(users={**USERS, "columns": [*USERS["columns"], "phone"]})
    project.migrate_and_upgrade(people)
    execute("DROP FUNCTION audit_logger_capture() CASCADE")
    assert "op.remove_audit_logger_functions(version=1)" in downgrade_part(project.migrate_and_upgrade(people))
    project.downgrade("-2")
    with outside.connect() as connection:
        assert "phone" not in [column["name"] for column in sa.inspect(connection).get_columns("users")]


def test_a_table_altered_by_hand_is_compiled(project, users, goes, outside, execute):
    execute("ALTER TABLE users ALTER COLUMN name TYPE varchar(40)")
    written = project.migrate(users)
    assert "op.compile_audit_logger_triggers('users', version=1)" in upgrade_part(written)


def test_a_table_moved_to_another_schema(project, users, release, goes, execute):
    project.options["include_schemas"] = True
    execute("CREATE SCHEMA hr")
    goes(release(users={**USERS, "schema": "hr"}))


@pytest.mark.parametrize("option", ["exclude", "mask", "ignore", "only"])
def test_a_column_added_that_an_option_names(users, release, goes, option):
    named = ["id", "phone"] if option == "only" else ["phone"]
    written = goes(release(users={"audit": {option: named}, "columns": [*USERS["columns"], "phone"]}))
    assert [line.partition("(")[0] for line in upgrade_part(written)] == [
        "op.add_column",
        "op.init_audit_logger_triggers",
    ]


@pytest.mark.parametrize("option", ["exclude", "mask", "ignore", "only"])
def test_a_column_renamed_or_dropped_that_an_option_names(project, release, goes, option):
    def named(column):
        return {option: ["id", column] if option == "only" else [column]}

    project.migrate_and_upgrade(release(users={"audit": named("email"), "columns": ["name", "email"]}))
    goes(release(users={"audit": named("mail"), "columns": ["name", "mail"]}))
    goes(release(users={"audit": True, "columns": ["name"]}))


def test_a_changed_key(project, release, dump):
    project.migrate_and_upgrade(release(visits={"audit": True, "key": ["id"], "columns": ["place"]}))
    before = dump()
    # Alembic doesn't see a changed primary key, so its own part is written by hand, as its documentation says.
    written = project.migrate(release(visits={"audit": True, "key": ["id", "day"], "columns": ["place"]}))
    assert "key_columns=['id', 'day']" in upgrade_part(written)[-1]
    assert downgrade_part(written)[0] == "op.init_audit_logger_triggers('visits', key_columns=['id'], version=1)"
    project.upgrade()
    project.downgrade("-1")
    assert dump() == before


CHANGES = [
    {"exclude": ["email"]},
    {"mask": ["email"]},
    {"ignore": ["email"]},
    {"only": ["id", "name"]},
    {"verbs": ["update", "delete"]},
    {"truncate": "rows"},
    {"truncate": "refuse"},
    {"old_data": "changed"},
    {"exclude": ["name", "id"]},
]


@pytest.mark.parametrize("options", CHANGES, ids=str)
def test_any_option_changed(project, users, release, goes, options):
    application = release(users={**USERS, "audit": options})
    assert len(upgrade_part(goes(application))) == 1
    # and from one set of options to another
    other = {"exclude": ["hair_color"], "truncate": "rows" if options.get("truncate") != "rows" else "refuse"}
    assert len(upgrade_part(goes(release(users={**USERS, "audit": other})))) == 1


def test_patterns_of_the_logger_count_as_options(users, release, goes):
    written = goes(release(users=USERS, logger={"exclude": ["*mail*"], "mask": ["hair_*"]}))
    assert upgrade_part(written) == [
        "op.init_audit_logger_triggers('users', key_columns=['id'], excluded_columns=['email'], "
        "masked_columns=['hair_color'], version=1)"
    ]


FUNCTION_DAMAGE = [
    "CREATE OR REPLACE FUNCTION audit_logger_capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER FUNCTION audit_logger_capture() SECURITY INVOKER",
    "ALTER FUNCTION audit_logger_capture() SET search_path = public",
    "ALTER FUNCTION audit_logger_capture() RESET enable_nestloop",
    "ALTER FUNCTION audit_logger_capture() SET work_mem = '4MB'",
    "ALTER FUNCTION audit_logger_record_key(jsonb, jsonb, text) VOLATILE",
    "ALTER FUNCTION audit_logger_record_key(jsonb, jsonb, text) STRICT",
    "GRANT EXECUTE ON FUNCTION audit_logger_current_transaction() TO PUBLIC",
    "GRANT EXECUTE ON FUNCTION audit_logger_capture() TO pg_monitor",
    "DROP FUNCTION audit_logger_projection(jsonb, jsonb, text, text, boolean)",
    "ALTER TABLE activity DISABLE TRIGGER audit_logger_append_only",
    "ALTER TABLE transaction ENABLE TRIGGER audit_logger_append_only",
    "DROP TRIGGER audit_logger_append_only ON transaction",
]


@pytest.mark.parametrize("damage", FUNCTION_DAMAGE, ids=lambda sql: sql[:60])
def test_a_function_that_is_missing_or_was_altered_is_made_anew(project, users, dump, execute, damage):
    right = dump()
    execute(damage)
    assert dump() != right
    written = project.migrate_and_upgrade(users)
    assert upgrade_part(written) == ["op.init_audit_logger_functions(version=1)"]
    assert dump() == right


TRIGGER_DAMAGE = {
    "missing": ["DROP TRIGGER audit_logger_update ON users"],
    "all missing": [
        f"DROP TRIGGER audit_logger_{verb} ON users" for verb in ("insert", "update", "delete", "truncate")
    ],
    "disabled": ["ALTER TABLE users DISABLE TRIGGER audit_logger_delete"],
    "on replicas only": ["ALTER TABLE users ENABLE REPLICA TRIGGER audit_logger_delete"],
    "all disabled": ["ALTER TABLE users DISABLE TRIGGER ALL"],
    "renamed": ["ALTER TRIGGER audit_logger_insert ON users RENAME TO something_else"],
    "twice": [
        "CREATE TRIGGER again AFTER DELETE ON users REFERENCING OLD TABLE AS old_table "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('{}')"
    ],
    "other options": [
        "CREATE OR REPLACE TRIGGER audit_logger_delete AFTER DELETE ON users REFERENCING OLD TABLE AS old_table "
        """FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('{"key"\\: ["id"], "mask"\\: ["email"]}')"""
    ],
    "unreadable options": [
        "CREATE OR REPLACE TRIGGER audit_logger_delete AFTER DELETE ON users REFERENCING OLD TABLE AS old_table "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('nonsense')"
    ],
    "options of another release": [
        f"CREATE OR REPLACE TRIGGER audit_logger_{verb} AFTER {verb} ON users REFERENCING {tables} FOR EACH STATEMENT "
        """EXECUTE FUNCTION audit_logger_capture('{"colour"\\: "red"}')"""
        for verb, tables in (
            ("insert", "NEW TABLE AS new_table"),
            ("update", "OLD TABLE AS old_table NEW TABLE AS new_table"),
            ("delete", "OLD TABLE AS old_table"),
        )
    ],
    "a condition": [
        "CREATE OR REPLACE TRIGGER audit_logger_delete AFTER DELETE ON users REFERENCING OLD TABLE AS old_table "
        """FOR EACH STATEMENT WHEN (now() < '2000-01-01') EXECUTE FUNCTION audit_logger_capture('{"key"\\: ["id"]}')"""
    ],
    "only for a column": [
        "DROP TRIGGER audit_logger_update ON users",
        "CREATE TRIGGER audit_logger_update AFTER UPDATE OF name ON users "
        """FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('{"key"\\: ["id"]}')""",
    ],
    "on the wrong verb": [
        "DROP TRIGGER audit_logger_delete ON users",
        "CREATE TRIGGER audit_logger_delete AFTER INSERT ON users REFERENCING NEW TABLE AS new_table "
        """FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('{"key"\\: ["id"]}')""",
    ],
    "per row": [
        "CREATE OR REPLACE TRIGGER audit_logger_delete AFTER DELETE ON users "
        """FOR EACH ROW EXECUTE FUNCTION audit_logger_capture('{"key"\\: ["id"]}')""",
    ],
    "on the wrong function": [
        "CREATE FUNCTION idle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE OR REPLACE TRIGGER audit_logger_insert AFTER INSERT ON users EXECUTE FUNCTION idle()",
    ],
    "on the function of other verbs": [
        "CREATE OR REPLACE TRIGGER audit_logger_truncate BEFORE TRUNCATE ON users "
        """FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('{"key"\\: ["id"]}')"""
    ],
}


@pytest.mark.parametrize("damage", TRIGGER_DAMAGE.values(), ids=TRIGGER_DAMAGE.keys())
def test_a_trigger_that_is_missing_or_was_altered_is_made_anew(project, users, dump, execute, damage):
    right = dump()
    execute(*damage)
    assert dump() != right
    written = project.migrate_and_upgrade(users)
    assert upgrade_part(written) == ["op.init_audit_logger_triggers('users', key_columns=['id'], version=1)"]
    assert [line for line in dump() if "idle" not in line] == right
    execute("INSERT INTO users (id, name) VALUES (1, 'Ann')", "DELETE FROM users")
    assert [a.verb for a in users.activities()] == ["insert", "delete"]


def test_a_downgrade_of_a_repair_leaves_out_what_was_missing(users, execute, goes):
    execute(
        "DROP TRIGGER audit_logger_update ON users",
        "DO $$ BEGIN EXECUTE (SELECT format('DROP FUNCTION %s', oid\\:\\:regprocedure) FROM pg_proc "
        "WHERE proname ~ '^audit_logger_[0-9a-f]{16}_update$'); END $$",
    )
    written = goes(users)
    assert downgrade_part(written) == [
        "op.init_audit_logger_triggers('users', key_columns=['id'], verbs=['insert', 'delete', 'truncate'], version=1)"
    ]


MEASURES = {"audit": True, "key": ["id", "year"], "columns": ["value"], "partition_by": "RANGE (year)"}


def partition(year):
    return f"CREATE TABLE measures_{year} PARTITION OF measures FOR VALUES FROM ({year}) TO ({year + 1})"


@pytest.fixture
def measures(project, release, execute):
    """An audited table with two partitions."""
    application = release(measures=MEASURES)
    project.options["include_name"] = lambda name, kind, parents: not (name or "").startswith("measures_")
    project.migrate_and_upgrade(application)
    execute(partition(2024), partition(2025))
    project.migrate_and_upgrade(application)
    return application


def test_partitions_added_since_get_the_triggers(project, measures, execute):
    assert project.migrate(measures) == ""
    execute(partition(2026))
    written = project.migrate_and_upgrade(measures)
    assert upgrade_part(written) == [
        "op.init_audit_logger_triggers('measures', key_columns=['id', 'year'], partitioned=True, version=1)"
    ]
    execute("INSERT INTO measures_2026 VALUES (1, 2026, 'x')", "INSERT INTO measures VALUES (2, 2026, 'y')")
    assert [(a.table_name, a.record_key) for a in measures.activities()] == [
        ("measures", '["1", "2026"]'),
        ("measures", '["2", "2026"]'),
    ]


@pytest.mark.parametrize("include_schemas", [False, True])
def test_partitions_are_not_dropped_though_no_model_has_them(project, measures, execute, query, include_schemas):
    """Nothing keeps Alembic itself from it, and it would take the rows along."""
    del project.options["include_name"]
    project.options["include_schemas"] = include_schemas
    execute(
        "CREATE SCHEMA archive",
        "CREATE TABLE archive.measures_2023 PARTITION OF measures FOR VALUES FROM (2023) TO (2024) "
        "PARTITION BY HASH (id)",
        "CREATE TABLE measures_2023_0 PARTITION OF archive.measures_2023 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "CREATE INDEX ON measures_2024 (value)",
        "INSERT INTO measures VALUES (1, 2023, 'a'), (1, 2024, 'b')",
    )
    written = project.migrate_and_upgrade(measures)
    assert upgrade_part(written) == [
        "op.init_audit_logger_triggers('measures', key_columns=['id', 'year'], partitioned=True, version=1)"
    ]
    assert query("SELECT year FROM measures ORDER BY year") == [(2023,), (2024,)]


def test_other_tables_without_a_model_are_dropped_as_ever(project, measures, execute):
    del project.options["include_name"]
    execute("CREATE TABLE strays (id int) PARTITION BY RANGE (id)", "CREATE TABLE others (id int)")
    written = project.migrate(measures)
    assert sorted(upgrade_part(written)) == ["op.drop_table('others')", "op.drop_table('strays')"]


def test_a_partition_that_was_detached_is_a_table_as_any(project, measures, execute):
    del project.options["include_name"]
    execute("ALTER TABLE measures DETACH PARTITION measures_2024")
    written = project.migrate_and_upgrade(measures)
    assert upgrade_part(written) == [
        "op.remove_audit_logger_triggers('measures_2024')",
        "op.drop_table('measures_2024')",
    ]


def test_partitions_of_partitions_get_the_triggers(project, measures, execute):
    execute(
        "CREATE TABLE measures_2027 PARTITION OF measures FOR VALUES FROM (2027) TO (2028) PARTITION BY HASH (id)",
        "CREATE TABLE measures_2027_0 PARTITION OF measures_2027 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    )
    project.migrate_and_upgrade(measures)
    execute("INSERT INTO measures_2027_0 VALUES (1, 2027, 'x')", "INSERT INTO measures_2027 VALUES (2, 2027, 'y')")
    assert [a.table_name for a in measures.activities()] == ["measures", "measures"]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TRIGGER audit_logger_insert ON measures_2025",
        "ALTER TABLE measures_2025 DISABLE TRIGGER audit_logger_insert",
        "ALTER TRIGGER audit_logger_insert ON measures_2025 RENAME TO other",
        "CREATE OR REPLACE TRIGGER audit_logger_truncate BEFORE TRUNCATE ON measures_2025 "
        """FOR EACH STATEMENT EXECUTE FUNCTION audit_logger_capture('{"truncate"\\: "rows", "partition"\\: true}')""",
    ],
)
def test_damage_on_a_partition_is_repaired(project, measures, dump, execute, damage):
    right = dump()
    execute(damage)
    project.migrate_and_upgrade(measures)
    assert dump() == right


def test_options_of_a_partitioned_table_change_on_each_partition(measures, release, goes):
    goes(release(measures={**MEASURES, "audit": {"verbs": ["insert"], "exclude": ["value"]}}))


def test_auditing_of_a_partitioned_table_switched_off(measures, release, goes, query):
    goes(release(measures={**MEASURES, "audit": None}))
    on_measures = "NOT tgisinternal AND tgname <> 'audit_logger_append_only'"
    assert query(f"SELECT tgname FROM pg_trigger WHERE {on_measures}") == []


PART = {**MEASURES, "partition_by": None}


def test_a_partition_that_is_an_audited_model_too_has_the_triggers_of_its_table(project, release, execute):
    """Whether the model came first or the partition."""
    project.migrate_and_upgrade(release(measures=MEASURES, old=PART))
    execute(
        "INSERT INTO old VALUES (1, 2025, 'a')",
        "ALTER TABLE measures ATTACH PARTITION old FOR VALUES FROM (2025) TO (2026)",
        "CREATE TABLE new PARTITION OF measures FOR VALUES FROM (2026) TO (2027)",
    )
    both = release(measures=MEASURES, old=PART, new=PART)
    project.migrate_and_upgrade(both)
    project.downgrade("-1")
    project.upgrade()
    execute("INSERT INTO measures VALUES (2, 2025, 'a')", "INSERT INTO new VALUES (3, 2026, 'a')")
    assert [(a.table_name, a.record_key) for a in both.activities()] == [
        ("old", '["1", "2025"]'),
        ("measures", '["2", "2025"]'),
        ("measures", '["3", "2026"]'),
    ]
    runner = both.app.test_cli_runner()
    assert runner.invoke(args=["audit", "status"]).exit_code == 0
    assert "new" not in runner.invoke(args=["audit", "baseline"]).output
    with both.app.app_context():
        both.db.create_all()
    assert project.migrate(both) == ""
    assert project.migrate(release(measures=MEASURES, old=PART, new={**PART, "audit": None})) == ""


def test_a_partition_can_not_have_options_of_its_own(project, release, execute):
    project.migrate_and_upgrade(release(measures=MEASURES))
    execute("CREATE TABLE new PARTITION OF measures FOR VALUES FROM (2026) TO (2027)")
    with pytest.raises(
        ConfigurationError, match="'new' is a partition of 'measures', so it is logged with the options"
    ):
        project.migrate(release(measures=MEASURES, new={**PART, "audit": {"mask": ["value"]}}))


def test_a_foreign_table_as_partition_is_passed_over(project, measures, execute, query):
    execute(
        "CREATE FOREIGN DATA WRAPPER nowhere",
        "CREATE SERVER away FOREIGN DATA WRAPPER nowhere",
        "ALTER TABLE measures DROP CONSTRAINT measures_pkey",
        "CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM (2026) TO (2027)",
        "CREATE FOREIGN TABLE measures_away PARTITION OF measures FOR VALUES FROM (2020) TO (2021) SERVER away",
        "INSERT INTO measures VALUES (1, 2026, 'a')",
    )
    project.migrate_and_upgrade(measures)
    execute("INSERT INTO measures_2026 VALUES (2, 2026, 'a')")
    runner = measures.app.test_cli_runner()
    assert runner.invoke(args=["audit", "status"]).exit_code == 0
    assert "measures: 0 rows recorded" in runner.invoke(args=["audit", "baseline"]).output
    assert query("SELECT record_key FROM activity ORDER BY id") == [('["1", "2026"]',), ('["2", "2026"]',)]


def test_the_logger_removed(users, release, goes):
    written = goes(release(users=USERS, audited=False))
    assert [line.partition("(")[0] for line in upgrade_part(written)][:2] == [
        "op.remove_audit_logger_triggers",
        "op.remove_audit_logger_functions",
    ]


def test_the_logger_moved_to_another_schema(project, users, release, goes, execute):
    project.options["include_schemas"] = True
    moved = release(users=USERS, logger={"schema": "audit_logs"})
    goes(moved)
    execute("INSERT INTO users (id, name) VALUES (1, 'Ann')")
    assert len(moved.activities()) == 1
    goes(release(users=USERS, audited=False))
    goes(moved)


def test_the_logger_moved_from_a_schema_that_alembic_does_not_look_at(project, release, goes, execute, query, caplog):
    """The old log stays, with its entries; the way back lets it go on."""
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "audit_logs"}))
    execute("INSERT INTO users (id, name) VALUES (1, 'Ann')")
    moved = release(users=USERS)
    goes(moved)
    assert (
        "'users' are logged in schema 'audit_logs'; the migration lets them be logged in schema 'public'" in caplog.text
    )
    execute("INSERT INTO users (id, name) VALUES (2, 'Ben')")
    assert [a.record_key for a in moved.activities()] == ["2"]
    project.downgrade("-1")
    execute("INSERT INTO users (id, name) VALUES (3, 'Cid')")
    assert query("SELECT record_key FROM audit_logs.activity ORDER BY id") == [("1",), ("3",)]


def test_the_logger_removed_that_had_a_schema_alembic_does_not_look_at(project, release, goes, dump):
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "audit_logs"}))
    goes(release(users=USERS, audited=False))
    assert not [line for line in dump() if "audit" in line]


def test_a_log_that_others_write_to_is_not_removed_with_a_logger(project, release, execute, dump):
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "audit_logs"}))
    execute(
        "CREATE SCHEMA theirs",
        "CREATE TABLE theirs.books (id int)",
        "CREATE TRIGGER audit_logger_truncate AFTER TRUNCATE ON theirs.books EXECUTE FUNCTION "
        "audit_logs.audit_logger_capture('{}')",
    )
    assert project.migrate(release(users=USERS, audited=False)) == ""


@pytest.mark.parametrize("include_schemas", [False, True])
def test_a_log_of_release_2_is_not_left_behind_or_dropped_by_a_move(project, release, execute, include_schemas):
    """It can be converted only where it is."""
    project.options["include_schemas"] = include_schemas
    project.migrate_and_upgrade(release(users=USERS, audited=False))
    execute(
        "CREATE SCHEMA audit",
        "CREATE TABLE audit.transaction (native_transaction_id bigint)",
        "CREATE TABLE audit.activity (native_transaction_id bigint, verb text, old_data jsonb)",
        "CREATE FUNCTION audit.create_activity() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER audit_trigger_row AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION audit.create_activity()",
    )
    with pytest.raises(ConfigurationError, match=r"2\.0 logs changes of 'users' in schema 'audit'"):
        project.migrate(release(users=USERS))


def test_a_table_that_the_environment_leaves_out_is_left_alone(project, users, release):
    project.options["include_object"] = lambda item, name, kind, reflected, compare_to: name != "users"
    for audit in (None, {"exclude": ["email"]}, True):
        assert project.migrate(release(users={**USERS, "audit": audit})) == ""


def test_an_actor_class_that_is_imported_late_gives_its_type_to_the_first_migration(project, create_app, query):
    import sqlalchemy as sa
    from flask_sqlalchemy import SQLAlchemy

    from flask_audit_logger import AuditLogger

    db = SQLAlchemy()
    audit_logger = AuditLogger(db)

    class User(db.Model):
        __table_args__ = ({"info": {"audit_logged": True}},)
        id = sa.Column(sa.Uuid, primary_key=True)

    project.migrate_and_upgrade(db.metadata)
    audit_logger.detach()
    assert query(
        "SELECT data_type FROM information_schema.columns WHERE table_name = 'transaction' AND column_name = 'actor_id'"
    ) == [("uuid",)]


def test_two_loggers_in_one_database_do_not_see_each_other(make_project, release, dump):
    first, second = make_project(version_table="alembic_version_1"), make_project(version_table="alembic_version_2")
    for project in (first, second):
        project.options["include_object"] = lambda item, name, kind, reflected, compare_to: not reflected
    one = release(apples={"audit": True}, logger={"schema": "log_a"})
    other = release(bananas={"audit": {"exclude": ["name"]}}, logger={"schema": "log_b"})
    first.migrate_and_upgrade(one)
    second.migrate_and_upgrade(other)
    assert first.migrate(one) == ""
    assert second.migrate(other) == ""
    second.downgrade()
    assert not [line for line in dump() if "log_b" in line or "bananas" in line]
    assert first.migrate(one) == ""


def test_one_table_name_in_two_schemas(project, create_app, execute, goes):
    from tests.migrations.conftest import declare_table
    from tests.support.models import Models

    def declare(exclude):
        def models(db):
            return Models(
                one=declare_table(db.metadata, "users", audit={"exclude": exclude}, columns=["name"]),
                other=declare_table(db.metadata, "users", audit=True, columns=["name"], schema="hr"),
            )

        return models

    project.options["include_schemas"] = True
    execute("CREATE SCHEMA hr")
    project.migrate_and_upgrade(create_app(declare=declare([]), create_all=False))
    application = create_app(declare=declare(["name"]), create_all=False)
    assert len(upgrade_part(goes(application))) == 1
    execute("INSERT INTO users VALUES (1, 'Ann')", "INSERT INTO hr.users VALUES (1, 'Ben')")
    assert [(a.schema, a.changed_data) for a in application.activities()] == [
        ("public", {"id": 1}),
        ("hr", {"id": 1, "name": "Ben"}),
    ]
