"""Logged values as Python objects that keep what PostgreSQL wrote."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_MARK = "audit_logger"
#: A whole string, or one sign of structure outside strings.
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]')


class State(enum.Enum):
    """What is known about a value. These six must never look alike."""

    VALUE = "value"
    NULL = "null"
    JSON_NULL = "json null"
    EMPTY = "empty"
    ABSENT = "absent"
    MASKED = "masked"


@dataclass(frozen=True)
class Value:
    """One logged value and what is known about it."""

    state: State
    data: Any = None

    @property
    def known(self) -> bool:
        """Whether there is something to show: a value or an empty text."""
        return self.state in (State.VALUE, State.EMPTY)


ABSENT = Value(State.ABSENT)
MASKED = Value(State.MASKED)
NULL = Value(State.NULL)
JSON_NULL = Value(State.JSON_NULL)
#: A JSON null as the trigger writes it, to be told from NULL.
JSON_NULL_MARK = {_MARK: "json null"}


def load(text: str | None) -> dict[str, Any]:
    """Read the text of a ``jsonb`` row. Numbers keep their scale: ``10.00`` stays ``Decimal("10.00")``."""
    if not text:
        return {}
    try:
        data = _loads(text)
    except RecursionError:
        data = dict(_members(text))
    return data if isinstance(data, dict) else {}


def dump(data: Any) -> str:
    """Write a value as JSON, numbers and the order of members as they were logged.

    ``json.dumps`` can't write a Decimal as a number, and neither it nor a recursive function gets through data that
    is nested as deeply as PostgreSQL allows.
    """
    written: list[str] = []
    waiting: list[Any] = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Sign):
            written.append(item)
        elif isinstance(item, dict):
            parts = [(_Sign(json.dumps(name, ensure_ascii=False) + ": "), value) for name, value in item.items()]
            waiting += reversed([_Sign("{"), *_with_commas(parts), _Sign("}")])
        elif isinstance(item, (list, tuple)):
            waiting += reversed([_Sign("["), *_with_commas([(value,) for value in item]), _Sign("]")])
        else:
            written.append(_scalar(item))
    return "".join(written)


def value_of(row: dict[str, Any], column: str) -> Value:
    """The value of a column in a logged row."""
    if column not in row:
        return ABSENT
    return as_value(row[column])


def as_value(data: Any) -> Value:
    """Wrap what was logged, recognising the marks that the trigger writes for what ``jsonb`` can't say.

    An object that the application itself wrote can't be taken for one: the trigger puts it inside a mark.
    """
    if data is None:
        return NULL
    if data == "":
        return Value(State.EMPTY, "")
    if data == JSON_NULL_MARK:
        return JSON_NULL
    mark = mark_of(data)
    if mark == "masked" and len(data) == 1:
        return MASKED
    if mark == "text" and set(data) == {_MARK, "text"}:
        return Value(State.VALUE, _told(str(data["text"])))
    if mark == "value" and set(data) == {_MARK, "value"}:
        return Value(State.VALUE, data["value"])
    return Value(State.VALUE, data)


def mark_of(data: Any) -> str | None:
    """The kind of a mark, if what was logged is one: ``masked``, ``json null``, ``text``, ``value``, ``too large``."""
    mark = data.get(_MARK) if isinstance(data, dict) else None
    return mark if isinstance(mark, str) else None


def as_logged(data: Any) -> Any:
    """A value of a JSON column with the marks that the trigger would write."""
    if data is None:
        return JSON_NULL_MARK
    return {_MARK: "value", "value": data} if isinstance(data, dict) and _MARK in data else data


def _told(text: str) -> Any:
    """The value of a text that ``jsonb`` can't hold: JSON with a ``\\u0000`` in it, or of a type that is no JSON."""
    try:
        data = _loads(text)
    except (ValueError, RecursionError):
        return text
    # no arithmetic with 1e999999
    return data if isinstance(data, (dict, list, str)) else text


def _loads(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=_whole)


def _whole(digits: str) -> Any:
    # Python refuses to read very long whole numbers, PostgreSQL stores them
    return int(digits) if len(digits) < 1000 else Decimal(digits)


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """Read an object whose values are nested too deeply for the parser; such a value stays the text it is."""
    names = json.JSONDecoder()
    position = text.index("{") + 1
    while (start := text.find('"', position)) >= 0:
        name, end = names.raw_decode(text, start)
        begin = text.index(":", end) + 1
        position = _end_of_value(text, begin)
        source = text[begin:position].strip()
        try:
            yield name, _loads(source)
        except RecursionError:
            yield name, source


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


class _Sign(str):
    """Text that is written as it is."""


def _with_commas(parts: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    for index, part in enumerate(parts):
        if index:
            yield _Sign(", ")
        yield from part


def _scalar(data: Any) -> str:
    if isinstance(data, Decimal):
        return format(data, "f") if data.is_finite() and abs(data.adjusted()) < 400 else str(data)
    return json.dumps(data, ensure_ascii=False)
