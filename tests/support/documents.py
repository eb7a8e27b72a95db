"""Run the code of a Markdown document as its reader would.

* A ``python`` block is executed; the blocks of a document share their names, in order. A block that starts with a
  comment such as ``# shop.py`` is that file: it is written into the reader's folder and imported.
* A ``text`` block right after a ``python`` block is what that block prints.
* In a ``console`` block every line after ``$ `` is run in the reader's folder.
* ``<!-- test: new -->`` before a block starts over with an empty folder and database;
  ``<!-- test: new app -->`` also provides ``app``, ``db``, an audited ``User`` and the name ``AuditLogger``, which
  the text around the block takes for granted.
* ``<!-- test: not run, because … -->`` leaves one block out.
* A block with a name, ```` ```python celery ````, is run by the test that asks for it: :func:`named`.

Other languages (``sh`` for what needs a network or never ends, ``jinja``, ``ini``, …) are not run.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger import AuditLogger

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: (?P<name>\w+))?\n(?P<source>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
DIRECTIVE = re.compile(r"<!-- test: (.+?) -->\s*\Z")
FILE_NAME = re.compile(r"#\s*([\w/]+\.py)\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    language: str
    source: str
    line: int
    directive: str = ""
    name: str | None = None


@dataclass(frozen=True)
class Story:
    """Blocks of one document that are run one after the other."""

    document: Path
    blocks: list[Block] = field(default_factory=list)

    @property
    def line(self) -> int:
        return self.blocks[0].line


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document."""
    content = document.read_text(encoding="utf-8")
    for match in FENCE.finditer(content):
        directive = DIRECTIVE.search(content[: match.start()])
        yield Block(
            match["language"],
            re.sub(f"^{match['indent']}", "", match["source"], flags=re.MULTILINE),
            content.count("\n", 0, match.start()) + 1,
            directive[1] if directive else "",
            match["name"],
        )


def named(document: Path) -> dict[str, str]:
    """The blocks that have a name, for a test that runs them."""
    return {block.name: block.source for block in blocks(document) if block.name is not None}


def section(document: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    text = document.read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def stories(document: Path) -> list[Story]:
    """The document cut where it starts over, without stories that have nothing to run."""
    found: list[Story] = []
    for block in blocks(document):
        if block.name is not None:
            continue
        if not found or block.directive.startswith("new"):
            found.append(Story(document))
        found[-1].blocks.append(block)
    return [story for story in found if any(block.language in ("python", "console") for block in story.blocks)]


class Reader:
    """Somebody who follows a story in a folder of his own, with an empty database.

    :param database_url: exported as ``DATABASE_URL``.
    """

    def __init__(self, folder: Path, database_url: sa.URL) -> None:
        self.folder = folder
        self.url = database_url
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self._printed: str | None = None

    def follow(self, story: Story) -> None:
        """Run the blocks, then what the reader would do with what they left."""
        with self._in_folder():
            if story.blocks[0].directive == "new app":
                self._provide_app()
            try:
                for block in story.blocks:
                    if not block.directive.startswith("not run, because "):
                        self._run(block, story.document)
                self._use_audit_logger()
                self._use_migration()
            finally:
                self._close()

    def _run(self, block: Block, document: Path) -> None:
        where = f"{document.name}:{block.line}"
        printed, self._printed = self._printed, None
        if block.language == "python":
            self._printed = self._run_python(block, document)
        elif block.language == "console":
            self._run_console(block, where)
        elif block.language == "text" and printed is not None:
            assert printed.strip() == block.source.strip(), f"{where} is not what the block before it prints"

    def _run_python(self, block: Block, document: Path) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            file = FILE_NAME.match(block.source.partition("\n")[0])
            if file:
                self._import(file[1], block.source)
            else:
                # Leading lines make a traceback point into the document.
                code = compile("\n" * block.line + block.source, str(document), "exec")
                exec(code, self.names)
        return output.getvalue()

    def _import(self, file: str, source: str) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        self.names.update({name: value for name, value in vars(module).items() if not name.startswith("__")})

    def _run_console(self, block: Block, where: str) -> None:
        for line in block.source.splitlines():
            if line.startswith("$ "):
                done = subprocess.run(
                    line[2:], shell=True, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
                )
                assert done.returncode == 0, f"{where}: {line}\n{done.stdout}{done.stderr}"

    def _provide_app(self) -> None:
        app = Flask("reader")
        app.config.update(SQLALCHEMY_DATABASE_URI=self.url, SECRET_KEY="reader")
        db = SQLAlchemy(app)

        class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
            __tablename__ = "users"
            __table_args__ = ({"info": {"audit_logged": True}},)
            id = sa.Column(sa.BigInteger, primary_key=True)
            name = sa.Column(sa.Text)

        self.names.update(app=app, db=db, User=User, AuditLogger=AuditLogger)

    def _use_audit_logger(self) -> None:
        """An AuditLogger that a story made has to log the change of its first audited table."""
        audit_logger, db = self.names.get("audit_logger"), self.names.get("db")
        if audit_logger is None or not isinstance(db, SQLAlchemy):
            return
        if not isinstance(self.names.get("app"), Flask):  # a fixture of that name is none
            self.names["app"] = self.names["create_app"]()
        with self.names["app"].app_context():
            if audit_logger.schema:
                db.session.execute(sa.schema.CreateSchema(audit_logger.schema, if_not_exists=True))
                db.session.commit()
            db.create_all()
            count = sa.select(sa.func.count()).select_from(audit_logger.activity_cls)
            before = db.session.scalar(count)
            db.session.add(_any_row(db))
            db.session.commit()
            assert db.session.scalar(count) > before

    def _use_migration(self) -> None:
        """A migration that a story shows has to run in both directions."""
        upgrade, downgrade = self.names.get("upgrade"), self.names.get("downgrade")
        if upgrade is None or downgrade is None:
            return
        with (
            self.names["app"].app_context(),
            self.names["db"].engine.begin() as connection,
            Operations.context(MigrationContext.configure(connection)),
        ):
            downgrade()
            upgrade()

    def _close(self) -> None:
        app, db = self.names.get("app"), self.names.get("db")
        if isinstance(app, Flask) and isinstance(db, SQLAlchemy):
            with app.app_context():
                db.session.remove()
                for engine in db.engines.values():
                    engine.dispose()

    @contextlib.contextmanager
    def _in_folder(self) -> Iterator[None]:
        """Work in the folder, with the environment's commands, and forget the modules imported from there."""
        modules = set(sys.modules)
        before = os.getcwd(), dict(os.environ)
        os.chdir(self.folder)
        os.environ["DATABASE_URL"] = self.url.render_as_string(hide_password=False)
        os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        sys.path.insert(0, str(self.folder))
        try:
            yield
        finally:
            sys.path.remove(str(self.folder))
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])
            for name in set(sys.modules) - modules:
                origin = getattr(sys.modules[name], "__file__", None) or ""
                if origin.startswith(str(self.folder)):
                    del sys.modules[name]


SAMPLES = {str: "text", int: 1}


def _any_row(db: SQLAlchemy) -> Any:
    """An object of an audited class with its texts and numbers filled."""
    for mapper in db.Model.registry.mappers:
        if mapper.local_table.info.get("audit_logged"):
            columns = {attr.key: attr.columns[0] for attr in mapper.column_attrs}
            values = {key: SAMPLES.get(c.type.python_type) for key, c in columns.items() if not c.primary_key}
            return mapper.class_(**values)
    raise AssertionError("no class of this story is audited")
