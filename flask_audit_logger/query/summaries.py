"""Lists of transactions, and a summary of what one of them changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Numeric,
    ScalarSelect,
    Subquery,
    Table,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from ..schema.names import TableName
from .criteria import Criteria, conditions
from .feed import APART, STEPS, WHOLE, Count, Reach, Search, capped, nearby, reached
from .paging import Cursor, Paging, Slice, edge, ordered, paged, slice_of, started
from .reader import Log
from .rows import (
    ActivityRow,
    TransactionRow,
    activity_columns,
    read_activity,
    read_transaction,
    transaction_columns,
)

#: Maximum number of rows of a transaction that are read for its summary, and that are counted in an index.
SUMMARY_ROWS, COUNTED_ROWS = 2000, 100_000
#: Maximum number of transactions that are named for taking one back, of which each may take back a part.
UNDONE_BY = 5
#: Maximum number of kinds of change in a summary.
SUMMARY_LINES = 200
#: Numbers of which it is told by how much they grew: what others divide to has more digits than anybody reads.
_TOLD = (Decimal("1e-6"), Decimal("1e15"))


@dataclass(frozen=True)
class Tally:
    """How many rows of a table were changed in one way.

    :param columns: those that all of these updates changed.
    :param factors: by how much columns of numbers were multiplied at least and at most.
    """

    table: TableName
    verb: str
    number: int
    columns: tuple[str, ...] = ()
    factors: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What a transaction changed, largest first.

    :param rows: how many it changed; ``is_capped`` if only the first were counted.
    :param untold: so many of the rows that were read were changed in other ways than the tallies say.
    :param is_cut: whether only the first of its rows were read for the tallies.
    :param undone_by: the ids of transactions that took it back, or a part of it; the newest last.
    """

    tallies: tuple[Tally, ...]
    rows: Count
    untold: int = 0
    is_cut: bool = False
    undone_by: tuple[int, ...] = ()


@dataclass(frozen=True)
class TransactionCriteria:
    """What a transaction must be to be listed.

    :param criteria: its filters on actor, kind, address, period and request apply to the transaction; its tables,
        verbs and columns ask for at least one such activity in it.
    :param path: the request's path starts with this.
    :param minimum: at least so many activities.
    """

    criteria: Criteria
    path: str | None = None
    minimum: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether all transactions of the period match, so that reading never looks for long."""
        return self.criteria.is_plain and self.path is None and self.minimum <= 1


def summarized(log: Log, transaction_id: int, cap: int = SUMMARY_ROWS) -> tuple[TransactionRow | None, Summary]:
    """One transaction, if the reader may see any of it, and its changes by table, verb and set of columns.

    :param cap: rows that are looked at.
    """
    t = log.models.transaction
    sums = sums_of(log, [transaction_id], (), cap, SUMMARY_LINES)
    # with a scope, what is not read can't be counted
    number = literal(transaction_id, BigInteger)
    every = literal(None, Integer) if log.is_scoped else count_all(log, number, COUNTED_ROWS)
    statement = (
        select(
            *transaction_columns(log.models),
            *sums.c,
            every.label("every"),
            undone_by(log, transaction_id).label("undone"),
        )
        .select_from(t.join(sums, true(), isouter=not log.is_scoped))
        .where(t.c.id == transaction_id)
    )
    rows = log.all(statement)
    summary = replace(
        summary_of(rows, rows[0].every if rows else None, cap if log.is_scoped else COUNTED_ROWS),
        undone_by=tuple(sorted(rows[0].undone or ())) if rows else (),
    )
    return (read_transaction(rows[0]) if rows else None), summary


def undone_by(log: Log, transaction_id: int) -> ScalarSelect[Any]:
    """The newest transactions that took one back, as an array, as far as the reader may see any of them."""
    u = log.models.transaction.alias("undoing")
    says = u.c.context.op("?", return_type=Boolean)(literal_column("'undoes'"))  # as the index has it
    whose = u.c.context.op("->>", return_type=Text)(literal_column("'undoes'"))
    matching = select(u.c.id).where(says, whose == str(transaction_id), u.c.id > transaction_id)
    if log.is_scoped:
        a = log.models.activity.c
        matching = matching.where(log.activities(literal(1)).where(a.transaction_id == u.c.id).correlate(u).exists())
    # apart, so that the limit tempts the planner into no walk over all later transactions
    few = matching.offset(APART).subquery()
    newest = select(few.c.id).order_by(few.c.id.desc()).limit(UNDONE_BY).subquery()
    return select(func.pg_catalog.array_agg(newest.c.id)).scalar_subquery()


def count_all(log: Log, transaction_id: ColumnElement[int], cap: int) -> ScalarSelect[Any]:
    """How many changes a transaction has, whoever may see them, up to one more than ``cap``; read off an index."""
    counted = log.models.activity.alias("counted")
    every = select(literal(1)).where(counted.c.transaction_id == transaction_id).limit(cap + 1)
    entries = every.correlate_except(counted).subquery()
    return select(func.count()).select_from(entries).scalar_subquery()


def unnested(ids: Sequence[int]) -> Subquery:
    """Ids of transactions as rows."""
    return select(func.unnest(literal(list(ids), ARRAY(BigInteger))).label("id")).subquery("wanted")


def sums_of(log: Log, ids: Sequence[int], matching: Sequence[ColumnElement[bool]], cap: int, lines: int) -> Subquery:
    """Changes of transactions by table, verb and set of columns, the most frequent first.

    :param matching: conditions on the changes.
    :param cap: rows of each transaction that are looked at.
    :param lines: sums of each transaction that are given; ``total`` is of all of them.
    """
    a = log.models.activity.c
    wanted = unnested(ids)
    names = func.jsonb_object_keys(a.changed_data).table_valued("name").render_derived()
    columns = case((a.verb == "update", select(func.pg_catalog.array_agg(names.c.name)).scalar_subquery()))
    some = (
        log.activities(a.transaction_id, a.schema, a.table_name, a.verb, columns.label("columns"))
        .add_columns(a.old_data, a.changed_data)
        .where(a.transaction_id == wanted.c.id, *matching)
        .correlate(wanted)
        .order_by(a.id)
        .limit(cap)
        .lateral()
    )
    seen = select(*some.c).select_from(wanted.join(some, true())).subquery("seen")
    by = (seen.c.transaction_id, seen.c.schema, seen.c.table_name, seen.c.verb, seen.c.columns)
    # an update is a row for each of its columns, of which all of a group have the same; anything else is one row
    changed = func.jsonb_each(case((seen.c.verb == "update", seen.c.changed_data)))
    each = changed.table_valued("key", column("value", JSONB)).render_derived(name="each").lateral("each")
    factor = _factor(seen.c.old_data.op("->")(each.c.key), each.c.value)
    of_columns = (
        select(*by, each.c.key, func.count().label("number"))
        .add_columns(func.count(factor).label("told"), func.min(factor).label("least"), func.max(factor).label("most"))
        .select_from(seen.outerjoin(each, true()))
        .group_by(*by, each.c.key)
        .subquery("of_columns")
    )
    o = of_columns.c
    by = (o.transaction_id, o.schema, o.table_name, o.verb, o.columns)
    is_factor = and_(o.key.is_not(None), o.told == o.number)
    factors = func.jsonb_object_agg(o.key, func.jsonb_build_array(o.least, o.most)).filter(is_factor)
    number, whole = func.max(o.number), o.transaction_id
    line = func.row_number().over(partition_by=whole, order_by=(number.desc(), *by[1:]))
    total = func.sum(number).over(partition_by=whole)
    sums = select(*by, number.label("number"), factors.label("factors"), total.label("total"), line.label("line"))
    told = sums.group_by(*by).subquery("told")
    return select(told).where(told.c.line <= lines).order_by(told.c.transaction_id, told.c.line).subquery("sums")


def _factor(old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a number was multiplied by; of one that is not above zero, or has very many digits, it is not told."""
    are_numbers = and_(func.jsonb_typeof(new) == "number", func.jsonb_typeof(old) == "number")
    before, after = cast(old, Numeric), cast(new, Numeric)
    is_told = and_(before.between(*_TOLD), after.between(*_TOLD))
    return case((are_numbers, case((is_told, func.round(after / before, 6)))))


def summary_of(rows: Sequence[Any], every: int | None, most: int) -> Summary:
    """A summary of the sums of one transaction.

    :param every: how many changes there are, up to one more than ``most``; if that is not known, reading ended at
        ``most``.
    """
    tallies = tuple(
        Tally(
            table=TableName(row.schema, row.table_name),
            verb=row.verb,
            number=row.number,
            columns=tuple(row.columns or ()),
            factors={name: (float(least), float(last)) for name, (least, last) in (row.factors or {}).items()},
        )
        for row in rows
        if row.verb is not None
    )
    counted = int(rows[0].total) if tallies else 0
    number = counted if every is None else every
    return Summary(
        tallies=tallies,
        rows=Count(min(number, most), is_capped=number > most or (every is None and counted >= most)),
        untold=counted - sum(tally.number for tally in tallies),
        is_cut=number > counted or (every is None and counted >= most),
    )


@dataclass(frozen=True)
class SameChange:
    """One change that many rows had in common; ``sample`` is one of them."""

    sample: ActivityRow
    number: int


def same_changes(log: Log, transaction_id: int, limit: int = 10, cap: int = SUMMARY_ROWS) -> list[SameChange]:
    """The updates of a transaction that changed several rows from the same to the same, most frequent first.

    :param cap: rows that are looked at.
    """
    a, t = log.models.activity, log.models.transaction
    seen = (
        log.activities(*activity_columns(log.models))
        .where(a.c.transaction_id == transaction_id, a.c.verb == "update")
        .order_by(a.c.id)
        .limit(cap)
        .subquery("seen")
    )
    groups = (
        select(func.min(seen.c.id).label("id"), func.count().label("number"))
        .group_by(seen.c.schema, seen.c.table_name, seen.c.old_text, seen.c.changed_text)
        .having(func.count() > 1)
        .order_by(func.count().desc(), func.min(seen.c.id))
        .limit(limit)
        .subquery("groups")
    )
    source = a.join(groups, and_(a.c.transaction_id == transaction_id, a.c.id == groups.c.id))
    source = source.outerjoin(t, a.c.transaction_id == t.c.id)
    columns = (*activity_columns(log.models), *transaction_columns(log.models), groups.c.number)
    statement = log.activities(*columns, source=source).order_by(groups.c.number.desc(), groups.c.id)
    return [SameChange(read_activity(row), row.number) for row in log.all(statement)]


def find_transactions(
    log: Log, wanted: TransactionCriteria, paging: Paging, *, deeper: bool = False
) -> tuple[Slice[TransactionRow], Search]:
    """One page of transactions, and the search for what else is read about it.

    :param deeper: look further than for a first page.
    """
    search = Search(wanted.criteria)
    if wanted.is_plain and not log.is_scoped:
        search = Search.prepare(log, wanted.criteria)
        return list_transactions(log, search, wanted, paging), search
    for number in STEPS[2:] if deeper else STEPS[:2]:
        search, reach = reached(log, search, paging, number, of_transactions=True)
        page = list_transactions(log, search, wanted, paging, reach)
        if page.reached is None:
            break
    return page, search


def list_transactions(
    log: Log, search: Search, wanted: TransactionCriteria, paging: Paging, reach: Reach = WHOLE
) -> Slice[TransactionRow]:
    """One page of transactions, by id: that is the order of time.

    :param reach: how far to look.
    """
    if search.is_empty:
        return Slice((), has_newer=False, has_older=False)
    t = log.models.transaction
    source, where = _matching(log, search, wanted, paging, reach)
    statement = select(*transaction_columns(log.models)).select_from(source).where(*where)
    order = () if isinstance(source, Table) else (source.left.c.transaction_id,)
    rows = log.all(paged(statement, paging, t.c.id, ends=("transaction_id",), order=order))
    found = [read_transaction(row) for row in rows]
    return slice_of([row for row in found if row is not None], paging, reach.edge)


@dataclass(frozen=True)
class Largest:
    """Transactions by their number of rows, the largest first.

    :param rows: how many each changed; ``is_capped`` for the last one that was looked at, if it may have more.
    :param is_cut: whether there are smaller ones.
    :param reached: how far was looked, if not to the end of the log or the period.
    """

    transactions: tuple[TransactionRow, ...]
    rows: dict[int, Count]
    is_cut: bool = False
    reached: Cursor | None = None


def largest_transactions(
    log: Log, wanted: TransactionCriteria, paging: Paging, *, deeper: bool = False
) -> tuple[Largest, Search]:
    """The largest transactions that match, and the search for what else is read about them.

    Only its changes tell how large a transaction is, so a page adds up those that any search looks through.

    :param deeper: look further than for a first page.
    """
    period = Criteria(since=wanted.criteria.since, until=wanted.criteria.until)
    search, reach = reached(log, Search(period), paging, STEPS[2] if deeper else STEPS[1])
    found = Search(wanted.criteria, search.bounds, search.is_empty)
    if search.is_empty:
        return Largest((), {}), found
    a, t = log.models.activity.c, log.models.transaction
    counted = started(log.activities(a.transaction_id, func.count().label("number")), paging, a.transaction_id, a.id)
    counted = counted.where(*reach.within(paging, a.transaction_id, a.id)).group_by(a.transaction_id)
    if search.bounds is not None:
        counted = counted.where(*search.bounds.spans(a.transaction_id))
    parts = counted.subquery("parts")
    last = reach.edge.transaction_id if reach.edge is not None else None
    size: ColumnElement[int] = parts.c.number
    if last is not None and not log.is_scoped:  # most of it may be beyond the last change that is added up
        whole = func.greatest(size, count_all(log, literal(last, BigInteger), COUNTED_ROWS))
        size = case((parts.c.transaction_id == last, whole), else_=size)
    sizes = select(parts.c.transaction_id, size.label("size")).offset(APART).subquery("sizes")
    statement = (
        select(*transaction_columns(log.models), sizes.c.size)
        .select_from(sizes.join(t, sizes.c.transaction_id == t.c.id))
        .where(sizes.c.size >= wanted.minimum, *_conditions(log, found, replace(wanted, minimum=0)))
        .where(*edge(t.c.id, paging), *reach.within(paging, t.c.id))  # or all of the table may be read for the join
        .order_by(sizes.c.size.desc(), t.c.id.desc())
        .limit(paging.limit + 1)
    )
    rows = log.all(statement)
    shown = [row for row in map(read_transaction, rows[: paging.limit]) if row is not None]
    numbers = {row.t_id: Count(row.size) for row in rows[: paging.limit]}
    if last in numbers and (log.is_scoped or numbers[last].number > COUNTED_ROWS):
        numbers[last] = Count(numbers[last].number - (not log.is_scoped), is_capped=True)
    # what comes further back begins with the transaction before that one
    end = Cursor(last, 0) if last is not None else None
    return Largest(tuple(shown), numbers, len(rows) > paging.limit, end), found


def tally_tables(log: Log, ids: Sequence[int], cap: int = 1000) -> dict[int, list[tuple[TableName, int]]]:
    """For each transaction the number of rows it changed in each table, looking at ``cap`` rows of each at most."""
    if not ids:
        return {}
    a, t = log.models.activity.c, log.models.transaction.c
    few = (
        log.activities(a.schema, a.table_name)
        .where(a.transaction_id == t.id)
        .limit(cap + 1)
        .correlate(log.models.transaction)
        .lateral()
    )
    statement = (
        select(t.id, few.c.schema, few.c.table_name, func.count())
        .select_from(log.models.transaction.join(few, literal(True)))
        .where(t.id.in_(ids))
        .group_by(t.id, few.c.schema, few.c.table_name)
        .order_by(t.id, func.count().desc(), few.c.table_name)
    )
    found: dict[int, list[tuple[TableName, int]]] = {}
    for transaction_id, schema, table, number in log.all(statement):
        found.setdefault(transaction_id, []).append((TableName(schema, table), number))
    return found


def count_transactions(log: Log, search: Search, wanted: TransactionCriteria, cap: int) -> Count | None:
    """How many transactions match, up to ``cap``, as far as a page looks; ``None`` if it finds none there."""
    if search.is_empty:
        return Count(0)
    paging, reach = Paging(limit=cap), WHOLE
    if not wanted.is_plain or log.is_scoped:
        _, reach = reached(log, search, paging, of_transactions=True)
    source, where = _matching(log, search, wanted, paging, reach)
    order = log.models.transaction.c.id if isinstance(source, Table) else source.left.c.transaction_id
    matching = ordered(select(literal(1)).select_from(source).where(*where), paging, order)
    return nearby(capped(log, matching, cap), reach.edge)


def _matching(log: Log, search: Search, wanted: TransactionCriteria, paging: Paging, reach: Reach) -> Any:
    """What is read for a page of transactions, and the conditions on it."""
    t = log.models.transaction
    large = _large(log, search, wanted, paging, reach)
    source = t if large is None else large.join(t, large.c.transaction_id == t.c.id)
    return source, [*_conditions(log, search, wanted), *reach.within(paging, t.c.id)]


def _large(log: Log, search: Search, wanted: TransactionCriteria, paging: Paging, reach: Reach) -> Subquery | None:
    """Ids of transactions with enough rows in the order of the page, read off one index without a look at each.

    ``None`` where another filter leaves so few transactions that a look at each is cheaper, see :func:`_conditions`.
    """
    if wanted.minimum <= 1 or _is_narrow(wanted):
        return None
    a = log.models.activity.c
    found = log.activities(a.transaction_id).group_by(a.transaction_id).having(func.count() >= wanted.minimum)
    # the planner carries no inequality over the join
    found = found.where(*edge(a.transaction_id, paging), *reach.within(paging, a.transaction_id))
    if search.bounds is not None:
        found = found.where(*search.bounds.spans(a.transaction_id))
    order = a.transaction_id.desc() if paging.reads_down else a.transaction_id.asc()
    # OFFSET 0 keeps the order, so that a page ends the reading when it is full
    return found.order_by(order).offset(APART).subquery("large")


def _is_narrow(wanted: TransactionCriteria) -> bool:
    criteria = wanted.criteria
    return bool(
        criteria.actors
        or criteria.addresses
        or criteria.requests
        or criteria.impersonators
        or criteria.impersonated
        or criteria.transactions
        or wanted.path
    )


def _conditions(log: Log, search: Search, wanted: TransactionCriteria) -> list[ColumnElement[bool]]:
    a, t = log.models.activity.c, log.models.transaction.c
    criteria = wanted.criteria
    of_transaction = replace(criteria, **_NO_ACTIVITY)
    found = list(conditions(log.models, of_transaction, None))
    if search.bounds is not None:
        found += search.bounds.spans(t.id)
    if criteria.transactions:
        found.append(t.id.in_(criteria.transactions))
    if wanted.path is not None:
        found.append(func.starts_with(t.context["path"].astext, wanted.path))
    of_activity = conditions(log.models, replace(criteria, **_NO_TRANSACTION), None)
    if of_activity or log.is_scoped:
        found.append(log.touched(*of_activity))
    if wanted.minimum > 1 and _is_narrow(wanted):
        nth = log.activities(literal(1)).where(a.transaction_id == t.id).correlate(log.models.transaction)
        found.append(nth.offset(wanted.minimum - 1).limit(1).exists())
    return found


#: Takes everything about the activity out of criteria.
_NO_ACTIVITY: dict[str, Any] = {
    "tables": (),
    "record_key": None,
    "verbs": (),
    "columns": (),
    "column_values": (),
    "transactions": (),
}
#: Takes everything about the transaction out of criteria.
_NO_TRANSACTION: dict[str, Any] = {
    "actors": (),
    "kinds": (),
    "impersonated": None,
    "impersonators": (),
    "addresses": (),
    "since": None,
    "until": None,
    "transactions": (),
    "requests": (),
}
