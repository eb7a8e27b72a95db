"""Whatever changes in the options, each migration makes exactly the new state and its downgrade exactly the old one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from flask_sqlalchemy import SQLAlchemy
from hypothesis import HealthCheck, given, settings

from flask_audit_logger import AuditLogger
from tests.migrations.catalog import catalog
from tests.migrations.conftest import declare_table
from tests.migrations.project import Project
from tests.support.server import plain_engine

COLUMNS = ["name", 'Hair "colour"', "e'mail", "back\\slash", "{curly}", "a,b", "c:d", "100%", "tg_op"]

some_columns = st.lists(st.sampled_from(COLUMNS), unique=True, max_size=3)
options = st.fixed_dictionaries(
    {},
    optional={
        "exclude": some_columns,
        "ignore": some_columns,
        "mask": some_columns,
        "only": some_columns.map(lambda columns: ["id", *columns]),
        "verbs": st.lists(st.sampled_from(["insert", "update", "delete", "truncate"]), unique=True, min_size=1),
        "truncate": st.sampled_from(["marker", "rows", "refuse"]),
        "old_data": st.sampled_from(["row", "changed"]),
    },
)
audit = st.one_of(st.none(), st.just(True), options)
tables = st.fixed_dictionaries({}, optional={"users": audit, "Odd 'table'": audit})


def metadata_of(release):
    db = SQLAlchemy()
    for name, audited in release.items():
        declare_table(db.metadata, name, audit=audited, columns=COLUMNS)
    AuditLogger(db).detach()
    return db.metadata


@settings(
    # each takes more than a second; what Alembic decides in another way it decides in the first of them, too
    max_examples=6 if os.environ.get("AUDIT_TEST_ONE_DRIVER") else 15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(releases=st.lists(tables, min_size=2, max_size=3))
def test_up_compare_down_compare(server, driver, releases):
    with server.database(driver) as url, tempfile.TemporaryDirectory() as folder:
        engine = plain_engine(url)
        project = Project(Path(folder), url)
        states = [(0, catalog(engine))]
        for release in releases:
            project.migrate_and_upgrade(metadata_of(release))
            states.append((len(list(project.versions.glob("*.py"))), catalog(engine)))
        for number, state in reversed(states):
            project.downgrade(f"{number:04}" if number else "base")
            assert catalog(engine) == state
        for number, state in states:
            if number:
                project.upgrade(f"{number:04}")
            assert catalog(engine) == state
