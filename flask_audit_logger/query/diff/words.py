"""Word-level difference of two texts, bounded in time whatever the texts are.

The search is Myers' greedy one (An O(ND) Difference Algorithm, 1986) with a limit on edits and on steps. ``difflib``
is not used: two repetitive texts of a few kilobytes keep it busy for a minute, and anybody who can store text could
make a page hang.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_CHARACTERS = 200_000
MAX_TOKENS = 20_000
MAX_EDITS = 400
MAX_STEPS = 400_000
#: An unchanged run of more lines than this is folded.
FOLD_LINES = 3

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


def word_runs(old: str, new: str) -> list[Run] | None:
    """Runs that mark what was removed and added; ``None`` if the texts differ too much.

    The runs that are not ``added`` make up ``old``, those that are not ``removed`` make up ``new``.
    """
    if len(old) + len(new) > MAX_CHARACTERS:
        return None
    runs = _runs(_WORDS.findall(old), _WORDS.findall(new))
    if runs is None:
        runs = _runs(old.splitlines(keepends=True), new.splitlines(keepends=True))
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


def _runs(old: Sequence[str], new: Sequence[str]) -> list[Run] | None:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    left, right = old[start : len(old) - end], new[start : len(new) - end]
    script = _script(left, right)
    if script is None:
        return None
    tail = old[len(old) - end :]
    return _joined([*(("same", t) for t in old[:start]), *script, *(("same", t) for t in tail)])


def _script(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]] | None:
    if not old or not new:
        return [*(("removed", token) for token in old), *(("added", token) for token in new)]
    if len(old) + len(new) > MAX_TOKENS:
        return None
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(token, len(numbers)) for token in old]
    b = [numbers.setdefault(token, len(numbers)) for token in new]
    trace = _search(a, b)
    return None if trace is None else _walk_back(trace, old, new)


def _search(a: list[int], b: list[int]) -> list[dict[int, int]] | None:
    """Find the furthest reach on each diagonal, one edit more each round, until the end is reached."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    steps = 0
    for edits in range(min(MAX_EDITS, len(a) + len(b)) + 1):
        trace.append(dict(furthest) if edits < 2 else {k: furthest[k] for k in range(-edits + 1, edits, 2)})
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
