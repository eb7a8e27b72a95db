"""Rows that existed before auditing began are recorded once, as the triggers would have recorded them."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError

from flask_audit_logger.maintenance.baseline import baseline as record
from flask_audit_logger.schema.declared import declared_triggers
from tests.alembic.conftest import declare_table
from tests.support.models import Models
from tests.support.server import both_drivers, plain_engine

OPTIONS = {"exclude": ["hair"], "mask": ["email"]}


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
    assert "users: 2 rows recorded\n" in output
    assert "pairs: 1 rows recorded\n" in output
    assert logged(users) == EXPECTED
    assert {a.transaction.context["job"] for a in users.activities(verb="snapshot")} == {"baseline"}


def test_repeating_it_records_nothing(users):
    baseline(users)
    code, output = baseline(users, "users")
    assert (code, "users: 0 rows recorded\n" in output) == (0, True)
    assert logged(users) == EXPECTED


@pytest.mark.parametrize(("table", "said"), [("bare", "no record key"), ("users2", "no audited table")])
def test_what_can_not_be_recorded_is_refused(users, table, said):
    code, output = baseline(users, table)
    assert (code, said in " ".join(output.split())) == (2, True)


def test_the_operation_records_the_same_and_leaves_the_session_as_it_was(users, outside):
    with outside.begin() as connection, Operations.context(MigrationContext.configure(connection)) as op:
        connection.exec_driver_sql("SET LOCAL TimeZone = 'Asia/Tokyo'")
        zone = connection.exec_driver_sql("SHOW TimeZone").scalar_one()
        op.snapshot_audit_logger_table("pairs")
        op.snapshot_audit_logger_table("users", excluded_columns=["hair"], masked_columns=["email"])
        assert connection.exec_driver_sql("SHOW TimeZone").scalar_one() == zone
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
    with server.role("LOGIN BYPASSRLS") as seeing, server.role() as role:
        try:
            for name in (role, seeing):
                execute(
                    f'GRANT SELECT, UPDATE ON users TO "{name}"; GRANT SELECT, INSERT, UPDATE ON activity TO "{name}"',
                    f'GRANT SELECT, INSERT, UPDATE ON transaction TO "{name}"',
                    f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO "{name}"',
                )
            execute(
                "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
                "CREATE POLICY visible ON users USING (id <> 3)",
            )
            triggers = [t for t in declared_triggers(users.db.metadata) if t.table == "users"]
            hint = r"\(audit_logger\) row security hides rows of users"
            with pytest.raises(DBAPIError, match=hint):
                list(record(plain_engine(database_url.set(username=role)), *triggers))
            assert logged(users) == EXPECTED[:1]
            list(record(plain_engine(database_url.set(username=seeing)), *triggers))
            assert logged(users) == [EXPECTED[0], *EXPECTED[2:]]
        finally:
            execute(f'DROP OWNED BY "{role}", "{seeing}"')


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
