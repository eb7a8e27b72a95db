"""Promise: whatever values are stored, the page that shows them takes bounded work and bounded bytes."""

from __future__ import annotations

import json

import pytest

from flask_audit_logger.diff import Budget, ValueKind, diff_field, show_value
from flask_audit_logger.diff.budget import OutOfSteps
from flask_audit_logger.diff.values import as_value, load
from tests.support.work import at_most

#: Different whole numbers of which Python makes the same hash.
COLLIDING = [number * (2**61 - 1) for number in range(1, 8001)]


def objects(number, **more):
    return [{"id": n, "n": n, **more} for n in range(number)]


def deep(inner, depth=63):
    return json.loads("[" * depth + inner + "]" * depth)


#: Pairs of values that are expensive to compare, to show, or both.
HOSTILE = {
    "8,000 objects": (objects(8000), objects(8000, x=1)),
    "8,000 objects that moved": (objects(8000), objects(8000)[::-1]),
    "8,000 objects with one hash": ([{"id": n} for n in COLLIDING], [{"id": n, "x": 1} for n in COLLIDING]),
    "8,000 items with one hash": (COLLIDING, COLLIDING[::-1]),
    "8,000 equal items": ([1] * 8000, [2] + [1] * 8000),
    "items": (list(range(8000)), [str(n) for n in range(8000)]),
    "500 long items": (["x" * 5000] * 500, ["y" * 5000] * 500),
    "members": ({f"m{n}": n for n in range(50_000)}, {f"m{n}": -n for n in range(50_000)}),
    "500 long members": ({"m" * 4000 + str(n): n for n in range(500)}, {"m" * 4000 + str(n): -n for n in range(500)}),
    "members of controls": ({"\u202e" * n: n for n in range(300)}, {"\u202e" * n: -n for n in range(300)}),
    "a long member": ({"m" * 500_000: "a"}, {"m" * 500_000: "b"}),
    "deep": (deep(",".join(["1"] * 9000)), deep(",".join(["2"] * 9000))),
    "comb": (deep("1", 63) + [deep("1", 60)] * 3000, deep("2", 63) + [deep("2", 60)] * 3000),
    "too deep": [load('{"a": ' + "[" * 50_000 + n + "]" * 50_000 + "}")["a"] for n in "12"],
    "another type": (objects(8000), "text"),
    "half a megabyte": ("a " * 250_000, "b " * 250_000),
    "half a megabyte, one letter": ("x" * 500_000, "x" * 499_999 + "y"),
    "words": (" ".join(map(str, range(9000))), " ".join(map(str, range(9000, 0, -1)))),
    "letters": ("ab " * 40, "ba " * 41),
    "short words": (" ".join("abcdefgh" * 9), " ".join("hgfedcba" * 9)),
    "controls": ("\u202e" * 200_000, "\u202d" * 200_000),
    "blanks": (" " * 99_000, " " * 90_000),
    "line ends": ("\n" * 119, "\n" * 118),
    "marks": ("&<>'\"" * 60_000, "<&>'\"" * 60_000),
    "accents": ("é" * 200_000, "e\u0301" * 200_000),
    "digits": (int("9" * 900), load('{"n": ' + "9" * 100_000 + "}")["n"]),
}  # fmt: skip
KINDS = (None, ValueKind.JSON, ValueKind.TEXT, ValueKind.NUMBER, ValueKind.INSTANT)
HTML = {"text": 0, "control": 39, "blank": 36, "cut": 34}


def weight(shown):
    """Bytes of the HTML of some pieces."""
    found = 0
    for piece in shown:
        text = piece.text.replace("&", "&amp;").translate({ord(c): "&#39;" for c in "<>'\""})
        found += len(text.encode("utf-8", "surrogatepass")) + HTML[piece.kind]
    return found


def weight_of(diff):
    sides = [diff.before, diff.after]
    for path in diff.paths:
        sides += [path, path.before, path.after]
    sides += [shown for _, shown in diff.items]
    parts = [getattr(side, "pieces", None) or getattr(side, "path", ()) for side in sides]
    return sum(map(weight, [*parts, *(run[1] for run in diff.runs)]))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_list_of_hostile_changes_is_bounded(name):
    before, after = map(as_value, HOSTILE[name])
    budget, bytes_shown = Budget.of_list(), 0
    with at_most(calls=2_000_000):
        for kind in KINDS * 9:
            diff = diff_field("c", before, after, kind, brief=True, budget=budget)
            bytes_shown += weight_of(diff)
    assert bytes_shown < 400_000


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_of_hostile_columns_is_bounded(name):
    before, after = map(as_value, HOSTILE[name])
    budget, bytes_shown = Budget(), 0
    with at_most(calls=8_000_000):
        for kind in KINDS:
            diff = diff_field("c", before, after, kind, budget=budget)
            bytes_shown += weight_of(diff)
    assert bytes_shown < 500_000


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("brief", [True, False])
def test_values_on_their_own_are_bounded(name, brief):
    value = as_value(next(iter(HOSTILE[name])))
    budget = Budget.of_list() if brief else Budget()
    shown = [show_value(value, kind, brief=brief, budget=budget) for kind in KINDS * (20 if brief else 4)]
    assert sum(weight(entry.pieces) for entry in shown) < 500_000


def test_beyond_the_budget_the_values_stand_side_by_side_with_the_reason():
    before, after = as_value(objects(8000)), as_value(objects(8000, x=1))
    for brief, budget in ((True, Budget.of_list()), (False, Budget(steps_each=10_000))):
        diff = diff_field("c", before, after, ValueKind.JSON, brief=brief, budget=budget)
        assert diff.layout == "sides" and diff.notes == ("too large to be compared here",)
        assert diff.before.text.startswith('[{"id": 0, "n": 0}') and diff.after.text.startswith(
            '[{"id": 0, "n": 0, "x"'
        )
    assert diff_field("c", before, after, ValueKind.JSON).layout == "paths"


def test_what_one_comparison_takes_the_next_ones_do_not_have():
    budget = Budget(steps=200_000, steps_each=120_000)
    old, new = as_value(list(range(10_000))), as_value(list(range(1, 10_001)))
    layouts = [diff_field("c", old, new, budget=budget).layout for _ in range(4)]
    assert layouts == ["items", "items", "sides", "sides"]


def test_a_comparison_that_is_given_up_costs_what_it_took():
    budget = Budget(steps=25, steps_each=10)
    for left in (15, 5, 0):
        with pytest.raises(OutOfSteps), budget.comparing() as steps:
            steps.take(min(10, budget.steps))
            steps.take(1)
        assert budget.steps == left


def test_a_value_that_is_cut_says_how_long_it_is():
    budget = Budget(size=10_000)
    diff = diff_field("c", as_value("a" * 9000), as_value("b" * 9000), ValueKind.TEXT, budget=budget)
    assert [len(side.text) for side in (diff.before, diff.after)] == [9000, 1000 + 1] or diff.notes
    assert diff.after.size == 9000 and len(diff.after.digest) == 64
    diff = diff_field(
        "c", as_value([{"a": "x" * 900}] * 50), as_value([{"a": "y" * 900}] * 50), budget=Budget(size=5000)
    )
    assert 0 < len(diff.paths) < 50 and diff.more == 50 - len(diff.paths)
