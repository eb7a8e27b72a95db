"""What must be in the log, and how far a log is from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

#: A column that somebody adds and drops while the applications run; no concern of the model.
BY_HAND = "by_hand"


@dataclass(frozen=True)
class Entry:
    """One activity as it must be, or as it is.

    :param old: the row before, or ``None`` if the model can't know it: another thread may have written it.
    """

    verb: str
    table: str
    key: str | None
    old: dict[str, Any] | None
    changed: dict[str, Any]
    actor: int | None

    @property
    def what(self) -> tuple[str, str, str | None, str]:
        """The change without its actor."""
        return self.verb, self.table, self.key, repr(sorted(self.changed.items()))

    def without(self, columns: set[str]) -> Entry:
        """The same of fewer columns."""
        old, changed = ({n: v for n, v in (row or {}).items() if n not in columns} for row in (self.old, self.changed))
        return replace(self, old=old, changed=changed)


@dataclass
class Expected:
    """What one database transaction did: its statements, in order; within one, PostgreSQL is free to order."""

    number: int
    statements: list[list[Entry]] = field(default_factory=list)


@dataclass
class Verdict:
    """How far a log is from the model: missed, extra, wrong actor and wrong order have to be 0.

    :param unknown: activities without an actor that should have one. A user whose loader's connection was killed is
        unknown, so that there may be a few of them where connections are killed.
    """

    transactions: int = 0
    activities: int = 0
    missed: int = 0
    extra: int = 0
    wrong_actor: int = 0
    wrong_order: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.missed or self.extra or self.wrong_actor or self.wrong_order)

    def complain(self, kind: str, count: int, what: object) -> None:
        if count:
            setattr(self, kind, getattr(self, kind) + count)
            if len(self.examples) < 20:
                self.examples.append(f"{kind}: {what}")


def compare(expected: Iterable[Expected], logged: dict[int, list[Entry]]) -> Verdict:
    """Compare the committed transactions with the log.

    :param logged: the entries of each transaction in order, by the number that it wrote into ``marks``.
    """
    verdict = Verdict(activities=sum(map(len, logged.values())))
    known = set()
    for transaction in expected:
        verdict.transactions += 1
        known.add(transaction.number)
        _compare_one(transaction, logged.get(transaction.number, []), verdict)
    for number in logged.keys() - known:
        verdict.complain("extra", len(logged[number]), f"{number}: {logged[number][:3]}")
    return verdict


def _compare_one(transaction: Expected, entries: list[Entry], verdict: Verdict) -> None:
    wanted = Counter(e.what for statement in transaction.statements for e in statement)
    found = Counter(e.what for e in entries)
    if wanted != found:
        missed, extra = wanted - found, found - wanted
        verdict.complain("missed", missed.total(), f"{transaction.number}: {list(missed)[:3]}")
        verdict.complain("extra", extra.total(), f"{transaction.number}: {list(extra)[:3]}")
        return
    rest = iter(entries)
    for statement in transaction.statements:
        is_here = sorted((next(rest) for _ in statement), key=lambda e: e.what)
        for want, have in zip(sorted(statement, key=lambda e: e.what), is_here, strict=True):
            if want.what != have.what or want.old not in (None, have.old):
                verdict.complain("wrong_order", 1, f"{transaction.number}: {want} is {have}")
            if want.actor != have.actor:
                verdict.complain(
                    "unknown" if have.actor is None else "wrong_actor", 1, f"{transaction.number}: {want} is {have}"
                )


def replay(entries: Iterable[Entry], verdict: Verdict) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows that the log says there are; each change must start from what the one before it left."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        if entry.verb == "truncate":
            rows = {place: row for place, row in rows.items() if place[0] != entry.table}
            continue
        before = rows.pop((entry.table, str(entry.key)), {})
        # of an update there may be no more than the columns that changed
        left = {name: before.get(name) for name in entry.old or {}} if entry.verb == "update" else before
        if left != entry.old:
            verdict.complain("wrong_order", 1, f"{entry} doesn't follow {before}")
        if entry.verb != "delete":
            after = {**before, **entry.changed}
            rows[entry.table, str(after["id"])] = after
    return rows


def by_transaction(rows: Iterable[Any]) -> Iterator[tuple[int, list[Entry]]]:
    """Group the rows of the log, which are in order, by what their transaction wrote into ``marks``."""
    groups: dict[int, list[Entry]] = {}
    numbers: dict[int, int] = {}
    for row in rows:
        groups.setdefault(row.native_transaction_id, []).append(entry_of(row))
        if row.table_name == "marks":
            numbers[row.native_transaction_id] = int(row.record_key)
    for xid, entries in groups.items():
        yield numbers.get(xid, -xid), entries


def entry_of(row: Any) -> Entry:
    """A row of the log as an entry."""
    old, changed = ({n: v for n, v in data.items() if n != BY_HAND} for data in (row.old_data, row.changed_data))
    return Entry(row.verb, row.table_name, row.record_key, old, changed, row.actor_id)
