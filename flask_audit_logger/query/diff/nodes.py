"""A changed value as typed nodes: what a page needs to show it, without any markup."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ..values import State
from .kinds import Kind
from .numbers import Span
from .pieces import Piece
from .tree import Item


@dataclass(frozen=True)
class Shown:
    """One side of a change, ready to be put on a page."""

    state: State
    pieces: tuple[Piece, ...] = ()
    #: Set for instants, so that the page can tell them in the reader's time zone.
    instant: dt.datetime | None = None
    #: Bytes of a binary value, characters of a text that was cut.
    size: int | None = None
    #: SHA-256 of a value that is not shown whole; of a text as UTF-8.
    digest: str | None = None
    is_binary: bool = False
    #: Whether the text needs a block of its own.
    is_long: bool = False

    @property
    def text(self) -> str:
        """The text without marks, for places that can't have any."""
        return "".join(piece.text for piece in self.pieces)


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
    kind: Kind
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
        return State.MASKED in (self.before.state, self.after.state)
