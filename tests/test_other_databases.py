"""On a database that is not PostgreSQL nothing of ours happens: the application works as without us, and is told so."""

from __future__ import annotations

import io
import logging

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import render_template_string

from flask_audit_logger.ui import AuditUI
from tests.migrations.conftest import make_project, project, release  # noqa: F401 - fixtures
from tests.migrations.project import Project, downgrade_part, upgrade_part
from tests.support.models import AUDITED, Models

REASON = "an audit log needs PostgreSQL; this database is sqlite, so its changes are not logged"
USERS = {"audit": {"exclude": ["hair_color"]}, "columns": ["name", "hair_color"]}
PATHS = (
    "/audit/",
    "/audit/?table=users&verb=update&q=x&since=2026-01-01",
    "/audit/?actor=1&reason=x",
    "/audit/record/users/1",
    "/audit/record/users/1/at?at=2026-01-01T00:00",
    "/audit/transactions",
    "/audit/export.csv",
    "/audit/export.jsonl",
    "/audit/actor/1",
)


@pytest.fixture
def sqlite_url(tmp_path):
    return sa.make_url(f"sqlite:///{tmp_path}/some.db")


def tables_in(url):
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    return set(sa.inspect(engine).get_table_names())


@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_an_application_works_as_without_us(create_app, sqlite_url, schema):
    """Its own tables are made, written and dropped; blocks and calls of ours do nothing."""
    app = create_app(sqlite_url, schema=schema, create_all=False)
    with app.app.test_request_context(headers={"X-Test-User": "1"}):
        app.db.create_all()
        assert tables_in(sqlite_url) == {"users", "articles", "tags", "article_tags", "notes"}
        session, User = app.db.session, app.models.User
        session.add(User(id=1, name="Ann"))
        session.commit()
        with app.audit_logger.context(actor=1, reason="why"), app.audit_logger.disable(session):
            session.get(User, 1).name = "Anna"
        app.audit_logger.stamp(session)
        app.audit_logger.stamp(session.connection().connection)
        session.execute(sa.update(User).values(age=7))
        session.execute(sa.text("UPDATE users SET age = age + 1"))
        session.commit()
        assert session.execute(sa.select(User.name, User.age)).all() == [("Anna", 8)]
        session.remove()
        app.db.create_all()
        app.db.drop_all()
        assert tables_in(sqlite_url) == set()


def test_nobody_is_asked_who_acts(create_app, sqlite_url):
    """Neither a callback nor Flask-Login: no user is loaded that the application has not asked for."""
    asked = []
    app = create_app(
        sqlite_url, get_actor_id=lambda: asked.append("id"), get_client_addr=lambda: asked.append("address")
    )
    app.app.login_manager.request_loader(lambda request: asked.append("user"))
    with app.app.test_request_context(headers={"X-Test-User": "1"}):
        session = app.db.session
        session.add(app.models.User(id=1, name="Ann"))
        session.flush()
        session.execute(sa.update(app.models.User).values(age=1))
        session.bulk_save_objects([app.models.User(id=2, name="Ben")])
        session.commit()
        session.remove()
    assert asked == []


def test_create_all_without_looking_first(create_app, sqlite_url):
    app = create_app(sqlite_url, create_all=False)
    with app.app.app_context():
        app.db.metadata.create_all(app.db.engine, checkfirst=False)
        app.db.metadata.drop_all(app.db.engine, checkfirst=False)
    assert tables_in(sqlite_url) == set()


def test_it_is_said_once(create_app, sqlite_url, caplog):
    with caplog.at_level(logging.WARNING, "flask_audit_logger"):
        app = create_app(sqlite_url)
        for _ in range(3):
            with app.app.app_context():
                app.db.session.execute(sa.text("DELETE FROM users"))
                app.db.session.commit()
    assert [record.getMessage() for record in caplog.records] == [f"Auditing is off: {REASON}"]


@pytest.mark.parametrize("is_default_sqlite", [False, True])
def test_one_bind_of_each_kind(create_app, sqlite_url, database_url, is_default_sqlite):
    """The database that can have a log has one, the other has none."""

    def declare(db):
        class User(db.Model):
            __tablename__ = "users"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)

        class Book(db.Model):
            __bind_key__ = "other"
            __tablename__ = "books"
            __table_args__ = (AUDITED,)
            id = sa.Column(sa.Integer, primary_key=True)

        return Models(User=User, Book=Book)

    default, other = (sqlite_url, database_url) if is_default_sqlite else (database_url, sqlite_url)
    app = create_app(default, declare=declare, create_all=False, config={"SQLALCHEMY_BINDS": {"other": other}})
    bind, key = ("other", "books") if is_default_sqlite else (None, "users")
    with app.app.app_context():
        app.db.create_all()
        assert tables_in(sqlite_url) == {"users" if is_default_sqlite else "books"}
        app.db.session.add_all([app.models.User(id=7), app.models.Book(id=7)])
        app.db.session.commit()
        activity = app.audit_logger.models_of(bind).activity_cls
        with app.db.engines[bind].connect() as connection:
            rows = connection.execute(sa.select(activity.table_name, activity.record_key)).all()
        assert [tuple(row) for row in rows] == [(key, "7")]
        app.db.session.remove()
        result = app.app.test_cli_runner().invoke(args=["audit", "status"])
        assert result.exit_code == 1
        assert f"ok    {key}\n" in result.output
        assert REASON in result.output
        app.db.drop_all()
    assert tables_in(sqlite_url) == set()


@pytest.mark.parametrize("words", [["status"], ["status", "--probe", "--strict"], ["baseline"], ["baseline", "users"]])
def test_the_commands_fail_with_the_reason(create_app, sqlite_url, words):
    result = create_app(sqlite_url).app.test_cli_runner().invoke(args=["audit", *words])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert REASON in result.output
    assert "All changes of audited tables are logged" not in result.output


def test_nothing_audited_is_no_fault(create_app, sqlite_url):
    """A log that was only asked for."""
    app = create_app(sqlite_url, declare=lambda db: Models())
    assert app.audit_logger.activity_cls.__name__ == "AuditLogActivity"
    assert app.app.test_cli_runner().invoke(args=["audit", "status"]).exit_code == 0


@pytest.mark.parametrize("path", PATHS)
def test_pages_explain_themselves(create_app, sqlite_url, path):
    app = create_app(sqlite_url, ui=AuditUI(permission=lambda action, target: True, viewer=lambda: None))
    response = app.app.test_client().get(path)
    assert response.status_code == 503
    assert "Changes are recorded in PostgreSQL only" in response.text


def test_pages_that_read_nothing_are_there(create_app, sqlite_url):
    app = create_app(sqlite_url, ui=AuditUI(permission=lambda action, target: True, viewer=lambda: None))
    client = app.app.test_client()
    assert client.get("/audit/help").status_code == 200
    assert client.get("/audit/record/users/%ff").status_code in (404, 503)


def test_a_closed_page_says_nothing(create_app, sqlite_url):
    client = create_app(sqlite_url, ui=AuditUI()).app.test_client()
    assert client.get("/audit/").status_code == 403


def test_recent_changes_on_a_page_of_the_application(create_app, sqlite_url):
    app = create_app(sqlite_url, ui=AuditUI(permission=lambda action, target: True, viewer=lambda: None))
    with app.app.test_request_context():
        text = render_template_string("{{ audit_stylesheet() }}<main>{{ audit_recent_changes('users', 1) }}</main>")
    assert "Changes are recorded in PostgreSQL only" in text


@pytest.mark.parametrize("render_as_batch", [False, True])
@pytest.mark.parametrize("schema", [None, "audit_logs"])
def test_a_migration_of_postgresql(tmp_path, project, release, sqlite_url, schema, render_as_batch):  # noqa: F811
    """It makes the application's tables elsewhere, too, and drops them, with each later revision of the log."""
    project.options["render_as_batch"] = render_as_batch
    logger = {"schema": schema}
    written = project.migrate_and_upgrade(release(users=USERS, logger=logger))
    assert "op.create_audit_logger_tables(version=1" in written
    project.migrate_and_upgrade(release(users={**USERS, "audit": True}, teams={"audit": True}, logger=logger))
    project.migrate_and_upgrade(release(users={"columns": ["name"]}, audited=False))
    elsewhere = Project(tmp_path / "migrations1", sqlite_url)
    elsewhere.upgrade("0002")
    assert tables_in(sqlite_url) == {"users", "teams", "alembic_version"}
    if render_as_batch:  # SQLite drops no column otherwise
        elsewhere.upgrade()
        assert tables_in(sqlite_url) == {"users", "alembic_version"}
    elsewhere.downgrade()
    assert tables_in(sqlite_url) == {"alembic_version"}


def test_migrate_on_another_database(tmp_path, release, sqlite_url, caplog):  # noqa: F811
    """Only the application's own tables are in it, and a warning says so; a second one finds nothing."""
    project = Project(tmp_path / "migrations", sqlite_url)  # noqa: F811
    application = release(users=USERS)
    with caplog.at_level(logging.WARNING, "alembic.autogenerate"):
        written = project.migrate(application)
    assert [line.partition("(")[2].partition(",")[0] for line in upgrade_part(written)] == ["'users'"]
    assert downgrade_part(written) == ["op.drop_table('users')"]
    assert [r.getMessage() for r in caplog.records if "nothing about auditing" in r.getMessage()]
    project.upgrade()
    assert project.migrate(application) == ""


def test_a_script_for_another_database(project, release):  # noqa: F811
    """``flask db upgrade --sql`` for a dialect whose driver is not even installed."""
    project.migrate_and_upgrade(release(users=USERS, logger={"schema": "audit_logs"}))
    names = {}
    exec(next(project.versions.glob("*.py")).read_text(), names)  # noqa: S102 - our own migration
    scripts = {}
    for dialect in ("mysql", "postgresql"):
        output = io.StringIO()
        context = MigrationContext.configure(dialect_name=dialect, opts={"as_sql": True, "output_buffer": output})
        with Operations.context(context):
            names["upgrade"]()
            names["downgrade"]()
        scripts[dialect] = output.getvalue()
    assert "activity" in scripts["postgresql"]
    assert "CREATE TABLE users" in scripts["mysql"]
    assert "DROP TABLE users" in scripts["mysql"]
    assert "audit" not in scripts["mysql"]
    assert "activity" not in scripts["mysql"]
