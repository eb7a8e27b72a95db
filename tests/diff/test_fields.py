"""Promise: nothing about a value is guessed; null, empty, absent, masked and invisible changes look different."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_audit_logger.diff import ValueKind, diff_field, show_value
from flask_audit_logger.diff.json import diff_items, diff_tree, same
from flask_audit_logger.diff.kinds import as_instant
from flask_audit_logger.diff.show import pieces
from flask_audit_logger.diff.values import (
    ABSENT,
    JSON_NULL,
    MASKED,
    MAX_NESTING,
    NULL,
    Presence,
    RawJson,
    as_value,
    dump,
    load,
)
from tests.support.work import at_most

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.decimals(0, 9, places=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)


def change(before, after, kind=None, **options):
    return diff_field("c", as_value(before), as_value(after), kind, **options)


@pytest.mark.parametrize(
    ("before", "after", "delta", "percent"),
    [
        (Decimal("10.00"), Decimal("12.50"), "+2.50", "+25\u00a0%"),
        (Decimal("12.50"), Decimal("11.90"), "\u22120.60", "\u22124.8\u00a0%"),
        (5, 4, "\u22121", "\u221220\u00a0%"),
        (0, 7, "+7", None),
        (-4, -2, "+2", "+50\u00a0%"),
        (10**40, 1, None, None),
        (Decimal("1E+500000"), 1, None, None),
        (1, 10**20, "+99999999999999999999", None),
        (Decimal("1.00"), Decimal("1.0001"), "+0.0001", None),
    ],
)
def test_numbers_keep_their_scale_and_say_how_far_apart_they_are(before, after, delta, percent):
    diff = change(before, after, ValueKind.NUMBER)
    assert (diff.before.text, diff.after.text) == (dump(before), dump(after))
    assert (diff.delta, diff.percent) == (delta, percent)


def test_keys_have_no_difference():
    diff = change(1, 4, ValueKind.NUMBER, is_key=True)
    assert (diff.delta, diff.percent) == (None, None)


def test_scale_survives_reading():
    assert load('{"price": 10.00, "big": 9007199254740993, "e": 1.5e3}') == {
        "price": Decimal("10.00"), "big": 9007199254740993, "e": Decimal("1.5E+3"),
    }  # fmt: skip
    assert dump(load('{"p": 10.00}')) == '{"p": 10.00}'


def test_five_states_are_five_things():
    states = [show_value(as_value(v)).presence for v in (None, "", " ", {"audit_logger": "masked"})] + [
        show_value(ABSENT).presence
    ]
    assert states == [Presence.NULL, Presence.EMPTY, Presence.VALUE, Presence.MASKED, Presence.ABSENT]


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize(("before", "after"), [("", "x"), ("x", ""), (None, ""), ("", None), ("", "long " * 50)])
def test_an_empty_text_is_told_from_no_text_on_both_sides(before, after, brief):
    diff = change(before, after, ValueKind.TEXT, brief=brief)
    assert (diff.before.presence, diff.after.presence) == (as_value(before).presence, as_value(after).presence)
    assert diff.layout == "sides"


def test_a_masked_change_says_nothing_about_the_values():
    for before, after in ((MASKED, MASKED), (NULL, MASKED), (MASKED, as_value("x"))):
        diff = diff_field("c", before, after, ValueKind.TEXT)
        assert diff.is_masked and not diff.after.pieces and not diff.before.pieces


def test_blanks_at_the_ends_are_visible():
    assert "".join(p.text for p in show_value(as_value("  a b ")).pieces) == "··a b·"


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("a b", "a  b", "whitespace"), ("ab", "ab\n", "whitespace"), ("Ann", "ann", "upper and lower case"),
        ("é", "e\u0301", "accents"), ("a", "b", None),
    ],
)  # fmt: skip
def test_changes_that_are_easily_missed_are_named(old, new, note):
    notes = change(old, new, ValueKind.TEXT).notes
    assert (note is None and notes == ()) or note in notes[0]


def test_controls_become_badges():
    """S7: a stored override can't reorder the page, and nothing is lost."""
    found = pieces("a\u202eb\u200bc\x00\x1b\ufeff")
    assert [(p.kind, p.text) for p in found if p.kind == "control"] == [
        ("control", "U+202E"),
        ("control", "U+200B"),
        ("control", "U+0000"),
        ("control", "U+001B"),
        ("control", "U+FEFF"),
    ]
    assert "".join(p.text for p in found if p.kind == "text") == "abc"


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_pieces_hold_the_whole_text(text):
    back = {"⏎": "\n", "⇥": "\t", "␍": "\r", "·": " ", "⍽": "\u00a0"}
    for block in (False, True):
        rebuilt = "".join(
            p.text if p.kind == "text" else chr(int(p.text[2:], 16)) if p.kind == "control" else back[p.text[0]]
            for p in pieces(text, block=block)
        )
        assert rebuilt == text


def test_dates_and_instants_tell_their_distance():
    assert str(change("2026-08-01", "2026-08-09", ValueKind.DATE).delta) == "+8 days"
    assert (
        str(change("2026-08-01T10:00:00+00:00", "2026-08-01T07:30:00+00:00", ValueKind.INSTANT).delta)
        == "\u22122 h 30 min"
    )
    assert change("2026-08-01T10:00:00+00:00", "2026-08-01T12:00:00+02:00", ValueKind.INSTANT).delta is None
    assert change("infinity", "2026-08-01T12:00:00+02:00", ValueKind.INSTANT).before.text == "infinity"


def test_instants_are_read_however_postgresql_prints_them():
    for text in ("2026-10-25T00:30:00.12345+00:00", "2026-10-25T02:30:00.12345+02:00", "2026-10-25 00:30:00.12345Z"):
        assert as_instant(text).isoformat() == "2026-10-25T00:30:00.123450+00:00"
    for text in (
        "infinity",
        "10000-01-01T00:00:00+00:00",
        "0044-03-15T00:00:00 BC",
        "2026-02-30T00:00:00+00:00",
        5,
        None,
    ):
        assert as_instant(text) is None


def test_a_type_that_changed_since_falls_back_to_what_the_values_are():
    assert change("twelve", 12, ValueKind.NUMBER).before.text == "twelve"
    assert change({"a": 1}, "x", ValueKind.TEXT).layout == "sides"
    assert change([1], [1, 2], ValueKind.TEXT).layout == "items"


def test_binary_values_show_size_and_digest_not_content():
    shown = show_value(as_value("\\x" + "00ff" * 100), ValueKind.BINARY)
    assert (shown.size, len(shown.digest), len(shown.text)) == (200, 64, 32 * 3 - 1)
    assert show_value(as_value("\\xzz"), ValueKind.BINARY).presence is Presence.VALUE


def test_long_texts_are_cut_but_say_how_long_they_are():
    shown = show_value(as_value("x" * 1_100_000))
    assert shown.size == 1_100_000 and len(shown.text) < 3000


def test_a_brief_text_is_cut_around_its_first_difference():
    old = "same " * 100 + "old end"
    diff = change(old, old.replace("old", "new"), ValueKind.TEXT, brief=True)
    assert "".join(p.text for _, parts, _ in diff.runs for p in parts) == "…same same same same oldnew end"
    diff = change("a" * 500, "b" * 500, ValueKind.TEXT, brief=True)
    assert diff.layout == "sides" and len(diff.before.text) == 81


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab \n", max_size=400), st.text(alphabet="ab \n", max_size=400))
def test_a_brief_text_marks_nothing_that_is_not_there(old, new):
    """What it shows as removed is in the old text, what it shows as added is in the new one."""
    diff = change(old, new, ValueKind.TEXT, brief=True)
    for kind, parts, _ in diff.runs:
        text = "".join(p.text for p in parts if p.kind == "text")
        flat = ["".join(side.split()) for side in (old, new)]
        wanted = {"removed": flat[:1], "added": flat[1:], "same": flat}[kind]
        assert all("".join(text.split()) in side for side in wanted)


def test_json_is_compared_by_path():
    tree = diff_tree(
        {"a": 1, "b": {"c": "x", "d": None}, "gone": 1, "n": Decimal("10.0")},
        {"b": {"c": "y", "d": None}, "a": 1, "come": [1], "n": Decimal("10.00")},
    )
    assert [(c.path, c.kind) for c in tree.changes] == [
        (("b", "c"), "changed"),
        (("come",), "added"),
        (("gone",), "removed"),
    ]
    assert tree.unchanged == 3


def test_objects_in_an_array_are_matched_by_their_name():
    old = [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}, {"id": 3, "n": "c"}]
    changed = diff_tree(old, [{"id": 1, "n": "a"}, {"id": 3, "n": "C"}])
    assert [(c.path, c.kind) for c in changed.changes] == [(("id 3", "n"), "changed"), (("id 2",), "removed")]
    moved = diff_tree(old, [old[1], old[0], old[2]])
    assert [(c.path, c.kind, c.before, c.after) for c in moved.changes] == [
        (("id 2",), "moved", 2, 1), (("id 1",), "moved", 1, 2),
    ]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON, JSON)
def test_a_tree_has_changes_exactly_if_the_values_differ(old, new):
    assert (diff_tree(old, new).changes == []) == same(old, new)
    assert diff_tree(old, old).changes == []


def test_json_equality_is_that_of_jsonb():
    assert same({"a": Decimal("10.0")}, {"a": 10}) and same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not same(True, 1) and not same([False], [0]) and not same(10, "10") and not same({}, {"a": None})


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([1, True, "1", None, Decimal("1.0"), 2]), max_size=8),
       st.lists(st.sampled_from([1, True, "1", None, Decimal("1.0"), 2]), max_size=8))  # fmt: skip
def test_items_of_an_array_add_up(old, new):
    items = diff_items(old, new)
    removed = sum(item.kind == "removed" for item in items)
    added = sum(item.kind == "added" for item in items)
    assert len(old) - removed + added == len(new)
    assert (items == []) == same(list(old), list(new))


def test_bounds_of_json():
    """S20: many leaves and deep nesting cost little, and the page says that there is more."""
    old, new = ({str(i): number for i in range(50_000)} for number in (0, 1))
    with at_most(calls=1_500_000):
        wide = diff_tree(old, new)
    assert (len(wide.changes), wide.more) == (500, 49_500)
    old, new = (json.loads("[" * MAX_NESTING + number + "]" * MAX_NESTING) for number in "12")
    tree = diff_tree(old, new)
    assert len(tree.changes) == 1 and len(tree.changes[0].path) == MAX_NESTING


def test_values_that_are_nested_too_deeply_to_be_parsed_stay_text():
    """S21: no logged value may make a page fail."""
    deep = "[" * 50_000 + '"]}"' + "]" * 50_000
    row = load(f'{{"a": 1.50, "b\\"{{": {deep}, "c": {{"d": "}},"}}}}')
    assert row["a"] == Decimal("1.50") and row["c"] == {"d": "},"}
    assert row['b"{'] == deep
    for depth, is_read in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
        text = "[" * depth + "]" * depth
        assert isinstance(load(f'{{"a": {text}, "b": 1}}')["a"], list if is_read else RawJson)
        assert dump(load(f'{{"a": {text}, "b": 1}}')) == f'{{"a": {text}, "b": 1}}'
    assert load('{"n": ' + "9" * 6000 + "}")["n"] == Decimal("9" * 6000)
    assert sys.getrecursionlimit() < 50_000


def test_marks_of_the_trigger_are_understood():
    assert as_value({"audit_logger": "masked"}) == MASKED
    assert as_value({"audit_logger": "json null"}) == JSON_NULL
    assert as_value({"audit_logger": "text", "text": '{"a": "\\u0000"}'}).data == {"a": "\x00"}
    assert as_value({"audit_logger": "text", "text": '(1,"{""a"": 1}")'}).data == '(1,"{""a"": 1}")'
    assert as_value({"audit_logger": "text", "text": "1e999999"}).data == "1e999999"
    assert as_value({"audit_logger": "value", "value": {"audit_logger": "masked"}}).data == {"audit_logger": "masked"}
    assert as_value({"audit_logger": "masked", "other": 1}).presence is Presence.VALUE


TWINS = [5, "5", True, "true", None, "null", "", [], "[]", {}, "{}", "5 "]
NESTS = {
    "alone": lambda x: x,
    "in a list": lambda x: [x, "other"],
    "in an object": lambda x: {"a": x, "b": 1},
    "in a list of objects": lambda x: {"a": [{"id": 1, "b": x}, 2]},
}


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
@pytest.mark.parametrize("kind", [None, ValueKind.JSON, ValueKind.TEXT, ValueKind.PLAIN])
@pytest.mark.parametrize("brief", [False, True])
def test_what_differs_looks_different(nest, kind, brief):
    """The text "5" and the number 5, true and "true", a list and its text: no change shows one thing twice."""
    for one, other in itertools.permutations(TWINS, 2):
        diff = diff_field("c", as_value(nest(one)), as_value(nest(other)), kind, brief=brief)
        sides = [(diff.before, diff.after)] if diff.layout == "sides" else []
        sides += [(path.before, path.after) for path in diff.paths if path.kind == "changed"]
        for left, right in sides:
            assert (left.presence, left.text) != (right.presence, right.text), (one, other)
        kinds = {entry.kind: (item.presence, item.text) for entry, item in diff.items}
        assert "added" not in kinds or kinds["added"] != kinds.get("removed"), (one, other)


def test_a_text_that_is_too_long_to_show_has_its_size_and_digest():
    old, new = "é" * 1_000_001, "é" * 1_000_000 + "x"
    diff = change(old, new, ValueKind.TEXT)
    for side, text in ((diff.before, old), (diff.after, new)):
        assert (side.size, side.digest) == (1_000_001, hashlib.sha256(text.encode()).hexdigest())
        assert len(side.text) < 3000 and not side.is_binary
    assert change(old, new, ValueKind.TEXT, brief=True).before.digest is None
