"""The difference of two texts: marked within one text where that reads well, else side by side."""

from __future__ import annotations

from ...i18n import marked
from ..values import State, Value
from .kinds import Kind
from .nodes import FieldDiff, Shown
from .pieces import Piece, difference_notes, edge_pieces, pieces
from .single import BRIEF, MAX_SHOWN, needs_block, on_a_line, show_value
from .words import Run, folded, word_runs


def diff_texts(column: str, old: str, new: str, brief: bool) -> FieldDiff:
    """Compare two texts.

    :param brief: for a cell of a list: one line, cut around the first difference.
    """
    notes = difference_notes(old, new)
    if brief:
        return _brief_texts(column, old, new, notes)
    if not (needs_block(old) or needs_block(new)):
        return _short_texts(column, old, new, notes)
    if len(old) + len(new) <= MAX_SHOWN:
        runs = word_runs(old, new)
        if runs is not None:
            shown = tuple((run.kind, tuple(_run_pieces(run, bool(notes))), run.lines) for run in folded(runs))
            empty = Shown(State.VALUE)
            return FieldDiff(column, Kind.TEXT, empty, empty, layout="runs", notes=notes, runs=shown)
        notes = (*notes, marked("too different to compare word by word"))
    sides = [show_value(Value(State.VALUE, text), Kind.TEXT) for text in (old, new)]
    return FieldDiff(column, Kind.TEXT, sides[0], sides[1], layout="blocks", notes=notes)


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
        runs = _brief_runs(old, new, start)
        if runs is not None:
            empty = Shown(State.VALUE)
            return FieldDiff(column, Kind.TEXT, empty, empty, layout="runs", runs=runs)
    sides = []
    for text in (old, new):
        begin = max(0, start - BRIEF // 4) if len(text) > BRIEF else 0
        begin = min(begin, max(0, len(text) - BRIEF))
        kept = text[begin : begin + BRIEF]
        line = edge_pieces(kept) if kept == text else pieces(on_a_line(kept))
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
        shown.append((run.kind, tuple(pieces(on_a_line(text), mark=mark, blanks=not text.strip())), 1))
        length += len(text)
    if len(shown) < len(runs) and shown and shown[-1][0] == "removed" and runs[len(shown)].kind == "added":
        shown.pop()  # half of a replacement would look like a removal
    if not any(kind != "same" for kind, _, _ in shown):
        return None
    cut = ("same", (Piece("cut", "…"),), 1)
    is_whole = len(shown) == len(runs) and length == sum(len(run.text) for run in runs)
    return tuple([cut] * (begin > 0) + shown + [cut] * (not is_whole))


def _first_difference(old: str, new: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
