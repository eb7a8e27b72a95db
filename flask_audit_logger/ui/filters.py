"""From the query string to criteria and back: the search of a page, its active filters and the links that change it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from werkzeug.datastructures import MultiDict
from wtforms import ValidationError

from ..diff.show import visible
from ..i18n import KIND_NAMES, VERB_NAMES, gettext, lazy_gettext, number
from ..query.criteria import ColumnValue, Criteria, scalars
from ..query.feed import Count
from ..query.folds import Fold
from ..query.paging import END, ORIGIN, Cursor, Paging, Slice
from ..query.refs import TableName, stored_key
from ..query.tables import TableInfo
from .forms import MAX_LENGTH, FilterForm, actor_of, network
from .shown import ONE_PAGE, Chip, Pager
from .times import PERIODS, known_zone, period_limits, typed_time
from .urls import NOBODY, BadKey, decode_key
from .visit import Visit

#: Longest query string that is looked at.
MAX_QUERY = 4096


@dataclass(frozen=True)
class ParsedSearch:
    """The filters of a request as form, parameters and criteria; there are no criteria if a filter is wrong."""

    form: FilterForm
    args: MultiDict[str, str]
    errors: tuple[tuple[str, str, str], ...]
    ignored: tuple[str, ...]
    criteria: Criteria
    paging: Paging
    #: The period in effect because none was asked for.
    assumed_period: str | None = None

    @property
    def period(self) -> str | None:
        """The named period in effect."""
        return self.form.period.data or self.assumed_period


@dataclass(frozen=True)
class SearchRules:
    """How a page uses the filter form.

    :param default_period: holds when no period is asked for.
    :param fixed: filters the page sets itself; they are not parameters of it.
    :param extra: parameters of the page that are no filters.
    """

    default_period: str | None = None
    fixed: Collection[str] = ()
    extra: Collection[str] = ()
    form: type[FilterForm] = FilterForm
    base: Criteria = field(default_factory=Criteria)


def parse(visit: Visit, args: MultiDict[str, str], query_string: bytes, rules: SearchRules) -> ParsedSearch:
    """Read and check the query string."""
    known = {name for name in rules.form(MultiDict())._fields if name not in rules.fixed}
    given = MultiDict((name, value) for name, value in args.items(multi=True) if name in known)
    form = _form(visit, given, rules.form)
    errors: list[tuple[str, str, str]] = []
    if len(query_string) > MAX_QUERY:
        text = gettext("The address can have at most %(most)s characters.", most=MAX_QUERY)
        errors.append(("", gettext("Filters"), text))
        form = _form(visit, MultiDict(), rules.form)
    elif not form.validate():
        errors += [(f.id, str(f.label.text), str(e)) for f in form if f.errors for e in _flat(f.errors)]
    assumed = _assumed(form, given, rules)
    if assumed is not None:
        form.period.assume(assumed)
    criteria, paging = Criteria(), Paging()
    if not errors:
        try:
            criteria = _criteria(visit, form, assumed, rules.base)
            paging = _paging(visit, form)
        except ValidationError as error:
            errors.append(("audit-actor", gettext("Who"), str(error)))
    ignored = tuple(sorted(name[:MAX_LENGTH] for name in args if name not in known and name not in rules.extra))
    return ParsedSearch(form, given, tuple(errors), ignored[:20], criteria, paging, assumed)


def _form(visit: Visit, given: MultiDict[str, str], form_cls: type[FilterForm]) -> FilterForm:
    form = form_cls(given, tz=visit.clock.name, limit=str(visit.settings.page_size))
    form.check_column = lambda form, name: _check_column(visit, form, name)
    form.can_see_address = visit.sight.can_see_fact("client_addr")
    catalog = visit.catalog
    chosen = [catalog.named(text) for text in form.table.data or ()]
    tables = [*(info.name for info in catalog.audited), *(table for table in chosen if not table.schema)]
    form.table.options = [(catalog.text(table), visit.table_label(table)) for table in dict.fromkeys(tables)]
    if not form.limit.data:
        form.limit.data = str(visit.settings.page_size)
    return form


def _check_column(visit: Visit, form: FilterForm, name: str) -> None:
    """A column must be one that some table has and the viewer may see; the answer to both is the same."""
    tables = [visit.catalog.named(text) for text in form.table.data or []]
    infos = [visit.catalog.get(ref) for ref in tables] if tables else list(visit.catalog.audited)
    # a table that only the log knows has columns that only the log knows
    if any(info is None and visit.sight.can_see(ref, name) for info, ref in zip(infos, tables, strict=False)):
        return
    known: Sequence[TableInfo] = [info for info in infos if info is not None]
    if not any(name in info.columns and visit.sight.can_see(info.name, name) for info in known):
        raise ValidationError(gettext("There is no searchable column %(value)s.", value=repr(name)))


def _hidden(visit: Visit, tables: Collection[TableName], names: Collection[str]) -> frozenset[tuple[TableName, str]]:
    return frozenset((ref, name) for ref in tables for name in names if not visit.sight.can_see(ref, name))


def _assumed(form: FilterForm, given: MultiDict[str, str], rules: SearchRules) -> str | None:
    if rules.default_period is None or any(given.get(name) for name in ("period", "since", "until", "tx", "req")):
        return None
    return rules.default_period


def _criteria(visit: Visit, form: FilterForm, assumed: str | None, base: Criteria) -> Criteria:
    since, until = _bounds(visit, form, assumed)
    columns = form.col.data or []
    values = []
    for side in ("was", "became"):
        text = form[side].data
        if form.field.data and text:
            values.append(ColumnValue(form.field.data, side, scalars(text)))
    tables = tuple(visit.catalog.named(text) for text in form.table.data or []) or base.tables
    names = {*columns, *(value.column for value in values)}
    # tables that were dropped, or are audited no longer, still have their values in the log
    known = tuple(dict.fromkeys([*tables, *visit.catalog.names]))
    has_rule = bool(visit.ui.mask) or visit.ui.can_see_column is not None
    return Criteria(
        tables=tables,
        record_key=_record_key(visit, tables, form.key.data) if form.key.data else base.record_key,
        verbs=tuple(form.verb.data or ()),
        columns=tuple(columns),
        column_values=tuple(values),
        actors=tuple(_checked_actor(visit, text) for text in form.actor.data or ()) or base.actors,
        kinds=tuple(form.kind.data or ()),
        impersonated={"1": True, "0": False}.get(form.impersonated.data or ""),
        impersonators=tuple(form.impersonator.data or ()),
        addresses=tuple(network(text) for text in form.addr.data or ()),
        since=since,
        until=until,
        transactions=tuple(int(text) for text in form.tx.data or ()) or base.transactions,
        requests=tuple(form.req.data or ()),
        hidden=_hidden(visit, known, names),
        searchable=known if has_rule and names else (),
    )


def _checked_actor(visit: Visit, text: str) -> str | None:
    actor = actor_of(text)
    if actor is not None:
        try:
            visit.check_actor(actor)
        except ValueError as error:
            message = gettext("%(value)s is not a valid actor id.", value=repr(text))
            raise ValidationError(message) from error
    return actor


def _record_key(visit: Visit, tables: Sequence[TableName], text: str) -> str:
    """A key as in a link, or a one-column key as people type it, in which a comma is a comma."""
    try:
        components = decode_key(text)
    except BadKey:
        return text
    info = visit.catalog.get(tables[0]) if tables else None
    is_single = info is not None and len(info.key) == 1
    if "~" in text and (len(components) == 1 or not is_single):
        return stored_key(components)
    return text if is_single or len(components) == 1 else stored_key(components)


def _bounds(visit: Visit, form: FilterForm, assumed: str | None) -> tuple[dt.datetime | None, dt.datetime | None]:
    zone = known_zone(form.tz.data or "UTC")
    name = form.period.data or assumed
    if name:
        return period_limits(name, visit.clock.now, zone, visit.settings.quarter_start_month)
    since = typed_time(form.since.data, zone) if form.since.data else None
    until = typed_time(form.until.data, zone, end_of_day=True) if form.until.data else None
    return since, until


def _paging(visit: Visit, form: FilterForm) -> Paging:
    return Paging(
        limit=int(form.limit.data or visit.settings.page_size),
        before=Cursor.parse(form.before.data) if form.before.data else None,
        after=Cursor.parse(form.after.data) if form.after.data else None,
        oldest_first=form.sort.data == "time",
    )


def _flat(errors: Any) -> list[str]:
    return [str(error) for error in errors]


#: Parameters that say which part of the result is shown, not what it is.
POSITION = ("before", "after", "at")


def changed(args: MultiDict[str, str], **values: Any) -> dict[str, Any]:
    """The parameters with some set (or taken out, by ``None``), from the first page on."""
    rest: dict[str, Any] = {key: list(found) for key, found in args.lists() if key not in POSITION}
    for name, value in values.items():
        if value is None:
            rest.pop(name, None)
        else:
            rest[name] = value
    return filled(rest)


def without(args: MultiDict[str, str], name: str, value: str) -> dict[str, Any]:
    """The parameters without one filter, from the first page on."""
    rest = {key: list(values) for key, values in args.lists() if key not in POSITION}
    rest[name] = [other for other in rest.get(name, []) if other != value]
    if name == "table" and not rest["table"]:
        rest.pop("key", None)  # a key means nothing without its table
    if name == "field" or (name in ("was", "became") and not any(rest.get(side) for side in ("was", "became"))):
        for side in ("field", "was", "became"):
            rest.pop(side, None)
    if name == "period":
        rest["period"] = ["all"]
    return filled(rest)


def added(args: MultiDict[str, str], name: str, value: str) -> dict[str, Any]:
    """The parameters with one more value of a filter."""
    return changed(args, **{name: list(dict.fromkeys([*args.getlist(name), value]))})


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """The parameters that are not empty."""
    return {name: value for name, value in values.items() if value not in (None, "", [], [""])}


def pinned(visit: Visit, parsed: ParsedSearch) -> dict[str, Any]:
    """The parameters with exact times, to the second, in place of a period; an open period ends now."""
    name = parsed.form.tz.data or visit.clock.name
    zone, second = known_zone(name), dt.timedelta(seconds=1)
    since, until = parsed.criteria.since, parsed.criteria.until
    if until is None:
        until = visit.clock.now.replace(microsecond=0) + second
    times = {
        "since": _as_typed(since.replace(microsecond=0), zone) if since is not None else None,
        "until": _as_typed(until, zone),
    }
    return changed(parsed.args, period=None, tz=name, **times)


def _as_typed(instant: dt.datetime, zone: dt.tzinfo) -> str:
    """An instant as people type it; with its offset where the clock shows the same time twice."""
    text = instant.astimezone(zone).replace(tzinfo=None).isoformat(timespec="seconds")
    return text if typed_time(text, zone) == instant else instant.isoformat(timespec="seconds")


def pager(parsed: ParsedSearch, page: Slice[Any] | None, link: Any, cursor: Any, count: Count | None = None) -> Pager:
    """Addresses of the pages around one, and which rows are on it.

    :param page: ``None`` if the search can't be run.
    :param cursor: gives the position of a row; whether the page behind it is an older one is its second argument.
    :param count: of all changes that match, if that is known.
    """
    if page is None:
        return ONE_PAGE
    args, paging = parsed.args, parsed.paging

    def at(**position: Any) -> str:
        return str(link(changed(args, **position)))

    if not page.rows:
        start = at() if paging.before or paging.after else None
        return Pager(oldest=start, is_upwards=True) if paging.oldest_first else Pager(newest=start)
    newest, oldest = (page.rows[-1], page.rows[0]) if paging.oldest_first else (page.rows[0], page.rows[-1])
    if page.reached is not None:  # further on, that is where to begin
        newest, oldest = (newest, None) if paging.reads_down else (None, oldest)
    first, last = (str(END), None) if paging.oldest_first else (None, str(ORIGIN))
    size = _size(page)
    place = _first_row(parsed, page, size, count)
    # what an address tells is the number of the row nearest to its position
    following, preceding = (place + size if place and size else None), (place - 1 if place and place > 1 else None)
    up, down = (following, preceding) if paging.oldest_first else (preceding, following)
    return Pager(
        newest=at(before=first) if page.has_newer else None,
        newer=at(after=str(cursor(newest, False)), at=up) if page.has_newer and newest is not None else None,
        older=at(before=str(cursor(oldest, True)), at=down) if page.has_older and oldest is not None else None,
        oldest=at(after=last) if page.has_older else None,
        is_upwards=paging.oldest_first,
        place=_place(place, size, count),
    )


def _size(page: Slice[Any]) -> int | None:
    """How many rows a page tells of, unless there are more in a large transaction than were counted."""
    folded = [row.summary.rows for row in page.rows if isinstance(row, Fold)]
    if any(rows.is_capped for rows in folded):
        return None
    return len(page.rows) - len(folded) + sum(rows.number for rows in folded)


def _first_row(parsed: ParsedSearch, page: Slice[Any], size: int | None, count: Count | None) -> int | None:
    """Which of all rows is the first one of a page: told by an end of the list, else by the address, which may lie."""
    paging, total = parsed.paging, None if count is None or count.is_capped else count.number
    ends = (page.has_older, page.has_newer)
    has_before, has_after = ends if paging.oldest_first else ends[::-1]
    if not has_before:
        return 1
    if size is None:
        return None
    if total is not None and not has_after:
        return max(total - size, 0) + 1
    given = parsed.args.get("at", "")
    if not re.fullmatch("[1-9][0-9]{0,8}", given, re.ASCII):
        return None
    first = int(given) if paging.reads_down != paging.oldest_first else int(given) - size + 1
    return first if first > 1 and (total is None or first + size <= total) else None


def _place(first: int | None, size: int | None, count: Count | None) -> str | None:
    """Which rows of how many, as far as either is known."""
    rows = f"{number(first)}–{number(first + size - 1)}" if first and size else None
    if count is None:
        return rows
    total = number(count.number)
    if rows is None:
        return gettext("more than %(number)s", number=total) if count.is_capped else total
    if count.is_capped:
        return gettext("%(rows)s of more than %(number)s", rows=rows, number=total)
    return gettext("%(rows)s of %(number)s", rows=rows, number=total)


_CHIP_NAMES = {
    "table": lazy_gettext("Table"),
    "key": lazy_gettext("Key"),
    "verb": lazy_gettext("What"),
    "col": lazy_gettext("Column"),
    "field": lazy_gettext("Column value"),
    "was": lazy_gettext("Was"),
    "became": lazy_gettext("Became"),
    "actor": lazy_gettext("Who"),
    "kind": lazy_gettext("Made by"),
    "impersonated": lazy_gettext("Impersonation"),
    "impersonator": lazy_gettext("Impersonated by"),
    "addr": lazy_gettext("Address"),
    "period": "",
    "since": lazy_gettext("From"),
    "until": lazy_gettext("Until"),
    "tx": lazy_gettext("Transaction"),
    "req": lazy_gettext("Request"),
    "path": lazy_gettext("Path begins with"),
    "min_rows": lazy_gettext("Minimum rows"),
}


def chips(
    visit: Visit, parsed: ParsedSearch, link: Any, actor_names: dict[str, str], but: Collection[str] = ()
) -> list[Chip]:
    """The active filters, each with the address of the list without it.

    :param but: names of filters that are left out.
    """
    found = []
    for name in parsed.form.NARROWING:
        for value in parsed.args.getlist(name) if name not in but else ():
            # a blank filters nothing, except by a value that is one
            is_filter = value if name in ("was", "became") else value.strip()
            if (
                is_filter
                and (name, value) != ("period", "all")
                and not (name in ("was", "became") and not parsed.form.field.data)
            ):
                text = _chip_value(visit, parsed, name, value, actor_names)
                found.append(Chip(_CHIP_NAMES[name], visible(text), link(without(parsed.args, name, value))))
    if parsed.assumed_period and parsed.assumed_period != "all" and "period" not in but:
        found.append(Chip("", PERIODS[parsed.assumed_period], link(changed(parsed.args, period="all"))))
    return found


def _chip_value(visit: Visit, parsed: ParsedSearch, name: str, value: str, actor_names: dict[str, str]) -> str:
    if name == "table":
        return visit.table_label(visit.catalog.named(value))
    if name == "verb":
        return str(VERB_NAMES.get(value, value))
    if name == "kind":
        return str(KIND_NAMES.get(value, value))
    if name == "impersonated":
        return gettext("on behalf of someone") if value == "1" else gettext("directly")
    if name == "impersonator":
        return actor_names.get(value, value)
    if name == "actor":
        return gettext("not recorded") if value == NOBODY else actor_names.get(value, value)
    if name == "period":
        return str(PERIODS.get(value, value))
    if name == "addr" and not parsed.errors:
        return network(value)
    if name == "until" and parsed.criteria.until is not None:
        return gettext("before %(time)s", time=visit.clock.moment(parsed.criteria.until).text)
    if name == "since" and parsed.criteria.since is not None:
        return visit.clock.moment(parsed.criteria.since).text
    return value
