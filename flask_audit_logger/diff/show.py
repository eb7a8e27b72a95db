"""Prepare a value for a page as typed parts without markup, with control characters made visible."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..i18n import marked
from .budget import Budget
from .json import Item
from .kinds import Span, ValueKind, as_instant, settled
from .values import Presence, Value, dump

#: Longest text that is shown on one line.
SHORT = 120
#: Longest text in a cell of a list.
BRIEF = 80
#: Characters of a text that is too long to be shown.
EXCERPT = 2000
BINARY_EXCERPT = 32
#: Longest texts that are searched for differences that are easily missed.
MAX_NOTED = 20_000

#: Controls, format characters (bidi overrides, zero width) and separators that browsers treat as line ends.
_SPECIAL = (
    "\\x00-\\x1f\\x7f-\\x9f\\xad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f\\ud800-\\udfff"
)
_CONTROLS = re.compile(f"[{_SPECIAL}]")
_CONTROLS_AND_BLANKS = re.compile(f"[{_SPECIAL} \\xa0]")
_SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍", " ": "·", "\u00a0": "⍽"}
_ESCAPED = re.compile("[&<>'\"]")


@dataclass(frozen=True)
class Piece:
    """A part of a shown text.

    ``kind`` is ``text``, ``control`` (``text`` is its code point, as in ``U+202E``), ``blank`` (``text`` is the sign
    for it) or ``cut`` (something was left out here). ``mark`` is ``removed``, ``added`` or empty.
    """

    kind: str
    text: str
    mark: str = ""

    @property
    def weight(self) -> int:
        """Approximate size of its HTML in bytes."""
        size = len(self.text) if self.text.isascii() else len(self.text.encode("utf-8", "surrogatepass"))
        return size + 5 * len(_ESCAPED.findall(self.text)) if self.kind == "text" else size + 40


#: The place at which the rest of a value was left out.
CUT = Piece("cut", "…")


@dataclass(frozen=True)
class Shown:
    """One side of a change, ready to be put on a page."""

    presence: Presence
    pieces: tuple[Piece, ...] = ()
    #: Set for instants, so that the page can tell them in the reader's time zone.
    instant: dt.datetime | None = None
    #: Bytes of a binary value, characters of a text that was cut, if they were counted.
    size: int | None = None
    #: SHA-256 of a value that is not shown whole; of a text as UTF-8.
    digest: str | None = None
    is_binary: bool = False
    #: Whether the text needs a block of its own.
    is_long: bool = False
    #: Whether only the beginning is shown, and the whole value is offered as a download.
    is_cut: bool = False

    @property
    def text(self) -> str:
        """The text without marks, for places that can't have any."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def plain(self) -> str | None:
        """The text if it is all there is to show: nothing of it is marked, written out or left out."""
        if len(self.pieces) != 1:
            return None
        piece = self.pieces[0]
        return piece.text if piece.kind == "text" and not piece.mark else None


@dataclass(frozen=True)
class ShownPath:
    """A changed place of a JSON value."""

    path: tuple[Piece, ...]
    kind: str
    before: Shown
    after: Shown


@dataclass(frozen=True)
class FieldDiff:
    """What happened to one column.

    ``layout`` says which of the parts is filled: ``sides`` (before and after on a line), ``blocks`` (the same as
    blocks), ``runs`` (one text with marks), ``paths`` (JSON), ``items`` (array).
    """

    column: str
    kind: ValueKind
    before: Shown
    after: Shown
    layout: str = "sides"
    delta: str | Span | None = None
    percent: str | None = None
    notes: tuple[str, ...] = ()
    runs: tuple[tuple[str, tuple[Piece, ...], int], ...] = ()
    paths: tuple[ShownPath, ...] = ()
    items: tuple[tuple[Item, Shown], ...] = ()
    unchanged: int = 0
    more: int = 0

    @property
    def is_masked(self) -> bool:
        """Whether the values were never logged or must not be shown."""
        return Presence.MASKED in (self.before.presence, self.after.presence)


def show_value(
    value: Value,
    kind: ValueKind | None = None,
    *,
    brief: bool = False,
    quoted: bool = False,
    budget: Budget | None = None,
) -> Shown:
    """Show one value on its own.

    :param brief: for a cell of a list: its beginning on one line.
    :param quoted: as JSON, so that the text "5" and the number 5 differ.
    :param budget: of the page.
    """
    budget = budget or Budget()
    actual = settled(kind, value.data)
    if not value.known:
        return Shown(value.presence)
    if actual is ValueKind.BINARY and isinstance(value.data, str) and value.data.startswith("\\x"):
        return _binary(value)
    instant = as_instant(value.data) if actual is ValueKind.INSTANT else None
    if instant is not None:
        return Shown(value.presence, tuple(pieces(str(value.data))), instant=instant)
    if brief:
        text = as_text(value.data, BRIEF, quoted=quoted)
        is_whole = len(text) <= BRIEF
        shown = cut(edge_pieces(text) if is_whole else pieces(on_a_line(text[:BRIEF])), budget, BRIEF, is_whole)
        return Shown(value.presence, tuple(shown))
    if isinstance(value.data, str) and not quoted:
        return _whole(value.data, budget, value.presence)
    most = max(EXCERPT, min(budget.size, budget.steps))
    text = as_text(value.data, most, quoted=quoted)
    budget.steps = max(0, budget.steps - len(text))
    if len(text) > most:
        shown = cut(pieces(text[:EXCERPT], block=True), budget, EXCERPT // 4, is_whole=False)
        return Shown(value.presence, tuple(shown), is_long=True, is_cut=True)
    return _whole(text, budget, value.presence)


def _whole(text: str, budget: Budget, presence: Presence) -> Shown:
    """A text, or its beginning with length and digest if the page has no room for the whole."""
    is_long = needs_block(text)
    if len(text) + 40 * len(_CONTROLS.findall(text)) - 40 * text.count("\n") <= budget.size:
        whole = carried(pieces(text, block=True) if is_long else edge_pieces(text), budget)
        if whole is not None:
            return Shown(presence, tuple(whole), is_long=is_long)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    shown = cut(pieces(text[:EXCERPT], block=True), budget, EXCERPT // 4, is_whole=False)
    return Shown(presence, tuple(shown), size=len(text), digest=digest, is_long=True, is_cut=True)


def carried(parts: list[Piece], budget: Budget) -> list[Piece] | None:
    """Take the size of pieces from the budget; ``None`` if too little is left."""
    weight = weight_of(parts)
    if weight > budget.size:
        return None
    budget.size -= weight
    return parts


def cut(parts: Iterable[Piece], budget: Budget, least: int, is_whole: bool = True) -> list[Piece]:
    """The beginning of pieces, as long as the budget allows.

    :param least: bytes that are shown even if nothing is left.
    :param is_whole: whether the pieces are all there is.
    """
    kept: list[Piece] = []
    left, taken = max(budget.size, least), 0
    for part in parts:
        weight = part.weight
        if weight > left - taken:
            if part.kind == "text":  # no character takes more than six bytes
                kept.append(Piece("text", part.text[: (left - taken) // 6], part.mark))
                taken += kept[-1].weight
            is_whole = False
            break
        taken += weight
        kept.append(part)
    budget.size = max(0, budget.size - taken)
    return kept if is_whole else [*kept, CUT]


def weight_of(parts: Iterable[Piece]) -> int:
    """Approximate size of the HTML of pieces in bytes."""
    return sum(part.weight for part in parts)


def as_text(data: Any, most: int | None = None, *, quoted: bool = False) -> str:
    """A logged value as text: numbers in their scale, JSON as JSON.

    :param most: characters of JSON after which the rest is left out; a little more than that is given.
    :param quoted: a text as JSON, too.
    """
    return data if isinstance(data, str) and not quoted else dump(data, most)


def needs_block(text: str) -> bool:
    """Whether a text is not for one line."""
    return len(text) > SHORT or "\n" in text.strip("\n")


def on_a_line(text: str) -> str:
    """An excerpt with each stretch of line ends as one."""
    return re.sub(r"\s*\n\s*", "\n", text)


def pieces(text: str, *, mark: str = "", block: bool = False, blanks: bool = False) -> list[Piece]:
    """Split a text into pieces: controls become badges, blanks can be made visible.

    :param block: line breaks stay line breaks; otherwise they are shown as a sign.
    :param blanks: show every blank, not only line breaks and tabs.
    """
    special = _CONTROLS_AND_BLANKS if blanks else _CONTROLS
    if special.search(text) is None:  # nearly every text
        return [Piece("text", text, mark)] if text else []
    found: list[Piece] = []
    start = 0
    for match in special.finditer(text):
        character = match[0]
        if block and not blanks and character in "\n\t":
            continue
        if match.start() > start:
            found.append(Piece("text", text[start : match.start()], mark))
        start = match.end()
        if character in _SIGNS:
            line_end = "\n" if block and character == "\n" else ""
            found.append(Piece("blank", _SIGNS[character] + line_end, mark))
        else:
            found.append(Piece("control", f"U+{ord(character):04X}", mark))
    if start < len(text):
        found.append(Piece("text", text[start:], mark))
    return found


def visible(text: str) -> str:
    """A name or another text that can't have markup, with its controls written out."""
    if _CONTROLS.search(text) is None:
        return text
    return "".join(f"⟨{piece.text}⟩" if piece.kind == "control" else piece.text for piece in pieces(text))


def printable(text: str) -> str:
    """A text, also of JSON, on one line of a terminal or a script: its controls are written as JSON writes them."""
    return _CONTROLS.sub(lambda match: json.dumps(match[0])[1:-1], text)


def edge_pieces(text: str, *, mark: str = "") -> list[Piece]:
    """Split a short text into pieces; blanks at its ends are shown, as nobody would see them."""
    inner = text.strip(" \u00a0\t\n\r")
    if inner == text:
        return pieces(text, mark=mark)
    if not inner:
        return pieces(text, mark=mark, blanks=True)
    start = text.index(inner)
    return [
        *pieces(text[:start], mark=mark, blanks=True),
        *pieces(inner, mark=mark),
        *pieces(text[start + len(inner) :], mark=mark, blanks=True),
    ]


def difference_notes(old: str, new: str) -> tuple[str, ...]:
    """Notes on differences between two texts that are easily missed."""
    if old == new or len(old) + len(new) > MAX_NOTED:
        return ()
    if "".join(old.split()) == "".join(new.split()):
        return (marked("differs only in whitespace"),)
    if old.casefold() == new.casefold():
        return (marked("differs only in upper and lower case"),)
    if unicodedata.normalize("NFC", old) == unicodedata.normalize("NFC", new):
        return (marked("differs only in how accents are encoded"),)
    return ()


def _binary(value: Value) -> Shown:
    try:
        data = bytes.fromhex(value.data[2:])
    except ValueError:
        return Shown(value.presence, tuple(pieces(value.data[:BRIEF])), size=len(value.data))
    start = (Piece("text", data[:BINARY_EXCERPT].hex(" ")),)
    return Shown(value.presence, start, size=len(data), digest=hashlib.sha256(data).hexdigest(), is_binary=True)
