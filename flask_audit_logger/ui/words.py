"""Numbers, names and sentences of the pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from ..query.activities import Count
from ..query.diff.numbers import Span
from ..query.diff.pieces import Piece
from .texts import Noun, decimal, gettext, marked, marked_plural, ngettext, pgettext
from .texts import number as number

CHANGES = Noun(
    marked_plural("%(number)s change", "%(number)s changes"), marked("More than %(number)s changes"), marked("Changes")
)
TRANSACTIONS = Noun(
    marked_plural("%(number)s transaction", "%(number)s transactions"),
    marked("More than %(number)s transactions"),
    marked("Transactions"),
)
ROWS = Noun(marked_plural("%(number)s row", "%(number)s rows"), marked("More than %(number)s rows"), marked("Rows"))
#: What changes of one kind are called.
VERB_NOUNS = {
    "insert": Noun(
        marked_plural("%(number)s new record", "%(number)s new records"),
        marked("More than %(number)s new records"),
        marked("New records"),
    ),
    "update": Noun(
        marked_plural("%(number)s update", "%(number)s updates"),
        marked("More than %(number)s updates"),
        marked("Updates"),
    ),
    "delete": Noun(
        marked_plural("%(number)s deletion", "%(number)s deletions"),
        marked("More than %(number)s deletions"),
        marked("Deletions"),
    ),
    "truncate": Noun(
        marked_plural("%(number)s emptied table", "%(number)s emptied tables"),
        marked("More than %(number)s emptied tables"),
        marked("Emptied tables"),
    ),
    "snapshot": Noun(
        marked_plural("%(number)s snapshot", "%(number)s snapshots"),
        marked("More than %(number)s snapshots"),
        marked("Snapshots"),
    ),
}

#: Parts of a span of time.
_SPAN_WORDS = {
    "days": marked_plural("%(number)s day", "%(number)s days"),
    "d": marked_plural("%(number)s d", "%(number)s d"),
    "h": marked_plural("%(number)s h", "%(number)s h"),
    "min": marked_plural("%(number)s min", "%(number)s min"),
    "s": marked_plural("%(number)s s", "%(number)s s"),
}


def amount(count: Count | None, noun: Noun) -> str:
    """A count with its noun; without a number if counting took too long."""
    if count is None:
        return gettext(noun.any)
    if count.is_capped:
        return gettext(noun.more, number=number(count.number))
    return ngettext(*noun.counted, count.number)


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
            return f"{decimal(octets / factor)} {unit}"
    return f"{octets} B"


def joined(parts: list[str], last: str = "and") -> str:
    """Words in a row.

    :param last: ``and`` or ``or``.
    """
    if len(parts) < 2:
        return "".join(parts)
    values = {"parts": pgettext("between the items of a list", ", ").join(parts[:-1]), "last": parts[-1]}
    return gettext("%(parts)s and %(last)s", **values) if last == "and" else gettext("%(parts)s or %(last)s", **values)


def apart(delta: str | Span) -> str:
    """A difference of two numbers, which is text, or of two times."""
    if isinstance(delta, str):
        return delta
    return delta.sign + " ".join(ngettext(*_SPAN_WORDS[unit], size) for size, unit in delta.parts)


def grouped_by_mark(parts: Iterable[Piece]) -> list[tuple[str, list[Piece]]]:
    """Pieces in stretches of one mark."""
    return [(mark, list(group)) for mark, group in groupby(parts, key=lambda piece: piece.mark)]


def local_input(text: str) -> str:
    """A typed time as the value of a ``datetime-local`` field, if it is one."""
    return text.replace(" ", "T", 1) if is_local(text) else text


def is_local(text: str) -> bool:
    """Whether a ``datetime-local`` field can hold what was typed; an offset or a bare date needs a text field."""
    return not text or re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", text) is not None
