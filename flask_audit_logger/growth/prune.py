"""Let go of entries whose time to keep is over: whole months where all in them is due, else batches of entries."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from ..schema.names import TableName
from ..sql import OF_ITSELF, quote_ident
from .holds import HELD, as_json, holds, lock_holds, releases
from .keep import EVERY_TABLE, before, rule_of
from .months import Done, Month, in_a_moment, months
from .notices import Log, notice

#: Entries, or rows of ``transaction``, of one database transaction.
BATCH = 5000

_NOTICES = ", ".join(f"'{verb}'" for verb in OF_ITSELF)

_BEFORE = """coalesce(
        CAST(:before AS jsonb) ->> pg_catalog.concat_ws('.', a.schema, a.table_name),
        CAST(:before AS jsonb) ->> a.table_name,
        CAST(:before AS jsonb) ->> '*'
    )::timestamptz"""

# Time is that of the transaction; where an old log has none, that of the entry.
_ENTRIES = """
    {activity} AS a
    LEFT JOIN {transaction} AS t ON t.id = a.transaction_id AND t.id >= :low AND t.id < :high
"""
_IS_DUE = f"coalesce(t.issued_at, a.issued_at) < {_BEFORE}"
_IS_LIVE = f"(a.verb IN ({_NOTICES}) AND concat_ws('.', a.transaction_id, a.id) = ANY (CAST(:live AS text[])))"
_WITHIN = "a.transaction_id >= :low AND a.transaction_id < :high"
_IS_REMOVABLE = f"{_WITHIN} AND {_IS_DUE} AND NOT {_IS_LIVE} AND NOT {HELD}"

_COUNTED = f"count(*) FILTER (WHERE a.verb NOT IN ({_NOTICES})) AS changes"

_REMOVE = f"""
    WITH due AS (
        SELECT a.transaction_id, a.id
        FROM {_ENTRIES}
        WHERE {_IS_REMOVABLE} AND (a.transaction_id, a.id) > (:transaction_id, :id)
        ORDER BY a.transaction_id, a.id
        LIMIT :batch
    ), gone AS (
        DELETE FROM {{activity}} AS a
        USING due
        WHERE a.transaction_id = due.transaction_id AND a.id = due.id AND {_WITHIN}
        RETURNING a.transaction_id, a.id, a.schema, a.table_name, a.verb
    )
    SELECT a.schema, a.table_name, {_COUNTED}, count(*) AS entries,
        array_agg(DISTINCT a.transaction_id) AS transactions, max(ARRAY[a.transaction_id, a.id]) AS last
    FROM gone AS a
    GROUP BY a.schema, a.table_name
"""  # noqa: S608 - of our own texts

_COUNT = f"""
    SELECT a.schema, a.table_name, {_COUNTED}
    FROM {_ENTRIES}
    WHERE {_IS_REMOVABLE}
    GROUP BY a.schema, a.table_name
"""  # noqa: S608 - of our own texts

_HAS_ENTRIES = """EXISTS (
        SELECT FROM {activity} AS a
        WHERE a.transaction_id = t.id AND a.transaction_id >= :low AND a.transaction_id < :high
    )"""

# What the database remarks of a transaction, such as that capture was off, is not of one table.
_REMOVE_EMPTIED = f"""
    DELETE FROM {{transaction}} AS t
    WHERE t.id = ANY (CAST(:ids AS bigint[])) AND t.id >= :low AND t.id < :high AND t.marks = '{{{{}}}}'
        AND NOT {_HAS_ENTRIES}
"""  # noqa: S608 - of our own texts

# A hold of a table is of its entries.
_IS_DUE_ITSELF = f"""(
        t.issued_at < CAST(:every AS timestamptz)
        AND NOT EXISTS (
            SELECT
            FROM (
                SELECT t.id, NULL::text, NULL::text, NULL::text, NULL::text
            ) AS a (transaction_id, schema, table_name, record_key, verb)
            WHERE {HELD}
        )
    )"""  # noqa: S608 - of our own texts
_REMOVE_EMPTY = f"""
    WITH due AS (
        SELECT t.id
        FROM {{transaction}} AS t
        WHERE t.id >= :low AND t.id < :high AND t.id > :id AND NOT {_HAS_ENTRIES} AND {_IS_DUE_ITSELF}
        ORDER BY t.id
        LIMIT :batch
    )
    DELETE FROM {{transaction}} AS t USING due WHERE t.id = due.id AND t.id >= :low AND t.id < :high RETURNING t.id
"""  # noqa: S608 - of our own texts

_IS_KEPT = f"""
    SELECT EXISTS (
        SELECT FROM {_ENTRIES} WHERE {_WITHIN} AND (({_IS_DUE}) IS NOT TRUE OR {_IS_LIVE} OR {HELD})
    ) OR EXISTS (
        SELECT
        FROM {{transaction}} AS t
        WHERE t.id >= :low AND t.id < :high AND (t.marks <> '{{{{}}}}' OR NOT {_HAS_ENTRIES})
            AND {_IS_DUE_ITSELF} IS NOT TRUE
    )
"""  # noqa: S608 - of our own texts

_BOUND = """
    SELECT t.id FROM {transaction} AS t WHERE t.issued_at < :before ORDER BY t.issued_at DESC, t.id DESC LIMIT 1
"""

#: Of the oldest transactions the status looks at so many.
_OLDEST = """
    SELECT max(few.id) FROM (SELECT t.id FROM {transaction} AS t ORDER BY t.id LIMIT 10000) AS few
"""

_TABLES = """
    WITH RECURSIVE named AS (
        (SELECT a.table_name FROM {activity} AS a ORDER BY a.table_name LIMIT 1)
        UNION ALL
        SELECT (
            SELECT a.table_name FROM {activity} AS a WHERE a.table_name > n.table_name ORDER BY a.table_name LIMIT 1
        )
        FROM named AS n
        WHERE n.table_name IS NOT NULL
    )
    SELECT n.table_name FROM named AS n WHERE n.table_name IS NOT NULL
"""

_LATEST = """
    SELECT DISTINCT ON (a.schema, a.table_name) a.transaction_id, a.id, a.schema, a.table_name, a.changed_data
    FROM {activity} AS a
    WHERE a.verb = 'pruned'
    ORDER BY a.schema, a.table_name, a.transaction_id DESC, a.id DESC
"""

_SAY = """
    UPDATE {activity} AS a SET changed_data = CAST(:data AS jsonb)
    WHERE a.transaction_id = :transaction_id AND a.id = :id
"""


@dataclass(frozen=True)
class Removed:
    """What was let go of one table.

    :param rule: for how long its entries are kept.
    :param until: the time before which they were due.
    :param changes: how many changes went; entries of the log about itself are not counted.
    """

    schema: str
    table: str
    rule: str
    until: str
    changes: int


@dataclass(frozen=True)
class Gone:
    """What one step removed."""

    changes: Mapping[TableName, int]
    months: tuple[str, ...] = ()


@dataclass
class Said:
    """The newest ``pruned`` entries.

    :param latest: of each table its address and what it says.
    :param ours: the tables whose newest one is of this run.
    """

    latest: dict[TableName, tuple[tuple[int, int], dict[str, Any]]]
    ours: set[TableName] = field(default_factory=set)

    @property
    def addresses(self) -> list[str]:
        return [f"{transaction_id}.{id_}" for (transaction_id, id_), _ in self.latest.values()]


class Pruning:
    """One run of letting go.

    :param kept: periods by the names of tables, as :func:`~.keep.rules` checked them.
    :param now: in UTC; what is due is due at this time.
    :param is_safe: whether a month may go, as it is archived; ``None`` if there is no archive. It is asked only if
        something of the month is due.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        kept: Mapping[str, str],
        now: dt.datetime,
        is_safe: Callable[[str], bool] | None = None,
    ) -> None:
        self.engine = engine
        self.log = log
        self.kept = kept
        self.now = now
        self.is_safe = is_safe
        self.before = {table: before(period, now) for table, period in kept.items()}
        self._said = Said({})

    def run(self) -> Iterator[Gone]:
        """Remove what is due, step by step; each is one transaction with what it says of itself."""
        for low, high, month in self._begin():
            if not self._may_go(month):
                continue
            dropped = None if month is None else self._drop(month)
            if dropped is not None:
                yield dropped
                continue
            yield from self._remove(low, high)
            yield from self._remove_empty(low, high)

    def preview(self) -> tuple[Mapping[TableName, int], list[str]]:
        """What :meth:`run` would remove, and the months that it would drop."""
        changes: dict[TableName, int] = {}
        dropped = []
        parts = self._begin()
        with self.engine.connect() as connection:
            _prepare(connection)
            for low, high, month in filter(lambda part: self._may_go(part[2]), parts):
                if month is not None and self._count_of(connection, month) is not None:
                    dropped.append(month.name)
                for row in connection.execute(self.log.sql(_COUNT), self._values(connection, low, high)):
                    name = TableName(row.schema, row.table_name)
                    changes[name] = changes.get(name, 0) + row.changes
        return {name: number for name, number in changes.items() if number}, dropped

    def overdue(self, connection: Connection, *, in_archive: bool) -> list[str]:
        """The tables with entries that are due: in the newest thirty days that are due for each rule, and in the oldest
        transactions of the log. All between would be read again and again where others are kept for longer.

        :param in_archive: only of months that are over, as others wait for their archive.
        """
        self._said = Said(_latest(connection, self.log))
        newest = months(connection, self.log.schema)[-1:] if in_archive else []
        oldest = connection.scalar(self.log.sql(_OLDEST)) or 0
        found = set()
        for period in set(self.kept.values()):
            until = before(period, self.now)
            ids = [self._newest(connection, time) for time in (until - dt.timedelta(days=30), until)]
            high = min([(ids[1] or 0) + 1, *(month.low for month in newest)])
            for low, end in ((0, min(high, oldest + 1)), ((ids[0] or 0) + 1, high)):
                values = self._values(connection, low, end)
                others = {table: "-infinity" for table, other in self.kept.items() if other != period}
                values["before"] = json.dumps(json.loads(values["before"]) | others)
                found |= {row.table_name for row in connection.execute(self.log.sql(_COUNT), values) if row.changes}
        return sorted(found)

    def describe(self, table: TableName, changes: int) -> Removed:
        """What was removed of a table, with its rule."""
        rule = rule_of(self.kept, table.schema, table.name) or ""
        return Removed(table.schema, table.name, rule, before(rule, self.now).isoformat(timespec="seconds"), changes)

    def _begin(self) -> list[tuple[int, int, Month | None]]:
        """The parts of the log that may have something due, oldest first: their first transaction, and the one behind.

        With the month if it may be dropped as a whole: the newest one is still written to.
        """
        with self.engine.connect() as connection:
            self._said = Said(_latest(connection, self.log))
            bound = self._newest(connection, max(self.before.values()))
            there = months(connection, self.log.schema)
        if bound is None:
            return []
        if not there:
            return [(0, bound + 1, None)]
        parts: list[tuple[int, int, Month | None]] = [
            (month.low, min(month.high, bound + 1), month) for month in there[:-1] if month.low <= bound
        ]
        newest = there[-1].low
        return parts if self.is_safe is not None or newest > bound else [*parts, (newest, bound + 1, None)]

    def _newest(self, connection: Connection, time: dt.datetime) -> int | None:
        """The newest transaction before a time."""
        found = connection.scalar(self.log.sql(_BOUND), {"before": time})
        return None if found is None else int(found)

    def _may_go(self, month: Month | None) -> bool:
        """Whether something of a month is due, or nothing is left of it, and the archive has it."""
        if month is None or self.is_safe is None:
            return True
        with self.engine.connect() as connection:
            _prepare(connection)
            due = connection.execute(self.log.sql(_COUNT), self._values(connection, month.low, month.high)).all()
            is_over = bool(due) or self._count_of(connection, month) is not None
        return is_over and self.is_safe(month.name)

    def _values(
        self, connection: Connection, low: int, high: int, *, with_pruned: bool = True, **more: Any
    ) -> dict[str, Any]:
        """The parameters of the statements.

        :param with_pruned: whether the newest ``pruned`` entries stay.
        """
        in_force = [hold for hold in holds(connection, self.log) if hold.is_in_force(self.now.date())]
        live = [hold.address for hold in in_force] + releases(connection, self.log)
        return {
            "low": low,
            "high": high,
            "before": json.dumps({table: time.isoformat() for table, time in self.before.items()}),
            "every": self.before.get(EVERY_TABLE),
            "holds": as_json(in_force),
            "live": live + (self._said.addresses if with_pruned else []),
            "batch": BATCH,
            **more,
        }

    def _count_of(self, connection: Connection, month: Month) -> tuple[dict[str, Any], list[Row[Any]]] | None:
        """What is in a month, if nothing of it is kept, and the parameters by which this was found."""
        values = self._values(connection, month.low, month.high, with_pruned=False)
        if connection.scalar(self.log.sql(_IS_KEPT), values):
            return None
        return values, list(connection.execute(self.log.sql(_COUNT), values))

    def _drop(self, month: Month) -> Gone | None:
        """Drop a month if all that is in it is due, and nothing is held."""
        with self.engine.connect() as connection:
            _prepare(connection)
            counted = self._count_of(connection, month)
        if counted is None:
            return None

        def drop(connection: Connection) -> Gone | None:
            values, rows = counted
            if self._values(connection, month.low, month.high, with_pruned=False) != values:
                return None  # somebody made a hold meanwhile
            # In the order of every other statement that takes both, and of the job that begins a month.
            connection.execute(self.log.sql("LOCK TABLE {transaction}, {activity} IN ACCESS EXCLUSIVE MODE"))
            parts = (quote_ident(self.log.schema, f"{name}_{month.name}") for name in ("activity", "transaction"))
            connection.execute(text(f"DROP TABLE {', '.join(parts)}".replace(":", "\\:")))
            return Gone(self._say(connection, rows, gone=month), (month.name,))

        return self._in_a_moment(drop, f"to drop the month {month.name}")

    def _remove(self, low: int, high: int) -> Iterator[Gone]:
        """Remove what is due of a part, batch by batch."""
        position = [0, 0]

        def batch(connection: Connection) -> tuple[Gone, list[Row[Any]]]:
            values = self._values(connection, low, high, transaction_id=position[0], id=position[1])
            rows = list(connection.execute(self.log.sql(_REMOVE), values))
            ids = sorted({number for row in rows for number in row.transactions})
            connection.execute(self.log.sql(_REMOVE_EMPTIED), {"ids": ids, "low": low, "high": high})
            return Gone(self._say(connection, rows)), rows

        while True:
            gone, rows = self._in_a_moment(batch, "to remove entries")
            if rows:
                yield gone
            if sum(row.entries for row in rows) < BATCH:
                return
            position = max(list(row.last) for row in rows)

    def _remove_empty(self, low: int, high: int) -> Iterator[Gone]:
        """Remove the transactions of a part that have no entries and are due."""
        position = 0

        def batch(connection: Connection) -> list[int]:
            values = self._values(connection, low, high, id=position)
            return list(connection.scalars(self.log.sql(_REMOVE_EMPTY), values))

        while EVERY_TABLE in self.kept:
            ids = self._in_a_moment(batch, "to remove transactions")
            if ids:
                yield Gone({})
            if len(ids) < BATCH:
                return
            position = max(ids)

    def _in_a_moment(self, work: Callable[[Connection], Done], what: str) -> Done:
        """Do it in one transaction; what it says of itself counts only if that was committed."""
        said = self._said

        def anew(connection: Connection) -> Done:
            self._said = Said(dict(said.latest), set(said.ours))
            _prepare(connection)
            lock_holds(connection, self.log)
            return work(connection)

        try:
            return in_a_moment(self.engine, anew, what, "What was removed so far is said in the log")
        except BaseException:
            self._said = said
            raise

    def _say(
        self, connection: Connection, rows: Iterable[Row[Any]], gone: Month | None = None
    ) -> Mapping[TableName, int]:
        """Say in the log what was removed of each table, in the newest month.

        :param gone: a month that was dropped; what it said is said again.
        """
        said = self._said
        changes = {TableName(row.schema, row.table_name): row.changes for row in rows if row.changes}
        lost = {table for table, ((id_, _), _) in said.latest.items() if gone and gone.low <= id_ < gone.high}
        for table in dict.fromkeys([*changes, *sorted(lost)]):
            address, data = said.latest.get(table, ((0, 0), {}))
            number = changes.get(table, 0)
            is_ours = table in said.ours
            if number:
                removed = self.describe(table, number)
                data = {
                    "rule": removed.rule,
                    "until": removed.until,
                    "on": self.now.date().isoformat(),
                    "changes": number + (data["changes"] if is_ours else 0),
                    "total": number + data.get("total", 0),
                }
                said.ours.add(table)
            if is_ours:
                values = {"data": json.dumps(data), "transaction_id": address[0], "id": address[1]}
                connection.execute(self.log.sql(_SAY), values)
            else:
                made = notice(connection, self.log, "pruned", table.schema, table.name, data).split(".")
                address = (int(made[0]), int(made[1]))
            said.latest[table] = (address, data)
        return changes


def logged_tables(connection: Connection, log: Log) -> list[str]:
    """Names of the tables that have entries, without their schemas."""
    return list(connection.scalars(log.sql(_TABLES)))


def _latest(connection: Connection, log: Log) -> dict[TableName, tuple[tuple[int, int], dict[str, Any]]]:
    return {
        TableName(row.schema, row.table_name): ((row.transaction_id, row.id), row.changed_data)
        for row in connection.execute(log.sql(_LATEST))
    }


def _prepare(connection: Connection) -> None:
    """Let nobody wait for long behind this, but let it take its time."""
    connection.execute(text("SET LOCAL lock_timeout = '400ms'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
