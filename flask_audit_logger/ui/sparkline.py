"""The course of a number as a line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal

from ..query.diff import as_text
from ..query.diff.pieces import visible
from ..query.rows import ActivityRow
from .clock import Clock
from .parts import SparklineShown
from .texts import gettext

#: Size of the chart in its own units, and the room that keeps the line from being cut at its edges.
WIDTH, HEIGHT, EDGE = 600, 80, 4

Point = tuple[dt.datetime, "int | Decimal"]


def sparkline(
    label: str, column: str, rows: Iterable[ActivityRow], clock: Clock, until: dt.datetime
) -> SparklineShown | None:
    """The line of a column; ``None`` unless it had two values that are numbers.

    A value holds until the next one, so the line has steps.

    :param label: name of the column.
    :param rows: changes of one record, in any order.
    :param until: where the line ends.
    """
    points = _points(column, sorted(rows, key=lambda row: row.id))
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    lowest, highest = min(values), max(values)
    text = gettext(
        "%(column)s from %(first)s (%(since)s) to %(last)s (%(until)s); lowest %(lowest)s, highest %(highest)s",
        column=label,
        first=_number(values[0]),
        since=clock.moment(points[0][0]).text,
        last=_number(values[-1]),
        until=clock.moment(points[-1][0]).text,
        lowest=_number(lowest),
        highest=_number(highest),
    )
    return SparklineShown(_line(points, lowest, highest, max(until, points[-1][0])), text, WIDTH, HEIGHT)


def _points(column: str, rows: Sequence[ActivityRow]) -> list[Point]:
    found: list[Point] = []
    for row in rows:
        value = row.after(column).data if row.verb in ("insert", "snapshot", "update") else None
        if column in row.changed_data and isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            found.append((row.issued_at, value))
    return found


def _line(points: Sequence[Point], lowest: int | Decimal, highest: int | Decimal, until: dt.datetime) -> str:
    first = points[0][0]
    span = (until - first).total_seconds() or 1.0
    heights = [_height(value, lowest, highest) for _, value in points]
    places: list[tuple[float, float]] = []
    for (moment, _), y in zip(points, heights, strict=True):
        x = max(0.0, (moment - first).total_seconds() / span * WIDTH)
        places += [(x, places[-1][1]), (x, y)] if places else [(x, y)]
    places.append((WIDTH, heights[-1]))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _height(value: int | Decimal, lowest: int | Decimal, highest: int | Decimal) -> float:
    # numbers in a log may be longer than a float can hold; their ratio is not
    if lowest == highest:
        return HEIGHT / 2
    share = (Decimal(value) - Decimal(lowest)) / (Decimal(highest) - Decimal(lowest))
    return EDGE + (1 - float(share)) * (HEIGHT - 2 * EDGE)


def _number(value: int | Decimal) -> str:
    text = visible(as_text(value))
    return text if len(text) <= 40 else f"{text[:40]}…"
