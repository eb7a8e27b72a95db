"""Lists on which a transaction with very many changes is one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import func, literal, select

from .criteria import Criteria, of_activity
from .feed import APART, STEPS, Search, find_activities
from .paging import END, MAX_ID, ORIGIN, Cursor, Paging, Slice
from .reader import Log
from .rows import ActivityRow
from .summaries import COUNTED_ROWS, Summary, count_all, summary_of, sums_of, unnested

#: How often a page is read, at first and behind what is told as one.
READS = 10
#: Kinds of change that are told of such a transaction, and the least number of its rows that are read for them.
FOLDED_LINES, FOLDED_ROWS = 4, 500
#: Rows of all such transactions of a page that are read for them, and how many of one are counted if not all match.
MATCHED_ROWS, SEARCHED_ROWS = 10_000, 25_000


@dataclass(frozen=True)
class Fold:
    """Many changes of one transaction that a list tells as one.

    :param first: the first of them in the order of reading; it says who made them, and when.
    :param summary: how many match what is searched, and what they are.
    """

    first: ActivityRow
    summary: Summary

    def end(self, *, down: bool) -> Cursor:
        """The position behind all of its transaction."""
        return Cursor(self.first.transaction_id, 0 if down else MAX_ID)


def find_folded(
    log: Log, criteria: Criteria, paging: Paging, over: int, *, deeper: bool = False
) -> tuple[Slice[ActivityRow | Fold], Search]:
    """One page of the feed on which a transaction with more than some matching changes is one row.

    What follows such a transaction is read anew from its end, :data:`READS` times at most, and a search looks but a
    short way on: so a page may have fewer rows than it could, with more behind it.

    :param over: changes of a transaction that are still told one by one.
    :param deeper: look further than for a first page.
    """
    found: list[tuple[ActivityRow, bool]] = []
    searches: list[Search] = []
    here, down = paging, paging.reads_down
    for number in range(READS):
        wider = replace(here, limit=paging.limit - len(found) + over)
        page, search = find_activities(log, criteria, wider, deeper=deeper, steps=STEPS[:1] if number else ())
        searches.append(search)
        more = page.has_older if down else page.has_newer
        rows = page.rows if down != paging.oldest_first else page.rows[::-1]
        runs = [list(run) for _, run in groupby(rows, key=attrgetter("transaction_id"))]
        # what reading ended in may be longer than it looks; then something before it was folded, or the page is full
        is_begun = bool(runs) and more and page.reached is None and len(runs[-1]) <= over
        for run in runs[:-1] if is_begun else runs:
            found += [(run[0], True)] if len(run) > over else [(row, False) for row in run]
        if not more or page.reached is not None or len(found) >= paging.limit:
            break
        end = _end(*found[-1], down=down)
        here = replace(here, before=end, after=None) if down else replace(here, before=None, after=end)
    reached, is_full = page.reached, len(found) > paging.limit or is_begun
    if found and found[-1][1] and reached is not None:
        end = _end(*found[-1], down=down)  # a search that goes on has told all of this transaction
        reached = min(reached, end) if down else max(reached, end)
    kept = found[: paging.limit]
    told = _folds(log, criteria, [row for row, is_folded in kept if is_folded])
    entries = [told.get(row.transaction_id, row) for row, _ in kept]
    if down == paging.oldest_first:
        entries.reverse()
    more = more or is_full
    return Slice(
        tuple(entries),
        has_newer=paging.before not in (None, END) if down else more,
        has_older=more if down else paging.after not in (None, ORIGIN),
        reached=None if is_full else reached,
    ), searches[0]


def _end(row: ActivityRow, is_folded: bool, *, down: bool) -> Cursor:
    """The position at which what is read next begins: behind one change, or behind all of its transaction."""
    if not is_folded:
        return row.cursor
    return Cursor(row.transaction_id, 0 if down else MAX_ID)


def _folds(log: Log, criteria: Criteria, firsts: Sequence[ActivityRow]) -> dict[int, Fold]:
    """What changed in transactions that are told as one, by their ids. The more there are, the less is read of each."""
    if not firsts:
        return {}
    ids = [row.transaction_id for row in firsts]
    matching, wanted = of_activity(log.models, criteria, None), unnested(ids)
    if criteria.picks_changes or log.is_scoped:
        most = min(SEARCHED_ROWS, 2 * SEARCHED_ROWS // len(ids))
        a = log.models.activity.c
        some = log.activities(literal(1)).where(a.transaction_id == wanted.c.id, *matching).correlate(wanted)
        every = select(func.count()).select_from(some.limit(most + 1).subquery()).scalar_subquery()
    else:
        most = min(COUNTED_ROWS, 2 * COUNTED_ROWS // len(ids))
        every = count_all(log, wanted.c.id, most)
    sums = sums_of(log, ids, matching, max(FOLDED_ROWS, MATCHED_ROWS // len(ids)), FOLDED_LINES)
    # apart, so that each is counted once
    counted = select(wanted.c.id, every.label("every")).offset(APART).subquery("whole")
    rows: dict[int, list[Any]] = {}
    for row in log.all(select(sums, counted.c.every).join(counted, counted.c.id == sums.c.transaction_id)):
        rows.setdefault(row.transaction_id, []).append(row)
    told = {}
    for first in firsts:
        found = rows.get(first.transaction_id, [])  # none if they were removed since
        told[first.transaction_id] = Fold(first, summary_of(found, found[0].every if found else None, most))
    return told
