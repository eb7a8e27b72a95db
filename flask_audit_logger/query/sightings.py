"""What one actor did, when and from where, and which actors there are."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Text, cast, extract, func, literal, select, true
from sqlalchemy.exc import DBAPIError

from ..models import ACTOR_NAMES
from ..schema.names import TableName
from .criteria import Criteria, actor_value, of_transaction
from .feed import Search, feed
from .paging import Paging
from .reader import Log
from .summaries import Tally

#: Maximum number of transactions or activities that are read for addresses and sums.
LOOKED_AT = 2000


@dataclass(frozen=True)
class KnownActor:
    """An actor with the name they last had in the log."""

    id: str
    label: str | None


@dataclass(frozen=True)
class Sighting:
    """When an actor was first and last seen; ``label`` is the name at the last time."""

    first: dt.datetime
    last: dt.datetime
    label: str | None


def known_actors(log: Log, limit: int = 100) -> list[KnownActor]:
    """The actors in the log by id, each found by one step in the index, however long the log is."""
    t = log.models.transaction.c
    column = t.actor_id
    # not min(): a type such as uuid has an order, but no minimum before PostgreSQL 19
    least = select(column).where(column.is_not(None)).order_by(column).limit(1)
    first = select(least.scalar_subquery().label("actor_id")).cte("actors", recursive=True)
    following = least.where(column > first.c.actor_id).scalar_subquery()
    actors = first.union_all(select(following).where(first.c.actor_id.is_not(None)))
    label = newest_label(log, actors.c.actor_id)
    statement = select(cast(actors.c.actor_id, Text), label).where(actors.c.actor_id.is_not(None)).limit(limit)
    return [KnownActor(row[0], row[1]) for row in log.all(statement)]


def sighting(log: Log, actor: str | None) -> Sighting | None:
    """When an actor was seen in what the reader may see; ``None`` if never."""
    t = log.models.transaction.c
    mine = _visible(log, select(t.id, t.issued_at, t.actor_label).where(_is_actor(log, actor)))
    first, last = (mine.order_by(order).limit(1).subquery() for order in (t.id, t.id.desc()))
    row = log.first(select(first.c.issued_at, last.c.issued_at, last.c.actor_label).join_from(first, last, true()))
    return None if row is None else Sighting(row[0], row[1], row[2])


def acted_as(log: Log, actor: str) -> KnownActor | None:
    """An impersonator, with the name they had the last time.

    No index leads to it: transactions are read until one is found, so this needs a time limit.
    """
    t = log.models.transaction.c
    is_mine = of_transaction(log.models, Criteria(impersonators=(actor,)), None)
    mine = _visible(log, select(t.context["impersonator"]["label"].astext.label("label")).where(*is_mine))
    row = log.first(mine.order_by(t.id.desc()).limit(1))
    return None if row is None else KnownActor(actor, row[0])


def names_today(log: Log, actor_cls: Any, can_see: Callable[[str], bool], actors: Set[str]) -> dict[str, str]:
    """The names that actors have today, of those whose row is still there and may be read.

    :param can_see: whether a column of the actors' table may be read.
    """
    mapper = actor_cls.__mapper__
    columns = [mapper.columns[name] for name in ACTOR_NAMES if name in mapper.columns]
    columns = [func.nullif(cast(column, Text), "") for column in columns if can_see(column.name)]
    if not columns or len(mapper.primary_key) != 1:
        return {}
    (key,), name = mapper.primary_key, func.coalesce(*columns)
    keys = []
    for actor in actors:
        with suppress(ValueError):
            keys.append(key.type.python_type(actor))
    statement: Any = select(cast(key, Text), name).where(key.in_(keys), name.is_not(None))
    try:
        with log.connection.begin_nested():
            return dict(tuple(row) for row in log.all(statement))
    except DBAPIError:
        # a role that only reads the log has no right to read users
        return {}


def addresses(log: Log, actor: str | None, limit: int = 10) -> list[tuple[str | None, int]]:
    """The addresses of an actor's newest transactions, most frequent first."""
    t = log.models.transaction.c
    address = func.abbrev(t.client_addr).label("address")
    newest = _visible(log, select(address).where(_is_actor(log, actor))).order_by(t.id.desc()).limit(LOOKED_AT)
    seen = newest.subquery()
    statement = (
        select(seen.c.address, func.count())
        .group_by(seen.c.address)
        .order_by(func.count().desc(), seen.c.address)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in log.all(statement)]


@dataclass(frozen=True)
class Work:
    """What matches, added up.

    :param tallies: by table and verb, largest first.
    :param hours: by weekday (Monday is 0) and hour of the day.
    :param is_cut: whether only the newest were counted.
    """

    tallies: tuple[Tally, ...] = ()
    hours: Mapping[tuple[int, int], int] = field(default_factory=dict)
    is_cut: bool = False


def work(log: Log, search: Search, zone: str) -> Work:
    """What matches the criteria by table and verb, and by weekday and hour.

    :param zone: name of the zone whose days and hours these are.
    """
    if search.is_empty:
        return Work()
    seen = feed(log, search.criteria, Paging(limit=LOOKED_AT - 1), search.bounds).subquery()  # and one more
    local = func.timezone(literal(zone, Text), seen.c.t_issued_at)
    what = [seen.c.schema, seen.c.table_name, seen.c.verb]
    when = [cast(extract(part, local), Integer) for part in ("isodow", "hour")]
    changes: Counter[tuple[TableName, str]] = Counter()
    hours: Counter[tuple[int, int]] = Counter()
    for schema, table, verb, weekday, hour, times in log.all(select(*what, *when, func.count()).group_by(*what, *when)):
        changes[TableName(schema, table), verb] += times
        if weekday is not None:
            hours[weekday - 1, hour] += times
    tallies = [Tally(table, verb, times) for (table, verb), times in changes.items()]
    tallies.sort(key=lambda entry: (-entry.number, entry.table, entry.verb))
    return Work(tuple(tallies), hours, is_cut=changes.total() >= LOOKED_AT)


def _is_actor(log: Log, actor: str | None) -> ColumnElement[bool]:
    column = log.models.transaction.c.actor_id
    return column.is_(None) if actor is None else column == actor_value(log.models, actor)


def _visible(log: Log, statement: Select[Any]) -> Select[Any]:
    return statement.where(log.touched()) if log.is_scoped else statement


def newest_label(log: Log, actor_id: ColumnElement[Any]) -> Any:
    """The name an actor had in the newest transaction of which the reader may see something.

    :param actor_id: a column of what encloses this.
    """
    t = log.models.transaction.c
    mine = _visible(log, select(t.actor_label).where(t.actor_id == actor_id))
    return mine.order_by(t.id.desc()).limit(1).scalar_subquery()
