"""The list as a file of CSV or JSON Lines."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from flask import Response, request, stream_with_context

from ...diff import as_text
from ...diff.values import ABSENT, Value, dump, scalar
from ...i18n import gettext, marked, number
from ...query.feed import Count, Search, batches, count_activities, count_nearby
from ...query.paging import Paging
from ...query.reader import Log
from ...query.refs import TableName, key_components
from ...query.rows import ActivityRow, TransactionRow
from ..access import action
from ..filters import ParsedSearch, SearchRules, changed
from ..presenter import Presenter
from ..shown import Crumb, SearchPage
from ..templating import bad_value, render
from ..visit import Visit
from .base import actor_choices, frame, open_search, sentence


@dataclass(frozen=True, kw_only=True)
class ExportPage(SearchPage):
    """What will be exported, and how."""

    template = "audit/export.html"

    sentence: str
    note: str | None
    csv_action: str
    jsonl_href: str
    hidden: tuple[tuple[str, str], ...]
    back_href: str


#: Parameters of the export itself.
OPTIONS = ("shape", "bom")

#: A position in the list means nothing for a file.
FIXED = ("before", "after", "limit")


def _parsed(visit: Visit) -> ParsedSearch:
    rules = SearchRules(default_period=visit.settings.default_period, fixed=FIXED, extra=OPTIONS)
    return open_search(visit, rules)


@action("export")
def options_page(visit: Visit) -> Any:
    """What will be exported, in words, before it is."""
    return _options(visit, _parsed(visit))


@action("export")
def csv_file(visit: Visit) -> Any:
    """CSV, a line for each change or each changed column."""
    by_field = request.args.get("shape") == "field"
    bom = request.args.get("bom") == "1"

    def lines(presenter: Presenter, rows: Any, meta: dict[str, Any], complete: bool) -> Iterator[str]:
        return csv_lines(presenter, rows, by_field=by_field, bom=bom)

    return _file(visit, "csv", "text/csv; charset=utf-8", lines)


@action("export")
def jsonl_file(visit: Visit) -> Any:
    """JSON Lines, the faithful format."""

    def lines(presenter: Presenter, rows: Any, meta: dict[str, Any], complete: bool) -> Iterator[str]:
        return json_lines(presenter, rows, meta, complete=complete)

    return _file(visit, "jsonl", "application/x-ndjson; charset=utf-8", lines)


def _options(visit: Visit, parsed: ParsedSearch) -> Any:
    cap = visit.settings.export_max_rows
    count: Count | None = None
    with visit.reader().reading() as log:
        actors = actor_choices(visit, log)
        if not parsed.errors:
            count = count_nearby(log, Search.prepare(log, parsed.criteria), min(cap, visit.settings.count_cap))
    words = "" if parsed.errors else sentence(visit, parsed, count, dict(actors))
    note = None
    if count is None or count.is_capped:
        is_counted = count is not None and count.number == cap
        said = marked("Only the first %(number)s rows are exported.")
        note = gettext(said if is_counted else marked("At most %(number)s rows are exported."), number=number(cap))
    context = ExportPage(
        **frame(
            visit,
            parsed,
            lambda args, anchor=False: visit.links.export(None, args),
            title=gettext("Export"),
            heading=gettext("Export"),
            steps=(Crumb(gettext("Export")),),
            actors=actors,
            fixed=FIXED,
        ),
        sentence=words,
        note=note,
        csv_action=visit.links.export("csv"),
        jsonl_href=visit.links.export("jsonl", changed(parsed.args)),
        hidden=tuple((name, value) for name, value in parsed.args.items(multi=True) if value),
        back_href=visit.links.activities(changed(parsed.args)),
    )
    return render(visit, context, 400 if parsed.errors else 200)


def _file(visit: Visit, ending: str, content_type: str, lines: Any) -> Any:
    parsed = _parsed(visit)
    if parsed.errors:
        return _options(visit, parsed)
    if request.args.get("shape", "activity") not in ("activity", "field") or request.args.get("bom", "1") != "1":
        return bad_value(visit)
    cap = visit.settings.export_max_rows
    # Opened here, so that a time-out while counting is still an ordinary page; closed with the response.
    with ExitStack() as stack:
        log = stack.enter_context(visit.reader().reading(timeout_ms=visit.settings.export_timeout_ms))
        search = Search.prepare(log, parsed.criteria)
        count = count_activities(log, search, cap)
        reading = stack.pop_all()
    visit.rows = count.number
    complete = not count.is_capped
    meta = _meta(visit, parsed)
    presenter = Presenter(visit)

    def stream() -> Iterator[str]:
        with reading:
            yield from lines(presenter, _named(presenter, log, search, parsed, cap), meta, complete)

    name = _file_name(parsed) + ("" if complete else f"-first-{cap}")
    response = Response(stream_with_context(stream()), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
    if not complete:
        response.headers["X-Audit-Truncated"] = "1"
    # a body that nobody reads never starts the generator above
    response.call_on_close(reading.close)
    if request.method == "HEAD":
        reading.close()
    return response


def _named(
    presenter: Presenter, log: Log, search: Search, parsed: ParsedSearch, cap: int
) -> Iterator[tuple[ActivityRow, ...]]:
    paging = Paging(oldest_first=parsed.paging.oldest_first)
    for rows in batches(log, search, paging, most=cap):
        presenter.forget()
        # no names of what values point to: they are not exported
        presenter.records.learn(log, (), [(row.record, row.cursor) for row in rows if row.record is not None])
        presenter.learn_actors({row.transaction.actor_id for row in rows if row.transaction})
        yield rows


def _meta(visit: Visit, parsed: ParsedSearch) -> dict[str, Any]:
    filters: dict[str, Any] = {name: values for name, values in parsed.args.lists() if any(values)}
    if parsed.assumed_period:
        filters["period"] = [parsed.assumed_period]
    since, until = parsed.criteria.since, parsed.criteria.until
    return {
        "filter": filters,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "generated_at": visit.clock.now.isoformat(),
        "viewer": {"id": visit.viewer.id, "label": visit.viewer.label} if visit.viewer else None,
    }


def _file_name(parsed: ParsedSearch) -> str:
    """ASCII only: tables, first and last day."""
    tables = "-".join(parsed.form.table.data or ["all"])
    since, until = parsed.criteria.since, parsed.criteria.until
    parts = ["audit", tables, f"{since:%Y%m%d}" if since else "begin", f"{until:%Y%m%d}" if until else "now"]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(parts))[:120]


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
    presenter: Presenter, batches: Iterable[Sequence[ActivityRow]], *, by_field: bool, bom: bool
) -> Iterator[str]:
    """RFC 4180: CRLF, quotes where needed, a header first.

    :param by_field: a line for each changed column instead of each change.
    :param bom: begin with the mark by which Excel knows UTF-8.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    extra = [column.name for column in presenter.visit.ui.extra_columns if column.export is not None]
    writer.writerow([*(BY_FIELD if by_field else BY_ACTIVITY), *map(cell, extra)])
    yield ("\ufeff" if bom else "") + _taken(buffer)
    tables: dict[TableName, str] = {}
    for rows in batches:
        makers: dict[int, list[str]] = {}  # those of one batch: a file has as many as it has transactions
        for row in rows:
            if row.table not in tables:
                tables[row.table] = cell(presenter.visit.catalog.text(row.table))
            maker = makers.get(row.transaction_id)
            if maker is None:
                maker = makers[row.transaction_id] = [cell(text) for text in _maker(presenter, row)]
            key, label = _key(row), _label(presenter, row)
            common = (row.id, _time(row.issued_at), tables[row.table], cell(key), cell(label), row.verb)
            own = [cell(text) for text in presenter.exported(row).values()] if extra else ()
            for part in _fields(presenter, row) if by_field else (_data(presenter, row),):
                writer.writerow((*common, *map(cell, part), *maker, *own))
        yield _taken(buffer)


def json_lines(
    presenter: Presenter, batches: Iterable[Sequence[ActivityRow]], meta: dict[str, Any], *, complete: bool
) -> Iterator[str]:
    """One object a line, values as they were logged. A file without its last line, ``_meta``, is incomplete."""
    number = 0
    tables: dict[TableName, str] = {}
    for rows in batches:
        makers: dict[int, str] = {}
        for row in rows:
            if row.transaction_id not in makers:
                makers[row.transaction_id] = _made(presenter, row)
            if row.table not in tables:
                tables[row.table] = dump({"schema": row.table.schema, "table": row.table.name})[1:-1]
        number += len(rows)
        yield "".join(_line(presenter, row, tables[row.table], makers[row.transaction_id]) for row in rows)
    yield dump({"_meta": {"rows": number, "complete": complete, **meta}}) + "\n"


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _key(row: ActivityRow) -> str:
    return "" if row.record_key is None else ",".join(key_components(row.record_key))


def _label(presenter: Presenter, row: ActivityRow) -> str | None:
    label = presenter.records.get(row.record, row.id) if row.record else None
    return label.text if label else None


def _maker(presenter: Presenter, row: ActivityRow) -> tuple[str | None, ...]:
    transaction = row.transaction
    if transaction is None:
        return ("", "", "", "", str(row.transaction_id), "", "", "")
    can_see = presenter.visit.sight.can_see_fact
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
    return "" if found is None else str(found.get("label") or found.get("id") or "someone")


def _fields(presenter: Presenter, row: ActivityRow) -> Iterator[tuple[str, ...]]:
    columns = presenter.ordered(row.table, row.changed_columns)
    if not columns:
        yield ("", "", ABSENT.presence, "", ABSENT.presence)
    for column in columns:
        before = ABSENT if row.verb in ("insert", "snapshot") else row.before(column)
        after = ABSENT if row.verb == "delete" else row.after(column)
        sides = (presenter.visit.sight.value(row.table, column, value) for value in (before, after))
        yield (column, *(part for value in sides for part in (_text(value), value.presence)))


def _text(value: Value) -> str:
    return as_text(value.data) if value.known else ""


def _data(presenter: Presenter, row: ActivityRow) -> tuple[str, str]:
    sight = presenter.visit.sight
    if sight.can_see_all(row.table) and row.old_text and row.changed_text:
        return row.old_text, row.changed_text
    return dump(sight.logged(row, row.old_data)), dump(sight.logged(row, row.changed_data))


def _line(presenter: Presenter, row: ActivityRow, table: str, made: str) -> str:
    """A change as an object: its values are texts of JSON already, as far as nothing of them is hidden.

    :param table: the members that name its table.
    :param made: those that say who made it.
    """
    old, changed = _data(presenter, row)
    key = "null" if row.record_key is None else f"[{', '.join(map(scalar, key_components(row.record_key)))}]"
    extra = presenter.exported(row)
    end = f', "extra": {dump(extra)}' if extra else ""
    return (
        f'{{"id": {row.id}, "time": "{_time(row.issued_at)}", {table}, "key": {key},'
        f' "label": {scalar(_label(presenter, row))}, "verb": {scalar(row.verb)}, "old_data": {old},'
        f' "changed_data": {changed}, {made}{end}}}\n'
    )


def _made(presenter: Presenter, row: ActivityRow) -> str:
    """The members of an object that say who made the change: the same for all changes of a transaction."""
    maker = {name: value or None for name, value in zip(_MAKER, _maker(presenter, row), strict=True)}
    return scalar({**maker, "transaction": row.transaction_id})[1:-1]
