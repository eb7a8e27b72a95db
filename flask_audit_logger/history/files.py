"""Changes as lines of a file, CSV or JSON Lines: one way for the pages and the command line."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..diff import as_text
from ..diff.values import ABSENT, Value, dump, scalar
from ..query.refs import TableName, key_components
from ..query.rows import ActivityRow, TransactionRow
from ..query.tables import TableCatalog

_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)

#: What a spreadsheet takes as the beginning of a formula or a command.
_ACTIVE = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - the full-width ones count as well

_COMMON = ("id", "time_utc", "table", "key", "label", "verb")

_MAKER = ("actor_id", "actor", "impersonator", "address", "transaction", "request", "request_id", "reason")

BY_FIELD = (*_COMMON, "column", "old", "old_state", "new", "new_state", *_MAKER)

BY_ACTIVITY = (*_COMMON, "old_data", "changed_data", *_MAKER)


class FileView:
    """How the lines of a file tell changes: as they are logged, which is what code may see.

    :param catalog: the tables.
    """

    #: Names of columns that are told besides.
    extra: Sequence[str] = ()

    def __init__(self, catalog: TableCatalog) -> None:
        self.catalog = catalog

    def label(self, row: ActivityRow) -> str | None:
        """The name of the record."""
        return None

    def actor(self, transaction: TransactionRow) -> str | None:
        """The name of who acted."""
        return transaction.actor_label

    def address(self, transaction: TransactionRow) -> str | None:
        """The address of who acted."""
        return transaction.client_addr

    def ordered(self, table: TableName, names: Iterable[str]) -> Iterable[str]:
        """The columns of a change, the important ones first."""
        return self.catalog.ordered(table, names)

    def value(self, table: TableName, column: str, value: Value) -> Value:
        """A value, as far as it may be seen."""
        return value

    def data(self, row: ActivityRow) -> tuple[str, str]:
        """The values before and after a change as JSON."""
        return row.old_text or "{}", row.changed_text or "{}"

    def told(self, row: ActivityRow) -> Mapping[str, str]:
        """The values of the columns that are told besides."""
        return {}


def cell(text: str | None) -> str:
    """A cell that no spreadsheet runs: what would start a formula gets an apostrophe; plain numbers stay."""
    if not text:
        return ""
    return f"'{text}" if text.startswith(_ACTIVE) and not _PLAIN_NUMBER.fullmatch(text) else text


def csv_lines(
    view: FileView, batches: Iterable[Sequence[ActivityRow]], *, by_field: bool = False, bom: bool = False
) -> Iterator[str]:
    """RFC 4180: CRLF, quotes where needed, a header first.

    :param by_field: a line for each changed column instead of each change.
    :param bom: begin with the mark by which Excel knows UTF-8.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([*(BY_FIELD if by_field else BY_ACTIVITY), *map(cell, view.extra)])
    yield ("\ufeff" if bom else "") + _taken(buffer)
    tables: dict[TableName, str] = {}
    for rows in batches:
        makers: dict[int, list[str]] = {}  # those of one batch: a file has as many as it has transactions
        for row in rows:
            if row.table not in tables:
                tables[row.table] = cell(view.catalog.text(row.table))
            maker = makers.get(row.transaction_id)
            if maker is None:
                maker = makers[row.transaction_id] = [cell(text) for text in _maker(view, row)]
            key, label = _key(row), view.label(row)
            common = (row.id, _time(row.issued_at), tables[row.table], cell(key), cell(label), row.verb)
            own = [cell(text) for text in view.told(row).values()] if view.extra else ()
            for part in _fields(view, row) if by_field else (view.data(row),):
                writer.writerow((*common, *map(cell, part), *maker, *own))
        yield _taken(buffer)


def json_lines(
    view: FileView, batches: Iterable[Sequence[ActivityRow]], meta: Mapping[str, Any], *, complete: bool = True
) -> Iterator[str]:
    """One object a line, values as they were logged. A file without its last line, ``_meta``, is incomplete."""
    number = 0
    tables: dict[TableName, str] = {}
    for rows in batches:
        makers: dict[int, str] = {}
        for row in rows:
            if row.transaction_id not in makers:
                makers[row.transaction_id] = _made(view, row)
            if row.table not in tables:
                tables[row.table] = _named(row.table)
        number += len(rows)
        yield "".join(_line(view, row, tables[row.table], makers[row.transaction_id]) for row in rows)
    yield dump({"_meta": {"rows": number, "complete": complete, **meta}}) + "\n"


def json_line(view: FileView, row: ActivityRow) -> str:
    """One change as such an object."""
    return _line(view, row, _named(row.table), _made(view, row))


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _key(row: ActivityRow) -> str:
    return "" if row.record_key is None else ",".join(key_components(row.record_key))


def _maker(view: FileView, row: ActivityRow) -> tuple[str | None, ...]:
    transaction = row.transaction
    if transaction is None:
        return ("", "", "", "", str(row.transaction_id), "", "", "")
    request = " ".join(part for part in (transaction.said("method"), transaction.said("path")) if part)
    return (
        transaction.actor_id,
        view.actor(transaction),
        _impersonator(transaction),
        view.address(transaction),
        str(row.transaction_id),
        request,
        transaction.said("request_id"),
        transaction.said("reason"),
    )


def _impersonator(transaction: TransactionRow) -> str:
    """As it was logged: a file is the same in every language."""
    found = transaction.impersonator
    return "" if found is None else str(found.get("label") or found.get("id") or "someone")


def _fields(view: FileView, row: ActivityRow) -> Iterator[tuple[str, ...]]:
    columns = tuple(view.ordered(row.table, row.changed_columns))
    if not columns:
        yield ("", "", ABSENT.presence, "", ABSENT.presence)
    for column in columns:
        before = ABSENT if row.verb in ("insert", "snapshot") else row.before(column)
        after = ABSENT if row.verb == "delete" else row.after(column)
        sides = (view.value(row.table, column, value) for value in (before, after))
        yield (column, *(part for value in sides for part in (_text(value), value.presence)))


def _text(value: Value) -> str:
    return as_text(value.data) if value.known else ""


def _line(view: FileView, row: ActivityRow, table: str, made: str) -> str:
    """A change as an object: its values are texts of JSON already, as far as nothing of them is hidden.

    :param table: the members that name its table.
    :param made: those that say who made it.
    """
    old, changed = view.data(row)
    key = "null" if row.record_key is None else f"[{', '.join(map(scalar, key_components(row.record_key)))}]"
    extra = view.told(row)
    end = f', "extra": {dump(extra)}' if extra else ""
    return (
        f'{{"id": {row.id}, "time": "{_time(row.issued_at)}", {table}, "key": {key},'
        f' "label": {scalar(view.label(row))}, "verb": {scalar(row.verb)}, "old_data": {old},'
        f' "changed_data": {changed}, {made}{end}}}\n'
    )


def _named(table: TableName) -> str:
    return dump({"schema": table.schema, "table": table.name})[1:-1]


def _made(view: FileView, row: ActivityRow) -> str:
    """The members of an object that say who made the change: the same for all changes of a transaction."""
    maker = {name: value or None for name, value in zip(_MAKER, _maker(view, row), strict=True)}
    return scalar({**maker, "transaction": row.transaction_id})[1:-1]
