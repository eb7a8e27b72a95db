"""Numbers, names and sentences of the pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from ..query.activities import Count
from ..query.diff.pieces import Piece

VERB_NOUNS = {
    "insert": ("new record", "new records"),
    "update": ("update", "updates"),
    "delete": ("deletion", "deletions"),
    "truncate": ("emptied table", "emptied tables"),
    "snapshot": ("snapshot", "snapshots"),
}


def number(value: int) -> str:
    """A whole number with thousands apart."""
    return f"{value:,}"


def amount(count: Count | None, one: str, many: str) -> str:
    """A count with its noun; without a number if counting took too long."""
    if count is None:
        return many[:1].upper() + many[1:]
    if count.is_capped:
        return f"More than {number(count.number)} {many}"
    return f"{number(count.number)} {one if count.number == 1 else many}"


def humanized(name: str) -> str:
    """A name of a table or column as words."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] if words else name


def size(octets: int) -> str:
    """A number of bytes."""
    if octets < 1000:
        return f"{octets} B"
    for unit, factor in (("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)):
        if octets < factor * 1000 or unit == "GB":
            return f"{octets / factor:.1f} {unit}"
    return f"{octets} B"


def joined(parts: list[str], last: str = "and") -> str:
    """Words in a row."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def grouped_by_mark(parts: Iterable[Piece]) -> list[tuple[str, list[Piece]]]:
    """Pieces in stretches of one mark."""
    return [(mark, list(group)) for mark, group in groupby(parts, key=lambda piece: piece.mark)]


def local_input(text: str) -> str:
    """A typed time as the value of a ``datetime-local`` field, if it is one."""
    return text.replace(" ", "T", 1) if is_local(text) else text


def is_local(text: str) -> bool:
    """Whether a ``datetime-local`` field can hold what was typed; an offset or a bare date needs a text field."""
    return not text or re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", text) is not None
