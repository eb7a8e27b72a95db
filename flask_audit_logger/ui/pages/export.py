"""The list as a file of CSV or JSON Lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from flask import Response, request, stream_with_context

from ...diff.values import Value, dump
from ...history.files import FileView, csv_lines, json_lines
from ...i18n import gettext, marked, number
from ...query.feed import Count, Search, batches, count_activities, count_nearby
from ...query.paging import Paging
from ...query.reader import Log
from ...query.refs import TableName
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

    def lines(view: FileView, rows: Any, meta: dict[str, Any], complete: bool) -> Iterator[str]:
        return csv_lines(view, rows, by_field=by_field, bom=bom)

    return _file(visit, "csv", "text/csv; charset=utf-8", lines)


@action("export")
def jsonl_file(visit: Visit) -> Any:
    """JSON Lines, the faithful format."""

    def lines(view: FileView, rows: Any, meta: dict[str, Any], complete: bool) -> Iterator[str]:
        return json_lines(view, rows, meta, complete=complete)

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
            yield from lines(_Seen(presenter), _named(presenter, log, search, parsed, cap), meta, complete)

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


class _Seen(FileView):
    """As the viewer may see changes, with the names that the application gives."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__(presenter.visit.catalog)
        self.presenter, self.sight = presenter, presenter.visit.sight
        self.extra = [column.name for column in presenter.visit.ui.extra_columns if column.export is not None]

    def label(self, row: ActivityRow) -> str | None:
        label = self.presenter.records.get(row.record, row.id) if row.record else None
        return label.text if label else None

    def actor(self, transaction: TransactionRow) -> str | None:
        actor = self.presenter.actor(transaction)
        return actor.label if actor.kind != "none" else None

    def address(self, transaction: TransactionRow) -> str | None:
        return transaction.client_addr if self.sight.can_see_fact("client_addr") else None

    def ordered(self, table: TableName, names: Iterable[str]) -> list[str]:
        return self.presenter.ordered(table, names)

    def value(self, table: TableName, column: str, value: Value) -> Value:
        return self.sight.value(table, column, value)

    def data(self, row: ActivityRow) -> tuple[str, str]:
        if self.sight.can_see_all(row.table) and row.old_text and row.changed_text:
            return row.old_text, row.changed_text
        return dump(self.sight.logged(row, row.old_data)), dump(self.sight.logged(row, row.changed_data))

    def told(self, row: ActivityRow) -> dict[str, str]:
        return self.presenter.exported(row)
