"""The difference between two values of a column, compared and shown according to their kind."""

from __future__ import annotations

from typing import Any

from ..i18n import marked
from .budget import Budget, OutOfSteps, Steps
from .json import Item, PathChange, diff_items, diff_tree, is_flat, same
from .kinds import ValueKind, as_date, as_instant, number_delta, settled, time_delta, type_of
from .show import BRIEF, EXCERPT, FieldDiff, Shown, ShownPath, as_text, cut, edge_pieces, pieces, show_value
from .text import TOO_LARGE, diff_texts
from .values import Presence, RawJson, Value


def diff_field(
    column: str,
    before: Value,
    after: Value,
    kind: ValueKind | None = None,
    *,
    is_key: bool = False,
    brief: bool = False,
    budget: Budget | None = None,
) -> FieldDiff:
    """Compare the two values of a column.

    :param kind: the kind of its declared type.
    :param is_key: whether its numbers are names of things, so that a difference of them means nothing.
    :param brief: for a cell of a list: one line, cut around the first difference.
    :param budget: of the page. Where it is used up, the two values are shown side by side, cut, and a note says so.
    """
    budget = budget or Budget()
    actual = settled(kind, before.data, after.data)
    if Presence.MASKED in (before.presence, after.presence):
        return FieldDiff(column, actual, Shown(_masked(before)), Shown(_masked(after)))
    # an empty text has no place for marks: it is a badge, like null
    if before.presence is not Presence.VALUE or after.presence is not Presence.VALUE:
        return FieldDiff(column, actual, *_plain(before, after, actual, brief, budget))
    try:
        with budget.comparing() as steps:
            found = _compared(column, actual, before, after, is_key, brief, steps, budget)
    except OutOfSteps:
        return FieldDiff(column, actual, *_plain(before, after, actual, brief, budget), notes=(TOO_LARGE,))
    if found is not None:
        return found
    if type_of(before.data) != type_of(after.data):
        sides = _plain(before, after, ValueKind.TEXT, brief, budget, quoted=True)
        return FieldDiff(column, actual, *sides, notes=(marked("the type of the value differs"),))
    return FieldDiff(column, actual, *_plain(before, after, actual, brief, budget))


def differs(before: Value, after: Value, kind: ValueKind | None = None) -> bool:
    """Whether two values of a column differ as values.

    One instant in two zones, 10.0 and 10.00, or JSON with its members in another order are equal.

    :param kind: the kind of its declared type: only what is declared as an instant is compared as one.
    """
    if before.presence is not after.presence:
        return True
    if settled(kind, before.data, after.data) is ValueKind.INSTANT:
        instants = as_instant(before.data), as_instant(after.data)
        if None not in instants:
            return instants[0] != instants[1]
    return not same(before.data, after.data)


def _compared(
    column: str,
    kind: ValueKind,
    before: Value,
    after: Value,
    is_key: bool,
    brief: bool,
    steps: Steps,
    budget: Budget,
) -> FieldDiff | None:
    """The comparison that belongs to a kind; ``None`` if its values stand side by side."""
    old, new = before.data, after.data
    if kind is ValueKind.NUMBER:
        delta, percent = (None, None) if is_key else number_delta(old, new)
        return FieldDiff(column, kind, *_plain(before, after, kind, brief, budget), delta=delta, percent=percent)
    if kind in (ValueKind.DATE, ValueKind.INSTANT, ValueKind.TIMESTAMP):
        read = as_date if kind is ValueKind.DATE else as_instant
        span = time_delta(read(old), read(new))
        return FieldDiff(column, kind, *_plain(before, after, kind, brief, budget), delta=span)
    if kind in (ValueKind.JSON, ValueKind.ARRAY, ValueKind.PLAIN) and _is_nested(old) and _is_nested(new):
        return _nested(column, kind, old, new, brief, steps, budget)
    is_raw = isinstance(old, RawJson) and isinstance(new, RawJson)
    if is_raw or (kind is ValueKind.TEXT and isinstance(old, str) and isinstance(new, str)):
        return diff_texts(column, old, new, brief, steps, budget)
    return None


def _plain(
    before: Value, after: Value, kind: ValueKind, brief: bool, budget: Budget, *, quoted: bool = False
) -> tuple[Shown, Shown]:
    shown = (show_value(side, kind, brief=brief, quoted=quoted, budget=budget) for side in (before, after))
    return next(shown), next(shown)


def _is_nested(data: Any) -> bool:
    return isinstance(data, (dict, list))


def _nested(column: str, kind: ValueKind, old: Any, new: Any, brief: bool, steps: Steps, budget: Budget) -> FieldDiff:
    empty = Shown(Presence.VALUE)
    if is_flat(old) and is_flat(new):
        items = diff_items(old, new, steps)
        quoted = len({type_of(item.value) for item in items}) > 1
        shown: list[tuple[Item, Shown]] = []
        for item in items[: 4 if brief else 200]:
            if shown and not budget.size:
                break
            shown.append((item, _show_inner(item.value, brief, budget, quoted=quoted)))
        unchanged = len(new) - sum(item.kind == "added" for item in items)
        more = len(items) - len(shown)
        return FieldDiff(column, kind, empty, empty, layout="items", items=tuple(shown), unchanged=unchanged, more=more)
    tree = diff_tree(old, new, steps)
    paths: list[ShownPath] = []
    for change in tree.changes[: 2 if brief else None]:
        if paths and not budget.size:
            break
        paths.append(_show_path(change, brief, budget))
    return FieldDiff(
        column,
        kind,
        empty,
        empty,
        layout="paths",
        paths=tuple(paths),
        unchanged=tree.unchanged,
        more=tree.more + len(tree.changes) - len(paths),
        notes=() if tree.changes or not same(old, new) else (marked("the order of members differs"),),
    )


def _show_path(change: PathChange, brief: bool, budget: Budget) -> ShownPath:
    absent = Shown(Presence.ABSENT)
    quoted = change.kind == "changed" and type_of(change.before) != type_of(change.after)
    path = ".".join(change.path)
    most = BRIEF if brief else EXCERPT
    shown = cut(pieces(path[:most]), budget, least=BRIEF, is_whole=len(path) <= most)
    before = absent if change.kind == "added" else _show_inner(change.before, brief, budget, quoted=quoted)
    after = absent if change.kind == "removed" else _show_inner(change.after, brief, budget, quoted=quoted)
    return ShownPath(tuple(shown), change.kind, before, after)


def _show_inner(data: Any, brief: bool, budget: Budget, *, quoted: bool = False) -> Shown:
    """Show a value inside another one.

    :param quoted: as JSON, so that the text "5" and the number 5 differ.
    """
    value = _inner(data)
    if not value.known:
        return Shown(value.presence)
    most = BRIEF // 2 if brief else EXCERPT
    text = as_text(value.data, most, quoted=quoted)
    shown = cut(edge_pieces(text[:most]), budget, least=BRIEF // 2, is_whole=len(text) <= most)
    return Shown(value.presence, tuple(shown))


def _inner(data: Any) -> Value:
    if data is None:
        return Value(Presence.NULL)
    return Value(Presence.EMPTY, "") if data == "" else Value(Presence.VALUE, data)


def _masked(value: Value) -> Presence:
    # whether there was a value at all is not a secret of the mask: the trigger writes null as null
    return Presence.MASKED if value.presence in (Presence.VALUE, Presence.EMPTY, Presence.MASKED) else value.presence
