"""Times as the viewer reads them."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .texts import gettext, marked_plural, ngettext

UTC = dt.UTC
logger = logging.getLogger("flask_audit_logger.ui")
#: Seconds of each unit in which it is said how long ago something was.
_UNITS = (
    (31_536_000, marked_plural("%(number)s year ago", "%(number)s years ago")),
    (2_592_000, marked_plural("%(number)s month ago", "%(number)s months ago")),
    (86_400, marked_plural("%(number)s day ago", "%(number)s days ago")),
    (3600, marked_plural("%(number)s hour ago", "%(number)s hours ago")),
    (60, marked_plural("%(number)s minute ago", "%(number)s minutes ago")),
)


@dataclass(frozen=True)
class Moment:
    """An instant in the viewer's zone."""

    #: With the offset only where the clock shows the same time twice.
    text: str
    #: With microseconds and offset.
    exact: str
    #: With the offset.
    zoned: str
    #: For machines: always UTC.
    iso: str
    #: How long ago.
    ago: str


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
        try:
            local = instant.astimezone(self.zone)
        except OverflowError:  # the first or last day of the calendar
            local = instant
        plain, offset = local.isoformat(" ", "seconds")[:19], offset_of(local)
        return Moment(
            text=f"{plain} {offset}" if is_twice(local) else plain,
            zoned=f"{plain} {offset}",
            exact=f"{local.replace(tzinfo=None).isoformat(' ', 'microseconds')} {offset}",
            iso=instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            ago=ago(self.now - instant),
        )


def offset_of(local: dt.datetime) -> str:
    """How far a time is from UTC, such as ``+02:00``."""
    offset = local.strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


def is_twice(local: dt.datetime) -> bool:
    """Whether clocks show this time twice, because they are put back."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def is_zone(name: str) -> bool:
    """Whether there is a zone of that name."""
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def known_zone(name: str) -> dt.tzinfo:
    """The zone of that name, or UTC where the name means nothing."""
    return ZoneInfo(name) if is_zone(name) else UTC


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
            return ngettext(*words, seconds // size)
    return gettext("just now")
