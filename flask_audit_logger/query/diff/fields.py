"""The difference of one column's values, in the shape its kind is shown in."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..texts import marked
from ..values import State, Value, dump
from .kinds import Kind, settled, type_of
from .numbers import Span, as_date, as_instant, number_delta, time_delta
from .pieces import Piece, difference_notes, edge_pieces, pieces
from .tree import Item, PathChange, diff_items, diff_tree, is_flat, same
from .words import Run, folded, word_runs

#: Longest text that is shown on one line.
SHORT = 120
#: Longest text in a cell of a list.
BRIEF = 80
#: Longest text that is put on a page in full; what is longer can be downloaded.
MAX_SHOWN = 1_000_000
#: Characters of a text that is too long to be shown.
EXCERPT = 2000
BINARY_EXCERPT = 32


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


def diff_field(
    column: str, before: Value, after: Value, kind: Kind | None = None, *, is_key: bool = False, brief: bool = False
) -> FieldDiff:
    """Compare the two values of a column.

    :param kind: the kind of its declared type.
    :param is_key: whether its numbers are names of things, so that a difference of them means nothing.
    :param brief: for a cell of a list: one line, cut around the first difference.
    """
    actual = settled(kind, before.data, after.data)
    if State.MASKED in (before.state, after.state):
        return FieldDiff(column, actual, Shown(_masked(before)), Shown(_masked(after)))
    # an empty text has no place for marks: it is a badge, like null
    if before.state is not State.VALUE or after.state is not State.VALUE:
        return _one_sided(column, actual, before, after, brief)
    if actual is Kind.NUMBER:
        delta, percent = (None, None) if is_key else number_delta(before.data, after.data)
        return FieldDiff(column, actual, *_plain(before, after, actual), delta=delta, percent=percent)
    if actual in (Kind.DATE, Kind.INSTANT, Kind.TIMESTAMP):
        read = as_date if actual is Kind.DATE else as_instant
        span = time_delta(read(before.data), read(after.data))
        return FieldDiff(column, actual, *_plain(before, after, actual), delta=span)
    if actual in (Kind.JSON, Kind.ARRAY, Kind.PLAIN) and _is_nested(before.data) and _is_nested(after.data):
        return _nested(column, actual, before.data, after.data, brief)
    if actual is Kind.TEXT and isinstance(before.data, str) and isinstance(after.data, str):
        return _texts(column, before.data, after.data, brief)
    if type_of(before.data) != type_of(after.data):
        # as JSON, so that the text "5" and the number 5 differ
        old, new = (Value(State.VALUE, dump(data)) for data in (before.data, after.data))
        sides = _plain(old, new, Kind.TEXT, brief=brief)
        return FieldDiff(column, actual, *sides, notes=(marked("the type of the value differs"),))
    return FieldDiff(column, actual, *_plain(before, after, actual, brief=brief))


def differs(before: Value, after: Value) -> bool:
    """Whether two values of a column differ as values.

    One instant in two zones, 10.0 and 10.00, or JSON with its members in another order are equal.
    """
    if before.state is not after.state:
        return True
    instants = as_instant(before.data), as_instant(after.data)
    if None not in instants:
        return instants[0] != instants[1]
    return not same(before.data, after.data)


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
        kept = _on_a_line(text[:BRIEF]) if brief else text[:EXCERPT]
        shown = [*(pieces(kept, block=not brief)), Piece("cut", "…")]
        digest = None if brief else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Shown(value.state, tuple(shown), size=len(text), digest=digest, is_long=not brief)
    is_long = not brief and _needs_block(text)
    shown = pieces(text, block=True) if is_long else edge_pieces(text)
    return Shown(value.state, tuple(shown), is_long=is_long)


def as_text(data: Any) -> str:
    """A logged value as text: numbers in their scale, JSON as JSON."""
    if isinstance(data, str):
        return data
    if isinstance(data, Decimal):
        return dump(data)
    return dump(data)


def _masked(value: Value) -> State:
    # whether there was a value at all is not a secret of the mask: the trigger writes null as null
    return State.MASKED if value.state in (State.VALUE, State.EMPTY, State.MASKED) else value.state


def _one_sided(column: str, kind: Kind, before: Value, after: Value, brief: bool) -> FieldDiff:
    return FieldDiff(
        column, kind, show_value(before, kind, brief=brief), show_value(after, kind, brief=brief), layout="sides"
    )


def _plain(before: Value, after: Value, kind: Kind, brief: bool = False) -> tuple[Shown, Shown]:
    return show_value(before, kind, brief=brief), show_value(after, kind, brief=brief)


def _is_nested(data: Any) -> bool:
    return isinstance(data, (dict, list))


def _needs_block(text: str) -> bool:
    return len(text) > SHORT or "\n" in text.strip("\n")


def _binary(value: Value) -> Shown:
    try:
        data = bytes.fromhex(value.data[2:])
    except ValueError:
        return Shown(value.state, tuple(pieces(value.data[:BRIEF])), size=len(value.data))
    excerpt = (Piece("text", data[:BINARY_EXCERPT].hex(" ")),)
    return Shown(value.state, excerpt, size=len(data), digest=hashlib.sha256(data).hexdigest(), is_binary=True)


def _texts(column: str, old: str, new: str, brief: bool) -> FieldDiff:
    notes = difference_notes(old, new)
    if brief:
        return _brief_texts(column, old, new, notes)
    if not (_needs_block(old) or _needs_block(new)):
        return _short_texts(column, old, new, notes)
    if len(old) + len(new) <= MAX_SHOWN:
        runs = word_runs(old, new)
        if runs is not None:
            shown = tuple((run.kind, tuple(_run_pieces(run, bool(notes))), run.lines) for run in folded(runs))
            empty = Shown(State.VALUE)
            return FieldDiff(column, Kind.TEXT, empty, empty, layout="runs", notes=notes, runs=shown)
        notes = (*notes, marked("too different to mark"))
    sides = _plain(Value(State.VALUE, old), Value(State.VALUE, new), Kind.TEXT)
    return FieldDiff(column, Kind.TEXT, *sides, layout="blocks", notes=notes)


def _run_pieces(run: Run, blanks: bool) -> list[Piece]:
    mark = run.kind if run.kind in ("removed", "added") else ""
    # a change that is nothing but blanks would be invisible otherwise
    show = bool(mark) and (blanks or not run.text.strip())
    return pieces(run.text, mark=mark, block=True, blanks=show)


def _short_texts(column: str, old: str, new: str, notes: tuple[str, ...]) -> FieldDiff:
    runs = word_runs(old, new) or []
    if not any(run.kind == "same" and run.text.strip() for run in runs) and not notes:
        before, after = edge_pieces(old), edge_pieces(new)
    else:
        before = [p for run in runs if run.kind != "added" for p in _run_pieces(run, bool(notes))]
        after = [p for run in runs if run.kind != "removed" for p in _run_pieces(run, bool(notes))]
    return FieldDiff(
        column, Kind.TEXT, Shown(State.VALUE, tuple(before)), Shown(State.VALUE, tuple(after)), notes=notes
    )


def _brief_texts(column: str, old: str, new: str, notes: tuple[str, ...]) -> FieldDiff:
    start = _first_difference(old, new)
    if max(len(old), len(new)) > BRIEF and not notes:
        marked = _brief_runs(old, new, start)
        if marked is not None:
            empty = Shown(State.VALUE)
            return FieldDiff(column, Kind.TEXT, empty, empty, layout="runs", runs=marked)
    sides = []
    for text in (old, new):
        begin = max(0, start - BRIEF // 4) if len(text) > BRIEF else 0
        begin = min(begin, max(0, len(text) - BRIEF))
        kept = text[begin : begin + BRIEF]
        line = edge_pieces(kept) if kept == text else pieces(_on_a_line(kept))
        shown = pieces(kept, blanks=True) if notes else line
        shown = [Piece("cut", "…")] * (begin > 0) + shown + [Piece("cut", "…")] * (begin + BRIEF < len(text))
        sides.append(Shown(State.VALUE, tuple(shown)))
    return FieldDiff(column, Kind.TEXT, sides[0], sides[1], notes=notes)


def _brief_runs(old: str, new: str, start: int) -> tuple[tuple[str, tuple[Piece, ...], int], ...] | None:
    """One line with marks around the first difference of two long texts; ``None`` if it can't be that short.

    Only a window of both texts is compared. A change that reaches the end of a window may go on behind it, or be none,
    so it is left out.
    """
    begin = max(0, start - BRIEF // 4)
    window = 3 * BRIEF
    runs = word_runs(old[begin : begin + window], new[begin : begin + window]) or []
    shown: list[tuple[str, tuple[Piece, ...], int]] = []
    length = 0
    for index, run in enumerate(runs):
        ends = index >= len(runs) - 2 and (len(old) > begin + window or len(new) > begin + window)
        is_second_half = run.kind == "added" and index > 0 and runs[index - 1].kind == "removed"
        if (length > BRIEF and not is_second_half) or (run.kind != "same" and (ends or len(run.text) > BRIEF)):
            break
        text = run.text[: BRIEF + 20 - length] if run.kind == "same" else run.text
        mark = run.kind if run.kind != "same" else ""
        shown.append((run.kind, tuple(pieces(_on_a_line(text), mark=mark, blanks=not text.strip())), 1))
        length += len(text)
    if len(shown) < len(runs) and shown and shown[-1][0] == "removed" and runs[len(shown)].kind == "added":
        shown.pop()  # half of a replacement would look like a removal
    if not any(kind != "same" for kind, _, _ in shown):
        return None
    cut = ("same", (Piece("cut", "…"),), 1)
    is_whole = len(shown) == len(runs) and length == sum(len(run.text) for run in runs)
    return tuple([cut] * (begin > 0) + shown + [cut] * (not is_whole))


def _on_a_line(text: str) -> str:
    """An excerpt with each stretch of line ends as one."""
    return re.sub(r"\s*\n\s*", "\n", text)


def _first_difference(old: str, new: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _nested(column: str, kind: Kind, old: Any, new: Any, brief: bool) -> FieldDiff:
    empty = Shown(State.VALUE)
    if is_flat(old) and is_flat(new):
        items = diff_items(old, new)
        limit = 4 if brief else 200
        quoted = len({type_of(item.value) for item in items}) > 1
        shown = tuple((item, _show_inner(item.value, brief, quoted=quoted)) for item in items[:limit])
        unchanged = len(new) - sum(item.kind == "added" for item in items)
        more = max(0, len(items) - limit)
        return FieldDiff(column, kind, empty, empty, layout="items", items=shown, unchanged=unchanged, more=more)
    tree = diff_tree(old, new)
    limit = 2 if brief else len(tree.changes)
    return FieldDiff(
        column,
        kind,
        empty,
        empty,
        layout="paths",
        paths=tuple(_show_path(change, brief) for change in tree.changes[:limit]),
        unchanged=tree.unchanged,
        more=tree.more + len(tree.changes) - limit,
        notes=() if tree.changes or not same(old, new) else (marked("the order of members differs"),),
    )


def _show_path(change: PathChange, brief: bool) -> ShownPath:
    absent = Shown(State.ABSENT)
    quoted = change.kind == "changed" and type_of(change.before) != type_of(change.after)
    before = absent if change.kind == "added" else _show_inner(change.before, brief, quoted=quoted)
    after = absent if change.kind == "removed" else _show_inner(change.after, brief, quoted=quoted)
    return ShownPath(tuple(pieces(".".join(change.path))), change.kind, before, after)


def _show_inner(data: Any, brief: bool, *, quoted: bool = False) -> Shown:
    """Show a value inside another one.

    :param quoted: as JSON, so that the text "5" and the number 5 differ.
    """
    value = _inner(data)
    if not value.known:
        return Shown(value.state)
    text = dump(value.data) if quoted else as_text(value.data)
    limit = BRIEF // 2 if brief else EXCERPT
    cut = [Piece("cut", "…")] if len(text) > limit else []
    return Shown(value.state, (*edge_pieces(text[:limit]), *cut))


def _inner(data: Any) -> Value:
    if data is None:
        return Value(State.NULL)
    return Value(State.EMPTY, "") if data == "" else Value(State.VALUE, data)


def unmarked(runs: Sequence[Run]) -> tuple[str, str]:
    """The two texts that runs were made of."""
    old = "".join(run.text for run in runs if run.kind != "added")
    return old, "".join(run.text for run in runs if run.kind != "removed")
