"""Named periods and typed times as exact bounds."""

from __future__ import annotations

import datetime as dt
import re

from .texts import Texts, gettext, marked

UTC = dt.UTC
_HOUR = dt.timedelta(hours=1)

#: Names of the period filter and how they are called.
PERIODS = Texts(
    {
        "1h": marked("Last hour"),
        "24h": marked("Last 24 hours"),
        "7d": marked("Last 7 days"),
        "30d": marked("Last 30 days"),
        "90d": marked("Last 90 days"),
        "today": marked("Today"),
        "yesterday": marked("Yesterday"),
        "this-month": marked("This month"),
        "last-month": marked("Last month"),
        "this-quarter": marked("This quarter"),
        "last-quarter": marked("Last quarter"),
        "this-year": marked("This year"),
        "last-year": marked("Last year"),
        "all": marked("All time"),
    }
)
#: The same within a sentence; all time is not said.
PERIOD_WORDS = Texts(
    {
        "1h": marked("last hour"),
        "24h": marked("last 24 hours"),
        "7d": marked("last 7 days"),
        "30d": marked("last 30 days"),
        "90d": marked("last 90 days"),
        "today": marked("today"),
        "yesterday": marked("yesterday"),
        "this-month": marked("this month"),
        "last-month": marked("last month"),
        "this-quarter": marked("this quarter"),
        "last-quarter": marked("last quarter"),
        "this-year": marked("this year"),
        "last-year": marked("last year"),
    }
)
_SPANS = {"1h": _HOUR, "24h": 24 * _HOUR, "7d": 168 * _HOUR, "30d": 720 * _HOUR, "90d": 2160 * _HOUR}
_TYPED = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)\s*(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)

#: The periods that are the same everywhere.
ABSOLUTE = frozenset({"all", *_SPANS})

Bounds = tuple["dt.datetime | None", "dt.datetime | None"]


def period_bounds(name: str, now: dt.datetime, zone: dt.tzinfo, quarter_start: int = 1) -> Bounds:
    """First instant of a period and the first one after it; ``None`` where it is open.

    :param name: a key of :data:`PERIODS`.
    :param quarter_start: month in which the first quarter of a year begins.
    """
    if name == "all":
        return None, None
    if name in _SPANS:
        return now - _SPANS[name], None
    today = now.astimezone(zone).date()
    first, last = _days(name, today, quarter_start)
    return _midnight(first, zone), None if last is None else _midnight(last, zone)


def typed_time(text: str, zone: dt.tzinfo, *, end_of_day: bool = False) -> dt.datetime:
    """Read a date or a time, local to ``zone`` unless it has an offset.

    :param end_of_day: a bare date means the first instant after that day.
    :raises ValueError: if it is neither.
    """
    match = _TYPED.fullmatch(text.strip())
    if match is None:
        raise ValueError(gettext("Enter a time like 2026-11-24 14:30, or a date like 2026-11-24."))
    try:
        day = dt.date.fromisoformat(match[1])
        if match[2] is None:
            return _midnight(day + dt.timedelta(days=1) if end_of_day else day, zone)
        moment = dt.datetime.fromisoformat(f"{match[1]}T{match[2]}")
        return moment.replace(tzinfo=_offset(match[3]) if match[3] else zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(gettext("%(value)s is not a time that exists.", value=repr(text))) from error


def _days(name: str, today: dt.date, quarter_start: int) -> tuple[dt.date, dt.date | None]:
    if name == "today":
        return today, None
    if name == "yesterday":
        return today - dt.timedelta(days=1), today
    if name.endswith("year"):
        start, months = today.replace(month=1, day=1), 12
    elif name.endswith("quarter"):
        start, months = _add_months(today.replace(day=1), -((today.month - quarter_start) % 3)), 3
    else:
        start, months = today.replace(day=1), 1
    return (start, None) if name.startswith("this") else (_add_months(start, -months), start)


def _add_months(day: dt.date, months: int) -> dt.date:
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1)


def _midnight(day: dt.date, zone: dt.tzinfo) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), zone).astimezone(UTC)


def _offset(text: str) -> dt.tzinfo:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    span = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-span if text[0] == "-" else span)


def has_offset(text: str) -> bool:
    """Whether a typed time says how far from UTC it is."""
    match = _TYPED.fullmatch(text.strip())
    return match is not None and match[3] is not None
