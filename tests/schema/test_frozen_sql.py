"""Released SQL never changes: a migration that ran in 2026 makes the same objects for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

import flask_audit_logger.sql
from flask_audit_logger.sql import CURRENT_VERSION

SQL = Path(flask_audit_logger.sql.__file__).parent
LIST = Path(__file__).parent / "frozen.sha256"

#: Until version 3.0.0 is released, version 1 may still change. Then write the list anew with
#: ``python -m tests.schema.test_frozen_sql`` and commit it with the change. After the release a change of what a file
#: does is a new folder ``v2`` with all files, and new lines in the list.
HINT = "SQL that was released must not change. If it was not released yet: python -m tests.schema.test_frozen_sql"


def checksums() -> str:
    files = sorted(SQL.glob("v*/*.sql"))
    return "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(SQL)}\n" for f in files)


def test_each_file_is_what_it_was():
    assert checksums() == LIST.read_text(), HINT


def test_each_version_has_a_folder_and_each_file_says_its_version():
    assert sorted(p.name for p in SQL.glob("v*")) == [f"v{n + 1}" for n in range(CURRENT_VERSION)]
    for file in SQL.glob("v*/*.sql"):
        assert file.read_text().splitlines()[1] == f"-- version: {file.parent.name[1:]}", file


if __name__ == "__main__":
    LIST.write_text(checksums())
