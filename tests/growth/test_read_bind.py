"""Promise: pages read from another server that follows the log, say how far it is behind, and change nothing there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine

from flask_audit_logger import AuditLogger, AuditUI, ConfigurationError
from flask_audit_logger.growth.months import rotate, this_month
from flask_audit_logger.schema.objects import LOG_TABLES, Tables
from flask_audit_logger.ui import Viewer
from tests.capture.tables import run
from tests.migrations.project import Project
from tests.support.apps import Application, make_app
from tests.support.cluster import Cluster
from tests.support.documents import named
from tests.support.server import Server, plain_engine

#: So long something that comes by itself is waited for, in seconds.
PATIENCE = 60


def scalar(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar()


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def open_pages() -> AuditUI:
    return AuditUI(viewer=lambda: Viewer("1"), permission=lambda action, target: True)


@dataclass
class Pair:
    """An application on two servers."""

    application: Application
    main: Engine
    copy: Engine
    cluster: Cluster

    def cli(self, *arguments: str) -> tuple[int, str]:
        result = self.application.app.test_cli_runner().invoke(args=["audit", *arguments])
        return result.exit_code, result.output

    def page(self, path: str = "/", status: int = 200) -> str:
        response = self.application.app.test_client().get(f"/audit{path}")
        assert response.status_code == status, response.text
        return response.text

    def write(self, name: str) -> None:
        run(self.main, f"INSERT INTO users (name) VALUES ('{name}')")

    def has_all(self) -> bool:
        newest = "SELECT max(id) FROM activity"
        return bool(scalar(self.main, newest) == scalar(self.copy, newest))


@pytest.fixture
def pair(server: Server) -> Iterator[Pair]:
    """The log of the first server, in months, is followed by the second one, where it is plain."""
    if scalar(plain_engine(server.admin_url), "SHOW wal_level") != "logical":
        pytest.skip("the server doesn't replicate: wal_level is not logical")
    with server.database() as url, Cluster() as cluster:
        ui = open_pages()
        config = {"SQLALCHEMY_BINDS": {"audit_reader": cluster.url(driver=url.get_driver_name())}}
        application = make_app(url, partition="month", read_bind="audit_reader", ui=ui, config=config)
        pair = Pair(application, plain_engine(url), plain_engine(cluster.url(driver=url.get_driver_name())), cluster)
        assert scalar(pair.copy, "SELECT count(*) FROM pg_class WHERE relname IN ('activity', 'users')") == 0
        host, port = url.query.get("host") or url.host, url.port or 5432
        code, sql = pair.cli(
            "reader", "--connection", f"host={host} port={port} dbname={url.database} user={url.username}"
        )
        assert code == 0
        here, there = sql.split("-- On the other one:\n")
        run(pair.main, here)
        *made, subscribe = there.rstrip().rsplit("\n", 1)
        run(pair.copy, *made)
        with pair.copy.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(subscribe)
        try:
            yield pair
        finally:
            application.dispose()
            with pair.copy.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("DROP SUBSCRIPTION audit_log")


def test_the_statements_of_the_documentation_are_those_that_are_printed(blog: Application) -> None:
    documented = named(Path(__file__).parents[2] / "docs" / "operating.md")["follow"]
    command = ["audit", "reader", "--connection", "host=db1 dbname=shop user=audit_copy"]
    printed = blog.app.test_cli_runner().invoke(args=command).output.replace('"public".', "").replace('"', "")
    statements = [line for line in documented.splitlines() if not line.startswith("--")]
    assert len(statements) == 2 and [line for line in statements if line not in printed] == []


@pytest.mark.slow
def test_pages_read_from_a_copy_that_keeps_what_the_log_lets_go(pair: Pair) -> None:
    """What is dropped here stays there, an erasure follows; pages and status tell of a copy that is behind or gone."""
    pair.write("before")
    wait_for(lambda: pair.cli("status")[0] == 0)
    wait_for(pair.has_all)
    assert "which is up to date" in pair.page()
    assert "before" in pair.page("/record/users/1")
    # dropped here
    assert rotate(pair.main, None, "2099_01")
    pair.write("after")
    run(pair.main, *(f"DROP TABLE {log}_{this_month()}" for log in LOG_TABLES))
    wait_for(pair.has_all)
    assert scalar(pair.main, "SELECT count(*) FROM activity") == 1
    assert scalar(pair.copy, "SELECT count(*) FROM activity") == 2
    assert "before" in pair.page("/record/users/1")
    assert pair.cli("status")[0] == 0
    # erased here
    run(pair.main, 'UPDATE activity SET changed_data = changed_data || \'{"name": "erased"}\'')
    wait_for(lambda: "erased" in pair.page("/record/users/2"))
    assert "after" not in pair.page("/record/users/2")
    # the link is down
    run(pair.copy, "ALTER SUBSCRIPTION audit_log DISABLE")
    pair.write("unseen")
    assert "What is newer than 1 minute may be missing." in pair.page()
    pair.page("/record/users/3", 404)
    run(
        pair.main,
        "UPDATE transaction SET issued_at = issued_at - interval '1 hour' WHERE id = (SELECT max(id) FROM transaction)",
    )
    assert "What is newer than 61 minutes may be missing." in pair.page()
    code, output = pair.cli("status")
    assert code == 1
    assert 'its subscription audit_log is disabled: ALTER SUBSCRIPTION "audit_log" ENABLE' in output
    assert "it is 61 minutes behind" in output
    run(pair.copy, "ALTER SUBSCRIPTION audit_log ENABLE")
    wait_for(pair.has_all)
    wait_for(lambda: pair.cli("status")[0] == 0)
    assert "unseen" in pair.page("/record/users/3")
    # what else status sees
    for damage, repair, said in (
        (
            "ALTER PUBLICATION audit_log SET (publish = 'insert, update, delete')",
            "ALTER PUBLICATION audit_log SET (publish = 'insert, update')",
            "the publication audit_log publishes deletes, too",
        ),
        (
            "ALTER PUBLICATION audit_log SET (publish_via_partition_root = false)",
            "ALTER PUBLICATION audit_log SET (publish_via_partition_root = true)",
            "none of its publications has both tables",
        ),
    ):
        run(pair.main, damage)
        code, output = pair.cli("status")
        assert (code, said in output) == (1, True), output
        run(pair.main, repair)
    run(pair.copy, "DROP INDEX activity_record_idx")
    assert "its index activity_record_idx is missing" in pair.cli("status")[1]
    # the other server is gone
    pair.cluster.stop()
    pair.page("/", 503)
    code, output = pair.cli("status")
    assert (code, "it can't be read" in output) == (1, True)
    pair.cluster.start()
    pair.page()


def test_nothing_is_made_or_migrated_where_the_copy_is(server: Server, tmp_path: Path) -> None:
    """Alembic would drop its tables, which no model has."""
    with server.database() as url, server.database() as copy:
        run(plain_engine(copy), *Tables("public", 1, "integer").create())
        application = make_app(url, read_bind="audit_reader", config={"SQLALCHEMY_BINDS": {"audit_reader": copy}})
        assert Project(tmp_path, copy).migrate(application.db.metadatas["audit_reader"]) == ""
        application.dispose()


def test_the_main_server_need_not_answer(server: Server) -> None:
    """Pages are read all the same; they don't know then how far the copy is behind."""
    with server.database() as url, server.database() as copy:
        run(plain_engine(copy), *Tables("public", 1, "integer").create())
        ui = open_pages()
        gone = url.set(database="gone")
        options = {"config": {"SQLALCHEMY_BINDS": {"audit_reader": copy}}, "create_all": False}
        application = make_app(gone, read_bind="audit_reader", ui=ui, **options)
        page = application.app.test_client().get("/audit/")
        assert page.status_code == 200, page.text
        assert "How far that is behind is not known now." in page.text
        application.dispose()


def test_a_bind_that_is_not_there_is_refused(server: Server) -> None:
    with server.database() as url:
        for binds, said in (({}, "there are: none"), ({"reports": url}, "there are: 'reports'")):
            with pytest.raises(ConfigurationError, match=f"no bind 'audit_reader', which read_bind= names; {said}"):
                make_app(
                    url,
                    read_bind="audit_reader",
                    ui=open_pages(),
                    config={"SQLALCHEMY_BINDS": binds},
                    create_all=False,
                )


def test_a_table_of_that_bind_is_not_audited() -> None:
    db = SQLAlchemy()
    table = db.Table("item", db.Column("id", db.Integer, primary_key=True), bind_key="audit_reader")
    table.info["audit_logged"] = True
    with pytest.raises(ConfigurationError, match=r"'item' is in the bind 'audit_reader', which read_bind= names"):
        AuditLogger(db, read_bind="audit_reader")
