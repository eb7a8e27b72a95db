"""Commands of an application, each in a process of its own that begins with the libraries imported.

Importing Flask, SQLAlchemy and Alembic takes most of the time of a short command. Nothing of this package is imported
before, so what a command forgets to import is missing as it would be.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

LIBRARIES = [
    "alembic.autogenerate", "alembic.command", "alembic.config", "alembic.operations", "flask", "flask.cli",
    "flask.testing", "flask_babel", "flask_login", "flask_migrate", "flask_sqlalchemy", "logging.config", "psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2", "sqlalchemy.orm", "wtforms.csrf.session",
]  # fmt: skip
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(LIBRARIES)
#: Seconds after which a command is stopped.
LIMIT = 120


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run_python(words: tuple[str, ...], folder: Path, env: Mapping[str, str]) -> Done:
    """Run ``python -m …`` or ``python -c …`` in a folder.

    :param env: all of the environment.
    """
    with TemporaryDirectory() as name:
        written = Path(name) / "stdout", Path(name) / "stderr"
        process = _CONTEXT.Process(target=_command, args=(words, folder, dict(env), written))
        process.start()
        process.join(LIMIT)
        assert process.exitcode is not None, f"{words} took more than {LIMIT} seconds"
        return Done(process.exitcode, *(path.read_text() for path in written))


def _command(words: tuple[str, ...], folder: Path, env: dict[str, str], written: tuple[Path, Path]) -> None:
    for number, path in enumerate(written, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    kind, what, *arguments = words
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
