"""Times as the viewer reads them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

UTC = dt.timezone.utc


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
        return "in the future"
    for size, unit in ((31_536_000, "year"), (2_592_000, "month"), (86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"
