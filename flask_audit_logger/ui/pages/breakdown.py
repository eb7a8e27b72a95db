"""The breakdown beside a list: its facets and its chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, abort

from ...diff.show import visible
from ...exceptions import ReadTimeout
from ...i18n import VERB_NAMES, calendar, gettext, lazy_gettext, ngettext, number
from ...query.facets import FACETS, MOST_READ, Facet, FacetValue, Histogram, facets, histogram
from ...query.feed import Search
from ...query.refs import TableName
from ..access import action
from ..filters import ParsedSearch, SearchRules, added, changed, without
from ..presenter import Presenter
from ..shown import Option
from ..templating import fragment
from ..times import in_zone, is_twice, known_zone, offset_of
from ..urls import NOBODY
from ..visit import Visit
from .base import open_search


@dataclass(frozen=True)
class FacetShown:
    """The most frequent values of one kind, each with the address that adds or removes it."""

    name: str
    options: tuple[tuple[Option, str], ...]
    has_more: bool
    timed_out: bool = False
    #: That not all changes were counted.
    note: str | None = None


@dataclass(frozen=True)
class BarShown:
    """A bar of the chart, in its units."""

    x: float
    y: float
    width: float
    height: float
    label: str
    href: str


@dataclass(frozen=True)
class HistogramShown:
    """The chart of changes over time.

    ``caption`` says what a bar stands for: changes by day.
    """

    caption: str
    bars: tuple[BarShown, ...]
    most: int
    width: int
    height: int
    timed_out: bool = False
    #: That the numbers are estimates, or that not all changes are in it.
    note: str | None = None


_NAMES = {
    "table": lazy_gettext("Tables"),
    "verb": lazy_gettext("Kinds of change"),
    "actor": lazy_gettext("Who"),
    "addr": lazy_gettext("Addresses"),
}

_CAPTIONS = {
    "minute": lazy_gettext("Changes by minute"),
    "hour": lazy_gettext("Changes by hour"),
    "day": lazy_gettext("Changes by day"),
    "week": lazy_gettext("Changes by week"),
    "month": lazy_gettext("Changes by month"),
    "year": lazy_gettext("Changes by year"),
}

#: How the beginning of a bar is written, in the formats of ``strftime`` and of the CLDR.
_STARTS = {"minute": ("%H:%M", "HH:mm"), "hour": ("%a %d %b %H:%M", "EEE dd MMM HH:mm")}

_DAY = ("%a %d %b %Y", "EEE dd MMM yyyy")

#: Size of the chart, in its own units.
WIDTH, HEIGHT, GAP = 600, 80, 1


@action("list")
def breakdown_part(visit: Visit, name: str) -> Any:
    """One part of the breakdown, as HTML that the list loads."""
    parsed = open_search(visit, SearchRules(default_period=visit.settings.default_period, extra=("breakdown",)))
    if name not in ("facets", "histogram") or parsed.errors:
        abort(404)
    if name == "facets":
        html = fragment(visit, "audit/_breakdown_facets.html", facets=facets_shown(visit, parsed))
    else:
        html = fragment(visit, "audit/_breakdown_chart.html", chart=histogram_shown(visit, parsed))
    return Response(html, content_type="text/html; charset=utf-8")


def facets_shown(visit: Visit, parsed: ParsedSearch) -> tuple[FacetShown, ...]:
    """All facets; one that takes too long is marked so."""
    names = [name for name in FACETS if name != "addr" or visit.sight.can_see_fact("client_addr")]
    found: dict[str, Facet] = {}
    try:
        with visit.reader().reading(timeout_ms=visit.settings.breakdown_timeout_ms) as log:
            found = facets(log, Search.prepare(log, parsed.criteria), names)
    except ReadTimeout:
        pass
    return tuple(_facet(visit, parsed, name, found.get(name)) for name in names)


def histogram_shown(visit: Visit, parsed: ParsedSearch) -> HistogramShown | None:
    """The chart; ``None`` if there is nothing to show."""
    zone_name = parsed.form.tz.data or visit.clock.name
    zone = known_zone(zone_name)
    try:
        with visit.reader().reading(timeout_ms=visit.settings.breakdown_timeout_ms) as log:
            search = Search.prepare(log, parsed.criteria)
            found = histogram(log, search, zone, visit.clock.now)
    except ReadTimeout:
        return HistogramShown("", (), 0, WIDTH, HEIGHT, timed_out=True)
    if found is None:
        return None
    most = max((bar.number for bar in found.bars), default=0)
    width = WIDTH / max(1, len(found.bars))
    bars = []
    for place, bar in enumerate(found.bars):
        height = round(bar.number / most * HEIGHT, 1) if most else 0
        height = max(height, 1.5) if bar.number else 0
        start = in_zone(bar.start, zone)
        text = calendar(start, *_STARTS.get(found.unit, _DAY))
        if is_twice(start):
            text = f"{text} {offset_of(start)}"
        filters = changed(parsed.args, since=bar.start.isoformat(), until=bar.end.isoformat(), period=None)
        bars.append(
            BarShown(
                x=round(place * width, 2),
                y=HEIGHT - height,
                width=round(max(width - GAP, 0.5), 2),
                height=height,
                label=_in_bar(text, bar.number, is_estimate=found.is_estimate),
                href=visit.links.activities(filters, anchor=True),
            )
        )
    return HistogramShown(_CAPTIONS[found.unit], tuple(bars), most, WIDTH, HEIGHT, note=_note(found))


def _in_bar(time: str, changes: int, *, is_estimate: bool) -> str:
    if is_estimate:
        return ngettext("%(time)s: about %(number)s change", "%(time)s: about %(number)s changes", changes, time=time)
    return ngettext("%(time)s: %(number)s change", "%(time)s: %(number)s changes", changes, time=time)


def _note(found: Histogram) -> str | None:
    if found.is_estimate:
        return gettext("The numbers are estimates.")
    if found.is_cut:
        return gettext("Only the newest changes are in the chart, at most %(number)s.", number=number(MOST_READ))
    return None


def _facet(visit: Visit, parsed: ParsedSearch, name: str, found: Facet | None) -> FacetShown:
    if found is None:
        return FacetShown(_NAMES[name], (), False, timed_out=True)
    presenter = Presenter(visit)
    if name == "actor":
        presenter.learn_actors(value.key[0] for value in found.values)
    values = []
    for value in found.values:
        text, parameter = _value(presenter, name, value)
        is_current = parameter in parsed.args.getlist(name)
        filters = without(parsed.args, name, parameter) if is_current else added(parsed.args, name, parameter)
        if name == "table" and not is_current:
            filters.pop("key", None)  # a key needs exactly one table
        href = visit.links.activities(filters, anchor=True) if parameter else ""
        values.append((Option(visible(text), href, is_current), number(value.number)))
    note = gettext("Of the newest changes, at most %(number)s", number=number(MOST_READ)) if found.is_cut else None
    return FacetShown(_NAMES[name], tuple(values), found.has_more, note=note)


def _value(presenter: Presenter, name: str, value: FacetValue) -> tuple[str, str]:
    """How a value is called, and its parameter."""
    key = value.key[0]
    if name == "table":
        ref = TableName(str(value.key[0]), str(value.key[1]))
        return presenter.visit.table_label(ref), presenter.visit.catalog.text(ref)
    if name == "verb":
        return str(VERB_NAMES.get(str(key), str(key))), str(key)
    if name == "actor":
        if key is None:
            return gettext("Not recorded"), NOBODY
        label = presenter.actors.get(key)
        return (label.text if label else value.label or f"#{key}"), key
    return (gettext("Not recorded"), "") if key is None else (key, key)
