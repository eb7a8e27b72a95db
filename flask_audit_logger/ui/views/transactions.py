"""One unit of work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import abort

from ...query.activities import Search, list_activities
from ...query.criteria import Criteria
from ...query.paging import MAX_ID
from ...query.transactions import Summary, get_transaction, summarize
from ..contexts import Crumb, Pager, TallyShown, TransactionPage
from ..forms import VERB_NAMES
from ..gate import action
from ..present import Presenter
from ..rendering import render
from ..search import SearchRules, filled, pager
from ..state import current_state
from ..words import amount, number
from .common import frame, open_search
from .facts import transaction_facts

FIXED = ("tx", "actor", "kind", "impersonated", "addr", "req", "period", "since", "until")
#: Columns named in a line of the summary.
NAMED = 8


@action("transaction")
def detail_page(transaction_id: int) -> Any:
    """Who, from where, why; what it changed, summed up; and its rows."""
    state = current_state()
    base = Criteria(transactions=(transaction_id,))
    parsed = open_search(state, SearchRules(fixed=FIXED, base=base))
    if "sort" not in parsed.args:
        parsed = _oldest_first(parsed)
    presenter = Presenter(state)
    with state.reader().reading() as log:
        transaction = get_transaction(log, transaction_id) if transaction_id <= MAX_ID else None
        if transaction is None:
            abort(404)
        summary = summarize(log, transaction_id)
        page = None if parsed.errors else list_activities(log, Search(parsed.criteria), parsed.paging)
        if page is not None:
            presenter.learn(log, page.rows)
        presenter.learn_actors([transaction.actor_id])

    def link(args: Any, anchor: bool = False) -> str:
        return state.links.transaction(transaction_id, args, anchor=anchor)

    total = amount(summary.rows, "row", "rows")
    context = TransactionPage(
        **frame(
            state,
            parsed,
            link,
            title=f"Transaction {transaction_id} ({total})",
            heading=f"Transaction {transaction_id}",
            steps=(Crumb(f"Transaction {transaction_id}"),),
            fixed=FIXED,
        ),
        actor=presenter.actor(transaction),
        facts=tuple(transaction_facts(state, transaction)),
        tallies=_tallies(presenter, summary, link),
        rows=tuple(presenter.activity(row) for row in page.rows) if page else (),
        pager=pager(parsed, page, lambda args: link(args, True), lambda row: row.cursor) if page else Pager(),
        total=total,
    )
    return render(context, 400 if parsed.errors else 200)


def _oldest_first(parsed: Any) -> Any:
    """The rows of a transaction are read in the order they were made."""
    return replace(parsed, paging=replace(parsed.paging, oldest_first=True))


def _tallies(presenter: Presenter, summary: Summary, link: Any) -> tuple[TallyShown, ...]:
    state = presenter.state
    shown = []
    for tally in summary.tallies:
        columns = presenter.ordered(tally.table, tally.columns)
        filters = {"table": state.catalog.text(tally.table), "verb": tally.verb}
        shown.append(
            TallyShown(
                table=presenter.table(tally.table),
                verb=tally.verb,
                verb_name=VERB_NAMES.get(tally.verb, tally.verb),
                number=number(tally.number),
                columns=tuple(state.column_label(tally.table, column) for column in columns[:NAMED])
                + ((f"{len(columns) - NAMED} more",) if len(columns) > NAMED else ()),
                href=link(filled(filters), True),
            )
        )
    return tuple(shown)
