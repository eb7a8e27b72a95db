"""The list of transactions, and one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from flask import abort, request

from ...diff.show import visible
from ...i18n import ROWS, TRANSACTIONS, amount, gettext, ngettext, number
from ...query.criteria import Criteria
from ...query.feed import Count, find_activities
from ...query.paging import Cursor, Slice
from ...query.reader import Log
from ...query.refs import TableName
from ...query.rows import TransactionRow
from ...query.summaries import (
    SUMMARY_ROWS,
    Summary,
    TransactionCriteria,
    count_transactions,
    find_transactions,
    largest_transactions,
    same_changes,
    summarized,
    tally_tables,
)
from ..access import action
from ..filters import ParsedSearch, SearchRules, changed, pager
from ..forms import TransactionForm
from ..presenter import Presenter
from ..shown import ONE_PAGE, ActivityShown, ActorShown, Crumb, Fact, ListPage, Option, TableShown, TallyShown
from ..templating import render
from ..times import Moment
from ..visit import Visit
from .base import (
    DEEPER,
    actor_choices,
    counted,
    frame,
    in_words,
    is_deeper,
    open_search,
    presets,
    searched,
    tallied,
    transaction_facts,
    unless_slow,
)


@dataclass(frozen=True, kw_only=True)
class TransactionPage(ListPage):
    """One transaction."""

    template = "audit/transaction.html"

    actor: ActorShown
    facts: tuple[Fact, ...]
    tallies: tuple[TallyShown, ...]
    #: That there are more tallies than are shown.
    untold: str | None = None
    rows: tuple[ActivityShown, ...] = ()
    total: str = ""
    same: tuple[SameShown, ...] = ()
    same_note: str | None = None
    take_back_href: str | None = None
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class TransactionsPage(ListPage):
    """The list of transactions."""

    template = "audit/transactions.html"

    rows: tuple[TransactionShown, ...] = ()
    sort_href: str = ""
    oldest_first: bool = False
    #: The same list with the largest first, unless it is that one.
    size_href: str | None = None
    #: That there are smaller ones.
    only_largest: str | None = None
    all_time_href: str | None = None
    presets: tuple[Option, ...] = ()


@dataclass(frozen=True)
class TransactionShown:
    """One transaction as a row of a list."""

    id: int
    href: str
    time: Moment
    actor: ActorShown
    request: str | None
    address: str | None
    tables: tuple[tuple[TableShown, str], ...]
    rows: str
    reason: str | None


@dataclass(frozen=True)
class SameShown:
    """A change that many rows had in common."""

    number: str
    sample: ActivityShown


FIXED = ("tx", "actor", "kind", "impersonated", "impersonator", "addr", "req", "period", "since", "until")

#: Milliseconds for grouping the rows of a transaction.
SAME_TIMEOUT_MS = 1000

#: Rows of a transaction that are counted for a list.
TALLIED = 1000

#: The form's filters that make no sense for a transaction.
NOT_OF_TRANSACTIONS = ("fold", "key", "col", "field", "was", "became", "tx")


@action("transaction")
def list_page(visit: Visit) -> Any:
    """Units of work, filtered."""
    rules = SearchRules(
        default_period=visit.settings.default_period,
        fixed=NOT_OF_TRANSACTIONS,
        extra=(DEEPER,),
        form=TransactionForm,
    )
    parsed = open_search(visit, rules)
    presenter, link = Presenter(visit), visit.links.transactions
    shown: tuple[TransactionShown, ...] = ()
    page, count, further = None, None, None
    by_size, is_cut, sizes = parsed.form.sort.data == "size", False, dict[int, Count]()
    with visit.reader().reading() as log:
        actors = actor_choices(visit, log)
        if not parsed.errors:
            wanted = _wanted(parsed)
            if by_size:
                found, search = largest_transactions(log, wanted, parsed.paging, deeper=is_deeper())
                page = Slice(found.transactions, has_newer=False, has_older=found.is_cut, reached=found.reached)
                sizes, is_cut = found.rows, found.is_cut
            else:
                page, search = find_transactions(log, wanted, parsed.paging, deeper=is_deeper())
            further = searched(visit, log, parsed, page, link, by_size=by_size)
            tables = tally_tables(log, [row.id for row in page.rows], TALLIED)
            presenter.learn_actors(row.actor_id for row in page.rows)
            presenter.learn_unnamed(log, page.rows)
            shown = tuple(_row(presenter, row, tables.get(row.id, []), sizes.get(row.id)) for row in page.rows)
            count = counted(page, lambda: count_transactions(log, search, wanted, visit.settings.count_cap))
    heading = gettext("Transactions")
    if not parsed.errors:
        heading = in_words(visit, parsed, amount(count, TRANSACTIONS), dict(actors))
    context = TransactionsPage(
        **frame(
            visit,
            parsed,
            link,
            title=heading,
            heading=heading,
            steps=(Crumb(gettext("Transactions")),),
            actors=actors,
            fixed=NOT_OF_TRANSACTIONS,
        ),
        rows=shown,
        presets=presets(visit, link),
        searched=further,
        pager=ONE_PAGE
        if by_size
        else pager(parsed, page, lambda args: link(args, anchor=True), lambda row, _: Cursor(row.id, 0), count),
        sort_href=link(
            changed(parsed.args, sort=None if by_size or parsed.paging.oldest_first else "time"), anchor=True
        ),
        oldest_first=parsed.paging.oldest_first,
        size_href=None if by_size else link(changed(parsed.args, sort="size"), anchor=True),
        only_largest=gettext("Only the %(number)s largest are shown.", number=number(len(shown))) if is_cut else None,
        all_time_href=link(changed(parsed.args, period="all", since=None, until=None))
        if parsed.criteria.is_timed
        else None,
    )
    return render(visit, context, 400 if parsed.errors else 200)


@action("transaction")
def detail_page(visit: Visit, transaction_id: int) -> Any:
    """One transaction: who made it, from where and why, a summary of its changes, and its rows."""
    base = Criteria(transactions=(transaction_id,))
    parsed = open_search(visit, SearchRules(fixed=FIXED, extra=(DEEPER, "done"), base=base))
    if "sort" not in parsed.args:
        parsed = _oldest_first(parsed)
    presenter = Presenter(visit)

    def link(args: Any, anchor: bool = False) -> str:
        return visit.links.transaction(transaction_id, args, anchor=anchor)

    with visit.reader(at_source="done" in request.args).reading() as log:
        transaction, summary = summarized(log, transaction_id)
        if transaction is None:
            abort(404)
        page, further = None, None
        if not parsed.errors:
            page, _ = find_activities(log, parsed.criteria, parsed.paging, deeper=is_deeper())
            further = searched(visit, log, parsed, page, link)
            presenter.learn(log, page.rows)
        presenter.learn_actors([transaction.actor_id])
        presenter.learn_unnamed(log, [transaction])
        same, note = _same(presenter, log, transaction_id, summary)

    total, chosen = amount(summary.rows, ROWS), any(parsed.args.get(name) for name in parsed.form.NARROWING)
    context = TransactionPage(
        **frame(
            visit,
            parsed,
            link,
            title=gettext("Transaction %(id)s (%(rows)s)", id=transaction_id, rows=total),
            heading=gettext("Transaction %(id)s", id=transaction_id),
            steps=(Crumb(gettext("Transactions"), visit.links.transactions()), Crumb(f"{transaction_id}")),
            fixed=FIXED,
        ),
        actor=presenter.actor(transaction),
        facts=(*transaction_facts(visit, transaction), *_undone(visit, summary)),
        tallies=tallied(presenter, summary, lambda filters: link(filters, True)),
        untold=_untold(summary),
        rows=tuple(presenter.activity(row) for row in page.rows) if page else (),
        pager=pager(
            parsed, page, lambda args: link(args, True), lambda row, _: row.cursor, None if chosen else summary.rows
        ),
        searched=further,
        total=total,
        same=same,
        same_note=note,
        take_back_href=visit.links.take_back(transaction_id) if visit.can_take_back(transaction_id) else None,
        done=request.args.get("done") == "1",
    )
    return render(visit, context, 400 if parsed.errors else 200)


def _wanted(parsed: ParsedSearch) -> TransactionCriteria:
    form = parsed.form
    minimum = form["min_rows"].data
    return TransactionCriteria(parsed.criteria, path=form["path"].data or None, minimum=int(minimum) if minimum else 0)


def _row(
    presenter: Presenter, row: TransactionRow, tables: list[tuple[TableName, int]], size: Count | None
) -> TransactionShown:
    """A line of the list.

    :param size: its number of rows, if more of them were counted than for the tables.
    """
    visit = presenter.visit
    total = sum(found for _, found in tables)
    count = size or Count(min(total, TALLIED), is_capped=total > TALLIED)
    rows = f"{number(count.number)}+" if count.is_capped else number(count.number)
    tallies = [rows] if len(tables) == 1 else [number(min(found, TALLIED)) for _, found in tables]
    request = " ".join(part for part in (row.said("method"), row.said("path")) if part)
    reason = row.said("reason")
    return TransactionShown(
        id=row.id,
        href=visit.links.transaction(row.id),
        time=visit.clock.moment(row.issued_at),
        actor=presenter.actor(row),
        request=visible(request) if request else None,
        address=row.client_addr if visit.sight.can_see_fact("client_addr") else None,
        tables=tuple((presenter.table(table), tally) for (table, _), tally in zip(tables, tallies, strict=True)),
        rows=rows,
        reason=visible(reason) if reason else None,
    )


def _same(
    presenter: Presenter, log: Log, transaction_id: int, summary: Summary
) -> tuple[tuple[SameShown, ...], str | None]:
    """Changes that many rows have in common. The last read of the page, as it may time out."""
    if not any(tally.verb == "update" and tally.number > 1 for tally in summary.tallies):
        return (), None
    found = unless_slow(lambda: same_changes(log, transaction_id), log, SAME_TIMEOUT_MS)
    if found is None:
        return (), gettext("Too many changes to group.")
    # how many rows have a hidden value in common is not for everybody to know
    can_see = presenter.visit.sight.can_see
    found = [s for s in found if all(can_see(s.sample.table, column) for column in s.sample.changed_columns)]
    note = (
        gettext("Only the first %(number)s rows were compared.", number=number(SUMMARY_ROWS))
        if summary.is_cut
        else None
    )
    return tuple(SameShown(number(same.number), presenter.activity(same.sample)) for same in found), note


def _oldest_first(parsed: Any) -> Any:
    """The rows of a transaction are read in the order they were made."""
    return replace(parsed, paging=replace(parsed.paging, oldest_first=True))


def _undone(visit: Visit, summary: Summary) -> Iterator[Fact]:
    """The transactions that took it back, or a part of it."""
    for undoing in summary.undone_by:
        text = gettext("transaction %(id)s", id=undoing)
        yield Fact(gettext("Taken back by"), text, href=visit.links.transaction(undoing))


def _untold(summary: Summary) -> str | None:
    cut = gettext("Only the first %(number)s rows were added up.", number=number(SUMMARY_ROWS))
    if not summary.untold:
        return cut if summary.is_cut else None
    more = ngettext(
        "%(number)s more row changed in other columns.",
        "%(number)s more rows changed in other columns.",
        summary.untold,
    )
    return f"{more} {cut}" if summary.is_cut else more
