"""The harness itself: tests are isolated from each other, and what leaks is noticed."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event

from flask_audit_logger import AuditLogger
from tests.support.cluster import DEBIAN, Cluster, is_debian
from tests.support.leaks import leaks, shared_listeners
from tests.support.server import both_drivers, plain_engine


@both_drivers
def test_each_test_has_an_empty_database_and_the_driver_it_asked_for(server, driver, database_url):
    engine = plain_engine(database_url)
    assert engine.driver == driver
    assert sa.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE left_over ()")


def test_a_database_goes_away_even_while_somebody_is_connected(server):
    with server.database() as url:
        connection = plain_engine(url).connect()
    connection.invalidate()
    connection.close()
    with plain_engine(server.admin_url).connect() as admin:
        assert not admin.scalar(sa.text("SELECT count(*) FROM pg_database WHERE datname = :n"), {"n": url.database})


def test_a_pushed_context_is_reported():
    with Flask("leaky").app_context():
        assert "an application context is still pushed" in leaks(shared_listeners())
    with Flask("leaky").test_request_context():
        assert "a request context is still pushed" in leaks(shared_listeners())


def test_a_context_of_the_logger_that_was_not_left_is_reported():
    audit_logger = AuditLogger()
    with audit_logger.context(reason="tidy"):
        assert leaks(shared_listeners()) == ["flask_audit_logger_blocks is still set"]
    assert leaks(shared_listeners()) == []


def test_a_listener_on_a_shared_class_is_reported():
    before = shared_listeners()

    def listener(*args):
        pass

    event.listen(sa.Engine, "begin", listener)
    try:
        assert leaks(before) == ["Engine.begin has 1 listeners, 0 before"]
    finally:
        event.remove(sa.Engine, "begin", listener)
    assert leaks(before) == []


def test_a_killed_server_starts_again_with_what_was_committed():
    with Cluster() as cluster:
        engine = plain_engine(cluster.url())
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE kept AS SELECT 1 AS n")
        cluster.kill()
        cluster.start()
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT n FROM kept")) == 1


def test_a_server_of_debian_is_configured_as_on_debian():
    """What an application meets there: JIT on, the package's memory settings, a locale."""
    found = [bindir for bindir in sorted(DEBIAN.glob("*/bin")) if (bindir / "postgres").exists() and is_debian(bindir)]
    if not found:
        pytest.skip("no PostgreSQL of Debian")
    with Cluster(found[0]) as cluster, plain_engine(cluster.url()).connect() as connection:
        shown = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("jit", "shared_buffers", "max_connections", "cluster_name", "lc_collate", "fsync")
        }
        assert shown == {
            "jit": "on",
            "shared_buffers": "128MB",
            "max_connections": "100",
            "cluster_name": f"{found[0].parent.name}/tests",
            "lc_collate": "C.UTF-8",
            "fsync": "off",
        }
        assert connection.exec_driver_sql("SELECT pg_jit_available()").scalar_one() is True
