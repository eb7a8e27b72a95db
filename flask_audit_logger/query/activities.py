"""Pages of activities, their number, one activity and its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ScalarSelect, Select, func, literal, select

from .criteria import Bounds, Criteria, bounds_of, conditions, joined, lookup_of
from .feed import feed
from .paging import Cursor, Page, Paging, page_of, position
from .reader import Log
from .rows import ActivityRow, activity_columns, read_activity, transaction_columns


@dataclass(frozen=True)
class Count:
    """A number of rows, counted up to a cap."""

    number: int
    is_capped: bool = False


#: Changes of a transaction up to which the place of one among them is told.
MOST_COUNTED = 1000


@dataclass(frozen=True)
class Neighbours:
    """The activities before and after one, in time."""

    previous: Cursor | None
    next: Cursor | None
    #: Which of how many this one is, if they were counted and aren't too many.
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class Search:
    """Criteria whose period was already turned into transaction ids, so a page and its count share the work."""

    criteria: Criteria
    bounds: Bounds | None = None
    is_empty: bool = False

    @classmethod
    def prepare(cls, log: Log, criteria: Criteria) -> Search:
        """Look the period up."""
        if not criteria.is_timed:
            return cls(criteria)
        bounds = bounds_of(log, criteria)
        return cls(criteria, bounds, is_empty=bounds is None)


def find_activities(log: Log, criteria: Criteria, paging: Paging) -> tuple[Page[ActivityRow], Search]:
    """One page of the feed, and the search for what else is read about it: one statement finds both."""
    if not criteria.is_timed:
        search = Search(criteria)
        return list_activities(log, search, paging), search
    ends = lookup_of(log.models, criteria)
    statement = feed(log, criteria, paging, ends).add_columns(ends.low.label("low"), ends.high.label("high"))
    rows = log.all(statement)
    page = page_of([read_activity(row) for row in rows], paging)
    if rows:
        return page, Search(criteria, Bounds(rows[0].low, rows[0].high))
    if paging.before or paging.after:  # past the end of the list there is something before it
        return page, Search.prepare(log, criteria)
    return page, Search(criteria, is_empty=True)


def list_activities(log: Log, search: Search, paging: Paging, *, whole: bool = False) -> Page[ActivityRow]:
    """One page of the feed.

    :param whole: with the whole old rows.
    """
    if search.is_empty:
        return Page((), has_newer=False, has_older=False)
    rows = log.all(feed(log, search.criteria, paging, search.bounds, whole=whole))
    return page_of([read_activity(row) for row in rows], paging)


def batches(
    log: Log, search: Search, paging: Paging, *, most: int, size: int = 1000
) -> Iterator[tuple[ActivityRow, ...]]:
    """All that matches, in the order of the feed, by keyset pages.

    :param paging: gives the order; its position is where to start.
    :param most: rows after which to stop.
    """
    left, here = most, paging
    while left > 0:
        page = list_activities(log, search, replace(here, limit=min(size, left)), whole=True)
        if page.rows:
            yield page.rows
        left -= len(page.rows)
        if not (page.has_newer if paging.oldest_first else page.has_older):
            return
        last = page.rows[-1].cursor
        here = replace(here, after=last, before=None) if paging.oldest_first else replace(here, before=last, after=None)


def count_activities(log: Log, search: Search, cap: int) -> Count:
    """How many activities match, up to ``cap``: counting never reads more than one row above it."""
    if search.is_empty:
        return Count(0)
    models, criteria = log.models, search.criteria
    source = joined(models, criteria) if criteria.needs_transaction else models.activity
    matching = log.activities(literal(1), source=source).where(*conditions(models, criteria, search.bounds))
    return capped(log, matching, cap)


def capped(log: Log, matching: Select[Any], cap: int) -> Count:
    """Count the rows of a select, up to ``cap``."""
    number = log.scalar(select(func.count()).select_from(matching.limit(cap + 1).subquery()))
    return Count(min(number, cap), is_capped=number > cap)


def get_activity(log: Log, change: Cursor) -> ActivityRow | None:
    """One activity with its whole old row, if the reader may see it."""
    a, t = log.models.activity, log.models.transaction
    statement = log.activities(
        *activity_columns(log.models, whole=True),
        *transaction_columns(log.models),
        source=a.outerjoin(t, a.c.transaction_id == t.c.id),
    ).where(a.c.transaction_id == change.transaction_id, a.c.id == change.activity_id)
    row = log.first(statement)
    return None if row is None else read_activity(row)


def neighbours_in_record(log: Log, activity: ActivityRow) -> Neighbours:
    """The changes of the same record before and after this one."""
    a = log.models.activity.c
    same = (
        log.activities(position(a))
        .where(a.table_name == activity.table.name, a.schema == activity.table.schema)
        .where(a.record_key == activity.record_key)
    )
    row = log.first(select(*_ends(log, same, activity.id)))
    return Neighbours(Cursor.read(row[0]), Cursor.read(row[1]))


def neighbours_in_transaction(log: Log, activity: ActivityRow) -> Neighbours:
    """The changes of the same transaction before and after this one, and its place among them."""
    a = log.models.activity.c
    same = log.activities(position(a)).where(a.transaction_id == activity.transaction_id)
    some = same.with_only_columns(a.id).limit(MOST_COUNTED + 1).subquery()
    place, total = func.count().filter(some.c.id <= activity.id), func.count()
    row = log.first(select(*_ends(log, same, activity.id), place, total).select_from(some))
    return Neighbours(
        Cursor.read(row[0]), Cursor.read(row[1]), place=(row[2], row[3]) if row[3] <= MOST_COUNTED else None
    )


def _ends(log: Log, same: Select[Any], activity_id: int) -> list[ScalarSelect[Any]]:
    a = log.models.activity.c
    before = same.where(a.id < activity_id).order_by(a.id.desc())
    after = same.where(a.id > activity_id).order_by(a.id)
    return [end.limit(1).scalar_subquery() for end in (before, after)]
