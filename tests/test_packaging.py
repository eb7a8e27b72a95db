"""What is published: dependencies with lower bounds only, which are tested, and every file the package reads."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
OLDEST = [
    Requirement(line)
    for line in (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
REQUIREMENTS = [Requirement(line) for line in requires("flask-audit-logger") or []]
NEEDED = [r for r in REQUIREMENTS if r.marker is None]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_a_dependency_has_no_upper_bound(requirement):
    assert {s.operator for s in requirement.specifier} <= {">="}


@pytest.mark.parametrize("requirement", NEEDED, ids=str)
def test_the_lower_bound_is_the_version_that_the_oldest_run_uses(requirement):
    (bound,) = (s.version for s in requirement.specifier)
    tested = [str(r.specifier) for r in OLDEST if r.name.lower() == requirement.name.lower()]
    assert any(re.fullmatch(rf"=={re.escape(bound)}(\.0)*", version) for version in tested), tested


def test_no_file_of_the_package_is_ignored():
    """The build leaves out what git ignores: a template or SQL file that matches .gitignore would be missing."""
    files = [str(p) for p in (ROOT / "flask_audit_logger").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.stdout == ""
