"""One page of activities in the order of the feed, read off an index however large a transaction is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, literal_column, select, true

from .criteria import Bounds, Criteria, of_activity, of_transaction, tables_of
from .paging import MAX_ID, Paging, edge, ordered, started
from .reader import Log
from .rows import activity_columns, transaction_columns

#: A limit that the planner can't see. It plans the sub-select apart, as with OFFSET 0, but as one of which not all rows
#: may be wanted, so that it follows an index rather than sorts.
ALL: ColumnElement[int] = literal_column(f"(SELECT {MAX_ID})")


def feed(log: Log, criteria: Criteria, paging: Paging, bounds: Bounds | None, *, whole: bool = False) -> Select[Any]:
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
    log: Log, criteria: Criteria, paging: Paging, bounds: Bounds | None, matching: Select[Any], whole: bool
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
