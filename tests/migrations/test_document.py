"""The documentation has every operation of migrations, and its example of renames does what it says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from tests.migrations.test_frozen import OPERATIONS
from tests.support.documents import blocks, section

DOCUMENT = Path(__file__).parents[2] / "docs" / "migrations.md"
UPGRADING = DOCUMENT.with_name("comparison.md")


@pytest.mark.parametrize("name", [name for name in OPERATIONS if not name.endswith(("_function", "_extension"))])
def test_each_operation_and_argument_is_documented(name):
    text = DOCUMENT.read_text(encoding="utf-8") + section(UPGRADING, "Coming from flask-audit-logger 2.0")
    assert f"op.{name}" in text
    for argument in list(inspect.signature(getattr(Operations, name)).parameters)[1:]:
        assert re.search(rf"\b{argument}\b", text), argument


def test_the_example_of_renames(create_app, outside, query, execute):
    from tests.migrations.conftest import declare_table
    from tests.support.models import Models

    users = {"audit": True, "columns": ["name"]}
    create_app(declare=lambda db: Models(users=declare_table(db.metadata, "users", **users)))
    execute("INSERT INTO users VALUES (1, 'Ann')")
    source = next(b.source for b in blocks(DOCUMENT) if "op.rename_audit_logger_table" in b.source)
    names: dict[str, object] = {}
    exec(compile(source, str(DOCUMENT), "exec"), names)  # noqa: S102
    history = "SELECT table_name, changed_data FROM activity ORDER BY id"
    with outside.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        names["upgrade"]()
    execute("UPDATE people SET full_name = 'Anna'")
    assert query(history) == [("people", {"id": 1, "full_name": "Ann"}), ("people", {"full_name": "Anna"})]
    with outside.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        names["downgrade"]()
    assert query(history) == [("users", {"id": 1, "name": "Ann"}), ("users", {"name": "Anna"})]


def test_each_test_that_the_decisions_name_exists():
    root = DOCUMENT.parents[1]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (root / "docs" / "decisions" / "migrations.md").read_text())
    assert len(named) > 10
    for file, name in named:
        assert f"def {name}(" in (root / file).read_text(), f"{file}::{name}"
