"""Activities as lines of CSV and JSON Lines."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..query.diff import as_text
from ..query.rows import ActivityRow, TransactionRow
from ..query.values import ABSENT, Value, dump
from .present import Presenter

_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
#: What a spreadsheet takes as the beginning of a formula or a command.
_ACTIVE = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - the full-width ones count as well

_COMMON = ("id", "time_utc", "table", "key", "label", "verb")
_MAKER = ("actor_id", "actor", "impersonator", "address", "transaction", "request", "request_id", "reason")
BY_FIELD = (*_COMMON, "column", "old", "old_state", "new", "new_state", *_MAKER)
BY_ACTIVITY = (*_COMMON, "old_data", "changed_data", *_MAKER)


def cell(text: str | None) -> str:
    """A cell that no spreadsheet runs: what would start a formula gets an apostrophe; plain numbers stay."""
    if not text:
        return ""
    return f"'{text}" if text.startswith(_ACTIVE) and not _PLAIN_NUMBER.fullmatch(text) else text


def csv_lines(
    presenter: Presenter, batches: Iterable[Iterable[ActivityRow]], *, by_field: bool, bom: bool
) -> Iterator[str]:
    """RFC 4180: CRLF, quotes where needed, a header first.

    :param by_field: a line for each changed column instead of each change.
    :param bom: begin with the mark by which Excel knows UTF-8.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    extra = [column.name for column in presenter.state.ui.extra_columns if column.export is not None]
    writer.writerow([*(BY_FIELD if by_field else BY_ACTIVITY), *map(cell, extra)])
    yield ("\ufeff" if bom else "") + _taken(buffer)
    for rows in batches:
        for row in rows:
            common, maker = _common(presenter, row), (*_maker(presenter, row), *presenter.exported(row).values())
            middle = _fields(presenter, row) if by_field else [_data(presenter, row)]
            writer.writerows([cell(text) for text in (*common, *part, *maker)] for part in middle)
        yield _taken(buffer)


def json_lines(
    presenter: Presenter, batches: Iterable[Iterable[ActivityRow]], meta: dict[str, Any], *, complete: bool
) -> Iterator[str]:
    """One object a line, values as they were logged. A file without its last line, ``_meta``, is incomplete."""
    number = 0
    for rows in batches:
        lines = [dump(_object(presenter, row)) for row in rows]
        number += len(lines)
        yield "\n".join(lines) + "\n"
    yield dump({"_meta": {"rows": number, "complete": complete, **meta}}) + "\n"


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _common(presenter: Presenter, row: ActivityRow) -> tuple[str, ...]:
    table = presenter.state.catalog.text(row.table)
    label = presenter.records.get(row.record, row.id) if row.record else None
    key = ",".join(row.record.components) if row.record else ""
    return (str(row.id), _time(row.issued_at), table, key, label.text if label else "", row.verb)


def _maker(presenter: Presenter, row: ActivityRow) -> tuple[str | None, ...]:
    transaction = row.transaction
    if transaction is None:
        return ("", "", "", "", str(row.transaction_id), "", "", "")
    can_see = presenter.state.sight.can_see_fact
    actor = presenter.actor(transaction)
    request = " ".join(part for part in (transaction.said("method"), transaction.said("path")) if part)
    return (
        transaction.actor_id,
        actor.label if actor.kind != "none" else "",
        _impersonator(transaction),
        transaction.client_addr if can_see("client_addr") else "",
        str(row.transaction_id),
        request,
        transaction.said("request_id"),
        transaction.said("reason"),
    )


def _impersonator(transaction: TransactionRow) -> str:
    """As it was logged: a file is the same in every language."""
    found = transaction.impersonator
    return "" if found is None else str(found.get("label") or found.get("id") or "somebody")


def _fields(presenter: Presenter, row: ActivityRow) -> Iterator[tuple[str, ...]]:
    columns = presenter.ordered(row.table, row.changed_columns)
    if not columns:
        yield ("", "", ABSENT.state.value, "", ABSENT.state.value)
    for column in columns:
        before = ABSENT if row.verb in ("insert", "snapshot") else row.before(column)
        after = ABSENT if row.verb == "delete" else row.after(column)
        sides = (presenter.state.sight.value(row.table, column, value) for value in (before, after))
        yield (column, *(part for value in sides for part in (_text(value), value.state.value)))


def _text(value: Value) -> str:
    return as_text(value.data) if value.known else ""


def _data(presenter: Presenter, row: ActivityRow) -> tuple[str, str]:
    sight = presenter.state.sight
    return dump(sight.row(row.table, row.old_data)), dump(sight.row(row.table, row.changed_data))


def _object(presenter: Presenter, row: ActivityRow) -> dict[str, Any]:
    sight, maker = presenter.state.sight, dict(zip(_MAKER, _maker(presenter, row), strict=True))
    label = presenter.records.get(row.record, row.id) if row.record else None
    extra = presenter.exported(row)
    return {
        "id": row.id,
        "time": _time(row.issued_at),
        "schema": row.table.schema,
        "table": row.table.name,
        "key": list(row.record.components) if row.record else None,
        "label": label.text if label else None,
        "verb": row.verb,
        "old_data": sight.row(row.table, row.old_data),
        "changed_data": sight.row(row.table, row.changed_data),
        **{name: value or None for name, value in maker.items()},
        "transaction": row.transaction_id,
        **({"extra": extra} if extra else {}),
    }
