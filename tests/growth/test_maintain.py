"""Promise: the job does what a log needs and says what it did; only its owner can, and nobody's write fails by it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine

from flask_audit_logger import AuditLogger
from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.growth import prune
from flask_audit_logger.growth.keep import before
from flask_audit_logger.growth.maintain import maintain
from flask_audit_logger.growth.months import rotate
from flask_audit_logger.growth.notices import Log
from flask_audit_logger.growth.prune import Pruning
from flask_audit_logger.schema.names import TableName
from flask_audit_logger.schema.objects import Tables
from tests.capture.tables import run
from tests.growth.conftest import writers
from tests.growth.test_months import INSERT, cli, names
from tests.support.apps import make_app
from tests.support.server import Server, plain_engine

AGE = "UPDATE transaction SET issued_at = issued_at - interval '{}'"


def entries(engine: Engine, columns: str = "verb, schema, table_name") -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        query = f"SELECT {columns} FROM activity ORDER BY transaction_id, id"
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.mark.parametrize(
    ("period", "found"),
    [
        ("90d", dt.datetime(2023, 12, 31, 8)),
        ("6w", dt.datetime(2024, 2, 17, 8)),
        ("1mo", dt.datetime(2024, 2, 29, 8)),
        ("13mo", dt.datetime(2023, 2, 28, 8)),
        ("2y", dt.datetime(2022, 3, 30, 8)),
        ("9999y", dt.datetime(1, 3, 30, 8)),
    ],
)
def test_periods_are_those_of_the_calendar(period: str, found: dt.datetime) -> None:
    assert before(period, dt.datetime(2024, 3, 30, 8)) == found


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ({"orders": "2 years"}, r"keep says '2 years' of 'orders'; give .* '2y'"),
        ({"orders": "0d"}, "'0d'"),
        ({"orders": 90}, "90"),
        ({}, "keep is {}"),
        ("2y", "keep is '2y'"),
    ],
)
def test_what_is_no_period_is_refused(keep: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        AuditLogger(SQLAlchemy(), keep=keep)


@pytest.mark.parametrize("partition", [None, "month"])
def test_the_job_lets_go_of_what_is_due(server: Server, partition: Any) -> None:
    """It says in the log of which table how much went, by which rule, and names itself."""
    with server.database() as url:
        keep = {"*": "2y", "public.tags": "10y"}
        application = make_app(url, partition=partition, keep=keep)
        engine = plain_engine(url)
        run(engine, "INSERT INTO users (name) VALUES ('x'), ('y')", "INSERT INTO tags (name) VALUES ('x')")
        run(engine, "INSERT INTO users (name) VALUES ('z')", AGE.format("3 years"))
        if partition:
            assert rotate(engine, None, "2099_01")
        run(engine, "UPDATE users SET name = 'now'")
        code, output = cli(application, "maintain", "--dry-run")
        assert (code, "public.users: 3 changes from before " in output, "would be removed (2y)" in output) == (
            0,
            True,
            True,
        )
        assert len(entries(engine)) == 7
        code, output = cli(application, "maintain", "--json")
        (report,) = json.loads(output)["databases"]
        assert [(each["table"], each["rule"], each["changes"]) for each in report["removed"]] == [("users", "2y", 3)]
        left = [("insert", "public", "tags"), *[("update", "public", "users")] * 3, ("pruned", "public", "users")]
        assert entries(engine) == left
        said = json.loads(json.dumps(entries(engine, "changed_data, transaction_id")[-1]))
        assert {**said[0], "until": "", "on": ""} == {"rule": "2y", "until": "", "on": "", "changes": 3, "total": 3}
        with engine.connect() as connection:
            query = "SELECT id, context ->> 'command' FROM transaction ORDER BY id"
            transactions = connection.exec_driver_sql(query).all()
        assert transactions[-1] == (said[1], "audit maintain")
        assert len(transactions) == 3
        code, output = cli(application, "maintain", "--json")
        assert (code, "Nothing is due" in output) == (0, False)
        code, output = cli(application, "maintain")
        assert (code, output.splitlines()[-1]) == (0, "Nothing is due. Kept are: * 2y, public.tags 10y.")
        assert entries(engine) == left
        application.dispose()


def test_a_month_goes_as_a_whole(engine: Engine) -> None:
    """What it says of earlier removals is said again in the newest month; the sum goes on."""
    run(engine, *Tables(None, 1, "text").split())
    for month in ("2098_01", "2098_02", "2098_03"):
        run(engine, INSERT, INSERT, AGE.format("2 years"))
        steps = list(Pruning(engine, Log("public", "public"), {"*": "1y"}, dt.datetime.now(dt.UTC)).run())
        assert sum(step.changes.get(TableName("public", "item"), 0) for step in steps) == 2
        assert rotate(engine, None, month)
    said = [data for data, verb in entries(engine, "changed_data, verb") if verb == "pruned"]
    assert [(data["changes"], data["total"]) for data in said][-1] == (2, 6)
    run(engine, AGE.format("2 years"))
    list(Pruning(engine, Log("public", "public"), {"*": "1y"}, dt.datetime.now(dt.UTC)).run())
    assert names(engine) == ["2098_03"]
    said = [data for data, verb in entries(engine, "changed_data, verb") if verb == "pruned"]
    run(engine, AGE.format("2 years"))
    list(Pruning(engine, Log("public", "public"), {"*": "1y"}, dt.datetime.now(dt.UTC)).run())
    assert names(engine) == ["2098_03"]  # the newest one is written to
    assert entries(engine, "verb, changed_data, tableoid::regclass::text") == [("pruned", said[-1], "activity_2098_03")]


def test_a_log_whose_schema_is_translated(server: Server) -> None:
    """Tenants: what is said of the schema that the models name is done where the engine says it is."""
    with server.database() as url:
        make_app(url).dispose()
        engine = plain_engine(url)
        run(engine, "INSERT INTO tags (name) VALUES ('x'), ('y')", AGE.format("3 years"))
        moved = {"engine_options": {"execution_options": {"schema_translate_map": {"audit": "public"}}}}
        application = make_app(url, create_all=False, schema="audit", db_options=moved, keep={"tags": "2y"})
        assert cli(application, "hold", "add", "--table", "tags", "--key", "2", "--reason", "case")[0] == 0
        assert cli(application, "maintain")[0] == 0
        assert [(verb, key) for verb, key in entries(engine, "verb, record_key")] == [
            ("insert", "2"), ("hold", None), ("pruned", None)
        ]  # fmt: skip
        assert cli(application, "erase", "--record", "tags", "2", "--columns", "name", "--reason", "x", "--yes")[0] == 1
        application.dispose()


def test_a_rule_for_no_table_is_refused(server: Server) -> None:
    """A misspelt name would leave the table that was meant to the rule of all others."""
    with server.database() as url:
        application = make_app(url, keep={"*": "2y", "articels": "10y"})
        code, output = cli(application, "maintain")
        assert (code, "keep names the table 'articels'" in output, "articles" in output) == (1, True, True)
        application.dispose()


def test_only_the_owner_lets_go(server: Server) -> None:
    with server.database() as url, server.role() as role:
        application = make_app(url, keep={"*": "2y"})
        engine = plain_engine(url.set(username=role))
        run(plain_engine(url), f'GRANT SELECT, DELETE ON activity, transaction TO "{role}"')
        with pytest.raises(
            ConfigurationError, match=f"belongs to the role postgres, and this is {role}. Only the owner"
        ):
            maintain(engine, application.db.metadata)
        others = make_app(url.set(username=role), keep={"*": "2y"}, create_all=False)
        run(plain_engine(url), f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
        for command in ("baseline", "compile"):
            code, output = cli(others, command)
            assert code == 1 and "Run this as the role that migrates" in output and output.count("\n") <= 2, output
        others.dispose()
        run(plain_engine(url), f'DROP OWNED BY "{role}"')
        application.dispose()


@pytest.mark.parametrize("in_months", [False, True])
def test_no_write_fails_while_entries_go(engine: Engine, in_months: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads write; each of their changes is there afterwards."""
    monkeypatch.setattr(prune, "BATCH", 7)
    if in_months:
        run(engine, *Tables(None, 1, "text").split())
    for month in ("2098_01", "2098_02", "2098_03"):
        run(engine, *[INSERT] * 20, AGE.format("1 year"))
        rotate(engine, None, month)
    with writers(engine, 3) as written:
        steps = list(Pruning(engine, Log("public", "public"), {"*": "90d"}, dt.datetime.now(dt.UTC)).run())
    assert sum(sum(step.changes.values()) for step in steps) == 60
    assert len(entries(engine)) == sum(written) + 1
    assert len(names(engine)) == (1 if in_months else 0)
