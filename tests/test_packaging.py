"""What is published: dependencies with lower bounds only, which are tested, and every file the package reads."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.request
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.example_app.test_start import running, stop

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


def run(*command, **options):
    """Run a command; what it printed is the message if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_is_built_is_complete_and_starts_in_an_empty_environment(tmp_path, database_url):
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)

    listed = ["git", "ls-files", "flask_audit_logger", "example_app", "docs", "tests", "benchmarks"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {*files, "README.md", "LICENSE", "Makefile"} - inside == set()
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (described,) = (name for name in inside if name.endswith("/METADATA"))
        readme = email.message_from_bytes(archive.read(described)).get_payload()
    shop = {f"flask_audit_logger/{name}" for name in files if name.startswith("example_app/")}
    assert {*(name for name in files if name.startswith("flask_audit_logger/")), *shop} - inside == set()
    plugin, metadata = "pytest_flask_audit_logger.py", Path(described).parent.name
    assert {name.partition("/")[0] for name in inside} == {"flask_audit_logger", plugin, metadata}
    assert "# flask-audit-logger" in readme and "](docs/images" not in readme

    # What the package depends on is borrowed from this environment, whose .pth files don't count in another one.
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty")
    python = tmp_path / "empty" / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "empty")}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    options = {"url": database_url, "python": str(python), "module": "flask_audit_logger.demo", "folder": tmp_path}
    with running(tmp_path / "instance", "--no-history", **options) as (address, _, process):
        with urllib.request.urlopen(f"{address}/login") as answer:  # noqa: S310 - an address of our own
            assert b"Log in" in answer.read()
        with urllib.request.urlopen(f"{address}/audit/") as answer:  # noqa: S310
            assert "/login" in answer.url
        stop(process)


def test_one_setting_makes_the_links_of_the_readme_absolute():
    """What pyproject.toml says about a public address: before the ``\\1``, and without the rule of pictures."""
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["metadata"]["hooks"]
    (_, links) = hooks["fancy-pypi-readme"]["substitutions"]
    absolute = links["replacement"].replace("(", "(https://example.org/project/")
    readme = re.sub(links["pattern"], absolute, (ROOT / "README.md").read_text(encoding="utf-8"))
    assert "](https://example.org/project/docs/images/" in readme
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", readme) == []
