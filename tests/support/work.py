"""How much work a piece of code does, counted rather than timed: the same on a busy machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class TooMuchWork(AssertionError):
    """More calls were made than allowed. Raised in the middle, so that the test doesn't wait for the end."""


class Calls:
    """Number of calls of functions so far, whether written in Python or in C."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.made = 0
        self.limit = limit

    def note(self, frame: FrameType, event: str, arg: Any) -> None:
        """What ``sys.setprofile`` calls."""
        if event in ("call", "c_call"):
            self.made += 1
            if self.made > self.limit:
                self.limit = float("inf")
                raise TooMuchWork(f"more than {self.made - 1:,} calls, at last in {frame.f_code.co_name}")


@contextmanager
def at_most(calls: float) -> Iterator[Calls]:
    """Fail if more calls are made in this thread.

    :param calls: how many; a call takes about a tenth of a microsecond, and up to one if it does something.
    """
    counted = Calls(calls)
    before = sys.getprofile()
    sys.setprofile(counted.note)
    try:
        yield counted
    finally:
        sys.setprofile(before)


@contextmanager
def counted_calls() -> Iterator[Calls]:
    """Count the calls made in this thread."""
    with at_most(float("inf")) as counted:
        yield counted
