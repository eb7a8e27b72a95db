"""The breakdown of a list: its most frequent tables, verbs, actors and addresses, and its histogram over time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select

from .criteria import Criteria, conditions
from .feed import Search
from .reader import Log
from .sightings import newest_label

#: Most bars of a histogram, and values of a facet.
MOST_BARS = 60
MOST_VALUES = 10
_UNITS = (
    ("minute", dt.timedelta(minutes=1)),
    ("hour", dt.timedelta(hours=1)),
    ("day", dt.timedelta(days=1)),
    ("week", dt.timedelta(weeks=1)),
    ("month", dt.timedelta(days=31)),
    ("year", dt.timedelta(days=366)),
)


@dataclass(frozen=True)
class FacetValue:
    """A value and how many activities have it. ``key`` is a table's schema and name, else one text."""

    key: tuple[str | None, ...]
    label: str | None
    number: int


@dataclass(frozen=True)
class Facet:
    """The most frequent values, and whether there are others."""

    name: str
    values: tuple[FacetValue, ...]
    has_more: bool


@dataclass(frozen=True)
class Bar:
    """The activities that began in an interval; the end is exclusive."""

    start: dt.datetime
    end: dt.datetime
    number: int


@dataclass(frozen=True)
class Histogram:
    """Activities over time, empty intervals included."""

    unit: str
    bars: tuple[Bar, ...]


#: The facets, and the criteria that each is computed without.
FACETS: dict[str, dict[str, Any]] = {
    "table": {"tables": (), "record_key": None},
    "verb": {"verbs": ()},
    "actor": {"actors": ()},
    "addr": {"addresses": ()},
}


def facet(log: Log, search: Search, name: str) -> Facet:
    """The most frequent values of one kind among what matches all other filters.

    :param name: a key of :data:`FACETS`.
    """
    if search.is_empty:
        return Facet(name, (), has_more=False)
    a, t = log.models.activity, log.models.transaction
    criteria: Criteria = replace(search.criteria, **FACETS[name])
    parts: dict[str, list[ColumnElement[Any]]] = {
        "table": [a.c.schema, a.c.table_name],
        "verb": [a.c.verb],
        "actor": [t.c.actor_id],
        "addr": [func.abbrev(t.c.client_addr).label("addr")],
    }
    columns = parts[name]
    needs = criteria.needs_transaction or name in ("actor", "addr")
    source = a.outerjoin(t, a.c.transaction_id == t.c.id) if needs else a
    number = func.count()
    statement = (
        log.activities(*columns, number.label("number"), source=source)
        .where(*conditions(log.models, criteria, search.bounds))
        .group_by(*columns)
        .order_by(number.desc(), *columns)
        .limit(MOST_VALUES + 1)
    )
    if name == "actor":
        statement = _named(log, statement)
    values = [
        FacetValue(tuple(row[: len(columns)]), row[-1] if name == "actor" else None, row.number)
        for row in log.all(statement)
    ]
    return Facet(name, tuple(values[:MOST_VALUES]), has_more=len(values) > MOST_VALUES)


def _named(log: Log, statement: Select[Any]) -> Select[Any]:
    """Actors and their numbers with the name each had last."""
    found = statement.subquery()
    key = cast(found.c.actor_id, Text)
    return select(key, found.c.number, newest_label(log, found.c.actor_id)).order_by(found.c.number.desc(), key)


def histogram(log: Log, search: Search, zone: dt.tzinfo, zone_name: str, now: dt.datetime) -> Histogram | None:
    """Activities by minute, hour, day, week, month or year, whichever gives at most 60 bars; ``None`` for none.

    :param zone: the zone whose days these are, and its IANA name.
    :param now: the end of a period that has none.
    """
    if search.is_empty:
        return None
    a, t = log.models.activity, log.models.transaction
    criteria = search.criteria
    since = criteria.since or log.scalar(_seen(log).order_by(t.c.issued_at).limit(1))
    if since is None:
        return None
    newest = log.scalar(_seen(log).order_by(t.c.issued_at.desc()).limit(1)) if criteria.until is None else None
    until = criteria.until or (now if newest is None else max(now, newest + dt.timedelta(microseconds=1)))
    unit = _unit(until - since)
    start = func.date_trunc(literal(unit, Text), t.c.issued_at, literal(zone_name, Text)).label("start")
    statement = (
        log.activities(start, func.count(), source=a.join(t, a.c.transaction_id == t.c.id))
        .where(*conditions(log.models, criteria, search.bounds))
        .group_by(start)
    )
    numbers = {row[0].astimezone(dt.UTC): row[1] for row in log.all(statement)}
    if not numbers:  # as if nobody had done anything, also if somebody did whom the reader may not see
        return None
    # the first and the last bar are as long as the period has a part in them
    bars = [
        Bar(max(begin, since), min(end, until), numbers.get(begin, 0))
        for begin, end in _intervals(unit, since, until, zone)
    ]
    return Histogram(unit, tuple(bars))


def _seen(log: Log) -> Select[Any]:
    """The times of transactions of which the reader may see something."""
    return select(log.models.transaction.c.issued_at).where(log.touched())


def _unit(span: dt.timedelta) -> str:
    return next((name for name, length in _UNITS if span <= length * MOST_BARS), "year")


def _intervals(
    unit: str, since: dt.datetime, until: dt.datetime, zone: dt.tzinfo
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    local = since.astimezone(zone)
    begin = _truncated(unit, local)
    while begin < until:
        end = _next(unit, begin, zone)
        yield begin, end
        begin = end


def _truncated(unit: str, local: dt.datetime) -> dt.datetime:
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    starts = {
        "minute": local.replace(second=0, microsecond=0),
        "hour": local.replace(minute=0, second=0, microsecond=0),
        "day": day,
        "week": day - dt.timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "year": day.replace(month=1, day=1),
    }
    return starts[unit].astimezone(dt.UTC)


def _next(unit: str, begin: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    if unit in ("minute", "hour"):
        return begin + dict(_UNITS)[unit]  # an hour is an hour, also when clocks are changed
    # a day can begin at one o'clock, where clocks are changed at midnight; the next one doesn't
    local = begin.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    if unit in ("day", "week"):
        following = local + dict(_UNITS)[unit]
    elif unit == "month":
        following = local.replace(year=local.year + local.month // 12, month=local.month % 12 + 1)
    else:
        following = local.replace(year=local.year + 1)
    return following.replace(tzinfo=zone).astimezone(dt.UTC)
