"""The code of the README and of docs/ runs as a reader would run it, on a real database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flask_audit_logger.settings import PERIODS, CaptureSettings, PageSettings
from flask_audit_logger.ui import times
from tests.support.documents import Reader, blocks, stories

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
STORIES = [
    pytest.param(story, id=f"{document.relative_to(ROOT)}:{story.line}")
    for document in DOCUMENTS
    for story in stories(document)
]


@pytest.mark.parametrize("story", STORIES)
def test_the_code_of_a_document_runs(story, tmp_path, database_url):
    Reader(tmp_path, database_url).follow(story)


def test_the_readme_shows_code():
    assert [block for block in blocks(ROOT / "README.md") if block.language == "python"]


@pytest.mark.parametrize(
    ("key", "default", "meaning"), [*CaptureSettings.table().values(), *PageSettings.table().values()]
)
def test_a_configuration_key_is_documented_once(key, default, meaning):
    """With its default, unless that is a list, and the meaning that it has in the code."""
    rows = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    (row,) = [row for row in rows if row.startswith(f"| `{key}` |")]
    assert meaning in row
    shown = f'"{default}"' if isinstance(default, str) else default
    assert isinstance(default, tuple) or f"| `{shown}` |" in row


def test_the_files_that_the_architecture_names_exist():
    package = ROOT / "flask_audit_logger"
    named = re.findall(
        r"`((?:[\w]+/)*\w+(?:\.py|\.sql|/))`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    )
    assert len(named) > 50
    assert [
        name
        for name in named
        if not (package / name).exists() and name != "tests/schema/" and not (ROOT / name).exists()
    ] == []


def test_the_periods_of_a_setting_are_those_of_the_filter():
    assert tuple(times.PERIODS) == PERIODS


def test_output_that_differs_from_the_document_is_an_error(tmp_path, database_url):
    document = tmp_path / "document.md"
    document.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"document\.md:5 is not what"):
        Reader(tmp_path, database_url).follow(stories(document)[0])


def test_a_command_that_fails_is_an_error(tmp_path, database_url):
    document = tmp_path / "document.md"
    document.write_text("```console\n$ python -c 'import no_such_module'\n```\n")
    with pytest.raises(AssertionError, match="no_such_module"):
        Reader(tmp_path, database_url).follow(stories(document)[0])


def test_a_document_can_start_over(tmp_path):
    document = tmp_path / "document.md"
    document.write_text("```python\na = 1\n```\n<!-- test: new -->\n```python\na\n```\n```sh\nmake\n```\n")
    assert [[block.language for block in story.blocks] for story in stories(document)] == [["python"], ["python", "sh"]]
