"""One value on its own, in the shape its kind is shown in."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ..values import Value, dump
from .kinds import Kind, settled
from .nodes import Shown
from .numbers import as_instant
from .pieces import Piece, edge_pieces, pieces

#: Longest text that is shown on one line.
SHORT = 120
#: Longest text in a cell of a list.
BRIEF = 80
#: Longest text that is put on a page in full; what is longer can be downloaded.
MAX_SHOWN = 1_000_000
#: Characters of a text that is too long to be shown.
EXCERPT = 2000
BINARY_EXCERPT = 32


def show_value(value: Value, kind: Kind | None = None, *, brief: bool = False) -> Shown:
    """Show one value on its own."""
    actual = settled(kind, value.data)
    if not value.known:
        return Shown(value.state)
    if actual is Kind.BINARY and isinstance(value.data, str) and value.data.startswith("\\x"):
        return _binary(value)
    if actual is Kind.INSTANT:
        instant = as_instant(value.data)
        return Shown(value.state, tuple(pieces(str(value.data))), instant=instant)
    text = as_text(value.data)
    limit = BRIEF if brief else MAX_SHOWN
    if len(text) > limit:
        kept = on_a_line(text[:BRIEF]) if brief else text[:EXCERPT]
        shown = [*(pieces(kept, block=not brief)), Piece("cut", "…")]
        digest = None if brief else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Shown(value.state, tuple(shown), size=len(text), digest=digest, is_long=not brief)
    is_long = not brief and needs_block(text)
    shown = pieces(text, block=True) if is_long else edge_pieces(text)
    return Shown(value.state, tuple(shown), is_long=is_long)


def as_text(data: Any) -> str:
    """A logged value as text: numbers in their scale, JSON as JSON."""
    return data if isinstance(data, str) else dump(data)


def needs_block(text: str) -> bool:
    """Whether a text is not for one line."""
    return len(text) > SHORT or "\n" in text.strip("\n")


def on_a_line(text: str) -> str:
    """An excerpt with each stretch of line ends as one."""
    return re.sub(r"\s*\n\s*", "\n", text)


def _binary(value: Value) -> Shown:
    try:
        data = bytes.fromhex(value.data[2:])
    except ValueError:
        return Shown(value.state, tuple(pieces(value.data[:BRIEF])), size=len(value.data))
    excerpt = (Piece("text", data[:BINARY_EXCERPT].hex(" ")),)
    return Shown(value.state, excerpt, size=len(data), digest=hashlib.sha256(data).hexdigest(), is_binary=True)
