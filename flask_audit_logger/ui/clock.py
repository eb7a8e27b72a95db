"""Times as the viewer reads them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .texts import gettext, marked_plural, ngettext

UTC = dt.timezone.utc
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
        offset = local.strftime("%z")
        return Moment(
            text=local.isoformat(" ", "seconds")[:19],
            zoned=f"{local.isoformat(' ', 'seconds')[:19]} {offset[:3]}:{offset[3:5]}",
            exact=f"{local.replace(tzinfo=None).isoformat(' ', 'microseconds')} {offset[:3]}:{offset[3:5]}",
            iso=instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            ago=ago(self.now - instant),
        )


def known_zone(name: str) -> dt.tzinfo:
    """The zone of that name, or UTC where the name means nothing."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def ago(span: dt.timedelta) -> str:
    """How long ago, in one unit."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return gettext("in the future")
    for size, words in _UNITS:
        if seconds >= size:
            return ngettext(*words, seconds // size)
    return gettext("just now")
