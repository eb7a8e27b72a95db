"""The difference of one column's values, in the shape its kind is shown in."""

from __future__ import annotations

from typing import Any

from ...i18n import marked
from ..values import State, Value, dump
from .kinds import Kind, settled, type_of
from .nodes import FieldDiff, Shown, ShownPath
from .numbers import as_date, as_instant, number_delta, time_delta
from .pieces import Piece, edge_pieces, pieces
from .single import BRIEF, EXCERPT, as_text, show_value
from .strings import diff_texts
from .tree import PathChange, diff_items, diff_tree, is_flat, same


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
        return FieldDiff(column, actual, *_plain(before, after, actual, brief))
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
        return diff_texts(column, before.data, after.data, brief)
    if type_of(before.data) != type_of(after.data):
        # as JSON, so that the text "5" and the number 5 differ
        old, new = (Value(State.VALUE, dump(data)) for data in (before.data, after.data))
        sides = _plain(old, new, Kind.TEXT, brief)
        return FieldDiff(column, actual, *sides, notes=(marked("the type of the value differs"),))
    return FieldDiff(column, actual, *_plain(before, after, actual, brief))


def differs(before: Value, after: Value, kind: Kind | None = None) -> bool:
    """Whether two values of a column differ as values.

    One instant in two zones, 10.0 and 10.00, or JSON with its members in another order are equal.

    :param kind: the kind of its declared type: only what is declared as an instant is compared as one.
    """
    if before.state is not after.state:
        return True
    if settled(kind, before.data, after.data) is Kind.INSTANT:
        instants = as_instant(before.data), as_instant(after.data)
        if None not in instants:
            return instants[0] != instants[1]
    return not same(before.data, after.data)


def _plain(before: Value, after: Value, kind: Kind, brief: bool = False) -> tuple[Shown, Shown]:
    return show_value(before, kind, brief=brief), show_value(after, kind, brief=brief)


def _is_nested(data: Any) -> bool:
    return isinstance(data, (dict, list))


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


def _masked(value: Value) -> State:
    # whether there was a value at all is not a secret of the mask: the trigger writes null as null
    return State.MASKED if value.state in (State.VALUE, State.EMPTY, State.MASKED) else value.state
