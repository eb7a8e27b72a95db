"""Compare two JSON values: changed paths, and added, removed or moved items of arrays."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .budget import Steps
from .values import RawJson, dump

MAX_CHANGES = 500
#: Steps for one place of a value.
COST = 4
#: Members that name an object in an array, best first.
_NAMES = ("id", "key", "uuid")
_MISSING = object()


@dataclass(frozen=True)
class PathChange:
    """One changed place: ``added``, ``removed``, ``changed`` or ``moved``; values are JSON texts or scalars."""

    path: tuple[str, ...]
    kind: str
    before: Any = None
    after: Any = None


@dataclass
class TreeDiff:
    """The changed places of a JSON value, in the order of the new one."""

    changes: list[PathChange] = field(default_factory=list)
    unchanged: int = 0
    more: int = 0

    def add(self, change: PathChange) -> None:
        """Keep a change, or count it if there are too many already."""
        if len(self.changes) < MAX_CHANGES:
            self.changes.append(change)
        else:
            self.more += 1


@dataclass(frozen=True)
class Item:
    """One item of an array of scalars: ``added``, ``removed`` or ``moved`` (then ``places`` are from and to)."""

    kind: str
    value: Any
    places: tuple[int, int] | None = None


def same(one: Any, other: Any, steps: Steps | None = None) -> bool:
    """Whether two JSON values are equal as ``jsonb`` sees it: 10.0 is 10.00, true is not 1."""
    if steps is not None:
        steps.take(COST)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, Decimal)) and isinstance(other, (int, Decimal)):
        return one == other
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], steps) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b, steps) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def diff_tree(old: Any, new: Any, steps: Steps | None = None) -> TreeDiff:
    """Compare two JSON values. The order of an object's members does not matter.

    :param steps: how many may be taken, a few for each place that is looked at.
    :raises OutOfSteps: if there are more places.
    """
    result = TreeDiff()
    _compare(old, new, (), result, steps or Steps(sys.maxsize))
    return result


def is_flat(data: Any) -> bool:
    """Whether this is an array of scalars, to be compared item by item."""
    return isinstance(data, list) and not any(isinstance(item, (dict, list, RawJson)) for item in data)


def diff_items(old: Sequence[Any], new: Sequence[Any], steps: Steps | None = None) -> list[Item]:
    """Compare two arrays of scalars; each duplicate counts.

    :param steps: how many may be taken, a few for each item.
    :raises OutOfSteps: if there are more items.
    """
    if steps is not None:
        steps.take(COST * (len(old) + len(new)))
    keys_old, keys_new = [_hashable(item) for item in old], [_hashable(item) for item in new]
    gone = Counter(keys_old) - Counter(keys_new)
    come = Counter(keys_new) - Counter(keys_old)
    kept_old = _kept(keys_old, gone)
    kept_new = _kept(keys_new, come)
    items = [Item("removed", old[index]) for index in sorted(set(range(len(old))) - set(kept_old))]
    items += [Item("added", new[index]) for index in sorted(set(range(len(new))) - set(kept_new))]
    return items + _moves(keys_old, kept_old, keys_new, kept_new, new)


def _hashable(item: Any) -> tuple[str, Any]:
    # true == 1 in Python; in JSON they are different things, while 10.0 and 10.00 are one
    if isinstance(item, bool) or not isinstance(item, (int, Decimal)):
        return type(item).__name__, item
    # its text, as it is easy to store numbers that all have the same hash
    text = str(item) if isinstance(item, int) else dump(item)
    return "number", text.rstrip("0").rstrip(".") if "." in text else text


def _kept(keys: Sequence[tuple[str, Any]], surplus: Counter[tuple[str, Any]]) -> list[int]:
    """Places that stay when the last occurrences of what is too many are taken away."""
    left = Counter(surplus)
    kept = []
    for index in range(len(keys) - 1, -1, -1):
        if left[keys[index]] > 0:
            left[keys[index]] -= 1
        else:
            kept.append(index)
    return kept[::-1]


def _moves(
    keys_old: Sequence[Any],
    kept_old: Sequence[int],
    keys_new: Sequence[Any],
    kept_new: Sequence[int],
    new: Sequence[Any],
) -> list[Item]:
    if [keys_old[index] for index in kept_old] == [keys_new[index] for index in kept_new]:
        return []  # the others only slid along
    places: dict[Any, deque[int]] = {}
    for index in kept_old:
        places.setdefault(keys_old[index], deque()).append(index)
    moves = []
    for index in kept_new:
        origin = places[keys_new[index]].popleft()
        if origin != index:
            moves.append(Item("moved", new[index], (origin + 1, index + 1)))
    return moves


def _compare(old: Any, new: Any, path: tuple[str, ...], result: TreeDiff, steps: Steps) -> None:
    steps.take(COST)
    if isinstance(old, dict) and isinstance(new, dict):
        _compare_objects(old, new, path, result, steps)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_arrays(old, new, path, result, steps)
    elif same(old, new):
        result.unchanged += 1
    else:
        result.add(PathChange(path, "changed", old, new))


def _compare_objects(
    old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...], result: TreeDiff, steps: Steps
) -> None:
    steps.take(COST * (len(old) + len(new)))
    for name in [*new, *(name for name in old if name not in new)]:
        _compare_members(old.get(name, _MISSING), new.get(name, _MISSING), (*path, name), result, steps)


def _compare_members(before: Any, after: Any, path: tuple[str, ...], result: TreeDiff, steps: Steps) -> None:
    if before is _MISSING:
        result.add(PathChange(path, "added", after=after))
    elif after is _MISSING:
        result.add(PathChange(path, "removed", before=before))
    else:
        _compare(before, after, path, result, steps)


def _compare_arrays(old: list[Any], new: list[Any], path: tuple[str, ...], result: TreeDiff, steps: Steps) -> None:
    steps.take(COST * (len(old) + len(new)))
    name = next((name for name in _NAMES if _names(old, name) and _names(new, name)), None)
    if name is None:
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _MISSING
            after = new[index] if index < len(new) else _MISSING
            _compare_members(before, after, (*path, str(index + 1)), result, steps)
        return
    olds = {_hashable(item[name]): (index, item) for index, item in enumerate(old)}
    news = {_hashable(item[name]): (index, item) for index, item in enumerate(new)}
    have_the_same = olds.keys() == news.keys()  # compared once, not for each item
    for key in [*news, *(key for key in olds if key not in news)]:
        step = (*path, f"{name} {key[1]}")
        before, after = olds.get(key), news.get(key)
        if before and after and before[0] != after[0] and have_the_same:
            result.add(PathChange(step, "moved", before[0] + 1, after[0] + 1))
        _compare_members(before[1] if before else _MISSING, after[1] if after else _MISSING, step, result, steps)


def _names(items: list[Any], name: str) -> bool:
    """Whether this member is there in every item, is a scalar, and is unique."""
    if not items or not all(isinstance(item, dict) and isinstance(item.get(name), (str, int)) for item in items):
        return False
    return len({_hashable(item[name]) for item in items}) == len(items)
