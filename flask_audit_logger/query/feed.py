"""Pages of activities in the order of the feed, their number, one activity and its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, func, literal, literal_column, select, true

from .criteria import (
    Criteria,
    IdRange,
    conditions,
    id_range,
    id_range_lookup,
    joined,
    of_activity,
    of_transaction,
    tables_of,
)
from .paging import MAX_ID, Cursor, Paging, Slice, edge, ordered, position, slice_of, started
from .reader import Log
from .rows import ActivityRow, activity_columns, read_activity, transaction_columns

#: A limit that the planner can't see. It plans the sub-select apart, as with OFFSET 0, but as one of which not all rows
#: may be wanted, so that it follows an index rather than sorts.
ALL: ColumnElement[int] = literal_column(f"(SELECT {MAX_ID})")


def feed(log: Log, criteria: Criteria, paging: Paging, bounds: IdRange | None, *, whole: bool = False) -> Select[Any]:
    """The select of one page; ``docs/decisions/reading.md`` says why it is written as it is.

    :param whole: with the whole old rows.
    """
    a = log.models.activity.c
    matching = log.activities(*a).where(*of_activity(log.models, criteria, bounds))
    matching = started(matching, paging, a.transaction_id, a.id)
    if criteria.drives:
        statement = _by_transaction(log, criteria, paging, bounds, matching, whole)
    else:
        statement = _by_activity(log, criteria, paging, matching, whole)
    return statement.limit(paging.limit + 1)


def _by_activity(log: Log, criteria: Criteria, paging: Paging, matching: Select[Any], whole: bool) -> Select[Any]:
    """Activities in the order of the feed, each looked up in the transaction table until the page is full."""
    a, t = log.models.activity.c, log.models.transaction.c
    found = ordered(matching, paging, a.transaction_id, a.id).limit(ALL).subquery("found")
    whose = (
        select(*transaction_columns(log.models))
        .where(t.id == found.c.transaction_id, *of_transaction(log.models, criteria, None))
        .limit(ALL)
        .lateral("whose")
    )
    source = found.join(whose, true(), isouter=not criteria.needs_transaction)
    statement = select(*activity_columns(log.models, whole=whole, of=found.c), *whose.c).select_from(source)
    return ordered(statement, paging, found.c.transaction_id, found.c.id)


def _by_transaction(
    log: Log, criteria: Criteria, paging: Paging, bounds: IdRange | None, matching: Select[Any], whole: bool
) -> Select[Any]:
    """Transactions in the order of the feed, and of each at most a page of activities."""
    a, t = log.models.activity.c, log.models.transaction.c
    wanted = [*of_transaction(log.models, criteria, bounds), *edge(t.id, paging)]
    if criteria.tables:  # where few transactions have to do with a table, its index finds them
        wanted.append(log.touched(tables_of(log.models, criteria.tables)))
    few = ordered(select(*transaction_columns(log.models)).where(*wanted), paging, t.id)
    whose = few.limit(ALL).subquery("whose")
    some = ordered(matching.where(a.transaction_id == whose.c.t_id).correlate(whose), paging, a.id)
    found = some.limit(paging.limit + 1).lateral("found")
    columns = (*activity_columns(log.models, whole=whole, of=found.c), *whose.c)
    return ordered(select(*columns).select_from(whose.join(found, true())), paging, whose.c.t_id, found.c.id)


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
    bounds: IdRange | None = None
    is_empty: bool = False

    @classmethod
    def prepare(cls, log: Log, criteria: Criteria) -> Search:
        """Look up the transaction ids of the period."""
        if not criteria.is_timed:
            return cls(criteria)
        bounds = id_range(log, criteria)
        return cls(criteria, bounds, is_empty=bounds is None)


def find_activities(log: Log, criteria: Criteria, paging: Paging) -> tuple[Slice[ActivityRow], Search]:
    """One page of the feed, and the search for what else is read about it: one statement finds both."""
    if not criteria.is_timed:
        search = Search(criteria)
        return list_activities(log, search, paging), search
    ends = id_range_lookup(log.models, criteria)
    statement = feed(log, criteria, paging, ends).add_columns(ends.low.label("low"), ends.high.label("high"))
    rows = log.all(statement)
    page = slice_of([read_activity(row) for row in rows], paging)
    if rows:
        return page, Search(criteria, IdRange(rows[0].low, rows[0].high))
    if paging.before or paging.after:  # past the end of the list there is something before it
        return page, Search.prepare(log, criteria)
    return page, Search(criteria, is_empty=True)


def list_activities(log: Log, search: Search, paging: Paging, *, whole: bool = False) -> Slice[ActivityRow]:
    """One page of the feed.

    :param whole: with the whole old rows.
    """
    if search.is_empty:
        return Slice((), has_newer=False, has_older=False)
    rows = log.all(feed(log, search.criteria, paging, search.bounds, whole=whole))
    return slice_of([read_activity(row) for row in rows], paging)


def batches(
    log: Log, search: Search, paging: Paging, *, most: int, size: int = 1000
) -> Iterator[tuple[ActivityRow, ...]]:
    """All matching activities in the order of the feed, read in keyset pages.

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
