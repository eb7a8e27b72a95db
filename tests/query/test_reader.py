"""Promise: whatever happens at the end of a read, the rows that were read stay read."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_audit_logger.exceptions import ReadTimeout
from flask_audit_logger.query.reader import AuditReader
from tests.support.server import both_drivers
from tests.ui.shop import make_history, make_shop

#: What PostgreSQL does to a connection in the middle of a ROLLBACK: a time-out falls into it, or it is closed.
ENDS = {
    "time-out": "SET statement_timeout = 1; SELECT pg_sleep(10)",
    "closed": "SELECT pg_terminate_backend(pg_backend_pid())",
}


@pytest.fixture
def shop(create_app):
    return make_history(make_shop(create_app))


@pytest.fixture(params=ENDS)
def failing_rollback(request, shop, monkeypatch):
    """Each rollback of a read fails; the connections it failed on."""
    failed = []
    with shop.application.app.app_context():
        engine = shop.db.engine
    rollback = engine.dialect.do_rollback

    def do_rollback(dbapi_connection):
        is_read = getattr(dbapi_connection, "readonly", None) or getattr(dbapi_connection, "read_only", None)
        if dbapi_connection.closed or not is_read:
            return rollback(dbapi_connection)
        failed.append(dbapi_connection)
        with dbapi_connection.cursor() as cursor:
            cursor.execute(ENDS[request.param])
        raise AssertionError("PostgreSQL did not stop it")

    monkeypatch.setattr(engine.dialect, "do_rollback", do_rollback)
    return failed


def reader_of(shop, **options):
    with shop.application.app.app_context():
        return AuditReader(shop.db.engine, shop.application.audit_logger.models, **options)


@both_drivers
def test_a_read_is_whole_although_its_rollback_fails(shop, failing_rollback):
    reader = reader_of(shop)
    for _ in range(3):  # nothing of it is left to the next user of the pool's connection
        with reader.reading() as log:
            assert log.scalar(log.activities(sa.func.count())) > 10
            assert log.scalar(sa.text("SHOW statement_timeout")) == "3s"
    assert len(failing_rollback) >= 3
    assert reader.engine.pool.checkedout() == 0


def test_an_error_of_the_read_is_the_one_that_is_told(shop, failing_rollback):
    with pytest.raises(ReadTimeout), reader_of(shop, timeout_ms=20).reading() as log:
        log.scalar(sa.select(sa.func.pg_sleep(10)))
    assert failing_rollback


@pytest.mark.parametrize(
    "path", ["/?period=all", "/?breakdown=1&period=all", "/breakdown/facets", "/breakdown/histogram"]
)
def test_a_page_that_was_read_is_shown_although_the_rollback_fails(shop, failing_rollback, path):
    page = shop.page(path)
    assert failing_rollback
    assert "too long" not in page
