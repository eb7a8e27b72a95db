"""What several pages share: reading the filters, heads and breadcrumbs, counts, and the facts of a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from flask import request
from werkzeug.datastructures import MultiDict

from ...diff import ValueKind
from ...diff.kinds import signed_percent
from ...diff.show import visible
from ...diff.values import dump
from ...exceptions import ReadTimeout
from ...i18n import CHANGES, KIND_NAMES, VERB_NAMES, VERB_NOUNS, amount, gettext, joined, marked, ngettext, number
from ...query.feed import Count, Search, find_activities, moment_of
from ...query.folds import Fold, find_folded
from ...query.paging import MAX_ID, Cursor, Slice
from ...query.reader import Log, translated
from ...query.rows import ActivityRow, TransactionRow
from ...query.sightings import known_actors
from ...query.summaries import Summary, Tally
from ..filters import ParsedSearch, SearchRules, changed, chips, filled, parse, pinned
from ..options import asked
from ..presenter import Presenter
from ..shown import (
    ActivityShown,
    Crumb,
    Fact,
    FoldShown,
    Option,
    RecordShown,
    TableShown,
    TallyShown,
    ValueShown,
)
from ..templating import crumbs
from ..times import PERIOD_WORDS, PERIODS
from ..urls import NOBODY
from ..visit import Visit

T = TypeVar("T")
#: Most actors that the filter offers as a list.
OFFERED_ACTORS = 100

#: Rows from which a transaction is offered as a large one.
LARGE = 1000

#: Seconds for which that list is kept.
ACTORS_AGE = 60

#: A search in words: whether tables, columns and actors are given, and the sentence.
_SEARCHES = {
    (False, False, False): marked("%(changes)s"),
    (True, False, False): marked("%(changes)s to %(tables)s"),
    (False, True, False): marked("%(changes)s in %(columns)s"),
    (False, False, True): marked("%(changes)s by %(actors)s"),
    (True, True, False): marked("%(changes)s to %(tables)s in %(columns)s"),
    (True, False, True): marked("%(changes)s to %(tables)s by %(actors)s"),
    (False, True, True): marked("%(changes)s in %(columns)s by %(actors)s"),
    (True, True, True): marked("%(changes)s to %(tables)s in %(columns)s by %(actors)s"),
}


#: Characters of a value that is named within a label or a sentence.
SHORT = 20


def short(value: ValueShown) -> str | None:
    """A value as it is named in a label; ``None`` if it is long, or more than a text."""
    named = value.target.label if value.target else value.text or value.shown.plain
    return named if named and len(named) <= SHORT and value.shown.instant is None else None


def open_search(visit: Visit, rules: SearchRules) -> ParsedSearch:
    """Read the filters of this request."""
    return parse(visit, request.args, request.query_string, rules)


def head(visit: Visit, title: str, heading: str, *steps: Crumb) -> dict[str, Any]:
    """The head of every page.

    :param title: what the page is; where it belongs is added.
    :param steps: the breadcrumb below the list.
    """
    whole = gettext("%(page)s – Audit", page=visible(title))
    return {
        "title": f"{whole} – {visit.settings.home[0]}" if visit.settings.home else whole,
        "heading": visible(heading),
        "crumbs": crumbs(visit, *steps),
        "zone": visit.clock.name,
        "viewer": visible(visit.viewer.label or visit.viewer.id) if visit.viewer else None,
    }


def steps_to(record: RecordShown, table: TableShown, here: str) -> tuple[Crumb, ...]:
    """The breadcrumb of a page about a record."""
    return Crumb(table.label, table.href), Crumb(record.label, record.href), Crumb(here)


def frame(
    visit: Visit,
    parsed: ParsedSearch,
    link: Callable[..., str],
    *,
    title: str,
    heading: str,
    steps: Sequence[Crumb],
    actors: Sequence[tuple[str, str]] = (),
    fixed: Collection[str] = (),
) -> dict[str, Any]:
    """The parts that every page with a filter form has.

    :param link: makes the page's address of a mapping of parameters.
    """
    names = dict(actors)
    form = parsed.form
    return {
        **head(visit, title, heading, *steps),
        "ignored": parsed.ignored,
        "form": form,
        "action": link({}),
        "chips": tuple(chips(visit, parsed, lambda args: link(args, anchor=True), names)),
        "clear_href": link({}),
        "pin_href": link(pinned(visit, parsed), anchor=True) if _is_relative(parsed) else None,
        "errors": parsed.errors,
        "more_active": sum(bool(parsed.args.get(name)) for name in form.MORE if name not in fixed),
        "actor_choices": tuple(actors),
        "actors_complete": _is_complete(actors, form.actor.data or []),
        "columns": _columns(visit, parsed),
        "fixed": frozenset(fixed),
    }


def find_rows(visit: Visit, log: Log, parsed: ParsedSearch) -> tuple[Slice[ActivityRow | Fold], Search]:
    """One page of the feed, and the search for what else is read about it; a large transaction is one row."""
    criteria, over = parsed.criteria, visit.settings.fold_over
    if not over or parsed.form.fold.data or criteria.transactions or criteria.record_key is not None:
        page, search = find_activities(log, criteria, parsed.paging, deeper=is_deeper())
        return Slice[ActivityRow | Fold](page.rows, page.has_newer, page.has_older, page.reached), search
    return find_folded(log, criteria, parsed.paging, over, deeper=is_deeper())


def each_first(rows: Iterable[ActivityRow | Fold]) -> list[ActivityRow]:
    """The changes that are shown, or whose transactions are."""
    return [row.first if isinstance(row, Fold) else row for row in rows]


def position_of(row: ActivityRow | Fold, down: bool) -> Cursor:
    """Where the page behind a row begins."""
    return row.end(down=down) if isinstance(row, Fold) else row.cursor


def listed(
    presenter: Presenter, parsed: ParsedSearch, page: Slice[ActivityRow | Fold] | None, link: Any
) -> tuple[tuple[ActivityShown, ...], Option | None]:
    """The rows of a list, and the link that folds large transactions, or does not."""
    rows = page.rows if page is not None else ()
    shown = tuple(
        _folded(presenter, parsed, row, link) if isinstance(row, Fold) else presenter.listed(row) for row in rows
    )
    if any(row.fold for row in shown):
        return shown, Option(gettext("Show each change"), link(changed(parsed.args, fold="0"), anchor=True))
    if parsed.form.fold.data and presenter.visit.settings.fold_over:
        return shown, Option(
            gettext("Large transactions as one row"), link(changed(parsed.args, fold=None), anchor=True)
        )
    return shown, None


def _folded(presenter: Presenter, parsed: ParsedSearch, fold: Fold, link: Any) -> ActivityShown:
    summary, transaction_id = fold.summary, str(fold.first.transaction_id)

    def within(filters: dict[str, Any]) -> str:
        return str(link(changed(parsed.args, tx=transaction_id, **filters), anchor=True))

    read = sum(tally.number for tally in summary.tallies) + summary.untold
    told = FoldShown(
        number=amount(summary.rows, CHANGES),
        href=within({}),
        tallies=tallied(presenter, summary, within),
        is_mixed=len(summary.tallies) > 1,
        note=gettext("Based on the first %(number)s changes.", number=number(read)) if summary.is_cut else None,
    )
    blank = tuple("" for column in presenter.visit.ui.extra_columns if column.cell is not None)
    return replace(presenter.activity(fold.first, cells=blank), fold=told)


#: Columns named in a line of a summary.
NAMED = 8


def tallied(presenter: Presenter, summary: Summary, link: Callable[[dict[str, Any]], str]) -> tuple[TallyShown, ...]:
    """What a transaction changed, in lines.

    :param link: makes the address of the changes of a line of filters.
    """
    visit, shown = presenter.visit, []
    for tally in summary.tallies:
        columns = presenter.ordered(tally.table, tally.columns)
        names = [_grown(presenter, tally, column) for column in columns[:NAMED]]
        if len(columns) > NAMED:
            names.append(ngettext("%(number)s more", "%(number)s more", len(columns) - NAMED))
        shown.append(
            TallyShown(
                table=presenter.table(tally.table),
                verb=tally.verb,
                verb_name=VERB_NAMES.get(tally.verb, tally.verb),
                number=number(tally.number),
                columns=tuple(names),
                href=link({"table": visit.catalog.text(tally.table), "verb": tally.verb}),
            )
        )
    return tuple(shown)


def _grown(presenter: Presenter, tally: Tally, column: str) -> str:
    """The name of a column, and by how much its numbers grew in several rows."""
    view = presenter.column(tally.table, column)
    factors = tally.factors.get(column)
    is_told = view.can_see and view.formatter is None and not view.is_name and view.kind is ValueKind.NUMBER
    if factors is None or tally.number < 2 or not is_told:
        return view.label
    least, most = (signed_percent((Decimal(str(factor)) - 1) * 100) for factor in factors)
    if least is None or most is None:
        return view.label
    if least == most:
        return gettext("%(column)s (%(change)s %%)", column=view.label, change=most)
    return gettext("%(column)s (%(least)s to %(most)s %%)", column=view.label, least=least, most=most)


def is_all(page: Slice[Any]) -> bool:
    """Whether a page has every row there is, so that nothing needs to be counted."""
    return bool(page.rows) and not page.has_newer and not page.has_older


def more_columns(number: int) -> str | None:
    """That a page does not show all columns."""
    if number <= 0:
        return None
    return ngettext("%(number)s more column is not shown.", "%(number)s more columns are not shown.", number)


def record_name(record: RecordShown, table: TableShown) -> str:
    """A record by its name, or by its table and key."""
    return record.label if record.is_named else f"{table.label} {record.label}"


def unless_slow(read: Callable[[], T], log: Log | None = None, timeout_ms: int = 0) -> T | None:
    """What a read finds, or ``None`` if it takes too long. Nothing can be read afterwards.

    :param log: gets a time limit of its own for this read.
    """
    try:
        with translated():
            if log is not None:
                log.limit(timeout_ms)
            return read()
    except ReadTimeout:
        return None


def counted(page: Slice[Any], count: Callable[[], Count | None]) -> Count | None:
    """How many rows match; ``None`` if counting takes too long. Nothing can be read afterwards."""
    if page.reached is not None:
        return None
    is_counted = is_all(page) and not any(isinstance(row, Fold) for row in page.rows)
    return Count(len(page.rows)) if is_counted else unless_slow(count)


#: The parameter of a page that looks further than a first one.
DEEPER = "deeper"


def is_deeper() -> bool:
    """Whether this request is to look further."""
    return request.args.get(DEEPER) == "1"


def searched(
    visit: Visit, log: Log, parsed: ParsedSearch, page: Slice[Any] | None, link: Any, *, by_size: bool = False
) -> Option | None:
    """How far a search looked that ended before its page was full, and the page that goes on from there.

    :param by_size: further back there may be larger ones, so that it begins once more.
    """
    if page is None or page.reached is None:
        return None
    down, moment = parsed.paging.reads_down, moment_of(log, page.reached)
    time = visit.clock.moment(moment).text if moment is not None else str(page.reached)
    text = gettext("Searched back to %(time)s.", time=time) if down else gettext("Searched up to %(time)s.", time=time)
    position = {"before" if down else "after": str(page.reached)} if not by_size or is_deeper() else {}
    return Option(text, link({**changed(parsed.args, **position), DEEPER: "1"}))


def presets(visit: Visit, link: Callable[..., str]) -> tuple[Option, ...]:
    """The searches of most days, then those of the application.

    :param link: makes the list's address of a mapping of parameters.
    """
    found = [
        Option(str(PERIODS["yesterday"]), link({"period": "yesterday"})),
        Option(str(KIND_NAMES["outside"]), link({"kind": "outside"})),
    ]
    if visit.may("transaction"):
        text = gettext("%(number)s rows and more", number=number(LARGE))
        found.append(Option(text, visit.links.transactions({"min_rows": str(LARGE)})))
    return (
        *found,
        *(Option(preset.name, visit.links.activities(filled(dict(preset.filters)))) for preset in visit.ui.presets),
    )


def actor_choices(visit: Visit, log: Log) -> list[tuple[str, str]]:
    """Ids and names of actors to choose from."""
    hook = visit.ui.suggest_actors
    if hook is not None:
        return asked("suggest_actors", lambda: [(str(actor), str(label)) for actor, label in hook().items()], [])
    if log.is_scoped:  # others must not learn who is in the log
        return []
    if visit.site.known_actors is None or time.monotonic() - visit.site.known_actors[0] > ACTORS_AGE:
        found = [(actor.id, actor.label or f"#{actor.id}") for actor in known_actors(log, OFFERED_ACTORS + 1)]
        visit.site.known_actors = (time.monotonic(), sorted(found, key=lambda choice: choice[1].casefold()))
    return visit.site.known_actors[1]


def sentence(visit: Visit, parsed: ParsedSearch, count: Count | None, actor_names: dict[str, str]) -> str:
    """The filter in words: "412 updates to Products by Ann Price, last 30 days"."""
    if parsed.errors:  # what was typed may be anything
        return gettext("There is a problem")
    verbs = parsed.form.verb.data or []
    noun = VERB_NOUNS[verbs[0]] if len(verbs) == 1 else CHANGES
    said = ("verb",) if len(verbs) == 1 else ()
    return in_words(visit, parsed, amount(count, noun), actor_names, said)


def in_words(
    visit: Visit, parsed: ParsedSearch, changes: str, actor_names: dict[str, str], said: Collection[str] = ()
) -> str:
    """A search in words, with each of its filters.

    :param changes: what was found.
    :param said: filters that are named there.
    """
    form = parsed.form
    tables = joined([visit.table_label(visit.catalog.named(name)) for name in form.table.data or []], "or")
    columns = joined(list(form.col.data or []), "or")
    nobody = gettext("an unknown actor")
    actors = [nobody if actor == NOBODY else actor_names.get(actor, actor) for actor in form.actor.data or []]
    text = gettext(
        _SEARCHES[bool(tables), bool(columns), bool(actors)],
        changes=changes,
        tables=f"{tables} #{form.key.data}" if form.key.data else tables,
        columns=columns,
        actors=joined(actors, "or"),
    )
    said = {*said, "table", "col", "actor", "period", "since", "until", *(["key"] if tables else [])}
    words = _with_time(visit, parsed, text)
    for chip in chips(visit, parsed, lambda args: "", actor_names, said):
        words = gettext("%(search)s; %(filter)s: %(value)s", search=words, filter=chip.name, value=chip.value)
    return words


def _with_time(visit: Visit, parsed: ParsedSearch, search: str) -> str:
    if parsed.period:
        if parsed.period == "all":
            return search
        return gettext("%(search)s, %(period)s", search=search, period=PERIOD_WORDS[parsed.period])
    since, until = parsed.criteria.since, parsed.criteria.until
    begin = visit.clock.moment(since).zoned if since is not None else ""
    end = visit.clock.moment(until).zoned if until is not None else ""
    if begin and end:
        return gettext("%(search)s, from %(since)s until %(until)s", search=search, since=begin, until=end)
    if begin:
        return gettext("%(search)s, from %(since)s", search=search, since=begin)
    return gettext("%(search)s, until %(until)s", search=search, until=end) if end else search


def _is_relative(parsed: ParsedSearch) -> bool:
    return not parsed.errors and parsed.period not in (None, "all")


def _is_complete(actors: Sequence[tuple[str, str]], chosen: Sequence[str]) -> bool:
    """Whether a plain list can offer every actor, so that nothing has to be typed."""
    ids = {actor for actor, _ in actors} | {NOBODY}
    return 0 < len(actors) <= OFFERED_ACTORS and len(chosen) < 2 and set(chosen) <= ids


def _columns(visit: Visit, parsed: ParsedSearch) -> tuple[str, ...]:
    """Columns to suggest: those of the chosen tables that may be searched."""
    refs = [visit.catalog.named(name) for name in parsed.form.table.data or []]
    if not refs and parsed.criteria.tables:
        refs = list(parsed.criteria.tables)
    infos = [info for info in (visit.catalog.get(ref) for ref in refs) if info is not None]
    names = [name for info in infos for name in info.columns if visit.sight.can_see(info.name, name)]
    return tuple(dict.fromkeys(names))


def kept(args: MultiDict[str, str], *names: str) -> dict[str, list[str]]:
    """Some of the parameters."""
    return {name: args.getlist(name) for name in names if args.get(name)}


#: Keys of the context that have a line of their own.
_KNOWN = {
    "method",
    "url_rule",
    "path",
    "endpoint",
    "request_id",
    "user_agent",
    "trace_id",
    "command",
    "job",
    "reason",
    "impersonator",
    "actor",
    "session_user",
}

#: Marks that have a line of their own.
_KNOWN_MARKS = {"capture_off", "rows_unread", "rows_behind_snapshot", "switched_off", "switched_on"}


def transaction_facts(visit: Visit, transaction: TransactionRow | None, *, with_time: bool = True) -> list[Fact]:
    """Everything recorded about who made a change, from where and why. What was not recorded has no line."""
    if transaction is None:
        return [Fact(gettext("Transaction"), gettext("not recorded: its row is gone from the log"))]
    said = transaction.said
    facts: list[Fact | None] = []
    if with_time:
        moment = visit.clock.moment(transaction.issued_at)
        facts.append(Fact(gettext("Time"), moment.exact, moment=moment))
    facts.append(_fact(gettext("Reason"), said("reason")))
    if transaction.client_addr and visit.sight.can_see_fact("client_addr"):
        href = visit.links.activities({"addr": transaction.client_addr})
        facts.append(Fact(gettext("Address"), transaction.client_addr, href=href, is_code=True))
    request = " ".join(part for part in (said("method"), said("path")) if part)
    facts.append(_fact(gettext("Request"), request or None, is_code=True))
    if said("url_rule") != said("path"):
        facts.append(_fact(gettext("URL rule"), said("url_rule"), is_code=True))
    facts.append(_fact(gettext("Endpoint"), said("endpoint"), is_code=True))
    request_id = said("request_id")
    if request_id:
        facts.append(
            Fact(
                gettext("Request id"),
                visible(request_id),
                href=visit.links.activities({"req": request_id}),
                is_code=True,
            )
        )
    facts.append(_fact(gettext("Trace id"), said("trace_id"), is_code=True))
    if visit.sight.can_see_fact("user_agent"):
        facts.append(_fact(gettext("Browser"), said("user_agent")))
    facts.append(_fact(gettext("Background job"), said("job"), is_code=True))
    facts.append(_fact(gettext("Command"), said("command"), is_code=True))
    facts.append(_fact(gettext("Auditing switched off for"), _listed(transaction.marks.get("capture_off"))))
    facts.append(_fact(gettext("Triggers switched off on"), _listed(transaction.marks.get("switched_off"))))
    facts.append(_fact(gettext("Triggers switched on again on"), _listed(transaction.marks.get("switched_on"))))
    unread = _listed(transaction.marks.get("rows_unread"))
    facts.append(_fact(gettext("Single rows not recorded for"), unread))
    unseen = _listed(transaction.marks.get("rows_behind_snapshot"))
    facts.append(_fact(gettext("Single rows not recorded, as they may be newer than the transaction, for"), unseen))
    undoes = transaction.context.get("undoes")
    is_taken_back = False
    if isinstance(undoes, int) and 0 < undoes <= MAX_ID:
        is_taken_back = True
        text = gettext("transaction %(id)s", id=undoes)
        facts.append(Fact(gettext("Took back"), text, href=visit.links.transaction(undoes)))
    others = [(name, value) for name, value in transaction.context.items() if name not in _KNOWN]
    others = [(name, value) for name, value in others if name != "undoes" or not is_taken_back]
    others += [(name, value) for name, value in transaction.marks.items() if name not in _KNOWN_MARKS]
    for name, value in others:
        if visit.sight.can_see_fact(name):
            facts.append(_fact(name, value if isinstance(value, str) else dump(value), is_code=True))
    facts.append(_fact(gettext("Database user"), transaction.db_user, is_code=True))
    facts.append(_fact(gettext("Application name"), transaction.application_name or None, is_code=True))
    return [fact for fact in facts if fact is not None]


def _fact(name: str, value: str | None, *, is_code: bool = False) -> Fact | None:
    return None if value is None else Fact(visible(name), visible(value), is_code=is_code)


def _listed(value: object) -> str | None:
    return ", ".join(str(item) for item in value) if isinstance(value, list) and value else None
