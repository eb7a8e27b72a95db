"""A script of SQL that undoes the changes of a transaction, to be read, run and committed by a person."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from ..diff import as_text
from ..diff.values import dump
from ..schema.names import TableName
from ..sql import quote_ident, quote_literal
from .drift import key_of
from .reader import SETTINGS
from .rows import ActivityRow
from .tables import TableInfo

#: Characters that an editor or a terminal does not show, or takes for something else.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_MARK = "audit_logger"

#: Most changes that a script takes back; of a larger transaction it takes the newest, and says so.
MOST_ROWS = 10_000


class CannotUndo(ValueError):
    """A change can't be taken back; says why."""


def undo_script(
    rows: Iterable[ActivityRow],
    find: Callable[[TableName], TableInfo | None],
    hidden: Callable[[TableName, str], bool],
    remarks: Collection[str] = (),
    *,
    unreached: Collection[int] = (),
) -> Iterator[str]:
    """The lines of the script. It changes nothing until its last word is replaced by ``COMMIT``.

    :param rows: activities with their whole old rows, newest first.
    :param find: what the models say about a table.
    :param hidden: whether a column is masked or may not be seen.
    :param remarks: put at the top, as comments.
    :param unreached: ids of changes whose records may be others' by now; it may grow while rows are read.
    """
    for remark in remarks:
        yield f"-- {printed_comment(remark)}\n"
    yield "BEGIN;\n"
    for name, value in SETTINGS:
        yield f"SET LOCAL {quote_ident(name)} = {quote_literal(value)};\n"
    for row in rows:
        try:
            if row.id in unreached:
                raise CannotUndo("the record is gone, or not visible to you")
            statement = undo(row, find(row.table), hidden)
        except CannotUndo as reason:
            record = "" if row.record_key is None else f", record {printed_comment(row.record_key)}"
            what = f"{row.verb} of {printed_comment(str(row.table))}{record} (change {row.id})"
            yield f"-- NOT UNDONE: {what}: {printed_comment(str(reason))}\n"
        else:
            yield f"{statement}  -- change {row.id}\n" if statement else ""
    yield "ROLLBACK;\n"


def undo(row: ActivityRow, info: TableInfo | None, hidden: Callable[[TableName, str], bool]) -> str:
    """The statement that takes one change back, if the row is still as the change left it; empty for what changed none.

    :raises CannotUndo: saying why not.
    """
    if row.verb == "snapshot" or row.is_notice:
        return ""
    if row.verb == "truncate":
        raise CannotUndo("the rows that TRUNCATE removed are not in the log")
    if info is None or not info.is_audited:
        raise CannotUndo("the application has no such table")
    key = _key(info, row)
    touched = set(row.changed_columns) | (set(row.old_data) if row.verb == "delete" else set())
    _check(row, info, touched, hidden)
    if row.verb == "insert":
        where = _is_row(info, row, key) + _unchanged(info, row.changed_data)
        return f"DELETE FROM {_table(info)} t WHERE {where};"  # noqa: S608 - quoted
    if row.verb == "delete":
        return _insert(info, row.old_data)
    return _update(info, row, key)


def _key(info: TableInfo, row: ActivityRow) -> tuple[str, ...]:
    """The key that the record had before the change."""
    try:
        found = key_of(info, row.record, {**row.changed_data, **row.old_data}) if row.record is not None else ()
    except LookupError:
        found = ()
    if not found or len(found) != len(info.key):
        raise CannotUndo("the record has no key, or its key has changed")
    return found


def _check(row: ActivityRow, info: TableInfo, touched: set[str], hidden: Callable[[TableName, str], bool]) -> None:
    whole = row.verb != "update"
    if any(hidden(row.table, name) for name in touched | (set(info.columns) if whole else set())):
        raise CannotUndo("some of its values are masked or hidden from you")
    if row.verb == "delete" and info.excluded:
        raise CannotUndo("the log does not have all its columns")
    values = [data.get(name) for data in (row.old_data, row.changed_data) for name in touched]
    if any(isinstance(value, dict) and _MARK in value for value in values):
        raise CannotUndo("the log could not store the exact values")
    if not touched <= set(info.columns):
        raise CannotUndo("a column no longer exists")
    if row.verb == "update" and not touched <= set(row.old_data):
        raise CannotUndo("its old values are not in the log")


def _insert(info: TableInfo, data: dict[str, Any]) -> str:
    names = _columns(name for name in info.ordered(data) if not info.columns[name].is_generated)
    values = f"SELECT {names} FROM {_populated(info, data)}"  # noqa: S608 - quoted
    return f"INSERT INTO {_table(info)} ({names}) OVERRIDING SYSTEM VALUE {values};"


def _update(info: TableInfo, row: ActivityRow, key: Sequence[str]) -> str:
    before = {name: row.old_data[name] for name in info.ordered(row.changed_data)}
    names = [name for name in before if not info.columns[name].is_generated]
    if not names:
        return ""
    columns = _columns(names)
    then = f"(SELECT {columns} FROM {_populated(info, before)})"  # noqa: S608 - quoted
    where = _is_row(info, row, key) + _unchanged(info, row.changed_data)
    return f"UPDATE {_table(info)} t SET ({columns}) = {then} WHERE {where};"  # noqa: S608 - quoted


def _is_row(info: TableInfo, row: ActivityRow, key: Sequence[str]) -> str:
    """The key that the row has after the change."""
    tests = []
    for name, part in zip(info.key, key, strict=True):
        is_new = row.verb == "update" and name in row.changed_data
        text = as_text(row.changed_data[name]) if is_new else part
        tests.append(f"t.{quote_ident(name)} = {_text(text)}")
    return " AND ".join(tests)


def _unchanged(info: TableInfo, data: dict[str, Any]) -> str:
    """Whoever changed the row later keeps what they made of it."""
    tests = [
        f" AND to_jsonb(t.*) -> {quote_literal(name)} = {_json(data[name])}::jsonb"
        for name in info.ordered(data)
        if not info.columns[name].is_generated
    ]
    return "".join(tests)


def _populated(info: TableInfo, data: dict[str, Any]) -> str:
    """The logged values as a row of the table: PostgreSQL knows best how to read what it wrote."""
    return f"jsonb_populate_record(NULL::{_table(info)}, {_json(data)})"


def _table(info: TableInfo) -> str:
    return info.name.quoted


def _columns(names: Iterable[str]) -> str:
    return ", ".join(quote_ident(name) for name in names)


def _json(data: Any) -> str:
    return quote_literal(printable(dump(data)))


def _text(text: str) -> str:
    """A text as a literal on one line, with nothing unseen in it."""
    if not _UNSEEN.search(text):
        return quote_literal(text)
    quoted = text.replace("\\", "\\\\").replace("'", "''")
    return "E'" + _UNSEEN.sub(_by_number, quoted) + "'"


def printable(data: str) -> str:
    """JSON with nothing unseen in it."""
    return _UNSEEN.sub(_by_number, data)


def _by_number(match: re.Match[str]) -> str:
    # within JSON every such character is part of a text, where it can be written by its number
    return f"\\u{ord(match[0]):04x}"


def printed_comment(text: str) -> str:
    """A text that can't end its comment: on one line, and nothing unseen in it."""
    return json.dumps(text)[1:-1]
