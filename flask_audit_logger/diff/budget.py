"""Limits on the values of one page: steps for comparing them and bytes for showing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class OutOfSteps(Exception):
    """A comparison needs more steps than it has left."""


@dataclass
class Steps:
    """The steps that one comparison may still take. One is about a microsecond."""

    left: int

    def take(self, number: int = 1) -> None:
        """Use up some steps.

        :raises OutOfSteps: if fewer are left.
        """
        if number > self.left:
            raise OutOfSteps
        self.left -= number


@dataclass
class Budget:
    """What is left for the values of a page, so that no stored value makes it slow or large.

    :param steps: for comparing all of them.
    :param steps_each: for one comparison.
    :param size: bytes of HTML for what is shown of them. The beginning of a value is shown even if nothing is left.
    """

    steps: int = 2_000_000
    steps_each: int = 1_000_000
    size: int = 400_000

    @classmethod
    def of_list(cls) -> Budget:
        """The budget of a page with many changes, each on a few lines."""
        return cls(steps=400_000, steps_each=10_000, size=300_000)

    @contextmanager
    def comparing(self) -> Iterator[Steps]:
        """Steps for one comparison. Those it uses are taken from the page, also if it gives up."""
        allowed = min(self.steps, self.steps_each)
        steps = Steps(allowed)
        try:
            yield steps
        finally:
            self.steps -= allowed - steps.left
