"""What one person or service did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort

from ...i18n import VERB_NAMES, calendar, gettext, number
from ...query.criteria import Criteria
from ...query.feed import count_nearby
from ...query.reader import Log
from ...query.refs import RecordRef, TableName
from ...query.rows import TransactionRow
from ...query.sightings import LOOKED_AT, Work, acted_as, addresses, sighting, work
from ...query.summaries import Tally
from ..access import action
from ..filters import SearchRules, changed, pager
from ..presenter import Presenter
from ..shown import ActivityShown, ActorShown, Crumb, Fact, ListPage, Option, TableShown
from ..templating import message, render
from ..visit import Visit
from .base import (
    DEEPER,
    counted,
    each_first,
    find_rows,
    frame,
    listed,
    open_search,
    position_of,
    searched,
    sentence,
    unless_slow,
)


@dataclass(frozen=True, kw_only=True)
class ActorPage(ListPage):
    """One actor."""

    template = "audit/actor.html"

    actor: ActorShown
    facts: tuple[Fact, ...]
    addresses: tuple[tuple[str, str, str | None], ...]
    matrix: tuple[tuple[TableShown, tuple[tuple[str, str | None], ...]], ...]
    matrix_verbs: tuple[str, ...]
    matrix_note: str | None = None
    #: A line for each day of the week: its name, and for each hour the number of changes.
    hours: tuple[tuple[str, tuple[int, ...]], ...] = ()
    options: tuple[Option, ...] = ()
    rows: tuple[ActivityShown, ...] = ()
    count_note: str | None = None


FIXED = ("actor", "kind")

#: Some Monday.
MONDAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@action("actor")
def actor_page(visit: Visit, actor: str | None) -> Any:
    """When somebody was seen, where, what they changed, and the changes."""
    actor_id = actor
    try:
        if actor_id is not None:
            visit.check_actor(actor_id)
    except ValueError:
        abort(404)
    # no period: whoever left long ago would have an empty page
    rules = SearchRules(fixed=FIXED, extra=(DEEPER,), base=Criteria(actors=(actor_id,)))
    parsed = open_search(visit, rules)
    presenter = Presenter(visit)
    presenter.learn_actors([actor_id])

    def link(args: Any, anchor: bool = False) -> str:
        return visit.links.actor(actor_id, args, anchor=anchor)

    with visit.reader().reading() as log:
        seen = sighting(log, actor_id)
        if seen is None:
            return _idle(presenter, log, actor_id)
        label = seen.label if actor_id is not None else None  # actors that were not recorded have no name in common
        who = TransactionRow(0, None, seen.last, actor_id, label, None, None, None)
        presenter.learn_unnamed(log, [who])
        found = addresses(log, actor_id) if visit.sight.can_see_fact("client_addr") else []
        page, count, further = None, None, None
        done = Work()
        if not parsed.errors:
            page, search = find_rows(visit, log, parsed)
            presenter.learn(log, each_first(page.rows))
            done = work(log, search, visit.clock.zone_name)
            further = searched(visit, log, parsed, page, link)
            count = counted(page, lambda: count_nearby(log, search, visit.settings.count_cap))

    shown = presenter.actor(who)
    rows, fold = listed(presenter, parsed, page, link)
    name = gettext("%(name)s (deleted)", name=shown.label) if shown.is_deleted else shown.label
    verbs = tuple(dict.fromkeys(verb for verb in VERB_NAMES if any(entry.verb == verb for entry in done.tallies)))
    context = ActorPage(
        **frame(
            visit,
            parsed,
            link,
            title=gettext("%(name)s – %(changes)s", name=name, changes=sentence(visit, parsed, count, {})),
            heading=name if actor_id is not None else gettext("Actor not recorded"),
            steps=(Crumb(name),),
            fixed=FIXED,
        ),
        actor=shown,
        facts=_facts(visit, actor_id, seen),
        addresses=tuple(
            (_address(found_at), number(times), _narrow(parsed, link, found_at)) for found_at, times in found
        ),
        matrix=_matrix(presenter, parsed, done.tallies, verbs, link),
        hours=_hours(done),
        options=(*_own_record(visit, actor_id), *_impersonated(visit, actor_id)),
        matrix_verbs=tuple(VERB_NAMES[verb] for verb in verbs),
        matrix_note=gettext("Only the newest %(number)s changes are counted.", number=number(LOOKED_AT))
        if done.is_cut
        else None,
        rows=rows,
        fold=fold,
        pager=pager(parsed, page, lambda args: link(args, True), position_of, count),
        searched=further,
        count_note=sentence(visit, parsed, count, {}) if not parsed.errors else None,
    )
    return render(visit, context, 400 if parsed.errors else 200)


def _idle(presenter: Presenter, log: Log, actor_id: str | None) -> Any:
    """The page of an actor who did nothing, or only as an impersonator."""
    visit, known = presenter.visit, None
    if actor_id is not None:
        known = unless_slow(lambda: acted_as(log, actor_id), log, visit.settings.breakdown_timeout_ms)
    if known is None and log.is_scoped:  # others must not learn who is there
        abort(404)
    who = TransactionRow(0, None, visit.clock.now, actor_id, known.label if known else None, None, None, None)
    presenter.learn_unnamed(log, [who])
    shown = presenter.actor(who)
    text = gettext("No change has been recorded under this name.")
    return message(
        visit, 200, shown.label, text, options=(*_own_record(visit, actor_id), *_impersonated(visit, actor_id))
    )


def _facts(visit: Visit, actor_id: str | None, seen: Any) -> tuple[Fact, ...]:
    first, last = visit.clock.moment(seen.first), visit.clock.moment(seen.last)
    facts = [Fact(gettext("First seen"), first.text, moment=first), Fact(gettext("Last seen"), last.text, moment=last)]
    return (Fact(gettext("Id"), actor_id, is_code=True), *facts) if actor_id is not None else tuple(facts)


def _own_record(visit: Visit, actor_id: str | None) -> tuple[Option, ...]:
    """The history of the account itself, if accounts are audited."""
    table = getattr(visit.audit_logger.actor_cls, "__table__", None)
    if actor_id is None or table is None:
        return ()
    ref = TableName(table.schema or visit.catalog.default_schema, table.name)
    info = visit.catalog.get(ref)
    if info is None or not info.is_audited:
        return ()
    return (Option(gettext("Changes to this user's own record"), visit.links.record(RecordRef(ref, actor_id))),)


def _impersonated(visit: Visit, actor_id: str | None) -> tuple[Option, ...]:
    """The link to what they did as an impersonator."""
    if actor_id is None:
        return ()
    return (Option(gettext("Impersonated by this user"), visit.links.activities({"impersonator": actor_id})),)


def _hours(done: Work) -> tuple[tuple[str, tuple[int, ...]], ...]:
    if not done.hours:
        return ()
    days = [calendar(MONDAY + dt.timedelta(days=day), "%A", "cccc") for day in range(7)]
    return tuple((name, tuple(done.hours.get((day, hour), 0) for hour in range(24))) for day, name in enumerate(days))


def _address(address: str | None) -> str:
    return address or gettext("not recorded")


def _narrow(parsed: Any, link: Any, address: str | None) -> str | None:
    return link(changed(parsed.args, addr=address), True) if address else None


def _matrix(
    presenter: Presenter, parsed: Any, tallies: Sequence[Tally], verbs: tuple[str, ...], link: Any
) -> tuple[tuple[TableShown, tuple[tuple[str, str | None], ...]], ...]:
    """Tables down, kinds of change across; each number leads to its changes."""
    tables = dict.fromkeys(entry.table for entry in tallies)
    numbers = {(entry.table, entry.verb): entry.number for entry in tallies}
    rows = []
    for table in tables:
        cells: list[tuple[str, str | None]] = []
        for verb in verbs:
            found = numbers.get((table, verb))
            filters = changed(parsed.args, table=presenter.visit.catalog.text(table), verb=verb)
            cells.append((number(found), link(filters, True)) if found else ("–", None))
        rows.append((presenter.table(table), tuple(cells)))
    return tuple(rows)
