"""The query string of a page with something changed: the addresses of its links."""

from __future__ import annotations

import datetime as dt
from typing import Any

from werkzeug.datastructures import MultiDict

from ..query.paging import ORIGIN, Page
from .clock import known_zone
from .parts import ONE_PAGE, Pager
from .periods import typed_time
from .search import ParsedSearch
from .state import UIState

#: Parameters that say which part of the result is shown, not what it is.
POSITION = ("before", "after")


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
    """The parameters with one value more of a filter."""
    return changed(args, **{name: list(dict.fromkeys([*args.getlist(name), value]))})


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters without empty ones."""
    return {name: value for name, value in values.items() if value not in (None, "", [], [""])}


def pinned(state: UIState, parsed: ParsedSearch) -> dict[str, Any]:
    """The parameters with exact times in place of a period, to the second; what is open ends now."""
    name = parsed.form.tz.data or state.clock.name
    zone, second = known_zone(name), dt.timedelta(seconds=1)
    since, until = parsed.criteria.since, parsed.criteria.until
    if until is None:
        until = state.clock.now.replace(microsecond=0) + second
    times = {
        "since": _as_typed(since.replace(microsecond=0), zone) if since is not None else None,
        "until": _as_typed(until, zone),
    }
    return changed(parsed.args, period=None, tz=name, **times)


def _as_typed(instant: dt.datetime, zone: dt.tzinfo) -> str:
    """An instant as people type it; with its offset where the clock shows the same time twice."""
    text = instant.astimezone(zone).replace(tzinfo=None).isoformat(timespec="seconds")
    return text if typed_time(text, zone) == instant else instant.isoformat(timespec="seconds")


def pager(parsed: ParsedSearch, page: Page[Any] | None, link: Any, cursor: Any) -> Pager:
    """Addresses of the pages around one.

    :param page: ``None`` if the search can't be run.
    :param cursor: gives the position of a row.
    """
    if page is None:
        return ONE_PAGE
    args, paging = parsed.args, parsed.paging

    def at(**position: Any) -> str:
        return str(link(changed(args, **position)))

    if not page.rows:
        return Pager(newest=at() if paging.before or paging.after else None)
    newest, oldest = (page.rows[-1], page.rows[0]) if paging.oldest_first else (page.rows[0], page.rows[-1])
    return Pager(
        newest=at(sort=None) if page.has_newer else None,
        newer=at(after=str(cursor(newest))) if page.has_newer else None,
        older=at(before=str(cursor(oldest))) if page.has_older else None,
        oldest=at(after=str(ORIGIN)) if page.has_older else None,
    )
