"""``create_all()`` and ``drop_all()`` know the log of each database, however late its first audited model came."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_audit_logger import AuditLogger, ConfigurationError
from flask_audit_logger.schema.declared import declared_triggers
from tests.migrations.catalog import catalog
from tests.support.models import AUDITED, Models
from tests.support.server import both_drivers, plain_engine


@pytest.fixture
def other_url(server, driver):
    """The database of the bind "other"."""
    with server.database(driver) as url:
        yield url


def declare_nothing(db):
    return Models()


def declare_event(db, bind="other"):
    class Event(db.Model):
        __tablename__ = "events"
        __bind_key__ = bind
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)

    return Event


@pytest.fixture
def late(create_app, other_url):
    """Make an application whose bind "other" has no audited table before its AuditLogger is complete."""

    def make(**options):
        return create_app(
            declare=declare_nothing, create_all=False, config={"SQLALCHEMY_BINDS": {"other": other_url}}, **options
        )

    return make


@both_drivers
@pytest.mark.parametrize("options", [{}, {"schema": "audit_logs"}, {"init": False}], ids=["init", "schema", "no_init"])
def test_a_bind_whose_first_audited_model_comes_late(late, other_url, options):
    """Its log is made and dropped together with the table."""
    app = late(**options)
    empty = catalog(plain_engine(other_url))
    with app.app.app_context():
        event_cls = declare_event(app.db)
        app.db.create_all(bind_key="other")
        app.db.session.add(event_cls(id=7))
        app.db.session.commit()
        with plain_engine(other_url).connect() as connection:
            found = connection.execute(sa.select(app.audit_logger.models_of("other").activity)).all()
        assert [(a.table_name, a.record_key) for a in found] == [("events", "7")]
        app.db.session.remove()
        app.db.drop_all(bind_key="other")
        if "schema" in options:
            with app.db.engines["other"].begin() as connection:
                connection.execute(sa.text("DROP SCHEMA audit_logs"))
    assert catalog(plain_engine(other_url)) == empty


def test_a_log_is_dropped_by_a_process_that_knows_its_models_late(late, other_url):
    """The tables of the log go, too, if drop_all() is the first that hears of an audited table."""
    maker, dropper = late(), late()
    empty = catalog(plain_engine(other_url))
    with maker.app.app_context():
        declare_event(maker.db)
        maker.db.create_all(bind_key="other")
    with dropper.app.app_context():
        declare_event(dropper.db)
        dropper.db.drop_all(bind_key="other")
    assert catalog(plain_engine(other_url)) == empty


def test_a_late_bind_is_known_to_whoever_asks_for_its_triggers(late):
    """So a migration of this database alone has them."""
    app = late()
    declare_event(app.db)
    assert [triggers.table for triggers in declared_triggers(app.db.metadatas["other"])] == ["events"]


def test_after_detach_nothing_is_made(late, other_url):
    """detach() ends it for each bind."""
    app = late()
    empty = catalog(plain_engine(other_url))
    app.audit_logger.detach()
    with app.app.app_context():
        declare_event(app.db)
        app.db.create_all(bind_key="other")
        app.db.metadatas["other"].tables["events"].drop(app.db.engines["other"])
    assert catalog(plain_engine(other_url)) == empty


@both_drivers
@pytest.mark.parametrize("schema", [None, "audit_logs", sa.schema.BLANK_SCHEMA], ids=["none", "given", "blank"])
def test_the_log_is_where_the_metadata_is_unless_it_has_a_schema_of_its_own(create_app, outside, schema):
    with outside.begin() as connection:
        connection.execute(sa.schema.CreateSchema("app"))
    application = create_app(db_options={"metadata": sa.MetaData(schema="app")}, schema=schema, create_all=False)
    User = application.models.User
    with application.app.app_context():
        application.db.create_all()
        application.db.session.add(User(id=7, name="Ann"))
        application.db.session.commit()
    assert [(a.schema, a.table_name, a.record_key) for a in application.activities()] == [("app", "users", "7")]
    log = {None: "app", sa.schema.BLANK_SCHEMA: "public"}.get(schema, schema)
    with outside.connect() as connection:
        assert connection.scalar(sa.text(f"SELECT count(*) FROM {log}.activity")) == 1
    result = application.app.test_cli_runner().invoke(args=["audit", "status"])
    assert result.exit_code == 0, result.output
    with application.app.app_context():
        application.db.drop_all()
    assert [line for line in catalog(outside) if "audit_logger_" in line] == []


def test_a_table_has_one_log(create_app, outside):
    """A second application can't take the first one's changes over unnoticed."""
    first = create_app(schema="log_a")
    before = catalog(outside)
    with pytest.raises(ConfigurationError, match="Changes of 'article_tags' are logged in schema 'log_a'"):
        create_app(schema="log_b", init=False)
    assert [line for line in catalog(outside) if "log_b" not in line] == before
    second = create_app(schema="log_b", create_all=False)
    output = second.app.test_cli_runner().invoke(args=["audit", "status"]).output
    assert "FAIL  users\n        its changes are logged in schema log_a\n" in output
    assert first.app.test_cli_runner().invoke(args=["audit", "status"]).exit_code == 0


def test_a_schema_of_the_log_that_somebody_else_made(server, create_app, database_url, outside):
    """Who owns it need not have the right to make one."""
    with server.role() as role:
        with outside.begin() as connection:
            connection.execute(sa.text(f'CREATE SCHEMA audit_logs AUTHORIZATION "{role}"'))
            connection.execute(sa.text(f'GRANT CREATE ON SCHEMA public TO "{role}"'))
        application = create_app(database_url.set(username=role), schema="audit_logs", create_all=False)
        with application.app.app_context():
            application.db.create_all()
        assert application.app.test_cli_runner().invoke(args=["audit", "status"]).exit_code == 0
        application.dispose()
        with outside.begin() as connection:
            connection.execute(sa.text(f'DROP OWNED BY "{role}" CASCADE'))


def declare_in_other(db):
    class User(db.Model):
        __tablename__ = "users"
        __bind_key__ = "other"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text)

    return Models(User=User)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_default_database_that_is_not_postgresql(create_app, other_url, is_late):
    """It has no log as long as nothing in it is audited."""
    app = create_app(
        "sqlite://",
        declare=declare_nothing if is_late else declare_in_other,
        create_all=False,
        config={"SQLALCHEMY_BINDS": {"other": other_url}},
    )
    User = declare_in_other(app.db).User if is_late else app.models.User
    with app.app.app_context():
        app.db.create_all()
        assert not sa.inspect(app.db.engine).get_table_names()
        app.db.session.add(User(id=7, name="Ann"))
        app.db.session.commit()
        activity = app.audit_logger.models_of("other").activity_cls
        assert [a.record_key for a in app.db.session.scalars(sa.select(activity))] == ["7"]
        app.db.session.remove()
        app.db.drop_all()


@both_drivers
def test_actors_beside_the_log_of_a_bind(create_app, other_url):
    """Each entry has its actor, as in the default database."""
    app = create_app(declare=declare_in_other, config={"SQLALCHEMY_BINDS": {"other": other_url}})
    with app.app.app_context():
        with app.audit_logger.context(actor=7):
            app.db.session.add(app.models.User(id=7, name="Ann"))
            app.db.session.commit()
        transaction = app.db.session.scalar(sa.select(app.audit_logger.models_of("other").transaction_cls))
        assert (transaction.actor_id, transaction.actor.name) == (7, "Ann")


def test_a_newer_logger_takes_over_even_if_nothing_is_audited_yet(create_app):
    app = create_app(declare=declare_nothing, create_all=False)
    AuditLogger(app.db).init_app(app.app)
    with app.app.app_context():
        app.db.create_all()
    assert app.activities() == []


def test_a_log_is_made_and_dropped_though_nothing_else_is(create_app, outside):
    """Somebody asked for its classes, so it is there, with nothing audited and no other table."""
    app = create_app(declare=declare_nothing, create_all=False)
    empty = catalog(outside)
    with app.app.app_context():
        activity = app.audit_logger.activity_cls
        assert app.db.metadata.tables == {}
        app.db.create_all()
        assert app.db.session.scalars(sa.select(activity)).all() == []
        app.db.session.remove()
        app.db.drop_all()
    assert catalog(outside) == empty


def test_some_tables_are_made_with_the_log_if_one_of_them_is_audited(create_app, outside):
    app = create_app(create_all=False)
    with app.app.app_context():
        engine, tables = app.db.engine, app.db.metadata.tables
        app.db.metadata.create_all(engine, tables=[tables["notes"]])
        assert sa.inspect(outside).get_table_names() == ["notes"]
        app.db.metadata.create_all(engine, tables=[tables["tags"]])
        assert set(sa.inspect(outside).get_table_names()) == {"notes", "tags", "activity", "transaction"}
        app.db.session.add(app.models.Tag(name="x"))
        app.db.session.commit()
        app.db.metadata.drop_all(engine, tables=[tables["tags"]])
    assert [a.table_name for a in app.activities()] == ["tags"]


@both_drivers
def test_the_classes_have_the_columns_that_the_tables_have(create_app, outside):
    app = create_app()
    dialect = outside.dialect

    def written(type_):
        return type_.compile(dialect).removesuffix(' COLLATE "C"')  # SQLAlchemy before 2.1 doesn't reflect it

    for table in (app.audit_logger.models.activity, app.audit_logger.models.transaction):
        there = sa.inspect(outside)
        columns = [(c["name"], written(c["type"]), c["nullable"]) for c in there.get_columns(table.name)]
        assert columns == [(c.name, written(c.type), c.nullable) for c in table.columns]
        assert set(there.get_pk_constraint(table.name)["constrained_columns"]) == {c.name for c in table.primary_key}


@pytest.mark.parametrize("name", ["activity", "transaction"])
def test_a_table_of_the_log_s_name_that_comes_late(create_app, outside, name):
    app = create_app(create_all=False)
    assert app.audit_logger.models
    sa.Table(name, app.db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    with app.app.app_context(), pytest.raises(ConfigurationError, match="of its own"):
        app.db.create_all()
    assert sa.inspect(outside).get_table_names() == []


def test_drop_all_of_one_log_leaves_the_triggers_of_another(create_app):
    first = create_app(schema="log_a")
    second = create_app(schema="log_b", declare=lambda db: Models(Event=declare_event(db, bind=None)))
    with second.app.app_context():
        second.db.drop_all()
    assert first.app.test_cli_runner().invoke(args=["audit", "status"]).exit_code == 0
