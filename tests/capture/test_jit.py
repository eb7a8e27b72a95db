"""Promise: no statement of the triggers is compiled by JIT, however low the server's thresholds are."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from flask_audit_logger.schema.objects import Triggers, snapshot
from flask_audit_logger.schema.table_options import TableOptions
from flask_audit_logger.sql import CURRENT_VERSION
from tests.capture.tables import audited, logged, run

pytestmark = pytest.mark.usefixtures("log_database")

#: What makes PostgreSQL compile each statement and tell of it: the plans of all statements become notices.
COMPILE_EVERYTHING = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
"""

WRITES = """
INSERT INTO t SELECT g, 0, '[1]', 'null', '[2]' FROM generate_series(1, {rows}) AS g;
UPDATE t SET n = n + 1;
UPDATE t SET id = id + 100;
DELETE FROM t;
INSERT INTO t VALUES (1);
TRUNCATE t;
"""


class Told:
    """All notices; the driver cuts a list at 50."""

    def __init__(self):
        self.plans = []
        self.append = self.plans.append

    def __iter__(self):
        return iter(self.plans)


@pytest.fixture
def compiling(outside):
    """A cursor whose server compiles what it can, and the plans of which it tells."""
    with outside.connect() as connection:
        if not connection.scalar(sa.text("SELECT pg_jit_available()")):
            pytest.skip("this PostgreSQL has no JIT")
    if outside.driver != "psycopg2":
        pytest.skip("only psycopg2 keeps notices")
    raw = outside.raw_connection()
    raw.dbapi_connection.autocommit = True
    raw.dbapi_connection.notices = told = Told()
    cursor = raw.cursor()
    cursor.execute(COMPILE_EVERYTHING)
    yield cursor, told
    raw.invalidate()


@pytest.mark.parametrize("options", [{}, {"exclude": ["j"]}, {"truncate": "rows"}], ids=["whole", "part", "rows"])
@pytest.mark.parametrize("rows", [1, 3])
def test_nothing_of_ours_is_compiled(outside, compiling, options, rows):
    """Plans of the application's statements have a section "JIT", those of ours have none."""
    cursor, told = compiling
    run(outside, "CREATE TABLE t (id int PRIMARY KEY, n int, j json, b jsonb, x jsonb)")
    audited(outside, "t", **options)
    cursor.execute(WRITES.format(rows=rows))
    run(outside, "ALTER TABLE t DISABLE TRIGGER USER; INSERT INTO t VALUES (9)")
    cursor.execute(snapshot(Triggers("t", None, None, CURRENT_VERSION, TableOptions.make(**options))))
    assert any("UPDATE t SET n" in plan and "JIT:" in plan for plan in told), "the test sees nothing"
    ours = [plan for plan in told if re.search(r"\bactivity\b|\b(new|old)_table\b|pg_attribute", plan)]
    assert len(ours) > 6
    assert [plan for plan in ours if "JIT:" in plan] == []
    assert {a.verb for a in logged(outside)} >= {"insert", "update", "delete", "snapshot"}


def test_each_function_switches_it_off(outside):
    """Also those that are called by themselves, and on a server that has no JIT."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY)")
    audited(outside, "t")
    with outside.connect() as connection:
        settings = connection.execute(
            sa.text("SELECT proname, proconfig FROM pg_proc WHERE proname LIKE 'audit\\_logger\\_%'")
        ).all()
    assert len(settings) > 5
    # the owner's change is let through without a query, so there is no plan that could be compiled
    assert [name for name, config in settings if "jit=off" not in (config or ())] == ["audit_logger_append_only"]
