"""Rows that existed before auditing began are recorded once, as the triggers would have recorded them."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.dialects.postgresql import ARRAY, DATERANGE, REGCLASS, TSTZRANGE
from sqlalchemy.exc import DBAPIError

from flask_audit_logger.health.baseline import baseline as record
from flask_audit_logger.schema.declared import declared_triggers
from tests.migrations.conftest import declare_table
from tests.support.models import Models
from tests.support.server import both_drivers, plain_engine

OPTIONS = {"exclude": ["hair"], "mask": ["email"]}

SETTINGS = {
    "TimeZone": "Asia/Tokyo",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "0",
    "search_path": "public",
}


@pytest.fixture
def execute(outside):
    def run(*statements):
        with outside.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    return run


@pytest.fixture
def users(create_app, execute):
    """Three users from before auditing began; one of them has been changed since."""

    def declare(audit):
        columns = ["name", "email", "hair"]
        return lambda db: Models(
            users=declare_table(db.metadata, "users", audit=audit, columns=columns),
            pairs=declare_table(db.metadata, "pairs", audit=audit and {}, key=["a", "b"]),
            bare=declare_table(db.metadata, "bare", audit=audit and True, key=[]),
        )

    create_app(declare=declare(None))
    execute(
        "INSERT INTO users SELECT n, 'user ' || n, 'mail ' || n, 'red' FROM generate_series(1, 3) AS n",
        "INSERT INTO pairs VALUES (1, 2, 'one')",
        "INSERT INTO bare VALUES ('nobody')",
    )
    application = create_app(declare=declare(OPTIONS))
    execute("UPDATE users SET name = 'changed' WHERE id = 2")
    return application


def baseline(application, *tables):
    result = application.app.test_cli_runner().invoke(args=["audit", "baseline", *tables])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.output


MASKED = {"audit_logger": "masked"}
EXPECTED = [
    ("users", "update", "2", {"name": "changed"}),
    ("pairs", "snapshot", '["1", "2"]', {"a": 1, "b": 2, "name": "one"}),
    ("users", "snapshot", "1", {"id": 1, "name": "user 1", "email": MASKED}),
    ("users", "snapshot", "3", {"id": 3, "name": "user 3", "email": MASKED}),
]


def logged(application):
    return [(a.table_name, a.verb, a.record_key, a.changed_data) for a in application.activities()]


def test_the_command_records_what_the_log_does_not_know(users):
    code, output = baseline(users)
    assert code == 0, output
    # in a file each table is named once
    assert output.splitlines() == ["pairs: 1 rows recorded", "users: 2 rows recorded"]
    assert logged(users) == EXPECTED
    assert {a.transaction.context["job"] for a in users.activities(verb="snapshot")} == {"baseline"}


def test_repeating_it_records_nothing(users):
    baseline(users)
    code, output = baseline(users, "users")
    assert (code, "users: 0 rows recorded\n" in output) == (0, True)
    assert logged(users) == EXPECTED


def test_a_row_that_was_changed_while_only_changes_are_logged_has_a_snapshot(create_app, execute):
    """An update that is logged without the rest of the row is not the whole row, so the baseline records that."""

    def declare(audit):
        return lambda db: Models(users=declare_table(db.metadata, "users", audit=audit, columns=["name", "email"]))

    create_app(declare=declare(None))
    execute("INSERT INTO users SELECT n, 'user ' || n, 'mail' FROM generate_series(1, 2) AS n")
    application = create_app(declare=declare({"old_data": "changed"}))
    execute("UPDATE users SET name = 'changed' WHERE id = 2", "INSERT INTO users VALUES (3, 'c', 'mail')")
    for rows in (2, 0):
        code, output = baseline(application, "users")
        assert (code, f"users: {rows} rows recorded\n" in output) == (0, True)
    whole = {a.record_key: a.changed_data for a in application.activities(verb="snapshot")}
    assert whole == {
        "1": {"id": 1, "name": "user 1", "email": "mail"},
        "2": {"id": 2, "name": "changed", "email": "mail"},
    }


@pytest.mark.parametrize(("table", "said"), [("bare", "have no key"), ("users2", "no audited table")])
def test_what_can_not_be_recorded_is_refused(users, table, said):
    code, output = baseline(users, table)
    assert (code, said in " ".join(output.split())) == (2, True)


def test_the_operation_records_the_same_and_leaves_the_session_as_it_was(users, outside):
    with outside.begin() as connection, Operations.context(MigrationContext.configure(connection)) as op:
        for setting, value in SETTINGS.items():
            connection.exec_driver_sql(f"SET LOCAL {setting} = '{value}'")
        before = [connection.exec_driver_sql(f"SHOW {setting}").scalar_one() for setting in SETTINGS]
        op.snapshot_audit_logger_table("pairs")
        op.snapshot_audit_logger_table("users", excluded_columns=["hair"], masked_columns=["email"])
        assert [connection.exec_driver_sql(f"SHOW {setting}").scalar_one() for setting in SETTINGS] == before
        connection.exec_driver_sql("UPDATE users SET name = 'later' WHERE id = 1")
    assert logged(users) == [*EXPECTED, ("users", "update", "1", {"name": "later"})]
    contexts = [a.transaction.context for a in users.activities()]
    assert contexts[1:] == [{"job": "baseline"}] * 3 + [{}]


def test_an_operation_is_written_into_a_script(users, outside):
    import io

    output = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": output})
    with Operations.context(context) as op:
        op.snapshot_audit_logger_table("users", excluded_columns=["hair"], masked_columns=["email"])
    with outside.begin() as connection:
        connection.execute(sa.text(output.getvalue().replace(":", "\\:")))
    assert [entry for entry in logged(users) if entry[0] == "users"] == [EXPECTED[0], *EXPECTED[2:]]


def test_partitions_are_recorded_as_their_table(create_app, execute):
    def declare(audit):
        return lambda db: Models(
            measures=declare_table(
                db.metadata, "measures", audit=audit, key=["id", "year"], partition_by="RANGE (year)"
            )
        )

    create_app(declare=declare(None))
    execute(
        "CREATE TABLE measures_2025 PARTITION OF measures FOR VALUES FROM (2025) TO (2026)",
        "CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM (2026) TO (2027)",
        "INSERT INTO measures VALUES (1, 2025, 'a'), (2, 2026, 'b')",
    )
    application = create_app(declare=declare(True))
    assert baseline(application)[0] == 0
    assert [entry[:3] for entry in logged(application)] == [
        ("measures", "snapshot", '["1", "2025"]'),
        ("measures", "snapshot", '["2", "2026"]'),
    ]


@both_drivers
def test_rows_that_row_security_hides_are_an_error(users, execute, server, database_url):
    """A snapshot of some of the rows would look like one of all."""
    with server.role("LOGIN BYPASSRLS") as seeing, server.role() as role, server.role("NOLOGIN") as owner:
        try:
            for name in (role, seeing):
                execute(f'GRANT SELECT, UPDATE ON users TO "{name}"', f'GRANT "{owner}" TO "{name}"')
            execute(
                f'GRANT CREATE, USAGE ON SCHEMA public TO "{owner}"',
                *(f'ALTER TABLE {table} OWNER TO "{owner}"' for table in ("activity", "transaction")),
                f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO "{owner}"',
                "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
                "CREATE POLICY visible ON users USING (id <> 3)",
            )
            triggers = [t for t in declared_triggers(users.db.metadata) if t.table == "users"]
            hint = r"\(audit_logger\) row security hides rows of public.users"
            with pytest.raises(DBAPIError, match=hint):
                list(record(plain_engine(database_url.set(username=role)), *triggers))
            assert logged(users) == EXPECTED[:1]
            list(record(plain_engine(database_url.set(username=seeing)), *triggers))
            assert logged(users) == [EXPECTED[0], *EXPECTED[2:]]
        finally:
            execute(
                *(f"ALTER TABLE {table} OWNER TO postgres" for table in ("activity", "transaction")),
                f'DROP OWNED BY "{role}", "{seeing}", "{owner}"',
            )


def test_a_change_under_way_comes_before_the_snapshot_of_what_came_of_it(users, outside):
    with outside.connect() as writer:
        writer.execute(sa.text("UPDATE users SET name = 'new' WHERE id = 1"))
        command = threading.Thread(target=baseline, args=(users, "users"))
        command.start()
        command.join(1)
        assert command.is_alive(), "it has to wait for the writer"
        writer.commit()
        command.join(30)
    states = [a.changed_data["name"] for a in users.activities(record_key="1", table_name="users")]
    assert states == ["new", "new"]


def test_a_value_is_recorded_as_the_triggers_record_it_whatever_the_session_says(create_app, outside, execute):
    types = {
        "i": sa.Interval,
        "b": sa.LargeBinary,
        "f": sa.Double,
        "r": DATERANGE,
        "d": ARRAY(sa.Date),
        "ts": TSTZRANGE,
    }
    types |= {"c": REGCLASS}

    def declare(db):
        columns = [sa.Column(name, type_) for name, type_ in types.items()]
        return Models(
            things=sa.Table(
                "things",
                db.metadata,
                sa.Column("id", sa.BigInteger, primary_key=True),
                *columns,
                info={"audit_logged": True},
            )
        )

    application = create_app(declare=declare)
    row = (
        "'1 day 2 hours', 'abc\\001', 0.1::float8 + 0.2::float8, '[2020-01-02,2020-01-05)', '{2020-02-01}', "
        "'[2020-01-02 10:00,2020-01-05 10:00)', 'things'"
    )
    execute(
        "ALTER TABLE things DISABLE TRIGGER USER",
        f"INSERT INTO things VALUES (1, {row})",
        "ALTER TABLE things ENABLE TRIGGER USER",
        f"INSERT INTO things VALUES (1 + 1, {row})",
        *(
            f"DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET {setting} = %L', current_database(), '{value}'); END$$"
            for setting, value in SETTINGS.items()
        ),
    )
    application.dispose()  # connections from before the settings
    assert baseline(application)[0] == 0
    with application.app.app_context():
        db, activity = application.db, application.audit_logger.activity_cls
        logged_values, recorded = db.session.scalars(db.select(activity.changed_data).order_by(activity.id)).all()
    assert recorded == {**logged_values, "id": 1}


def test_a_row_that_moves_while_its_table_is_read_is_recorded(create_app, execute, database_url, monkeypatch):
    monkeypatch.setattr("flask_audit_logger.health.baseline.BATCH", 1)

    def declare(audit):
        return lambda db: Models(things=declare_table(db.metadata, "things", audit=audit, columns=["name", "seen"]))

    create_app(declare=declare(None))
    execute(
        "INSERT INTO things SELECT n, repeat('x', 1000), 'no' FROM generate_series(1, 40) AS n",
        "DELETE FROM things WHERE id <= 10",
    )
    with plain_engine(database_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM things"))
    application = create_app(declare=declare({"ignore": ["seen"]}))
    steps = record(plain_engine(database_url), *declared_triggers(application.db.metadata))
    found = [next(steps), next(steps)]
    execute("UPDATE things SET seen = 'yes' WHERE id > 30")
    found += steps
    assert sum(step.recorded for step in found) == 30
    assert found[-1].done == 1
    assert sorted(int(a.record_key) for a in application.activities()) == list(range(11, 41))


def test_a_table_that_is_missing_is_an_error(users, execute):
    execute("DROP TABLE pairs")
    code, output = baseline(users, "pairs")
    assert (code, "There is no table 'pairs' in the database." in output) == (1, True)


@pytest.mark.parametrize("name", ["a$snapshot$b", "a$sql$b", "a$audit_logger$b", "a$old_migration$b\\"])
def test_a_name_that_looks_like_the_end_of_a_block(create_app, execute, name):
    def declare(audit):
        return lambda db: Models(
            t=declare_table(db.metadata, name, audit=audit, columns=[name], partition_by="RANGE (id)")
        )

    create_app(declare=declare(None))
    execute(f'CREATE TABLE part PARTITION OF "{name}" DEFAULT', f"INSERT INTO \"{name}\" VALUES (1, 'x')")
    application = create_app(declare=declare({"mask": [name]}))
    execute("INSERT INTO part VALUES (2, 'y')")
    assert baseline(application)[0] == 0
    assert [(a.table_name, a.verb, a.record_key, a.changed_data[name]) for a in application.activities()] == [
        (name, "insert", "2", MASKED),
        (name, "snapshot", "1", MASKED),
    ]
