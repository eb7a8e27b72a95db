"""What a page makes the database read: statements, blocks and rows, which are the same on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine


@dataclass
class Reads:
    """The statements so far.

    :param rows: that scans looked at, whether they were wanted or not.
    :param plans: each with its statement and as ``EXPLAIN (ANALYZE, FORMAT JSON)`` has it.
    """

    statements: int = 0
    blocks: int = 0
    rows: int = 0
    milliseconds: float = 0.0
    plans: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def add(self, statement: str, explained: dict[str, Any]) -> None:
        """Count one statement."""
        plan = explained["Plan"]
        self.blocks += plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
        self.rows += sum(_looked_at(node) for node in nodes(plan))
        self.milliseconds += explained["Execution Time"]
        self.plans.append((statement, explained))


@contextmanager
def explained(engine: Engine) -> Iterator[Reads]:
    """Run each statement twice, the first time to see what it reads; what is no query is run and counted only."""
    reads = Reads()

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        reads.statements += 1
        # what sets a limit would set it twice, and a statement without a table reads nothing
        if "FROM" not in statement or "set_config" in statement:
            return
        with connection.connection.cursor() as other:
            other.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", parameters)
            reads.add(statement, other.fetchone()[0][0])

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield reads
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan and all that is below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def _looked_at(node: dict[str, Any]) -> int:
    """Rows of a table or an index that one node looked at in all its loops."""
    if "Relation Name" not in node:
        return 0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return round((node["Actual Rows"] + removed) * node["Actual Loops"])
