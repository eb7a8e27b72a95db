"""The list of changes, one change in full, and one value as a download."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

from flask import abort, request, send_file

from ...diff import ValueKind, as_text
from ...diff.show import visible
from ...diff.values import dump
from ...i18n import gettext, number
from ...query.criteria import Criteria
from ...query.feed import (
    Neighbours,
    count_nearby,
    find_activities,
    get_activity,
    neighbours_in_record,
    neighbours_in_transaction,
)
from ...query.paging import Cursor, Paging
from ...query.rows import ActivityRow
from ...query.scope import newest_change
from ..access import action
from ..filters import ParsedSearch, SearchRules, changed, pager
from ..presenter import Presenter
from ..shown import ActivityShown, Crumb, Fact, ListPage, Option, Page, TableShown, ValueShown
from ..templating import render
from ..urls import Links
from ..visit import Visit
from .base import (
    DEEPER,
    actor_choices,
    counted,
    each_first,
    find_rows,
    frame,
    head,
    listed,
    open_search,
    position_of,
    presets,
    searched,
    sentence,
    short,
    transaction_facts,
)
from .breakdown import FacetShown, HistogramShown, facets_shown, histogram_shown


@dataclass(frozen=True, kw_only=True)
class ActivitiesPage(ListPage):
    """The list of activities."""

    template = "audit/activities.html"

    rows: tuple[ActivityShown, ...] = ()
    count_note: str | None = None
    sort_href: str = ""
    oldest_first: bool = False
    presets: tuple[Option, ...] = ()
    tables: tuple[TableShown, ...] = ()
    all_time_href: str | None = None
    nothing_logged: bool = False
    #: Addresses of the parts of the breakdown, and of this page with them in it.
    breakdown: tuple[str, str, str] | None = None
    facets: tuple[FacetShown, ...] = ()
    chart: HistogramShown | None = None
    export_href: str | None = None
    extra_columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ActivityPage(Page):
    """One activity."""

    template = "audit/activity.html"

    activity: ActivityShown
    #: What it is of: a record, else what the event is called, else the table.
    name: str
    facts: tuple[Fact, ...]
    unchanged: tuple[ValueShown, ...]
    raw: tuple[tuple[str, str], ...]
    in_record: tuple[str | None, str | None] = (None, None)
    in_transaction: tuple[str | None, str | None] = (None, None)
    #: "3 of 12", if the transaction is not too large.
    place: str | None = None
    actions: tuple[Option, ...] = ()
    #: What was put back a moment ago.
    done: str | None = None


#: How PostgreSQL writes a value of ``bytea``.
_BYTES = re.compile(r"\\x(?:[0-9a-fA-F]{2})*")

#: Characters of a logged row that are shown as JSON.
MAX_RAW = 20_000


@action("list")
def list_page(visit: Visit) -> Any:
    """What changed, filtered."""
    parsed = open_search(visit, SearchRules(default_period=visit.settings.default_period, extra=("breakdown", DEEPER)))
    presenter, link = Presenter(visit), visit.links.activities
    with visit.reader().reading() as log:
        actors = actor_choices(visit, log)
        if parsed.errors:
            page, count, nothing, further = None, None, False, None
        else:
            page, search = find_rows(visit, log, parsed)
            presenter.learn(log, each_first(page.rows))
            further = searched(visit, log, parsed, page, link)
            nothing = not (page.rows or further) and not find_activities(log, Criteria(), Paging(limit=1))[0].rows
            count = counted(page, lambda: count_nearby(log, search, visit.settings.count_cap))
    with_breakdown = request.args.get("breakdown") == "1" and not parsed.errors
    visit.rows = len(page.rows) if page else 0
    names = dict(actors)
    rows, fold = listed(presenter, parsed, page, link)
    heading = gettext("Audit log") if parsed.errors else sentence(visit, parsed, count, names)
    title = gettext("There is a problem") if parsed.errors else heading
    context = ActivitiesPage(
        **frame(visit, parsed, link, title=title, heading=heading, steps=(), actors=actors),
        rows=rows,
        fold=fold,
        extra_columns=tuple(column.title for column in visit.ui.extra_columns if column.cell is not None),
        pager=pager(parsed, page, lambda args: link(args, anchor=True), position_of, count),
        searched=further,
        count_note=None if count or further or parsed.errors else gettext("Counting took too long."),
        sort_href=link(changed(parsed.args, sort=None if parsed.paging.oldest_first else "time"), anchor=True),
        oldest_first=parsed.paging.oldest_first,
        presets=presets(visit, link),
        tables=tuple(presenter.table(info.name) for info in visit.catalog.audited),
        all_time_href=link(changed(parsed.args, period="all", since=None, until=None)) if _is_timed(parsed) else None,
        nothing_logged=nothing,
        breakdown=_breakdown(visit, parsed) if page is not None and page.rows and not with_breakdown else None,
        facets=facets_shown(visit, parsed) if with_breakdown else (),
        chart=histogram_shown(visit, parsed) if with_breakdown else None,
        export_href=visit.links.export(None, changed(parsed.args, fold=None)) if visit.may("export") else None,
    )
    return render(visit, context, 400 if parsed.errors else 200)


@action("activity")
def detail_page(visit: Visit, change: Cursor) -> Any:
    """One change in full."""
    presenter, links = Presenter(visit), visit.links
    # What was put back a moment ago may not be on another server yet.
    with visit.reader(at_source="done" in request.args).reading() as log:
        row = get_activity(log, change)
        if row is None:
            abort(404)
        presenter.learn(log, [row])
        in_record = neighbours_in_record(log, row) if row.record_key is not None else Neighbours(None, None)
        in_transaction = neighbours_in_transaction(log, row)
        in_reach = row.record is not None and newest_change(log, row.record, visit.catalog.key).is_seen
    shown = presenter.activity(row, whole=True)
    own_name = visible(row.own_name) if row.own_name is not None else None
    name = shown.record.label if shown.record else own_name or shown.table.label
    steps = [Crumb(shown.table.label, shown.table.href)]
    if shown.record:
        steps.append(Crumb(shown.record.label, shown.record.href))
    heading = own_name or gettext("%(record)s: %(verb)s", record=name, verb=shown.verb_word)
    title = gettext("%(heading)s – change %(id)s", heading=heading, id=row.id)
    context = ActivityPage(
        **head(visit, title, heading, *steps, Crumb(gettext("Change %(id)s", id=row.id))),
        activity=shown,
        name=name,
        facts=_facts(visit, row),
        unchanged=tuple(_unchanged(presenter, row)),
        raw=_raw(visit, row),
        actions=_actions(visit, row, in_reach=in_reach),
        done=_done(presenter, row, name) if request.args.get("done") == "1" else None,
        in_record=_hrefs(links, in_record),
        in_transaction=_hrefs(links, in_transaction),
        place=_place(in_transaction),
    )
    return render(visit, context)


@action("value")
def value_file(visit: Visit, change: Cursor, column: str) -> Any:
    """One value as a download. Never shown in the browser, whatever it holds."""
    side = request.args.get("side")
    with visit.reader().reading() as log:
        row = get_activity(log, change)
    if row is None or side not in ("old", "new") or not visit.sight.can_see(row.table, column):
        abort(404)
    value = row.before(column) if side == "old" else row.after(column)
    if not value.known:
        abort(404)
    info = visit.catalog.column(row.table, column)
    text = as_text(value.data)
    may_be_binary = info is not None and info.kind is ValueKind.BINARY
    if may_be_binary and not visit.may("download_binary", row.record):
        abort(404)
    # the column may have held texts once
    is_binary = may_be_binary and _BYTES.fullmatch(text) is not None
    data = bytes.fromhex(text[2:]) if is_binary else text.encode("utf-8", "surrogatepass")
    ending = "bin" if is_binary else "txt"
    return send_file(
        io.BytesIO(data),
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=f"change-{row.id}-{side}.{ending}",
    )


def _breakdown(visit: Visit, parsed: ParsedSearch) -> tuple[str, str, str]:
    args = changed(parsed.args)
    links = visit.links
    return (
        links.breakdown("histogram", args),
        links.breakdown("facets", args),
        links.activities({**args, "breakdown": "1"}),
    )


def _done(presenter: Presenter, row: ActivityRow, name: str) -> str:
    """What a change did that put values back."""
    columns = row.changed_columns
    if row.verb == "insert":
        return gettext("%(record)s is there again.", record=name)
    value = presenter.value(row.table, columns[0], row.after(columns[0])) if len(columns) == 1 else None
    text = short(value) if value else None
    if value is None or text is None:
        return gettext("Done: the values are as they were.")
    return gettext("%(column)s is %(value)s again.", column=value.label, value=text)


def _actions(visit: Visit, row: ActivityRow, *, in_reach: bool) -> tuple[Option, ...]:
    """The links to other pages about this change."""
    record, links = row.record, visit.links
    if record is None or row.is_notice:
        return ()
    found = []
    if visit.may("compare", record):
        found.append(
            Option(
                gettext("Compare with the newest version"), links.compare(record, **{"from": row.cursor, "to": "last"})
            )
        )
    found.append(Option(gettext("State after this change"), links.as_of(record, change=row.cursor)))
    if row.verb in ("update", "delete") and in_reach and visit.can_revert(record):
        columns = row.changed_columns if row.verb == "update" else ()
        found.append(Option(gettext("Put back …"), links.revert(record, row.cursor, "before", *columns)))
    return tuple(found)


def _hrefs(links: Links, found: Neighbours) -> tuple[str | None, str | None]:
    return (
        links.activity(found.previous) if found.previous is not None else None,
        links.activity(found.next) if found.next is not None else None,
    )


def _place(found: Neighbours) -> str | None:
    if found.place is None:
        return None
    place, total = (number(value) for value in found.place)
    return gettext("%(place)s of %(total)s", place=place, total=total)


def _facts(visit: Visit, row: ActivityRow) -> tuple[Fact, ...]:
    moment = visit.clock.moment(row.issued_at)
    facts = [Fact(gettext("Time"), moment.exact, moment=moment)]
    return (*facts, *transaction_facts(visit, row.transaction, with_time=False))


def _unchanged(presenter: Presenter, row: ActivityRow) -> list[ValueShown]:
    """The columns an update left alone; those the viewer may not see are not even named."""
    if row.verb != "update":
        return []
    columns = [
        column
        for column in row.old_data
        if column not in row.changed_data and presenter.visit.sight.can_see(row.table, column)
    ]
    ordered = presenter.visit.catalog.ordered(row.table, columns)
    return [presenter.value(row.table, column, row.before(column)) for column in ordered]


def _raw(visit: Visit, row: ActivityRow) -> tuple[tuple[str, str], ...]:
    sides = (("old_data", row.old_data), ("changed_data", row.changed_data))
    texts = ((name, visible(dump(visit.sight.logged(row, data)))) for name, data in sides)
    cut = gettext("(truncated)")
    return tuple((name, text if len(text) <= MAX_RAW else f"{text[:MAX_RAW]}… {cut}") for name, text in texts)


def _is_timed(parsed: Any) -> bool:
    return bool(parsed.criteria.is_timed)
