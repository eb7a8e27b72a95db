"""Promise: the marked text rebuilds both texts exactly, and no two texts keep a page busy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_audit_logger.diff.budget import OutOfSteps
from flask_audit_logger.diff.text import Run, first_difference, folded, unmarked, word_runs
from tests.support.work import at_most

PROSE = st.lists(
    st.sampled_from(["a", "bb", "c ", " ", "\n", "\t", "ä", "é", "…", ".", ",", "ccc\n\n"]), max_size=60
).map("".join)


@settings(max_examples=400, deadline=None)
@given(PROSE, PROSE)
def test_runs_rebuild_both_sides(old, new):
    runs = word_runs(old, new)
    assert runs is not None
    assert unmarked(runs) == (old, new)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_runs_rebuild_any_text(old, new):
    assert unmarked(word_runs(old, new) or []) == (old, new)


@settings(max_examples=200, deadline=None)
@given(PROSE, PROSE)
def test_folding_hides_only_what_is_the_same(old, new):
    runs = word_runs(old, new) or []
    shown = folded(runs)
    assert unmarked(shown) == (old, new)
    assert all(run.kind != "folded" or run.text in old for run in shown)


@settings(max_examples=100, deadline=None)
@given(PROSE)
def test_equal_texts_have_no_marks(text):
    assert all(run.kind == "same" for run in word_runs(text, text) or [])


def test_marks_are_minimal_for_one_word():
    runs = word_runs("a sturdy mug", "a robust mug")
    assert runs == [Run("same", "a "), Run("removed", "sturdy"), Run("added", "robust"), Run("same", " mug")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a " * 500, "b a " * 500),
        ("a " * 1000, "b a " * 1000),
        ("a " * 40_000, "b a " * 20_000),
        ("x " + "a " * 9000 + "p " * 500, "y " + "a " * 9000 + "q " * 500),
        ("a b " * 9000, "b a " * 9000),
        ("\n" * 90_000, " " * 90_000),
        ("".join(f"w{i} " for i in range(4000)), "".join(f"w{i} " for i in range(4000) if i % 20)),
        ("a\n" * 20_000, "b\n" * 20_000),
        (" " * 99_000 + "a", " " * 99_000 + "b"),
        ("é" * 100_000, "e\u0301" * 50_000),
    ],
)
def test_adversarial_texts_take_little_work(old, new):
    """S20: with difflib the second pair takes 46 s."""
    with at_most(calls=500_000):
        runs = word_runs(old, new)
    assert runs is None or unmarked(runs) == (old, new)


def test_texts_that_are_too_long_are_not_compared():
    with pytest.raises(OutOfSteps):
        word_runs("a" * 150_000, "b" * 60_000)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab", max_size=40), st.text(alphabet="ab", max_size=40))
def test_the_first_difference_is_where_the_texts_differ_first(old, new):
    place = first_difference(old, new)
    assert old[:place] == new[:place]
    assert place == min(len(old), len(new)) or old[place] != new[place]
