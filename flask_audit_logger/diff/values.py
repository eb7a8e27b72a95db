"""Read logged values: JSON without loss of precision, and the marks that triggers write."""

from __future__ import annotations

import enum
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_MARK = "audit_logger"
#: Levels of JSON that are read. What is nested deeper stays the text it is, so nothing behind this has to expect more.
MAX_NESTING = 64
#: Digits from which on a whole number is read as a ``Decimal``.
LONGEST_INTEGER = 1000
#: A whole string, or one sign of structure outside strings.
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]')
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


class Presence(enum.StrEnum):
    """Whether there is a value, and why not. These six must never look alike."""

    VALUE = "value"
    NULL = "null"
    JSON_NULL = "json null"
    EMPTY = "empty"
    ABSENT = "absent"
    MASKED = "masked"


@dataclass(frozen=True)
class Value:
    """One logged value, or why there is none."""

    presence: Presence
    data: Any = None

    @property
    def known(self) -> bool:
        """Whether there is something to show: a value or an empty text."""
        return self.presence in (Presence.VALUE, Presence.EMPTY)


class RawJson(str):
    """JSON as PostgreSQL wrote it, not read because it is nested too deeply."""

    __slots__ = ()


ABSENT = Value(Presence.ABSENT)
MASKED = Value(Presence.MASKED)
NULL = Value(Presence.NULL)
JSON_NULL = Value(Presence.JSON_NULL)
#: A JSON null as the trigger writes it, different from NULL.
JSON_NULL_MARK = {_MARK: "json null"}


def load(text: str | None) -> dict[str, Any]:
    """Read the text of a ``jsonb`` row. Numbers keep their scale: ``10.00`` stays ``Decimal("10.00")``."""
    if not text:
        return {}
    data = dict(_members(text)) if _is_deep(text, MAX_NESTING + 1) else _parse(text)
    return data if isinstance(data, dict) else {}


def dump(data: Any, most: int | None = None) -> str:
    """Write a value as JSON, numbers and the order of members as they were logged.

    ``json.dumps`` can't write a Decimal as a number.

    :param most: characters after which to stop, so that a large value is not written for its beginning.
    """
    written: list[str] = []
    with suppress(_Full):
        _write(data, written.append, sys.maxsize if most is None else most)
    return "".join(written)


def value_of(row: dict[str, Any], column: str) -> Value:
    """The value of a column in a logged row."""
    if column not in row:
        return ABSENT
    return as_value(row[column])


def as_value(data: Any) -> Value:
    """Wrap what was logged, with the marks by which the trigger says what ``jsonb`` can't.

    An object that the application itself wrote can't be taken for one: the trigger puts it inside a mark.
    """
    if data is None:
        return NULL
    if data == "":
        return Value(Presence.EMPTY, "")
    mark = mark_of(data)
    if mark is None:
        return Value(Presence.VALUE, data)
    if data == JSON_NULL_MARK:
        return JSON_NULL
    if mark in ("masked", "erased") and len(data) == 1:
        return MASKED
    if mark == "text" and set(data) == {_MARK, "text"}:
        return Value(Presence.VALUE, _read(str(data["text"])))
    if mark == "value" and set(data) == {_MARK, "value"}:
        return Value(Presence.VALUE, data["value"])
    return Value(Presence.VALUE, data)


def mark_of(data: Any) -> str | None:
    """The kind of a mark, if what was logged is one: ``masked``, ``erased``, ``text``, ``too large`` …"""
    if isinstance(data, dict):
        mark = data.get(_MARK)
        return mark if isinstance(mark, str) else None
    # a mark around a value is one level more
    return "too deep" if isinstance(data, RawJson) and data.startswith(f'{{"{_MARK}"') else None


def as_logged(data: Any) -> Any:
    """A value of a JSON column with the marks that the trigger would write."""
    if data is None:
        return JSON_NULL_MARK
    return {_MARK: "value", "value": data} if isinstance(data, dict) and _MARK in data else data


def _read(text: str) -> Any:
    """The value of a text that ``jsonb`` can't hold: JSON with a ``\\u0000`` in it, or of a type that is no JSON."""
    try:
        data = _loads(text)
    except (ValueError, RecursionError):
        return text
    # no arithmetic with 1e999999
    return data if isinstance(data, (dict, list, str)) else text


def _loads(text: str) -> Any:
    return RawJson(text) if _is_deep(text, MAX_NESTING) else _parse(text)


def _parse(text: str) -> Any:
    # a short text has no number that needs the slower one
    return (_decoder if len(text) < LONGEST_INTEGER else _careful_decoder).decode(text)


def _is_deep(text: str, most: int) -> bool:
    """Whether a text has more levels than ``most``."""
    if text.count("[") + text.count("{") <= most:  # nearly every text
        return False
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > most:
                return True
        elif match[0] in "]}":
            depth -= 1
    return False


def _whole(digits: str) -> Any:
    # Python refuses to read very long whole numbers, PostgreSQL stores them
    return int(digits) if len(digits) < LONGEST_INTEGER else Decimal(digits)


#: A text, a number, true, false or null as JSON.
scalar = json.JSONEncoder(ensure_ascii=False).encode
# made once: json.loads() with options makes one for each text
_decoder = json.JSONDecoder(parse_float=Decimal)
_careful_decoder = json.JSONDecoder(parse_float=Decimal, parse_int=_whole)


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """Read an object some of whose values are nested too deeply."""
    names = json.JSONDecoder()
    position = text.index("{") + 1
    while (start := text.find('"', position)) >= 0:
        name, end = names.raw_decode(text, start)
        begin = text.index(":", end) + 1
        position = _end_of_value(text, begin)
        yield name, _loads(text[begin:position].strip())


def _end_of_value(text: str, position: int) -> int:
    depth = 0
    for match in _STRUCTURE.finditer(text, position):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth < 0 or (depth == 0 and match[0] == ","):
            return match.start()
    return len(text)


class _Full(Exception):
    """Enough characters have been written."""


def _write(data: Any, put: Callable[[str], None], left: int) -> int:
    """Write a value; gives how many more characters are wanted."""
    if left < 0:
        raise _Full
    if isinstance(data, RawJson):
        text = str(data)
    elif isinstance(data, dict):
        comma = ""
        put("{")
        for name, value in data.items():
            text = f"{comma}{scalar(name)}: "
            put(text)
            left = _write(value, put, left - len(text))
            comma = ", "
        text = "}"
    elif isinstance(data, (list, tuple)):
        comma = ""
        put("[")
        for value in data:
            put(comma)
            left = _write(value, put, left - len(comma))
            comma = ", "
        text = "]"
    elif isinstance(data, Decimal):
        text = format(data, "f") if data.is_finite() and abs(data.adjusted()) < 400 else str(data)
    else:
        text = scalar(data)
    put(text)
    return left - len(text)
