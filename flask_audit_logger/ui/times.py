"""Times as the viewer reads and types them, and the exact limits of named periods."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from ..i18n import gettext, lazy_gettext, ngettext
from ..settings import is_zone

UTC = dt.UTC

logger = logging.getLogger("flask_audit_logger.ui")

#: Seconds of each unit in which it is said how long ago something was.
_UNITS: tuple[tuple[int, Callable[[int], str]], ...] = (
    (31_536_000, lambda n: ngettext("%(number)s year ago", "%(number)s years ago", n)),
    (2_592_000, lambda n: ngettext("%(number)s month ago", "%(number)s months ago", n)),
    (86_400, lambda n: ngettext("%(number)s day ago", "%(number)s days ago", n)),
    (3600, lambda n: ngettext("%(number)s hour ago", "%(number)s hours ago", n)),
    (60, lambda n: ngettext("%(number)s minute ago", "%(number)s minutes ago", n)),
)


@dataclass(frozen=True)
class Moment:
    """An instant in the viewer's zone; a list shows many, and of each but one of its texts.

    :param local: on the viewer's clock.
    :param now: when the page was made.
    """

    instant: dt.datetime
    local: dt.datetime
    now: dt.datetime

    @property
    def text(self) -> str:
        """With the offset only where the clock shows the same time twice."""
        return self.zoned if is_twice(self.local) else self._plain

    @property
    def exact(self) -> str:
        """With microseconds and offset."""
        return f"{self.local.replace(tzinfo=None).isoformat(' ', 'microseconds')} {offset_of(self.local)}"

    @property
    def zoned(self) -> str:
        """With the offset."""
        return f"{self._plain} {offset_of(self.local)}"

    @property
    def logged(self) -> str:
        """A logged value: with the offset and the fraction of a second that it has."""
        return f"{self.local.replace(tzinfo=None).isoformat(' ')} {offset_of(self.local)}"

    @property
    def iso(self) -> str:
        """For machines: always UTC."""
        return self.instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def ago(self) -> str:
        """How long ago."""
        return ago(self.now - self.instant)

    @property
    def _plain(self) -> str:
        return self.local.isoformat(" ", "seconds")[:19]


class Clock:
    """Tells times in one zone.

    :param zone: IANA name.
    """

    def __init__(self, zone: str, now: dt.datetime | None = None) -> None:
        self.name = zone
        self.zone = known_zone(zone)
        #: As the database knows it.
        self.zone_name = getattr(self.zone, "key", "UTC")
        self.now = now or dt.datetime.now(UTC)

    def moment(self, instant: dt.datetime) -> Moment:
        """An instant as text."""
        return Moment(instant, in_zone(instant, self.zone), self.now)


def in_zone(instant: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """An instant on the clock of a zone; on the first and the last day of the calendar as it is."""
    try:
        return instant.astimezone(zone)
    except OverflowError:
        return instant


def offset_of(local: dt.datetime) -> str:
    """How far a time is from UTC, such as ``+02:00``."""
    offset = local.strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


def is_twice(local: dt.datetime) -> bool:
    """Whether clocks show this time twice, because they are put back."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def known_zone(name: str) -> dt.tzinfo:
    """The zone of that name, or UTC where the name means nothing."""
    return ZoneInfo(name) if is_zone(name) else UTC


@cache
def zone_names() -> frozenset[str]:
    """The zones that can be chosen."""
    return frozenset(available_timezones())


def viewers_zone(given: Any, otherwise: str) -> str:
    """The name of a zone that the application gives for a viewer, such as ``Europe/Berlin`` or a ``ZoneInfo``.

    :param otherwise: holds if it gives none, or nothing that is one.
    """
    name = "" if given is None else str(given)
    if is_zone(name):
        return name
    if name:
        _say_unknown(name[:100], otherwise)
    return otherwise


@lru_cache(maxsize=1000)
def _say_unknown(name: str, otherwise: str) -> None:
    # once for each name, not for each page
    logger.warning("a viewer's time zone is %r, which is none; %s is used instead", name, otherwise)


def ago(span: dt.timedelta) -> str:
    """How long ago, in one unit."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return gettext("in the future")
    for size, words in _UNITS:
        if seconds >= size:
            return words(seconds // size)
    return gettext("just now")


_HOUR = dt.timedelta(hours=1)

#: Names of the period filter and how they are called.
PERIODS = {
    "1h": lazy_gettext("Last hour"),
    "24h": lazy_gettext("Last 24 hours"),
    "7d": lazy_gettext("Last 7 days"),
    "30d": lazy_gettext("Last 30 days"),
    "90d": lazy_gettext("Last 90 days"),
    "today": lazy_gettext("Today"),
    "yesterday": lazy_gettext("Yesterday"),
    "this-month": lazy_gettext("This month"),
    "last-month": lazy_gettext("Last month"),
    "this-quarter": lazy_gettext("This quarter"),
    "last-quarter": lazy_gettext("Last quarter"),
    "this-year": lazy_gettext("This year"),
    "last-year": lazy_gettext("Last year"),
    "all": lazy_gettext("All time"),
}

#: The same within a sentence; all time is not said.
PERIOD_WORDS = {
    "1h": lazy_gettext("last hour"),
    "24h": lazy_gettext("last 24 hours"),
    "7d": lazy_gettext("last 7 days"),
    "30d": lazy_gettext("last 30 days"),
    "90d": lazy_gettext("last 90 days"),
    "today": lazy_gettext("today"),
    "yesterday": lazy_gettext("yesterday"),
    "this-month": lazy_gettext("this month"),
    "last-month": lazy_gettext("last month"),
    "this-quarter": lazy_gettext("this quarter"),
    "last-quarter": lazy_gettext("last quarter"),
    "this-year": lazy_gettext("this year"),
    "last-year": lazy_gettext("last year"),
}

_SPANS = {"1h": _HOUR, "24h": 24 * _HOUR, "7d": 168 * _HOUR, "30d": 720 * _HOUR, "90d": 2160 * _HOUR}

_TYPED = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)\s*(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)

#: The periods that are the same everywhere.
ABSOLUTE = frozenset({"all", *_SPANS})

Limits = tuple["dt.datetime | None", "dt.datetime | None"]


def period_limits(name: str, now: dt.datetime, zone: dt.tzinfo, quarter_start: int = 1) -> Limits:
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
