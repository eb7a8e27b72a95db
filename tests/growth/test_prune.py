"""Promise: what is due is let go, what a rule keeps or a hold covers stays, and the log says how much was removed."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from flask_audit_logger.growth import prune as module
from flask_audit_logger.growth.keep import before, rule_of
from flask_audit_logger.growth.notices import Log
from flask_audit_logger.growth.prune import Pruning
from flask_audit_logger.schema.objects import Tables
from flask_audit_logger.sql import NOTICES
from tests.capture.tables import run
from tests.growth.conftest import make_item
from tests.support.server import Server, plain_engine

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
LOG = Log("public", "public")
#: The ids of a month of these tests.
MONTH = 100


@dataclass(frozen=True)
class Entry:
    schema: str
    table: str
    key: str | None
    verb: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Transaction:
    """One unit of work, some days ago."""

    days: int
    actor: str | None
    marks: bool
    entries: tuple[Entry, ...]


def changes() -> st.SearchStrategy[Entry]:
    table = st.sampled_from([("public", "orders"), ("public", "item"), ("crm", "orders"), ("public", 'odd "name:x')])
    return st.builds(
        lambda table, key, verb: Entry(*table, None if verb == "truncate" else key, verb, {}),
        table,
        st.sampled_from(["1", "2", None]),
        st.sampled_from(["insert", "update", "delete", "truncate", "snapshot"]),
    )


def notices() -> st.SearchStrategy[Entry]:
    until = st.sampled_from([None, "2026-11-25", "2026-11-26", "2030-01-01"])
    hold = st.builds(
        lambda of, until: Entry(
            of[0], of[1], None, "hold", {**of[2], **({"until": until} if until else {}), "reason": "case"}
        ),
        st.sampled_from(
            [
                ("public", "orders", {}),
                ("public", "item", {"key": "1"}),
                ("public", "transaction", {"actor": "7"}),
                ("public", "item", {"actor": "8"}),
                ("public", "transaction", {"month": "2020_01", "low": MONTH, "high": 2 * MONTH}),
            ]
        ),
        until,
    )
    pruned = st.builds(
        lambda total: Entry("public", "orders", None, "pruned", {"rule": "2y", "changes": total, "total": total}),
        st.integers(1, 9),
    )
    return st.one_of(hold, pruned)


def logs() -> st.SearchStrategy[list[Transaction]]:
    """Transactions, oldest first."""
    entry = st.one_of(changes(), changes(), changes(), notices())
    one = st.builds(
        Transaction,
        st.integers(0, 1500),
        st.sampled_from([None, "7", "8"]),
        st.booleans(),
        st.lists(entry, max_size=4).map(tuple),
    )
    return st.lists(one, max_size=20).map(lambda some: sorted(some, key=lambda each: -each.days))


KEEPS = st.dictionaries(
    st.sampled_from(["*", "orders", "crm.orders", "item"]), st.sampled_from(["90d", "52w", "18mo", "3y"]), min_size=1
)


def placed_ids(log: list[Transaction]) -> dict[int, Transaction]:
    """The transactions by their ids: three months, each with a third of them."""
    third = max((len(log) + 2) // 3, 1)
    return {(1 + place // third) * MONTH + place % third: each for place, each in enumerate(log)}


def fill(engine: Engine, log: list[Transaction], *, in_months: bool) -> None:
    """Let the log have these transactions only."""
    statements = []
    if in_months:
        with engine.connect() as connection:
            query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent IN (%s::regclass, %s::regclass)"
            there = list(connection.exec_driver_sql(query, ("activity", "transaction")).scalars())
        statements += [f"DROP TABLE {', '.join(there)}"] if there else []
        bounds = ["MINVALUE", 2 * MONTH, 3 * MONTH, 1000, "MAXVALUE"]
        names = ("2020_01", "2020_02", "2020_03", "spare")
        statements += [
            f"CREATE TABLE {name}_{part} PARTITION OF {name} FOR VALUES FROM ({low}) TO ({high})"
            for part, (low, high) in zip(names, itertools.pairwise(bounds), strict=True)
            for name in ("activity", "transaction")
        ]
    else:
        statements.append("TRUNCATE activity, transaction")
    statements.append(f"SELECT setval('transaction_id_seq', {3 * MONTH + 50}), setval('activity_id_seq', 5000)")
    run(engine, *statements)
    transactions = [
        (id_, NOW - dt.timedelta(days=each.days), each.actor, json.dumps({"capture_off": []} if each.marks else {}))
        for id_, each in placed_ids(log).items()
    ]
    entries = [
        (number, *values)
        for number, values in enumerate(
            (
                (e.schema, e.table, NOW - dt.timedelta(days=t.days), e.verb, json.dumps(e.data), e.key, id_)
                for id_, t in placed_ids(log).items()
                for e in t.entries
            ),
            1,
        )
    ]
    with engine.begin() as connection, connection.connection.cursor() as cursor:
        cursor.executemany("INSERT INTO transaction VALUES (%s, 1, %s, %s, '', NULL, '', '', '{}', %s)", transactions)
        cursor.executemany(
            "INSERT INTO activity (id, schema, table_name, relid, native_transaction_id, issued_at, verb, changed_data,"
            " record_key, transaction_id) VALUES (%s, %s, %s, 0, 1, %s, %s, %s, %s, %s)",
            entries,
        )


class Oracle:
    """What should become of a log."""

    def __init__(self, log: list[Transaction], keep: dict[str, str]) -> None:
        self.by_id = placed_ids(log)
        self.keep = keep
        numbers = itertools.count(1)
        self.entries = {next(numbers): (id_, e) for id_, t in self.by_id.items() for e in t.entries}
        self.holds = [
            e for _, e in self.entries.values() if e.verb == "hold" and e.data.get("until", "9") >= "2026-11-26"
        ]

    def is_due(self, id_: int, schema: str, table: str) -> bool:
        rule = rule_of(self.keep, schema, table)
        return rule is not None and NOW - dt.timedelta(days=self.by_id[id_].days) < before(rule, NOW)

    def is_held(self, id_: int, entry: Entry | None) -> bool:
        for hold in self.holds:
            is_of_table = hold.table != "transaction"
            of_table = not is_of_table or (entry and (entry.schema, entry.table) == (hold.schema, hold.table))
            key = hold.data.get("key")
            of_key = key is None or (entry and (entry.key == key or entry.verb == "truncate"))
            of_actor = hold.data.get("actor") in (None, self.by_id[id_].actor)
            of_month = "low" not in hold.data or hold.data["low"] <= id_ < hold.data["high"]
            if of_table and of_key and of_actor and of_month:
                return True
        return False

    def stays(self, number: int) -> bool:
        id_, entry = self.entries[number]
        if entry in self.holds:
            return True
        return not self.is_due(id_, entry.schema, entry.table) or self.is_held(id_, entry)

    @property
    def changes(self) -> set[int]:
        """The changes and holds that stay; of what the log says of removals only the sums are compared."""
        return {number for number, (_, e) in self.entries.items() if e.verb != "pruned" and self.stays(number)}

    @property
    def transactions(self) -> set[int]:
        full = {id_ for number, (id_, e) in self.entries.items() if e.verb == "pruned" or self.stays(number)}
        own = {id_ for id_, t in self.by_id.items() if t.marks or not t.entries}
        return full | {id_ for id_ in own if not self.is_due(id_, "", "") or self.is_held(id_, None)}

    @property
    def removed(self) -> Counter[tuple[str, str]]:
        return Counter(
            (e.schema, e.table)
            for number, (_, e) in self.entries.items()
            if e.verb not in NOTICES and number not in self.changes
        )


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def totals(engine: Engine) -> dict[tuple[str, str], int]:
    """What the newest entry of each table says of all removals."""
    query = "SELECT schema, table_name, changed_data FROM activity WHERE verb = 'pruned' ORDER BY transaction_id, id"
    return {(schema, table): data["total"] for schema, table, data in rows(engine, query)}


def state(engine: Engine) -> tuple[set[int], set[int]]:
    """The entries and transactions that were there before, those that speak of removals aside."""
    entries = rows(engine, "SELECT id FROM activity WHERE id <= 5000 AND verb <> 'pruned'")
    return {row[0] for row in entries}, {
        row[0] for row in rows(engine, f"SELECT id FROM transaction WHERE id <= {3 * MONTH + 50}")
    }


@pytest.fixture(scope="module")
def engines(server: Server) -> Iterator[list[Engine]]:
    """A plain log and one in months."""
    made = []
    with server.database() as one, server.database() as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", 3)
        for url, statements in ((one, []), (other, ["month"])):
            engine = plain_engine(url)
            make_item(engine)
            if statements:
                run(engine, *Tables(None, 1, "text").split())
            made.append(engine)
        yield made
        for engine in made:
            engine.dispose()


def held(until: str | None, *entries: Entry, days: int = 1000) -> list[Transaction]:
    """A hold of the record 1 of item, and old entries in two months."""
    data = {"key": "1", "reason": "case", **({"until": until} if until else {})}
    hold = Entry("public", "item", None, "hold", data)
    return [
        Transaction(days, None, False, entries),
        Transaction(1, None, False, (hold,)),
        Transaction(0, None, False, ()),
    ]


OLD = Entry("public", "item", "1", "update", {})


@example(held(None, Entry("public", "item", None, "truncate", {})), {"*": "90d"}, 0)
@example(held(None, Entry("crm", "orders", "1", "update", {})), {"crm.orders": "3y", "orders": "90d"}, 0)
@example(held(None, Entry("crm", "item", "1", "update", {}), OLD), {"*": "90d"}, 0)
@example(held("2026-11-26", OLD), {"*": "90d"}, 0)
@example(held("2026-11-25", OLD), {"*": "90d"}, 0)
@settings(max_examples=6, deadline=None)
@given(logs(), KEEPS, st.integers(0, 6))
def test_what_is_due_goes_and_nothing_else(
    engines: list[Engine], log: list[Transaction], keep: dict[str, str], killed_after: int
) -> None:
    """In both layouts, killed in between or not; run again it removes nothing more, and the sums are right."""
    oracle = Oracle(log, keep)
    given_before: dict[tuple[str, str], int] = {}
    for _, entry in oracle.entries.values():
        if entry.verb == "pruned":
            given_before[entry.schema, entry.table] = entry.data["total"]
    expected = {table: given_before.get(table, 0) + oracle.removed[table] for table in oracle.removed | given_before}
    for engine, in_months in zip(engines, (False, True), strict=True):
        fill(engine, log, in_months=in_months)
        previewed, _ = Pruning(engine, LOG, keep, NOW).preview()
        assert {(table.schema, table.name): number for table, number in previewed.items()} == oracle.removed
        killed = Pruning(engine, LOG, keep, NOW).run()
        list(itertools.islice(killed, killed_after))
        killed.close()
        list(Pruning(engine, LOG, keep, NOW).run())
        found = state(engine)
        assert found[0] >= oracle.changes
        assert {number for number in found[0] if oracle.entries[number][1].verb not in NOTICES} <= oracle.changes
        assert totals(engine) == expected
        orphans = "SELECT id FROM activity AS a WHERE NOT EXISTS (SELECT FROM transaction WHERE id = a.transaction_id)"
        assert rows(engine, orphans) == []
        everything = """
            SELECT id, changed_data::text FROM activity
            WHERE verb NOT IN ('release', 'hold') AND (verb <> 'pruned' OR id > 5000)
            ORDER BY id
        """  # what spoke of earlier removals goes with the next run
        before_again = rows(engine, everything)
        list(Pruning(engine, LOG, keep, NOW).run())
        assert rows(engine, everything) == before_again
        found = state(engine)
        assert found[0] == oracle.changes
        assert found[1] >= {id_ for number, (id_, _) in oracle.entries.items() if number in found[0]}
        assert found[1] <= oracle.transactions
