"""Pages of activities in the order of the feed, their number, one activity and its neighbours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    case,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)

from .criteria import (
    ENDS,
    NO_ACTOR,
    Criteria,
    IdRange,
    id_range,
    id_range_lookup,
    is_nobodys,
    is_verb,
    leading,
    of_activity,
    of_transaction,
)
from .paging import END, MAX_ID, ORIGIN, Cursor, Paging, Slice, edge, ordered, position, slice_of, started
from .reader import Log
from .rows import ActivityRow, activity_columns, read_activities, read_activity, transaction_columns

#: A limit that the planner can't see. It plans the sub-select apart, as with OFFSET 0, but as one of which not all rows
#: may be wanted, so that it follows an index rather than sorts.
ALL: ColumnElement[int] = literal_column(f"(SELECT {MAX_ID})")


#: An offset of nothing: what has it is planned apart, and keeps its order.
APART: ColumnElement[int] = literal_column("0")

#: Changes that a search looks through for a page where no index leads to what it looks for: at first, then, if that did
#: not fill the page, and if it is to look further back. Half as many transactions where the filter is on them.
STEPS = (1000, 20_000, 1_000_000)

#: If the index of records has so few changes of the tables that are searched, all are read, wherever they are.
FEW = 2000


@dataclass(frozen=True)
class Reach:
    """How far a search looks for one page.

    :param edge: the last position; to the end of the log if there is none.
    :param is_few: whether an index has few changes of what is searched: then it is read instead.
    """

    edge: Cursor | None = None
    is_few: bool = False

    def within(self, paging: Paging, *columns: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """That a transaction, or a change if its id is given, too, is not beyond."""
        if self.edge is None:
            return []
        transaction_id, number, is_down = columns[0], self.edge.transaction_id, paging.reads_down
        ends: list[ColumnElement[bool]] = [transaction_id >= number if is_down else transaction_id <= number]
        if len(columns) > 1:
            whole, end = tuple_(*columns), tuple_(number, self.edge.activity_id)
            ends.append(whole >= end if is_down else whole <= end)
        return ends

    def within_one(self, paging: Paging, activity_id: ColumnElement[int]) -> list[ColumnElement[bool]]:
        """The same for a change of one transaction that is named: by both numbers an index would read all of it."""
        if self.edge is None:
            return []
        end = self.edge.activity_id
        return [activity_id >= end if paging.reads_down else activity_id <= end]


#: To the end of the log.
WHOLE = Reach()


@dataclass(frozen=True)
class Columns:
    """What is read of each row of a feed.

    :param is_whole: with the whole old rows.
    :param activity: names of the columns that are wanted, if not all: making texts of values costs most of a read.
    :param transaction: the same of its transaction, besides ``t_id``.
    """

    is_whole: bool = False
    activity: tuple[str, ...] = ()
    transaction: tuple[str, ...] = ()

    def of_activity(self, log: Log, found: Any) -> list[ColumnElement[Any]]:
        """Those of an activity."""
        if self.activity:
            return [found[name] for name in self.activity]
        return activity_columns(log.models, whole=self.is_whole, of=found)

    def of_transaction(self, log: Log) -> list[ColumnElement[Any]]:
        """Those of its transaction."""
        columns = transaction_columns(log.models)
        wanted = {"t_id", *self.transaction}
        return [column for column in columns if column.name in wanted] if self.activity else columns


#: Of rows that are only counted.
COUNTED = Columns(activity=("id",))


def feed(
    log: Log,
    criteria: Criteria,
    paging: Paging,
    bounds: IdRange | None,
    *,
    columns: Columns = Columns(),
    reach: Reach = WHOLE,
) -> Select[Any]:
    """The select of one page; ``docs/decisions/reading.md`` says why it is written as it is."""
    a = log.models.activity.c
    matching = log.activities(*((a.id, a.transaction_id) if columns is COUNTED else a)).where(
        *of_activity(log.models, criteria, _ends_to_name(paging, bounds, reach))
    )
    matching = started(matching, paging, a.transaction_id, a.id)
    if criteria.drives and not reach.is_few:
        statement = _by_transaction(log, criteria, paging, bounds, matching, columns, reach)
    else:
        if reach.is_few:  # apart, so that no order tempts the planner to walk the whole log for it
            matching = matching.offset(APART)
        elif len(criteria.transactions) == 1:
            matching = matching.where(*reach.within_one(paging, a.id))
        else:
            matching = matching.where(*reach.within(paging, a.transaction_id, a.id))
        statement = _by_activity(log, criteria, paging, matching, columns, reach)
    return statement.limit(paging.limit + 1)


def _ends_to_name(paging: Paging, bounds: IdRange | None, reach: Reach) -> IdRange | None:
    """The ends of a period that nothing nearer makes needless: an index would begin at the wrong one of two."""
    if bounds is None:
        return None
    below, above = paging.after not in (None, ORIGIN), paging.before not in (None, END)
    if reach.edge is not None:
        below, above = below or paging.reads_down, above or not paging.reads_down
    return IdRange(None if below else bounds.low, None if above else bounds.high)


def _by_activity(
    log: Log, criteria: Criteria, paging: Paging, matching: Select[Any], columns: Columns, reach: Reach
) -> Select[Any]:
    """Activities in the order of the feed, each looked up in the transaction table until the page is full."""
    a, t = log.models.activity.c, log.models.transaction.c
    # what is outside of it can't see that a sub-select has but one transaction, and would sort
    is_one = len(criteria.transactions) == 1
    if not reach.is_few:
        matching = ordered(matching, paging, *([] if is_one else [a.transaction_id]), a.id).limit(ALL)
    found = matching.subquery("found")
    whose = (
        select(*columns.of_transaction(log))
        .where(t.id == found.c.transaction_id, *of_transaction(log.models, criteria, None))
        .limit(ALL)
        .lateral("whose")
    )
    source = found.join(whose, true(), isouter=not criteria.needs_transaction)
    statement = select(*columns.of_activity(log, found.c), *whose.c).select_from(source)
    return ordered(statement, paging, *([] if is_one else [found.c.transaction_id]), found.c.id)


def _by_transaction(
    log: Log,
    criteria: Criteria,
    paging: Paging,
    bounds: IdRange | None,
    matching: Select[Any],
    columns: Columns,
    reach: Reach,
) -> Select[Any]:
    """Transactions in the order of the feed, and of each at most a page of activities."""
    a, t = log.models.activity.c, log.models.transaction.c
    wanted = [*of_transaction(log.models, criteria, bounds), *edge(t.id, paging), *reach.within(paging, t.id)]
    first = [column.label("t_first") for column in _order(log, criteria)]
    whole_row = select(*columns.of_transaction(log), *first).where(*wanted)
    whose = ordered(whole_row, paging, *_order(log, criteria), t.id).limit(ALL).subquery("whose")
    some = ordered(matching.where(a.transaction_id == whose.c.t_id).correlate(whose), paging, a.id)
    found = some.limit(paging.limit + 1).lateral("found")
    order = [whose.c[column.name] for column in first] + [whose.c.t_id, found.c.id]
    statement = select(*columns.of_activity(log, found.c), *whose.c).select_from(whose.join(found, true()))
    return ordered(statement, paging, *order)


def _order(log: Log, criteria: Criteria) -> list[ColumnElement[Any]]:
    """What all transactions have in common that the index on it begins with, if it is to be read where nothing is.

    The planner knows that an index gives rows of one actor in the order of ids, but not those without.
    """
    lacks_actor = criteria.actors == (NO_ACTOR,) or (not criteria.actors and is_nobodys(criteria))
    return [log.models.transaction.c.actor_id] if lacks_actor else []


def _looked_at(
    log: Log, criteria: Criteria, paging: Paging, bounds: IdRange | None, number: int, of_transactions: bool
) -> Select[Any]:
    """The position at which a search ends that finds nothing: so many changes away from its start."""
    if of_transactions:
        t = log.models.transaction.c
        # whole transactions: the next page begins beyond this one
        last: Any = 0 if paging.reads_down else MAX_ID
        cursor = func.pg_catalog.concat(t.id, ".", literal(last, BigInteger), type_=Text)
        statement = select(cursor).where(*leading(log.models, criteria), *edge(t.id, paging))
        return (
            ordered(statement.where(*_begun(paging, t.id, bounds)), paging, *_order(log, criteria), t.id)
            .offset(number // 2 - 1)
            .limit(1)
        )
    w = log.models.activity.alias("walked").c  # apart from the scope: what it hides is looked at, too
    statement = started(select(position(w)), paging, w.transaction_id, w.id)
    statement = statement.where(*_begun(paging, w.transaction_id, bounds))
    if criteria.transactions:
        statement = statement.where(w.transaction_id.in_(criteria.transactions))
    return ordered(statement, paging, w.transaction_id, w.id).offset(number - 1).limit(1)


def _begun(paging: Paging, column: ColumnElement[int], bounds: IdRange | None) -> list[ColumnElement[bool]]:
    """The end of a period at which reading begins; both ends that it can't see the planner takes for a short range."""
    if bounds is None or paging.before or paging.after:
        return []
    return IdRange(*((None, bounds.high) if paging.reads_down else (bounds.low, None))).spans(column)


def _indexed(log: Log, criteria: Criteria) -> ColumnElement[int]:
    """How many changes the index of records, or of ends, has of what is searched; more than :data:`FEW` if none has."""
    counted = log.models.activity.alias("counted")
    w = counted.c
    wanted: list[ColumnElement[bool]] = []
    if criteria.tables:
        wanted.append(w.table_name.in_({table.name for table in criteria.tables}))
    if criteria.record_key is not None:
        wanted.append(w.record_key == criteria.record_key)
    if criteria.verbs and set(criteria.verbs) <= set(ENDS):
        wanted.append(is_verb(w.verb, *criteria.verbs))
    if not wanted:
        return literal(FEW + 1, BigInteger)
    some = select(literal(1)).select_from(counted).where(*wanted).limit(FEW + 1).subquery()
    number = select(func.count().label("number")).select_from(some).cte("indexed")
    return select(number.c.number).scalar_subquery()


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


def find_activities(
    log: Log, criteria: Criteria, paging: Paging, *, deeper: bool = False, steps: Sequence[int] = ()
) -> tuple[Slice[ActivityRow], Search]:
    """One page of the feed, and the search for what else is read about it.

    A search that may look for long is asked first where it is to end.

    :param deeper: look further than for a first page.
    :param steps: look through so many changes at most, and then so many, if not as for a page.
    """
    if not criteria.is_plain or log.is_scoped:
        search = Search(criteria)
        for number in steps or (STEPS[2:] if deeper else STEPS[:2]):
            search, reach = reached(log, search, paging, number)
            page = list_activities(log, search, paging, reach=reach)
            if page.reached is None:
                break
        return page, search
    if not criteria.is_timed:
        search = Search(criteria)
        return list_activities(log, search, paging), search
    ends = id_range_lookup(log.models, criteria)
    # of months that it can't see the planner plans all
    if len(ends.columns) > 1 or log.models.is_partitioned:
        search = Search.prepare(log, criteria)
        return list_activities(log, search, paging), search
    rows = log.all(feed(log, criteria, paging, ends).add_columns(*ends.columns))
    page = slice_of(read_activities(rows), paging)
    if rows:
        return page, Search(criteria, ends.read(rows[0]))
    if paging.before or paging.after:  # past the end of the list there is something before it
        return page, Search.prepare(log, criteria)
    return page, Search(criteria, is_empty=True)


def reached(
    log: Log, search: Search, paging: Paging, number: int | None = None, *, of_transactions: bool = False
) -> tuple[Search, Reach]:
    """The search with the ids of its period, and how far it looks for a page: one statement finds both.

    :param number: of changes that it may look through, if not those of a first page.
    :param of_transactions: transactions are searched, not changes.
    """
    criteria, bounds = search.criteria, search.bounds
    ends = id_range_lookup(log.models, criteria) if criteria.is_timed and bounds is None else None
    bounds = bounds or ends
    indexed = _indexed(log, criteria)
    last: Any = _looked_at(
        log, criteria, paging, bounds, number or STEPS[1], of_transactions or criteria.drives
    ).scalar_subquery()
    columns = [] if ends is None else ends.columns
    row = log.first(select(*columns, indexed.label("indexed"), case((indexed > FEW, last)).label("edge")))
    if ends is not None:
        bounds = ends.read(row)
        if bounds is None:
            return Search(criteria, is_empty=True), WHOLE
    end = Cursor.read(row.edge)
    if end is not None and bounds is not None and not bounds.has(end.transaction_id):
        end = None  # the whole period is looked through
    return Search(criteria, bounds), Reach(end, is_few=row.indexed <= FEW)


def moment_of(log: Log, position: Cursor) -> dt.datetime | None:
    """The time of the transaction at a position, if its row is there."""
    t = log.models.transaction.c
    found: dt.datetime | None = log.scalar(select(t.issued_at).where(t.id == position.transaction_id))
    return found


def list_activities(
    log: Log, search: Search, paging: Paging, *, whole: bool = False, reach: Reach = WHOLE
) -> Slice[ActivityRow]:
    """One page of the feed.

    :param whole: with the whole old rows.
    :param reach: how far to look.
    """
    if search.is_empty:
        return Slice((), has_newer=False, has_older=False)
    rows = log.all(feed(log, search.criteria, paging, search.bounds, columns=Columns(is_whole=whole), reach=reach))
    return slice_of(read_activities(rows), paging, reach.edge)


#: Rows of a file that are held at once.
BATCH = 1000


def batches(
    log: Log, search: Search, paging: Paging, *, most: int, size: int = BATCH
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
    """How many activities match, up to ``cap``, however long that takes."""
    if search.is_empty:
        return Count(0)
    return capped(log, feed(log, search.criteria, Paging(limit=cap), search.bounds, columns=COUNTED), cap)


def count_nearby(log: Log, search: Search, cap: int) -> Count | None:
    """How many activities match, up to ``cap``, as far as a page looks; ``None`` if it finds none before it ends."""
    if search.is_empty or (search.criteria.is_plain and not log.is_scoped):
        return count_activities(log, search, cap)
    paging = Paging(limit=cap)
    _, reach = reached(log, search, paging)
    found = capped(log, feed(log, search.criteria, paging, search.bounds, columns=COUNTED, reach=reach), cap)
    return nearby(found, reach.edge)


def nearby(found: Count, edge: Cursor | None) -> Count | None:
    """A number as it is told if counting ended somewhere: there are at least so many."""
    if found.is_capped or edge is None:
        return found
    return Count(found.number - 1, is_capped=True) if found.number > 1 else None


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
