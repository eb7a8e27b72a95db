"""The breakdown of a list: its most frequent tables, verbs, actors and addresses, and its histogram over time.

Neither reads more than the newest of many changes, which is what they say then; but how many changes of all kinds were
made, and when, is told by where their ids begin.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, Text, cast, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from .criteria import Criteria
from .feed import WHOLE, Columns, Reach, Search, feed, moment_of, reached
from .paging import Paging
from .reader import Log
from .sightings import newest_label

#: Most bars of a histogram, and values of a facet.
MOST_BARS = 60
MOST_VALUES = 10

#: So many changes are counted, the newest, and so many looked through for them.
MOST_READ, LOOKED_THROUGH = 2500, 10_000

#: What is read of them.
_FACTS = Columns(activity=("schema", "table_name", "verb"), transaction=("t_issued_at", "t_actor_id", "t_client_addr"))

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
    """The most frequent values, and whether there are others.

    :param is_cut: whether only the newest changes were counted.
    """

    name: str
    values: tuple[FacetValue, ...]
    has_more: bool
    is_cut: bool = False


@dataclass(frozen=True)
class Bar:
    """The activities that began in an interval; the end is exclusive."""

    start: dt.datetime
    end: dt.datetime
    number: int


@dataclass(frozen=True)
class Histogram:
    """Activities over time, empty intervals included.

    :param is_estimate: whether the numbers are those of ids, some of which no activity has.
    :param is_cut: whether it begins with the oldest of the newest changes, not with the period.
    """

    unit: str
    bars: tuple[Bar, ...]
    is_estimate: bool = False
    is_cut: bool = False


#: The facets, and the criteria that each is computed without.
FACETS: dict[str, dict[str, Any]] = {
    "table": {"tables": (), "record_key": None},
    "verb": {"verbs": ()},
    "actor": {"actors": ()},
    "addr": {"addresses": ()},
}


def facets(log: Log, search: Search, names: Sequence[str]) -> dict[str, Facet]:
    """The most frequent values of some kinds, each among what matches all other filters.

    Those that have the same other filters are counted by one statement.

    :param names: keys of :data:`FACETS`.
    """
    groups: dict[Criteria, list[str]] = {}
    for name in names:
        groups.setdefault(replace(search.criteria, **FACETS[name]), []).append(name)
    found: dict[str, Facet] = {}
    for criteria, some in groups.items():
        found |= _facets(log, replace(search, criteria=criteria), some)
    return found


def _facets(log: Log, search: Search, names: Sequence[str]) -> dict[str, Facet]:
    if search.is_empty:
        return {name: Facet(name, (), has_more=False) for name in names}
    seen, reach = _newest(log, search)
    parts = [select(_values(log, seen, name).subquery()) for name in names]
    total = select(literal(""), cast(null(), Text), cast(null(), Text), func.count(), cast(null(), Text))
    values: dict[str, list[FacetValue]] = {name: [] for name in names}
    number = 0
    for name, first, second, count, label in log.all(union_all(*parts, total.select_from(seen))):
        if not name:
            number = count
            continue
        values[name].append(FacetValue((first, second) if name == "table" else (first,), label, count))
    is_cut = number >= MOST_READ or reach.edge is not None
    return {
        name: Facet(name, tuple(some[:MOST_VALUES]), has_more=len(some) > MOST_VALUES, is_cut=is_cut)
        for name, some in values.items()
    }


def _newest(log: Log, search: Search) -> tuple[CTE, Reach]:
    """The newest changes that match, and how far they are looked for."""
    reach = WHOLE
    if not search.criteria.is_plain or log.is_scoped:
        search, reach = reached(log, search, Paging(), LOOKED_THROUGH)
    # one more than the page is read
    paging = Paging(limit=MOST_READ - 1)
    return feed(log, search.criteria, paging, search.bounds, columns=_FACTS, reach=reach).cte("seen"), reach


def _values(log: Log, seen: CTE, name: str) -> Select[Any]:
    keys: dict[str, list[ColumnElement[Any]]] = {
        "table": [seen.c.schema, seen.c.table_name],
        "verb": [seen.c.verb],
        "actor": [seen.c.t_actor_id],
        "addr": [seen.c.t_client_addr],
    }
    columns, number = keys[name], func.count()
    most = select(*columns, number.label("number")).group_by(*columns).order_by(number.desc(), *columns)
    found = most.limit(MOST_VALUES + 1).subquery()
    first, second = found.c[0], found.c[1] if name == "table" else cast(null(), Text)
    actor_id = cast(first, log.models.transaction.c.actor_id.type)
    label = newest_label(log, actor_id) if name == "actor" else cast(null(), Text)
    chosen = select(literal(name).label("name"), first.label("first"), second.label("second"), found.c.number)
    return chosen.add_columns(label.label("label")).order_by(found.c.number.desc(), first, second)


def histogram(log: Log, search: Search, zone: dt.tzinfo, now: dt.datetime) -> Histogram | None:
    """Activities by minute, hour, day, week, month or year, whichever gives at most 60 bars; ``None`` for none.

    :param zone: the zone whose days these are.
    :param now: the end of a period that has none.
    """
    if search.is_empty:
        return None
    seen, reach = _newest(log, search)
    times = log.all(
        select(seen.c.t_issued_at, func.count()).where(seen.c.t_issued_at.is_not(None)).group_by(seen.c.t_issued_at)
    )
    if not times:  # as if nobody had done anything, also if somebody did whom the reader may not see
        return None
    is_full = sum(number for _, number in times) >= MOST_READ
    criteria, is_cut = search.criteria, is_full or reach.edge is not None
    by_ids = is_full and criteria.is_plain and not criteria.transactions and not log.is_scoped
    first, newest = min(time for time, _ in times), max(time for time, _ in times)
    if not log.is_scoped:
        newest = log.scalar(_seen(log).order_by(log.models.transaction.c.issued_at.desc()).limit(1))
    since = criteria.since
    if is_cut and not by_ids:
        since = first if reach.edge is None or is_full else moment_of(log, reach.edge) or first
    elif since is None:
        since = first if log.is_scoped else log.scalar(_seen(log).order_by(log.models.transaction.c.issued_at).limit(1))
    until = criteria.until or max(now, newest + dt.timedelta(microseconds=1))
    unit = _unit(until - since)
    # the first and the last bar are as long as the period has a part in them
    ends = [(max(begin, since), min(end, until)) for begin, end in _intervals(unit, since, until, zone)]
    if by_ids:
        numbers = _by_ids(log, [ends[0][0], *(end for _, end in ends)])
    else:
        numbers = [0] * len(ends)
        starts = [begin for begin, _ in ends]
        for time, number in times:
            numbers[max(bisect_right(starts, time) - 1, 0)] += number
    bars = tuple(Bar(begin, end, number) for (begin, end), number in zip(ends, numbers, strict=True))
    return Histogram(unit, bars, is_estimate=by_ids, is_cut=is_cut and not by_ids)


def _by_ids(log: Log, moments: Sequence[dt.datetime]) -> list[int]:
    """The number of ids given between some times, each found by two steps in an index."""
    t, w = log.models.transaction.c, log.models.activity.alias("first").c
    asked = func.unnest(cast(list(moments), ARRAY(TIMESTAMP(timezone=True)))).table_valued("at", name="asked")
    asked = asked.render_derived()
    begun = select(t.id).where(t.issued_at >= asked.c.at).order_by(t.issued_at, t.id).limit(1)
    first = select(w.id).where(w.transaction_id >= begun.correlate(asked).scalar_subquery())
    ordered_first = first.order_by(w.transaction_id, w.id).limit(1).correlate(asked).scalar_subquery()
    last = select(w.id + 1).order_by(w.transaction_id.desc(), w.id.desc()).limit(1).scalar_subquery()
    ids = [row[0] for row in log.all(select(func.coalesce(ordered_first, last)).select_from(asked))]
    return [max(after - before, 0) for before, after in pairwise(ids)]


def _seen(log: Log) -> Select[Any]:
    """The times of transactions of which the reader may see something."""
    return select(log.models.transaction.c.issued_at).where(log.touched())


def _unit(span: dt.timedelta) -> str:
    return next((name for name, length in _UNITS if span <= length * MOST_BARS), "year")


def _intervals(
    unit: str, since: dt.datetime, until: dt.datetime, zone: dt.tzinfo
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    begin = _within_calendar(lambda: _truncated(unit, since.astimezone(zone)), dt.datetime.min)
    while begin < until:
        end = _within_calendar(partial(_next, unit, begin, zone), dt.datetime.max)
        yield begin, end
        begin = end


def _within_calendar(moment: Callable[[], dt.datetime], end: dt.datetime) -> dt.datetime:
    """A time, or the end of Python's calendar that it is beyond."""
    try:
        return moment()
    except (OverflowError, ValueError):
        return end.replace(tzinfo=dt.UTC)


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
