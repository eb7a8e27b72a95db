"""Kinds of values (number, text, JSON, …), and how far apart two numbers or times are."""

from __future__ import annotations

import datetime as dt
import enum
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from .values import RawJson

# What is read of all that dt.datetime.fromisoformat() takes: a week, say, is not what PostgreSQL prints.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?", re.ASCII)
#: Beyond this power of ten a difference is of no use to anybody and expensive to write down.
_MAX_POWER = 30


class ValueKind(enum.StrEnum):
    """How values are compared and shown."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATE = "date"
    INSTANT = "instant"
    TIMESTAMP = "timestamp"
    JSON = "json"
    ARRAY = "array"
    BINARY = "binary"
    DERIVED = "derived"
    PLAIN = "plain"


#: Types of the logged values of a kind; any type if it is not here.
_FITTING: dict[ValueKind, tuple[type[Any], ...]] = {
    ValueKind.NUMBER: (int, Decimal, str),  # NaN and money are logged as text
    ValueKind.BOOLEAN: (bool,),
    ValueKind.TEXT: (str,),
    ValueKind.DATE: (str,),
    ValueKind.INSTANT: (str,),
    ValueKind.TIMESTAMP: (str,),
    ValueKind.ARRAY: (list,),
    ValueKind.BINARY: (str,),
    ValueKind.DERIVED: (str,),
}


def kind_of_data(data: Any) -> ValueKind:
    """The kind of a logged value when nothing better is known."""
    if isinstance(data, bool):
        return ValueKind.BOOLEAN
    if isinstance(data, (int, Decimal)):
        return ValueKind.NUMBER
    kinds = {"array": ValueKind.ARRAY, "object": ValueKind.JSON}
    return kinds.get(type_of(data), ValueKind.TEXT)


def type_of(data: Any) -> str:
    """The JSON type of a logged value."""
    if data is None:
        return "null"
    if isinstance(data, bool):
        return "boolean"
    if isinstance(data, (int, Decimal)):
        return "number"
    if isinstance(data, RawJson):
        return "array" if data.startswith("[") else "object"
    if isinstance(data, list):
        return "array"
    return "object" if isinstance(data, dict) else "string"


def settled(kind: ValueKind | None, *samples: Any) -> ValueKind:
    """The declared kind if the logged values fit it, else what the values themselves say.

    A column that was text once and is a number today has both in its history.
    """
    present = [sample for sample in samples if sample is not None]
    if kind is ValueKind.JSON or not present:
        inner = {kind_of_data(sample) for sample in present}
        return inner.pop() if len(inner) == 1 else (kind or ValueKind.PLAIN)
    if kind is not None:
        fitting = _FITTING.get(kind, (object,))
        if not [sample for sample in present if not isinstance(sample, fitting)]:
            return kind
    inner = {kind_of_data(sample) for sample in present}
    return inner.pop() if len(inner) == 1 else ValueKind.PLAIN


@dataclass(frozen=True)
class Span:
    """How far two times are apart.

    :param parts: numbers of ``days`` alone, or of two of the units ``d``, ``h``, ``min`` and ``s``.
    """

    sign: str
    parts: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        names = {(1, "days"): "day"}
        return self.sign + " ".join(f"{number} {names.get((number, unit), unit)}" for number, unit in self.parts)


def as_number(data: Any) -> Decimal | None:
    """A logged number; ``None`` for anything else, NaN and infinity."""
    if isinstance(data, bool) or not isinstance(data, (int, Decimal)):
        return None
    number = Decimal(data)
    return number if number.is_finite() and abs(number.adjusted()) <= _MAX_POWER else None


def signed(number: Decimal) -> str:
    """A number with its sign, in the scale it has."""
    return ("+" if number >= 0 else "\u2212") + format(abs(number), "f")


def number_delta(old: Any, new: Any) -> tuple[str | None, str | None]:
    """Difference and percentage of two numbers as text; a percentage only where it means something."""
    before, after = as_number(old), as_number(new)
    if before is None or after is None or before == after:
        return None, None
    delta = after - before
    if before == 0:
        return signed(delta), None
    try:
        percent = signed_percent(delta / abs(before) * 100)
    except InvalidOperation:
        return signed(delta), None
    return signed(delta), None if percent is None else percent + "\u00a0%"


def signed_percent(percent: Decimal) -> str | None:
    """A percentage with its sign, rounded; ``None`` if nothing is left of it, or if it is too large to mean something.

    :raises InvalidOperation: if it has too many digits.
    """
    rounded = percent.quantize(Decimal(1) if abs(percent) >= 10 else Decimal("0.1"))
    if rounded == 0 or abs(percent) >= 100_000:
        return None
    return signed(rounded).removesuffix(".0")


def as_instant(data: Any) -> dt.datetime | None:
    """A logged ``timestamptz`` or ``timestamp``; ``None`` for infinity and for years that Python can't do."""
    if not isinstance(data, str) or not _INSTANT.fullmatch(data):
        return None
    try:
        moment = dt.datetime.fromisoformat(data)
        return moment if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def as_date(data: Any) -> dt.date | None:
    """A logged date; ``None`` for anything else."""
    if not isinstance(data, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", data, re.ASCII):
        return None
    try:
        return dt.date.fromisoformat(data)
    except ValueError:
        return None


def time_delta(old: dt.date | None, new: dt.date | None) -> Span | None:
    """How far two dates or two instants are apart."""
    if old is None or new is None or old == new or isinstance(old, dt.datetime) != isinstance(new, dt.datetime):
        return None
    delta = new - old
    sign = "+" if delta > dt.timedelta(0) else "\u2212"
    seconds = abs(int(delta.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    if days and (not rest or days >= 7):
        return Span(sign, ((days, "days"),))
    hours, rest = divmod(rest, 3600)
    parts = [(days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s")]
    telling = tuple((number, unit) for number, unit in parts if number)[:2]
    return Span(sign, telling) if telling else None
