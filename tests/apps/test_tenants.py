"""Promise: with a schema per company each change is in the right log, by the right one of those who share a name."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from tests.apps.stranger import Stranger
from tests.apps.tenants import LOG, TENANTS, make


def written(stranger: Stranger) -> list[Any]:
    """The notes of all companies."""
    with stranger.app.app_context(), stranger.db.engine.connect() as connection:
        notes = stranger.db.metadata.tables["notes"]
        return [
            connection.execution_options(schema_translate_map={None: tenant}).execute(sa.select(notes)).all()
            for tenant in TENANTS
        ]


def logged(stranger: Stranger, log: str) -> list[tuple[str, str, str, str | None]]:
    """What is in the log in a schema."""
    activity = stranger.audit_logger.activity_cls
    query = sa.select(activity).options(joinedload(activity.transaction)).order_by(activity.id)
    with stranger.app.app_context(), stranger.db.engine.connect() as connection:
        placed = connection.execution_options(schema_translate_map={None: log})
        return [(a.schema, a.verb, a.table_name, a.transaction.actor_label) for a in Session(placed).scalars(query)]


@pytest.fixture
def drive(server):
    made = []

    def new(url, **options):
        made.append(make(url, **options))
        made[-1].drive()
        return made[-1]

    yield new
    for stranger in made:
        stranger.dispose()


def test_a_log_each(server, drive):
    with server.database() as plain_url, server.database() as audited_url:
        plain, audited = drive(plain_url, audited=False), drive(audited_url, audited=True)
        assert audited.answers == plain.answers
        assert {status for _, _, status, *_ in plain.answers} == {200, 401}
        assert written(audited) == written(plain)
        for tenant in TENANTS:
            assert logged(audited, tenant) == [entry for entry in LOG if entry[0] == tenant]
        plain.dispose()
        audited.dispose()


def test_a_log_that_all_share(database_url, drive):
    """Its pages show a company what is its own, whoever did it."""
    stranger = drive(database_url, audited=True, schema="audit")
    assert logged(stranger, "audit") == LOG
    shown = stranger.reader().get("/audit/")
    assert shown.status_code == 200
    assert "ann of red" in shown.text, "who handed a note over"
    listed = stranger.reader().get("/audit/export.csv").text
    assert len(listed.strip().splitlines()) - 1 == sum(entry[0] == TENANTS[1] for entry in LOG)
    stranger.dispose()
