"""Legal holds: entries that nothing may remove or change until a date, although their time to keep is over."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from ..exceptions import ConfigurationError
from ..schema.names import TableName
from .notices import Log, notice

#: Who changes holds and who removes entries wait for each other: a hold is seen, or what is removed is gone before it.
_LOCK = """
    SELECT pg_catalog.pg_advisory_xact_lock(
        pg_catalog.hashtext('flask_audit_logger holds'), c.oid::integer
    )
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = 'transaction' AND c.relkind IN ('r', 'p')
"""

_HOLDS = """
    SELECT a.transaction_id, a.id, a.schema, a.table_name, a.verb, a.changed_data, a.issued_at
    FROM {activity} AS a
    WHERE a.verb IN ('hold', 'release')
    ORDER BY a.transaction_id, a.id
"""

#: What an entry ``a`` with its transaction ``t`` meets that is held.
HELD = """EXISTS (
        SELECT
        FROM pg_catalog.jsonb_to_recordset(CAST(:holds AS jsonb)) AS h (
            schema text, "table" text, key text, actor text, low bigint, high bigint
        )
        WHERE (h."table" IS NULL OR a.table_name = h."table" AND a.schema = h.schema)
            AND (h.key IS NULL OR a.record_key = h.key OR a.verb = 'truncate')
            AND (
                h.actor IS NULL
                OR coalesce(t.actor_id::text = h.actor, false)
                OR coalesce(t.context #>> '{{impersonator,id}}' = h.actor, false)
            )
            AND (h.low IS NULL OR a.transaction_id >= h.low)
            AND (h.high IS NULL OR a.transaction_id < h.high)
    )"""


@dataclass(frozen=True)
class Hold:
    """What must stay: of a table, a record of it, an actor, a month; if several are said, what is of all of them.

    :param address: of its entry, ``<transaction id>.<id>``.
    :param table: the table, or none for all.
    :param key: key of the record, as the log writes it. A table that was emptied is part of its history.
    :param actor: key of who made the change, or in whose name it was not made: the impersonator.
    :param month: as ``2026_12``.
    :param low: the first transaction of that month.
    :param high: the first one after it.
    :param until: the last day; none if it ends by a release only.
    :param reason: why, in words.
    :param since: when it was made.
    """

    address: str
    table: TableName | None
    key: str | None
    actor: str | None
    month: str | None
    low: int | None
    high: int | None
    until: dt.date | None
    reason: str
    since: dt.datetime

    def is_in_force(self, today: dt.date) -> bool:
        """Whether it still counts.

        :param today: in UTC.
        """
        return self.until is None or today <= self.until

    def covers(self, default_schema: str) -> str:
        """What it is of, in words."""
        parts = [] if self.table is None else [f"the table {self.table.short(default_schema)}"]
        if self.key is not None:
            parts = [f"the record {self.key} of {parts[0].removeprefix('the table ')}"]
        if self.actor is not None:
            parts.append(f"the actor {self.actor}")
        if self.month is not None:
            parts.append(f"the month {self.month}")
        return ", ".join(parts)

    def why(self) -> str:
        """Its reason and end, in words."""
        return f"{self.reason} ({'until it is released' if self.until is None else f'until {self.until}'})"


def lock_holds(connection: Connection, log: Log) -> None:
    """Let no hold be made or released until the end of the transaction."""
    connection.execute(log.sql(_LOCK), {"schema": log.schema})


def holds(connection: Connection, log: Log) -> list[Hold]:
    """All holds that were not released, oldest first, whether they are over or not."""
    found: dict[str, Hold] = {}
    for row in connection.execute(log.sql(_HOLDS)):
        data: dict[str, Any] = row.changed_data
        if row.verb == "release":
            found.pop(data["hold"], None)
            continue
        address = f"{row.transaction_id}.{row.id}"
        is_of_table = (row.schema, row.table_name) != (log.schema, "transaction")
        found[address] = Hold(
            address=address,
            table=TableName(row.schema, row.table_name) if is_of_table else None,
            key=data.get("key"),
            actor=data.get("actor"),
            month=data.get("month"),
            low=data.get("low"),
            high=data.get("high"),
            until=None if data.get("until") is None else dt.date.fromisoformat(data["until"]),
            reason=data["reason"],
            since=row.issued_at,
        )
    return list(found.values())


def releases(connection: Connection, log: Log) -> list[str]:
    """Addresses of the releases whose hold is still in the log: without them it would count again."""
    rows = connection.execute(log.sql(_HOLDS)).all()
    there = {f"{row.transaction_id}.{row.id}" for row in rows if row.verb == "hold"}
    return [
        f"{row.transaction_id}.{row.id}" for row in rows if row.verb == "release" and row.changed_data["hold"] in there
    ]


def as_json(some: Iterable[Hold]) -> str:
    """Holds as :data:`HELD` takes them."""
    return json.dumps(
        [
            {
                "schema": hold.table and hold.table.schema,
                "table": hold.table and hold.table.name,
                "key": hold.key,
                "actor": hold.actor,
                "low": hold.low,
                "high": hold.high,
            }
            for hold in some
        ]
    )


def add_hold(
    connection: Connection,
    log: Log,
    *,
    table: TableName | None = None,
    key: str | None = None,
    actor: str | None = None,
    month: tuple[str, int, int] | None = None,
    until: dt.date | None = None,
    reason: str,
) -> str:
    """Make a hold.

    :param key: key of a record of ``table``, as the log writes it.
    :param month: its name, its first transaction, and the first one after it.
    :param until: the last day.
    :returns: its address, by which it is released.
    :raises ConfigurationError: if it is of nothing or has no reason.
    """
    if key is not None and table is None:
        raise ConfigurationError(f"The key {key!r} is of which table? Name it.")
    if table is None and actor is None and month is None:
        raise ConfigurationError("A hold is of a table, a record of it, an actor or a month; none was given.")
    if not reason.strip():
        raise ConfigurationError("A hold needs a reason, which is what those read whom it refuses.")
    data: dict[str, Any] = {"reason": reason}
    if until is not None:
        data["until"] = until.isoformat()
    data |= {name: given for name, given in (("key", key), ("actor", actor)) if given is not None}
    if month is not None:
        data |= {"month": month[0], "low": month[1], "high": month[2]}
    lock_holds(connection, log)
    of = table or TableName(log.schema, "transaction")
    return notice(connection, log, "hold", of.schema, of.name, data)


def release_hold(connection: Connection, log: Log, address: str, *, reason: str) -> None:
    """End a hold.

    :param address: of the hold.
    :raises ConfigurationError: if there is no such hold, or no reason.
    """
    if not reason.strip():
        raise ConfigurationError("Say why the hold is released: its reason is over, and the log keeps both.")
    lock_holds(connection, log)
    found = next((hold for hold in holds(connection, log) if hold.address == address), None)
    if found is None:
        raise ConfigurationError(f"There is no hold {address!r}; `flask audit hold ls` lists them.")
    of = found.table or TableName(log.schema, "transaction")
    notice(connection, log, "release", of.schema, of.name, {"hold": address, "reason": reason})
