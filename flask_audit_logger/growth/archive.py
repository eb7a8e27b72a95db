"""Months of a log as Parquet files: to save one, to verify it, to get it back, and to change what is in it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from ..exceptions import ArchiveError, ConfigurationError
from ..schema.objects import LOG_TABLES
from ..sql import quote_ident, quote_literal
from . import manifest as manifests
from .manifest import Manifest
from .months import DAYS_OF_GRACE, months
from .parquet import check_rows, compare, load, require_arrow, save

_IDENTITY = re.compile(r"^flask-audit-logger, log ([0-9a-f-]{36})$")
_FOLDER = re.compile(r"^month=([0-9]{4}_[0-9]{2})$")

_EXISTS = text("SELECT to_regclass(:table) IS NOT NULL")
_OWNER = text("SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = to_regclass(:table)")
_COMMENT = text("SELECT pg_catalog.obj_description(to_regclass(:sequence), 'pg_class')")


@dataclass(frozen=True)
class Archive:
    """The months of one log that are kept as files.

    All of its methods are asked one after another, by whoever has the log to themselves
    (``flask audit maintain``, ``restore``), and need the owner of the log. None of them commits.

    :param folder: has a folder for each month.
    :param schema: schema of the log.
    """

    folder: Path
    schema: str

    def months(self) -> list[str]:
        """The months in it, oldest first, whatever state they are in."""
        found = [_FOLDER.match(path.name) for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(match[1] for match in found if match)

    def month_folder(self, month: str) -> Path:
        """Where a month is, or will be."""
        return self.folder / f"month={month}"

    def missing(self, connection: Connection) -> list[str]:
        """The months of the log that are over and are not in it, oldest first."""
        saved = set(self.months())
        return [month.name for month in months(connection, self.schema)[:-1] if month.name not in saved]

    def save(self, connection: Connection, month: str) -> Manifest:
        """Save a month that is over, and compare each row of the files with the log before they get their name.

        Killed before, it leaves a folder that nobody reads and the next call removes.

        :raises ConfigurationError: if the log has no such month, or it is not over.
        """
        there = {each.name: each for each in months(connection, self.schema)}
        if not there:
            raise ConfigurationError(
                'Only a log that is kept in months can be archived: AuditLogger(db, partition="month"), then '
                "`flask db migrate`."
            )
        if month not in list(there)[:-1]:
            raise ConfigurationError(
                f"The log in schema {self.schema} has no month {month} that is over; it has {', '.join(there)}."
            )
        require_arrow()
        if not self.folder.is_dir():
            raise ArchiveError(f"The folder {self.folder} of the archive is missing. Create it, or mount it.")
        low, high = there[month].low or None, there[month].high
        manifest = Manifest(self._identity(connection), self.schema, month, low, high, _now(), {})
        tables = {log: quote_ident(self.schema, f"{log}_{month}") for log in LOG_TABLES}
        return self._write(connection, manifest, tables)

    def check(self, connection: Connection, month: str) -> Manifest:
        """Whether the files of a month are as they were written, for this log.

        :raises ArchiveError: names the file and what is wrong with it.
        """
        require_arrow()
        folder = self.month_folder(month)
        manifests.finish_swap(folder)
        if not folder.is_dir():
            raise ArchiveError(f"{folder} is missing; the archive has {', '.join(self.months()) or 'no month'}.")
        manifest = manifests.read(folder)
        if manifest.month != month:
            raise ArchiveError(f"{folder} has the month {manifest.month}.")
        if manifest.log != _known_identity(connection, self.schema):
            raise ArchiveError(f"{folder} is of another log: {manifest.log}, in a schema {manifest.schema}.")
        manifests.check_files(folder, manifest)
        for saved in manifest.tables.values():
            check_rows(folder / saved.file, saved)
        return manifest

    def verify(self, connection: Connection, month: str) -> Manifest:
        """As :meth:`check`, and whether they have each row that the log still has of the month.

        :raises ArchiveError: names the file and what is wrong with it.
        """
        manifest = self.check(connection, month)
        for log in LOG_TABLES:
            part = quote_ident(self.schema, f"{log}_{month}")
            if connection.scalar(_EXISTS, {"table": part}):
                compare(connection, self.month_folder(month), manifest.tables[log], log, part)
        return manifest

    def fault(self, connection: Connection, month: str) -> str | None:
        """Why a month may not be dropped from the log, as its files are not what was written, or lack a row of it."""
        try:
            self.verify(connection, month)
        except ArchiveError as error:
            return str(error)
        return None

    def restore(self, connection: Connection, month: str) -> Manifest:
        """Make a saved month a part of the log again, with the rows it had. Nobody waits for it.

        It is not there before the transaction of the connection is committed.

        :raises ArchiveError: names the file and what is wrong with it.
        :raises ConfigurationError: if the log has the month.
        """
        if month in [each.name for each in months(connection, self.schema)]:
            raise ConfigurationError(f"The log in schema {self.schema} has the month {month}.")
        manifest = self.check(connection, month)
        folder = self.month_folder(month)
        tables = {
            log: (quote_ident(self.schema, log), quote_ident(self.schema, f"{log}_{month}")) for log in LOG_TABLES
        }
        for log, (root, part) in tables.items():
            _run(connection, f"CREATE TABLE {part} (LIKE {root} INCLUDING DEFAULTS)")
            _run(connection, f"ALTER TABLE {part} OWNER TO {connection.scalar(_OWNER, {'table': root})}")
            load(connection, folder / manifest.tables[log].file, part)
            compare(connection, folder, manifest.tables[log], log, part)
        bounds = f"FROM ({'MINVALUE' if manifest.from_id is None else manifest.from_id}) TO ({manifest.to_id})"
        for root, part in tables.values():
            _run(connection, f"ALTER TABLE {root} ATTACH PARTITION {part} FOR VALUES {bounds}")
            _run(connection, f"ANALYZE {part}")
        _run(connection, f"SELECT {quote_ident(self.schema)}.audit_logger_protect()")
        return manifest

    def rewrite(self, connection: Connection, month: str, change: Callable[[Connection, str], int]) -> bool:
        """Change what the files of a month have, by the statements that change the log: all of it or nothing.

        :param change: is given the connection and the schema of two tables ``activity`` and ``transaction`` that have
            the rows of the month; gives how many of them it changed. If none, no file is written.
        :raises ArchiveError: names the file and what is wrong with it, or that what was there can't be changed.
        """
        manifest = self.check(connection, month)
        tables = {log: f"pg_temp.{quote_ident(log)}" for log in LOG_TABLES}
        with connection.begin_nested() as temporary:
            for log, table in tables.items():
                _run(connection, f"CREATE TEMPORARY TABLE {quote_ident(log)} (LIKE {quote_ident(self.schema, log)})")
                load(connection, self.month_folder(month) / manifest.tables[log].file, table)
            changed = change(connection, "pg_temp")
            if changed:
                self._write(connection, manifest, tables)
            temporary.rollback()
        return changed > 0

    def _identity(self, connection: Connection) -> str:
        """The identifier of the log, which a dump and an upgrade of the server keep; made with its first month."""
        known = _known_identity(connection, self.schema)
        if known is not None:
            return known
        made = str(uuid.uuid4())
        sequence = quote_ident(self.schema, "transaction_id_seq")
        _run(connection, f"COMMENT ON SEQUENCE {sequence} IS {quote_literal(f'flask-audit-logger, log {made}')}")
        return made

    def _write(self, connection: Connection, manifest: Manifest, tables: dict[str, str]) -> Manifest:
        """Write the rows of two tables into new files, compare them, and put them in the place of the old ones."""
        folder = self.month_folder(manifest.month)
        try:
            made = manifests.begin(folder)
            saved = {log: save(connection, log, table, made / f"{log}.parquet") for log, table in tables.items()}
            for log, table in tables.items():
                compare(connection, made, saved[log], log, table)
            complete = dataclasses.replace(manifest, saved_at=_now(), tables=saved)
            complete.write(made)
            manifests.swap(folder)
        except OSError as error:
            raise ArchiveError(f"{folder} can't be written: {error}") from error
        return complete


def faults(connection: Connection, archive: Archive, today: dt.date) -> list[str]:
    """What is wrong with an archive at first sight: files are not read, only looked for.

    :param today: in UTC.
    """
    if not archive.folder.is_dir():
        return [f"the folder {archive.folder} of its archive is missing"]
    found = []
    try:
        require_arrow()
    except ConfigurationError as error:
        found.append(str(error))
    missing = archive.missing(connection)
    over = [month.name for month in months(connection, archive.schema)[:-1]]
    if today.day <= DAYS_OF_GRACE:  # the one that has just ended
        missing = [month for month in missing if month != over[-1]]
    found += [f"its month {month} is not archived: run `flask audit maintain`" for month in missing]
    for month in archive.months():
        folder = archive.month_folder(month)
        try:
            manifests.check_sizes(folder, manifests.read(folder))
        except ArchiveError as error:
            found.append(f"{error} `flask audit archive verify {month}` looks closer")
    return found


def _known_identity(connection: Connection, schema: str) -> str | None:
    """The identifier of a log; on its sequence, where nobody else comments."""
    comment = connection.scalar(_COMMENT, {"sequence": quote_ident(schema, "transaction_id_seq")})
    found = _IDENTITY.match(comment or "")
    return found[1] if found else None


def _run(connection: Connection, statement: str) -> None:
    connection.execute(text(_escaped(statement)))


def _escaped(sql: str) -> str:
    return sql.replace(":", "\\:")


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
