"""Rows of the log in Parquet files: written, compared with a table, and put into one.

They travel as CSV, which PostgreSQL and Arrow both write and read at their own speed, on a connection of the
application's engine, so that whatever it takes to connect holds here, too.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from ..exceptions import ArchiveError, ConfigurationError
from ..sql import quote_ident
from . import manifest as manifests
from .manifest import SavedTable

if TYPE_CHECKING:
    import pyarrow as pa

#: As much CSV becomes one row group of a file.
GROUP_BYTES = 32_000_000

#: The order of the rows in a file: one record is in few row groups.
ORDER = {"transaction": "id", "activity": "table_name, record_key, id"}

_COLUMNS = text(
    """
    SELECT a.attname AS name, pg_catalog.format_type(a.atttypid, NULL) AS type
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
    """
)
_SETTINGS = text(
    "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, MDY', true), "
    "set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)"
)

_INTEGERS = ("smallint", "integer", "bigint", "oid")


def require_arrow() -> None:
    """Whether the extra is installed.

    :raises ConfigurationError: if not.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError("The archive needs pyarrow: pip install 'flask-audit-logger[archive]'")


def save(connection: Connection, log: str, table: str, path: Path) -> SavedTable:
    """Write the rows of a table into a file."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = _columns(connection, table)
    rows = 0
    ids: list[int] = []
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:

        def take(group: pa.Table) -> None:
            nonlocal rows
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
            ids.extend(pc.min_max(group["id"]).as_py().values())

        _read(connection, log, table, columns, take)
    manifests.sync(path)
    bounds = (min(ids, default=None), max(ids, default=None))
    return SavedTable(path.name, rows, path.stat().st_size, manifests.sha256(path), *bounds)


def load(connection: Connection, path: Path, table: str) -> None:
    """Put the rows of a file into a table."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = ", ".join(quote_ident(name) for name in file.schema_arrow.names)
        statement = f"COPY {table} ({names}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
        _settle(connection)
        for batch in file.iter_batches():
            rows = io.BytesIO()
            pyarrow.csv.write_csv(batch, rows, pyarrow.csv.WriteOptions(include_header=False))
            _copy_in(connection, statement, rows.getvalue())


def check_rows(path: Path, saved: SavedTable) -> None:
    """Whether a file is one that Arrow reads, with as many rows as its manifest says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
    except pa.ArrowException as error:
        raise ArchiveError(f"{path} is no Parquet file: {error}") from error
    if rows != saved.rows:
        raise ArchiveError(f"{path} has {rows} rows; {saved.rows} were written.")


def compare(connection: Connection, folder: Path, saved: SavedTable, log: str, table: str) -> None:
    """Whether a file has each row of a table, in all columns; the table may have fewer by now.

    :raises ArchiveError: if it has not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = folder / saved.file
    columns = _columns(connection, table)
    with pq.ParquetFile(path) as file:
        if file.schema_arrow != columns:
            raise ArchiveError(
                f"{path} has other columns than {table}. "
                "Remove its folder: `flask audit maintain` saves the month anew."
            )
        ids: list[pa.Table] = []
        count = f"SELECT count(*) FROM {table}".replace(":", "\\:")  # noqa: S608 - quoted
        if connection.scalar(text(count)) != saved.rows:
            _read(connection, log, table, pa.schema([columns.field("id")]), ids.append)
        kept = pa.concat_tables(ids)["id"].combine_chunks() if ids else None
        batches: Iterator[pa.RecordBatch] = file.iter_batches()
        rest = columns.empty_table()

        def take(group: pa.Table) -> None:
            nonlocal rest
            while rest.num_rows < group.num_rows:
                batch = next(batches, None)
                if batch is None:
                    break
                if kept is not None:
                    batch = batch.filter(pc.is_in(batch["id"], value_set=kept))
                rest = pa.concat_tables([rest, pa.Table.from_batches([batch])])
            if not rest.slice(0, group.num_rows).equals(group):
                raise ArchiveError(f"{path} has not each row of {table} as it is there.")
            rest = rest.slice(group.num_rows)

        _read(connection, log, table, columns, take)


def _columns(connection: Connection, table: str) -> pa.Schema:
    """The columns of a table as a file has them: numbers, times, and the text of everything else."""
    import pyarrow as pa

    def kind(type_: str) -> pa.DataType:
        if type_ == "timestamp with time zone":
            return pa.timestamp("us", "UTC")
        return pa.int64() if type_ in _INTEGERS else pa.string()

    found = connection.execute(_COLUMNS, {"table": table})
    return pa.schema([pa.field(column.name, kind(column.type)) for column in found])


def _read(connection: Connection, log: str, table: str, columns: pa.Schema, take: Callable[[pa.Table], None]) -> None:
    """Read the rows of a table in the order of its file, a group at a time."""
    import pyarrow as pa
    import pyarrow.csv

    convert = pyarrow.csv.ConvertOptions(
        column_types=columns, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)

    def parsed(csv: bytes) -> None:
        read = pyarrow.csv.ReadOptions(column_names=columns.names, use_threads=False, block_size=len(csv) + 1)
        options = {"read_options": read, "parse_options": parse, "convert_options": convert}
        take(pyarrow.csv.read_csv(pa.BufferReader(csv), **options))

    names = ", ".join(quote_ident(name) for name in columns.names)
    rows = f"SELECT {names} FROM ONLY {table} ORDER BY {ORDER[log]}"  # noqa: S608 - quoted
    _settle(connection)
    groups = _Groups(parsed)
    _copy_out(connection, f"COPY ({rows}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')", groups)
    groups.flush()


@dataclass
class _Groups:
    """Gathers the CSV of rows until it is enough.

    :param take: is given the CSV of some rows.
    """

    take: Callable[[bytes], None]
    _rows: list[bytes] = field(default_factory=list)
    _size: int = 0

    def write(self, row: bytes | memoryview) -> int:
        """Take one row: PostgreSQL's protocol sends each in a message of its own."""
        self._rows.append(bytes(row))
        self._size += len(row)
        if self._size >= GROUP_BYTES:
            self.flush()
        return len(row)

    def flush(self) -> None:
        """Hand over what there is."""
        if self._rows:
            csv = b"".join(self._rows)
            self._rows, self._size = [], 0
            self.take(csv)


def _settle(connection: Connection) -> None:
    """One value has one text; and no limit of the application ends a long COPY."""
    connection.execute(_SETTINGS)


def _copy_out(connection: Connection, statement: str, groups: _Groups) -> None:
    raw: Any = connection.connection
    with raw.cursor() as driver:
        if hasattr(driver, "copy_expert"):  # psycopg2
            driver.copy_expert(statement, groups)
            return
        with driver.copy(statement) as rows:
            for row in rows:
                groups.write(row)


def _copy_in(connection: Connection, statement: str, rows: bytes) -> None:
    raw: Any = connection.connection
    with raw.cursor() as driver:
        if hasattr(driver, "copy_expert"):
            driver.copy_expert(statement, io.BytesIO(rows))
            return
        with driver.copy(statement) as copy:
            copy.write(rows)
