"""A model of users that comes, goes or gets another key: the migration runs, and no actor is lost on the way."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditLogger
from tests.migrations.conftest import declare_table
from tests.migrations.project import downgrade_part, upgrade_part

ANN = "5d0ab2b6-1c1d-4b1a-8f57-2f1d0f3b6a11"


@pytest.fixture
def schema(request):
    """Schema of the log; ``in_a_schema`` runs a test with one, too."""
    return getattr(request, "param", None)


in_a_schema = pytest.mark.parametrize("schema", [None, "audit_logs"], indirect=True)


@pytest.fixture
def models(schema):
    """The metadata of a release whose users have a key of this type; there is no such model without one."""
    loggers = []
    kept = []  # a mapped class lives as long as somebody holds it

    def make(key_type=None):
        db = SQLAlchemy()
        declare_table(db.metadata, "pets", audit=True)
        loggers.append(AuditLogger(db, schema=schema))
        if key_type is not None:

            class User(db.Model):
                __tablename__ = "users"
                id = sa.Column(key_type, primary_key=True)

            kept.append(User)
        return db.metadata

    yield make
    for logger in loggers:
        logger.detach()


@pytest.fixture
def say(execute, schema):
    """Write one transaction of an actor per pair of key and label, and one of nobody."""

    def write(*actors):
        rows = ", ".join(f"(1, now(), {key or 'NULL'}, {label or 'NULL'})" for key, label in (*actors, (None, None)))
        columns = "native_transaction_id, issued_at, actor_id, actor_label"
        execute(f"INSERT INTO {schema or 'public'}.transaction ({columns}) VALUES {rows}")

    return write


@pytest.fixture
def actors(query, schema):
    return lambda: query(
        f"SELECT actor_id, actor_label, marks #>> '{{unreadable,actor_id}}' FROM {schema or 'public'}.transaction "
        "ORDER BY id"
    )


@pytest.fixture
def content(query, schema):
    return lambda: query(f"SELECT t::text FROM {schema or 'public'}.transaction AS t ORDER BY id")


@in_a_schema
def test_a_model_of_users_comes_after_the_log(project, models, dump, say, actors, content, execute, schema):
    project.migrate_and_upgrade(models())
    words = ("'7'", "'Ann'"), ("'nightly import'", None), ("'root'", "'The root'"), ("'007'", "'007'")
    say(*words, ("'99999999999'", None))
    before, rows = dump(), content()
    written = project.migrate_and_upgrade(models(sa.Integer))
    named = f"schema={schema!r}, version=1)" if schema else "version=1)"
    assert f"op.change_audit_logger_actor_type('INTEGER', existing_type='text', {named}" in upgrade_part(written)
    assert f"op.change_audit_logger_actor_type('text', existing_type='INTEGER', {named}" in downgrade_part(written)
    assert "alter_column" not in written
    assert actors() == [
        (7, "Ann", None),
        (None, "nightly import", "nightly import"),
        (None, "The root", "root"),
        (None, "007", "007"),
        (None, "99999999999", "99999999999"),
        (None, None, None),
    ]
    execute("INSERT INTO pets VALUES (1, 'Rex')")
    after = dump()
    execute("DELETE FROM pets")
    project.downgrade("-1")
    assert dump() == before
    assert content()[: len(rows)] == rows
    project.upgrade()
    assert dump() == after


ROUNDS = {
    "text to bigint": (None, sa.BigInteger, "'99999999999'", 99999999999),
    "integer to bigint": (sa.Integer, sa.BigInteger, "7", 7),
    "bigint to integer": (sa.BigInteger, sa.Integer, "7", 7),
    "integer to text": (sa.Integer, sa.Text, "7", "7"),
    "integer to a string": (sa.Integer, sa.String(36), "7", "7"),
    "a string to text": (sa.String(36), sa.Text, "'x'", "x"),
    "uuid to text": (sa.Uuid, sa.Text, f"'{ANN}'", ANN),
    "uuid to a string": (sa.Uuid, sa.String(36), f"'{ANN}'", ANN),
    "text to uuid": (None, sa.Uuid, f"'{ANN}'", ANN),
    "a string to uuid": (sa.String(36), sa.Uuid, f"'{ANN}'", ANN),
    "integer to nobody": (sa.Integer, None, "7", "7"),
}


@pytest.mark.parametrize("change", ROUNDS.values(), ids=ROUNDS.keys())
def test_a_key_that_the_type_can_hold_stays(project, models, dump, say, actors, content, change):
    old, new, key, expected = change
    project.migrate_and_upgrade(models(old))
    say((key, "'Ann'"))
    before, rows = dump(), content()
    # Alembic itself can't write a change of the column users.id, and doesn't have to.
    written = project.migrate(models(new))
    assert "change_audit_logger_actor_type" in "".join(upgrade_part(written))
    _only_ours(project)
    project.upgrade()
    actor_id, *others = actors()[0]
    assert (str(actor_id), *others) == (str(expected), "Ann", None)
    project.downgrade("-1")
    assert dump() == before
    assert content() == rows


LOSSES = {
    "integer to uuid": (sa.Integer, sa.Uuid, "7"),
    "uuid to integer": (sa.Uuid, sa.Integer, f"'{ANN}'"),
    "bigint to integer": (sa.BigInteger, sa.Integer, "99999999999"),
    "text to a short string": (None, sa.String(5), "'nightly import'"),
}


@pytest.mark.parametrize("change", LOSSES.values(), ids=LOSSES.keys())
def test_a_key_that_the_type_can_not_hold_comes_back_with_the_downgrade(
    project, models, say, actors, content, change, execute, schema
):
    old, new, key = change
    project.migrate_and_upgrade(models(old))
    say((key, None), (key, "'Ann'"))
    execute(f"""UPDATE {schema or "public"}.transaction SET marks = '{{"unreadable"\\: "x", "a"\\: 1}}' WHERE id = 1""")
    rows = content()
    project.migrate(models(new))
    _only_ours(project)
    project.upgrade()
    text = key.strip("'")
    assert actors() == [(None, text, text), (None, "Ann", text), (None, None, None)]
    project.downgrade("-1")
    assert content() == rows


def _only_ours(project):
    """Leave out of the newest migration what Alembic writes for the table of users."""
    file = max(project.versions.glob("*.py"))
    body = file.read_text()
    up, down = upgrade_part(body.partition("def upgrade():")[2]), downgrade_part(body.partition("def upgrade():")[2])
    lines = [[line for line in part if "audit_logger" in line] or ["pass"] for part in (up, down)]
    head = body.partition("def upgrade():")[0]
    texts = ["\n".join(f"    {line}" for line in part) for part in lines]
    file.write_text(f"{head}def upgrade():\n{texts[0]}\n\n\ndef downgrade():\n{texts[1]}\n")


def test_what_could_not_be_read_when_it_was_written_counts_from_now_on(project, models, execute, actors):
    """A request that names an actor by another type than the log has is recorded without it."""
    project.migrate_and_upgrade(models(sa.Integer))
    execute(
        """SET flask_audit_logger.context = '{"actor_id"\\: "nightly import"}'""",
        "INSERT INTO pets VALUES (1, 'Rex')",
        "RESET flask_audit_logger.context",
    )
    assert actors() == [(None, "nightly import", "nightly import")]
    project.migrate(models(sa.Text))
    _only_ours(project)
    project.upgrade()
    assert actors() == [("nightly import", None, None)]


def test_an_open_session_goes_on_with_the_new_type(project, models, outside, actors, execute):
    project.migrate_and_upgrade(models())
    said = sa.text("SELECT set_config('flask_audit_logger.context', :context, true)")
    with outside.connect() as connection:
        for number in (1, 2):
            connection.execute(said, {"context": '{"actor_id": "7"}'})
            connection.execute(sa.text(f"INSERT INTO pets VALUES ({number}, 'Rex')"))
            connection.commit()
            if number == 1:
                project.migrate_and_upgrade(models(sa.Integer))
    assert actors() == [(7, None, None), (7, None, None)]


def test_the_migration_itself_may_write_to_audited_tables(project, models, actors):
    project.migrate_and_upgrade(models())
    project.migrate(models(sa.Integer))
    _only_ours(project)
    file = max(project.versions.glob("*.py"))
    write = "    op.execute(\"INSERT INTO pets VALUES ({}, 'Rex')\")\n"
    body = file.read_text().replace("def upgrade():\n", "def upgrade():\n" + write.format(1))
    file.write_text(body.replace("\n\n\ndef downgrade", "\n" + write.format(2) + "\n\ndef downgrade"))
    project.upgrade()
    assert {row[:2] for row in actors()} == {(None, None)}


@in_a_schema
def test_an_offline_script_does_the_same(project, models, dump, say, actors, psql, content, execute):
    project.migrate_and_upgrade(models())
    say(("'7'", None), ("'nightly import'", None))
    rows = content()
    project.migrate_and_upgrade(models(sa.Integer))
    full, found = dump(), actors()
    project.downgrade("-1")
    up = project.sql("0001:head")
    psql(up)
    assert dump() == full
    assert actors() == found
    assert content() != rows


def test_with_batches_as_flask_migrate_writes_them(make_project, models):
    project = make_project(render_as_batch=True)
    project.migrate_and_upgrade(models())
    written = project.migrate_and_upgrade(models(sa.Integer))
    assert "change_audit_logger_actor_type" in written
    assert "batch_alter_table" not in "".join(upgrade_part(written))
