"""Compare two texts: marked word by word within one text where that reads well, else side by side.

The search is Myers' greedy one (An O(ND) Difference Algorithm, 1986) with a limit on edits and on steps. ``difflib``
is not used: two repetitive texts of a few kilobytes keep it busy for a minute, and anybody who can store text could
make a page hang.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..i18n import marked
from .budget import Budget, OutOfSteps, Steps
from .kinds import ValueKind
from .show import (
    BRIEF,
    CUT,
    FieldDiff,
    Piece,
    Shown,
    carried,
    cut,
    difference_notes,
    edge_pieces,
    needs_block,
    on_a_line,
    pieces,
    show_value,
)
from .values import Presence, Value

MAX_CHARACTERS = 200_000
MAX_TOKENS = 20_000
MAX_EDITS = 400
MAX_STEPS = 400_000
#: An unchanged run of more lines than this is folded.
FOLD_LINES = 3
#: Why values are shown side by side.
TOO_LARGE = marked("too large to be compared here")

_WORDS = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")
_LEADING = re.compile(r"\s*")


@dataclass(frozen=True)
class Run:
    """A stretch of text: ``same``, ``removed``, ``added``, or ``folded`` (unchanged, not shown at first)."""

    kind: str
    text: str

    @property
    def lines(self) -> int:
        """How many lines a folded run hides."""
        return self.text.count("\n") + 1


def word_runs(old: str, new: str, steps: Steps | None = None) -> list[Run] | None:
    """Runs that mark what was removed and added; ``None`` if the texts differ too much.

    The runs that are not ``added`` make up ``old``, those that are not ``removed`` make up ``new``.

    :param steps: how many may be taken.
    :raises OutOfSteps: if the texts are too long, or the search takes more steps.
    """
    steps = steps or Steps(MAX_CHARACTERS + 2 * MAX_STEPS)
    if len(old) + len(new) > MAX_CHARACTERS:
        raise OutOfSteps
    steps.take((len(old) + len(new)) // 2)
    runs = _runs(_WORDS.findall(old), _WORDS.findall(new), steps)
    if runs is None:
        runs = _runs(old.splitlines(keepends=True), new.splitlines(keepends=True), steps)
    return None if runs is None else _blanks_outside(runs)


def folded(runs: Sequence[Run]) -> list[Run]:
    """Fold long unchanged stretches; a line of context stays on each side that has a change."""
    result: list[Run] = []
    for index, run in enumerate(runs):
        lines = run.text.splitlines(keepends=True)
        if run.kind != "same" or len(lines) <= FOLD_LINES + 2:
            result.append(run)
            continue
        head = 0 if index == 0 else 1
        tail = 0 if index == len(runs) - 1 else 1
        middle = lines[head : len(lines) - tail]
        result += [Run("same", "".join(lines[:head]))] if head else []
        result.append(Run("folded", "".join(middle)))
        result += [Run("same", "".join(lines[-tail:]))] if tail else []
    return result


def _runs(old: Sequence[str], new: Sequence[str], allowed: Steps) -> list[Run] | None:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    left, right = old[start : len(old) - end], new[start : len(new) - end]
    script = _script(left, right, allowed)
    if script is None:
        return None
    tail = old[len(old) - end :]
    return _joined([*(("same", t) for t in old[:start]), *script, *(("same", t) for t in tail)])


def _script(old: Sequence[str], new: Sequence[str], allowed: Steps) -> list[tuple[str, str]] | None:
    if not old or not new:
        return [*(("removed", token) for token in old), *(("added", token) for token in new)]
    if len(old) + len(new) > MAX_TOKENS:
        return None
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(token, len(numbers)) for token in old]
    b = [numbers.setdefault(token, len(numbers)) for token in new]
    trace = _search(a, b, allowed)
    return None if trace is None else _walk_back(trace, old, new)


def _search(a: list[int], b: list[int], allowed: Steps) -> list[dict[int, int]] | None:
    """Find the furthest point on each diagonal, with one more edit each round, until the end is reached."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    steps = 0
    for edits in range(min(MAX_EDITS, len(a) + len(b)) + 1):
        trace.append(dict(furthest) if edits < 2 else {k: furthest[k] for k in range(-edits + 1, edits, 2)})
        before = steps
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and furthest[k - 1] < furthest[k + 1])
            x = furthest[k + 1] if down else furthest[k - 1] + 1
            y = x - k
            begin = x
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x += 1
                y += 1
            furthest[k] = x
            steps += x - begin + 1
            if x >= len(a) and y >= len(b):
                return trace
        allowed.take(steps - before)
        if steps > MAX_STEPS:
            return None
    return None


def _walk_back(trace: list[dict[int, int]], old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    x, y = len(old), len(new)
    script: list[tuple[str, str]] = []
    for edits in range(len(trace) - 1, -1, -1):
        furthest = trace[edits]
        k = x - y
        if edits == 0:
            previous_x, previous_y = 0, 0
        else:
            down = k == -edits or (k != edits and furthest[k - 1] < furthest[k + 1])
            previous_k = k + 1 if down else k - 1
            previous_x = furthest[previous_k]
            previous_y = previous_x - previous_k
        while x > previous_x and y > previous_y:
            x, y = x - 1, y - 1
            script.append(("same", old[x]))
        if edits and x == previous_x:
            y -= 1
            script.append(("added", new[y]))
        elif edits:
            x -= 1
            script.append(("removed", old[x]))
    script.reverse()
    return script


def _joined(script: Sequence[tuple[str, str]]) -> list[Run]:
    """Join neighbours of one kind; within a changed stretch what was removed comes before what was added."""
    runs: list[Run] = []
    parts: dict[str, list[str]] = {"same": [], "removed": [], "added": []}

    def flush(*kinds: str) -> None:
        for kind in kinds:
            if parts[kind]:
                runs.append(Run(kind, "".join(parts[kind])))
                parts[kind] = []

    for kind, token in script:
        flush(*(("removed", "added") if kind == "same" else ("same",)))
        parts[kind].append(token)
    flush("same", "removed", "added")
    return runs


def _blanks_outside(runs: Sequence[Run]) -> list[Run]:
    """Move blanks that both sides of a replacement start with out of the marks."""
    result: list[Run] = []
    skip = False
    for index, run in enumerate(runs):
        if skip:
            skip = False
            continue
        following = runs[index + 1] if index + 1 < len(runs) else None
        if run.kind == "removed" and following is not None and following.kind == "added":
            shared = _shared_blank(run.text, following.text)
            if shared:
                result.append(Run("same", shared))
            result += [Run(r.kind, r.text[len(shared) :]) for r in (run, following) if len(r.text) > len(shared)]
            skip = True
        else:
            result.append(run)
    return _merge(result)


def _merge(runs: Sequence[Run]) -> list[Run]:
    merged: list[Run] = []
    for run in runs:
        if merged and merged[-1].kind == run.kind:
            merged[-1] = Run(run.kind, merged[-1].text + run.text)
        else:
            merged.append(run)
    return merged


def _shared_blank(one: str, other: str) -> str:
    first, second = (_LEADING.match(text)[0] for text in (one, other))  # type: ignore[index]  # it matches any text
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return str(first[:length])


def unmarked(runs: Sequence[Run]) -> tuple[str, str]:
    """The two texts that runs were made of."""
    old = "".join(run.text for run in runs if run.kind != "added")
    return old, "".join(run.text for run in runs if run.kind != "removed")


def diff_texts(column: str, old: str, new: str, brief: bool, steps: Steps, budget: Budget) -> FieldDiff:
    """Compare two texts.

    :param brief: for a cell of a list: one line, cut around the first difference.
    :param steps: how many may be taken.
    :param budget: of the page.
    """
    notes = difference_notes(old, new)
    if brief:
        return _brief_texts(column, old, new, notes, steps, budget)
    if not (needs_block(old) or needs_block(new)):
        return _short_texts(column, old, new, notes, steps, budget)
    try:
        runs = word_runs(old, new, steps)
    except OutOfSteps:
        notes = (*notes, TOO_LARGE)
    else:
        shown = _marked_runs(runs, bool(notes), budget) if runs is not None else None
        if shown is not None:
            empty = Shown(Presence.VALUE)
            return FieldDiff(column, ValueKind.TEXT, empty, empty, layout="runs", notes=notes, runs=shown)
        notes = (*notes, marked("too different to compare word by word") if runs is None else TOO_LARGE)
    sides = [show_value(Value(Presence.VALUE, text), ValueKind.TEXT, budget=budget) for text in (old, new)]
    return FieldDiff(column, ValueKind.TEXT, sides[0], sides[1], layout="blocks", notes=notes)


def _marked_runs(
    runs: Sequence[Run], blanks: bool, budget: Budget
) -> tuple[tuple[str, tuple[Piece, ...], int], ...] | None:
    """The runs as pieces; ``None`` if the page has no room for them."""
    shown = [(run.kind, _run_pieces(run, blanks), run.lines) for run in folded(runs)]
    if carried([piece for _, parts, _ in shown for piece in parts], budget) is None:
        return None
    return tuple((kind, tuple(parts), lines) for kind, parts, lines in shown)


def _run_pieces(run: Run, blanks: bool) -> list[Piece]:
    mark = run.kind if run.kind in ("removed", "added") else ""
    # a change that is nothing but blanks would be invisible otherwise
    show = bool(mark) and (blanks or not run.text.strip())
    return pieces(run.text, mark=mark, block=True, blanks=show)


def _short_texts(column: str, old: str, new: str, notes: tuple[str, ...], steps: Steps, budget: Budget) -> FieldDiff:
    runs = word_runs(old, new, steps) or []
    if not any(run.kind == "same" and run.text.strip() for run in runs) and not notes:
        before, after = edge_pieces(old), edge_pieces(new)
    else:
        before = [p for run in runs if run.kind != "added" for p in _run_pieces(run, bool(notes))]
        after = [p for run in runs if run.kind != "removed" for p in _run_pieces(run, bool(notes))]
    sides = [Shown(Presence.VALUE, tuple(cut(side, budget, least=BRIEF))) for side in (before, after)]
    return FieldDiff(column, ValueKind.TEXT, sides[0], sides[1], notes=notes)


def _brief_texts(column: str, old: str, new: str, notes: tuple[str, ...], steps: Steps, budget: Budget) -> FieldDiff:
    start = first_difference(old, new)
    if max(len(old), len(new)) > BRIEF and not notes and budget.size:
        try:
            runs = _brief_runs(old, new, start, steps)
        except OutOfSteps:
            runs = None
        if runs is not None and carried([piece for _, parts, _ in runs for piece in parts], budget) is not None:
            empty = Shown(Presence.VALUE)
            return FieldDiff(column, ValueKind.TEXT, empty, empty, layout="runs", runs=runs)
    sides = []
    for text in (old, new):
        begin = max(0, start - BRIEF // 4) if len(text) > BRIEF else 0
        begin = min(begin, max(0, len(text) - BRIEF))
        kept = text[begin : begin + BRIEF]
        line = edge_pieces(kept) if kept == text else pieces(on_a_line(kept))
        shown = [CUT] * (begin > 0) + (pieces(kept, blanks=True) if notes else line)
        shown = cut(shown, budget, least=BRIEF, is_whole=begin + BRIEF >= len(text))
        sides.append(Shown(Presence.VALUE, tuple(shown)))
    return FieldDiff(column, ValueKind.TEXT, sides[0], sides[1], notes=notes)


def _brief_runs(old: str, new: str, start: int, steps: Steps) -> tuple[tuple[str, tuple[Piece, ...], int], ...] | None:
    """One line with marks around the first difference of two long texts; ``None`` if it can't be that short.

    Only a window of both texts is compared. A change that reaches the end of a window may go on behind it, or be none,
    so it is left out.
    """
    begin = max(0, start - BRIEF // 4)
    window = 3 * BRIEF
    runs = word_runs(old[begin : begin + window], new[begin : begin + window], steps) or []
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
    left_out = ("same", (CUT,), 1)
    is_whole = len(shown) == len(runs) and length == sum(len(run.text) for run in runs)
    return tuple([left_out] * (begin > 0) + shown + [left_out] * (not is_whole))


def first_difference(old: str, new: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(old), len(new))
    while low < high:  # halves are compared at once, not characters
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
