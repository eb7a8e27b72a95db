"""What stands in the folder of an archived month, and what a disturbed file or an interrupted job leaves there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..exceptions import ArchiveError

#: What this release writes, and the only format it reads.
FORMAT = 1

_NAME = "manifest.json"


@dataclass(frozen=True)
class SavedTable:
    """One file of a month, with what it has to be.

    :param first_id: lowest id in it; ``None`` if it has no row.
    :param last_id: highest id in it.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    first_id: int | None
    last_id: int | None


@dataclass(frozen=True)
class Manifest:
    """What an archived month has.

    :param log: identifier of the log it is of.
    :param schema: schema of that log.
    :param month: as ``2026_12``.
    :param from_id: the first id of a transaction that belongs to the month; ``None`` if it has no lower bound.
    :param to_id: the first one that is above it.
    :param saved_at: when, in UTC.
    :param tables: by the name of the table.
    """

    log: str
    schema: str
    month: str
    from_id: int | None
    to_id: int
    saved_at: str
    tables: Mapping[str, SavedTable]

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(table.bytes for table in self.tables.values())

    def write(self, folder: Path) -> None:
        """Write it beside its files, which are then complete."""
        said = {"format": FORMAT} | dataclasses.asdict(self)
        path = folder / _NAME
        path.write_text(json.dumps(said | {"sha256": _digest(said)}, indent=2) + "\n", encoding="utf-8")
        sync(path)
        sync(folder)


def read(folder: Path) -> Manifest:
    """The manifest of a month's folder.

    :raises ArchiveError: if it is missing, is none of ours, or was edited.
    """
    path = folder / _NAME
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        digest = said.pop("sha256")
    except FileNotFoundError:
        raise ArchiveError(f"{path} is missing.") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArchiveError(f"{path} can't be read as a manifest: {error}") from error
    if said.get("format") != FORMAT:
        raise ArchiveError(f"{path} has the format {said.get('format')!r}; this release reads {FORMAT}.")
    if digest != _digest(said):
        raise ArchiveError(f"{path} was changed after it was written.")
    del said["format"]
    tables = {name: SavedTable(**table) for name, table in said.pop("tables").items()}
    return Manifest(**said, tables=tables)


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Whether the files are there, in their size.

    :raises ArchiveError: names the file and what is wrong.
    """
    for table in manifest.tables.values():
        path = folder / table.file
        if not path.is_file():
            raise ArchiveError(f"{path} is missing.")
        if path.stat().st_size != table.bytes:
            raise ArchiveError(f"{path} has {path.stat().st_size} bytes; {table.bytes} were written.")


def check_files(folder: Path, manifest: Manifest) -> None:
    """Whether the files are as they were written, byte by byte.

    :raises ArchiveError: names the file and what is wrong.
    """
    check_sizes(folder, manifest)
    for table in manifest.tables.values():
        if sha256(folder / table.file) != table.sha256:
            raise ArchiveError(f"{folder / table.file} is not what was written: its checksum differs.")


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make a file or folder outlive a loss of power: what it holds may be dropped from the database next."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def begin(folder: Path) -> Path:
    """An empty folder beside the one of a month, in which its files are made; its name has a dot: readers skip it."""
    finish_swap(folder)
    made = _beside(folder, "new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    return made


def swap(folder: Path) -> None:
    """Put what :func:`begin` made in the place of a month's folder. Killed at any step, :func:`finish_swap` ends it."""
    old = _beside(folder, "old")
    if folder.exists():
        folder.rename(old)
    _beside(folder, "new").rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def finish_swap(folder: Path) -> None:
    """Finish a swap that was interrupted."""
    old = _beside(folder, "old")
    if old.exists():
        if not folder.exists():  # the new one was complete before the old one was moved
            _beside(folder, "new").rename(folder)
            sync(folder.parent)
        shutil.rmtree(old)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
