"""The list as a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response, request, stream_with_context

from ...query.activities import Count, Search, batches, count_activities
from ...query.paging import Paging
from ...query.reader import Log
from ...query.rows import ActivityRow
from ..arguments import changed
from ..contexts import ExportPage
from ..export import csv_lines, json_lines
from ..gate import action
from ..messages import bad_value
from ..parts import Crumb
from ..present import Presenter
from ..rendering import render
from ..search import ParsedSearch, SearchRules
from ..state import UIState, current_state
from ..texts import gettext
from ..viewlog import note_rows
from ..words import number
from .common import actor_choices, frame, open_search, sentence

#: Parameters of the export itself.
OPTIONS = ("shape", "bom")
#: A position in the list means nothing for a file.
FIXED = ("before", "after", "limit")


def _parsed(state: UIState) -> ParsedSearch:
    rules = SearchRules(default_period=state.config.default_period, fixed=FIXED, extra=OPTIONS)
    return open_search(state, rules)


@action("export")
def options_page() -> Any:
    """What will be exported, in words, before it is."""
    state = current_state()
    return _options(state, _parsed(state))


@action("export")
def csv_file() -> Any:
    """CSV, a line for each change or each changed column."""
    state = current_state()
    by_field = request.args.get("shape") == "field"
    bom = request.args.get("bom") == "1"

    def lines(presenter: Presenter, rows: Any, meta: dict[str, Any], complete: bool) -> Iterator[str]:
        return csv_lines(presenter, rows, by_field=by_field, bom=bom)

    return _file(state, "csv", "text/csv; charset=utf-8", lines)


@action("export")
def jsonl_file() -> Any:
    """JSON Lines, the faithful format."""
    state = current_state()

    def lines(presenter: Presenter, rows: Any, meta: dict[str, Any], complete: bool) -> Iterator[str]:
        return json_lines(presenter, rows, meta, complete=complete)

    return _file(state, "jsonl", "application/x-ndjson; charset=utf-8", lines)


def _options(state: UIState, parsed: ParsedSearch) -> Any:
    cap = state.config.export_max_rows
    count: Count | None = None
    with state.reader().reading(timeout_ms=state.config.export_timeout_ms) as log:
        actors = actor_choices(state, log)
        if not parsed.errors:
            count = count_activities(log, Search.prepare(log, parsed.criteria), cap)
    words = "" if parsed.errors else sentence(state, parsed, count, dict(actors))
    note = (
        gettext("Only the first %(number)s rows are exported.", number=number(cap))
        if count is not None and count.is_capped
        else None
    )
    context = ExportPage(
        **frame(
            state,
            parsed,
            lambda args, anchor=False: state.links.export(None, args),
            title=gettext("Export"),
            heading=gettext("Export"),
            steps=(Crumb(gettext("Export")),),
            actors=actors,
            fixed=FIXED,
        ),
        sentence=words,
        note=note,
        csv_action=state.links.export("csv"),
        jsonl_href=state.links.export("jsonl", changed(parsed.args)),
        hidden=tuple((name, value) for name, value in parsed.args.items(multi=True) if value),
        back_href=state.links.activities(changed(parsed.args)),
    )
    return render(context, 400 if parsed.errors else 200)


def _file(state: UIState, ending: str, content_type: str, lines: Any) -> Any:
    parsed = _parsed(state)
    if parsed.errors:
        return _options(state, parsed)
    if request.args.get("shape", "activity") not in ("activity", "field") or request.args.get("bom", "1") != "1":
        return bad_value(state)
    cap = state.config.export_max_rows
    # Opened here, so that a time-out while counting is still an ordinary page; closed with the response.
    with ExitStack() as stack:
        log = stack.enter_context(state.reader().reading(timeout_ms=state.config.export_timeout_ms))
        search = Search.prepare(log, parsed.criteria)
        count = count_activities(log, search, cap)
        reading = stack.pop_all()
    note_rows(count.number)
    complete = not count.is_capped
    meta = _meta(state, parsed)
    presenter = Presenter(state)

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
        presenter.records.forget()
        # no names of what values point to: they are not exported
        presenter.records.learn(log, (), [(row.record, row.id) for row in rows if row.record is not None])
        presenter.learn_actors({row.transaction.actor_id for row in rows if row.transaction})
        yield rows


def _meta(state: UIState, parsed: ParsedSearch) -> dict[str, Any]:
    filters: dict[str, Any] = {name: values for name, values in parsed.args.lists() if any(values)}
    if parsed.assumed_period:
        filters["period"] = [parsed.assumed_period]
    since, until = parsed.criteria.since, parsed.criteria.until
    return {
        "filter": filters,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "generated_at": state.clock.now.isoformat(),
        "viewer": {"id": state.viewer.id, "label": state.viewer.label} if state.viewer else None,
    }


def _file_name(parsed: ParsedSearch) -> str:
    """ASCII only: tables, first and last day."""
    tables = "-".join(parsed.form.table.data or ["all"])
    since, until = parsed.criteria.since, parsed.criteria.until
    parts = ["audit", tables, f"{since:%Y%m%d}" if since else "begin", f"{until:%Y%m%d}" if until else "now"]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(parts))[:120]
