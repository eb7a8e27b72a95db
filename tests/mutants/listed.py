"""The list of mutants as objects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.txt")
SEPARATOR = " ¦ "


@dataclass(frozen=True)
class Mutant:
    """A wrong change.

    :param number: its line in the list.
    :param file: path below the package.
    :param text: what is there, once in the file and within one line.
    :param replacement: what is there instead.
    :param tests: names of tests, one of which must fail.
    """

    number: int
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{LIST.name}:{self.number}: {self.file}: {self.text!r} -> {self.replacement!r}"

    @property
    def path(self) -> Path:
        """Below the repository."""
        return Path("flask_audit_logger", self.file)

    def ids(self) -> list[str]:
        """What pytest is told to run, wherever the tests are."""
        return [node for test in self.tests for node in known_tests().get(test, ())]

    def fault(self) -> str | None:
        """Why the line is out of date, or ``None``."""
        if not (ROOT / self.path).is_file():
            return "there is no such file"
        count = (ROOT / self.path).read_text().count(self.text)
        if count != 1:
            return f"the text is there {count} times"
        missing = [test for test in self.tests if test not in known_tests()]
        return f"there is no {missing}" if missing else None

    def applied_to(self, source: str) -> str:
        """A source with the change."""
        return source.replace(self.text, self.replacement)


@cache
def known_tests() -> dict[str, list[str]]:
    """Where each test is, by its name."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


def read_list() -> list[Mutant]:
    """Every mutant, in the order of the file."""
    found = []
    for number, line in enumerate(LIST.read_text().splitlines(), 1):
        if line and not line.startswith("#"):
            file, text, replacement, tests = line.split(SEPARATOR)
            found.append(Mutant(number, file, text, replacement, tuple(tests.split())))
    return found
