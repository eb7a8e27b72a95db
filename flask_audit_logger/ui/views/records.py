"""The history of one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import abort

from ...query.activities import Count
from ...query.diff import Kind
from ...query.diff.pieces import visible
from ...query.errors import ReadTimeout, translated
from ...query.live import Drift, drift
from ...query.paging import Page
from ...query.reader import Log
from ...query.records import count_versions, renamed_from, renamed_to, versions
from ...query.refs import RecordRef, stored_key
from ...query.rows import ActivityRow
from ...query.standings import LastSet, newest, standings
from ...query.values import ABSENT
from ..arguments import pager
from ..contexts import RecordPage
from ..gate import action, allowed
from ..messages import message
from ..parts import Crumb, CurrentValue, Option, SparklineShown
from ..present import MANY, Presenter
from ..rendering import render
from ..search import ParsedSearch, SearchRules
from ..sparkline import sparkline
from ..state import UIState, current_state
from ..texts import gettext
from ..words import CHANGES, amount
from .common import actor_choices, frame, is_all, more_columns, open_search, record_name

FIXED = ("table", "key", "tx", "req", "sort")


@dataclass(frozen=True)
class History:
    """What the page of a record is made of."""

    last: ActivityRow
    page: Page[ActivityRow] | None
    setters: list[LastSet]
    drift: Drift
    count: Count | None

    @property
    def is_whole(self) -> bool:
        """Whether the page shows how the record came into being."""
        return self.page is not None and any(row.verb in ("insert", "snapshot") for row in self.page.rows)


@action("record")
def history_page(table: str, key: str) -> Any:
    """Who set each value of a record, and all its versions."""
    state = current_state()
    record = state.record_from(table, key)
    parsed = open_search(state, SearchRules(fixed=FIXED))
    presenter = Presenter(state)
    with state.reader().reading() as log:
        actors = actor_choices(state, log)
        found = _read(presenter, log, record, parsed)
        begins = found is None or (found.page is not None and is_all(found.page) and not found.is_whole)
        origin = _origin(state, log, record) if begins else None
    if found is None:
        return _without_history(state, presenter, record, origin)
    last, page = found.last, found.page
    shown, shown_table = presenter.record(record), presenter.table(record.table)

    def link(args: Any, anchor: bool = False) -> str:
        return state.links.record(record, args, anchor=anchor)

    current, never, unshown = _values(presenter, last, found.setters, link)
    can_compare = page is not None and len(page.rows) > 1 and allowed(state, "compare", record)
    context = RecordPage(
        **frame(
            state,
            parsed,
            link,
            title=gettext("%(record)s – history", record=record_name(shown, shown_table)),
            heading=record_name(shown, shown_table),
            steps=(Crumb(shown_table.label, shown_table.href), Crumb(shown.label)),
            actors=actors,
            fixed=FIXED,
        ),
        record=shown,
        table=shown_table,
        status=_status(presenter, last),
        status_kind="deleted" if last.verb == "delete" else "exists",
        key_parts=_key_parts(state, record),
        current=tuple(current),
        never_changed=tuple(never),
        rows=tuple(presenter.activity(row) for row in page.rows) if page else (),
        pager=pager(parsed, page, lambda args: link(args, True), lambda row: row.cursor),
        total="" if parsed.errors else amount(found.count, CHANGES),
        notes=(
            *_notes(state, record, last),
            *((_origin_note(state, origin),) if origin is not None else ()),
            *_drift_notes(state, record, found.drift),
            *((more, None) for more in [more_columns(unshown)] if more),
        ),
        related=presenter.related(record),
        chart=_chart(state, record, parsed, page),
        at_action=state.links.record_at(record),
        compare_action=state.links.compare(record) if can_compare else "",
    )
    return render(context, 400 if parsed.errors else 200)


def _read(presenter: Presenter, log: Log, record: RecordRef, parsed: ParsedSearch) -> History | None:
    """Everything the page needs. What may fail comes last, as nothing can be read after it."""
    state = presenter.state
    (standing,) = standings(log, record, newest(log, record))
    if standing is None:
        return None
    last = standing.version
    page = None if parsed.errors else versions(log, record, parsed.paging, parsed.criteria)
    setters = [] if standing.is_deleted else standing.setters
    rows = [*(page.rows if page else ()), last, *(entry.activity for entry in setters)]
    presenter.learn(log, rows, [record])
    info = state.catalog.get(record.table)
    found = drift(log, info, record, last) if info and allowed(state, "live", record) else Drift("none")
    count: Count | None = None
    if page is not None and is_all(page):
        count = Count(len(page.rows))
    elif page is not None and found.kind != "unknown":
        count = _counted(log, record, parsed, state.config.count_cap)
    return History(last, page, setters, found, count)


def _origin(state: UIState, log: Log, record: RecordRef) -> ActivityRow | None:
    """The change by which the record got its key, if it had another one and that is found in time."""
    info = state.catalog.get(record.table)
    if info is None or not info.key or not all(state.sight.can_see(record.table, name) for name in info.key):
        return None
    try:
        with translated():
            log.limit(state.config.panel_timeout_ms)
            return renamed_from(log, record, info.key)
    except ReadTimeout:
        return None


def _origin_note(state: UIState, origin: ActivityRow) -> tuple[str, str | None]:
    record = origin.record
    assert record is not None  # noqa: S101 - its key is not the one that was looked for, so it has one
    since = state.clock.moment(origin.issued_at).text
    text = gettext("Before %(time)s this record had key %(key)s", time=since, key=visible(", ".join(record.components)))
    return text, state.links.record(record)


def _without_history(state: UIState, presenter: Presenter, record: RecordRef, origin: ActivityRow | None) -> Any:
    """The page of a key that a record has since its last change."""
    if origin is None:
        abort(404)
    text, href = _origin_note(state, origin)
    heading = record_name(presenter.record(record), presenter.table(record.table))
    said = gettext("No change has been recorded under this key yet.")
    return message(state, 200, heading, said, options=[Option(text, href or "")])


def _drift_notes(state: UIState, record: RecordRef, found: Drift) -> list[tuple[str, str | None]]:
    """Say so if the row is not what the log says."""
    visible_columns = [name for name in found.columns if state.sight.can_see(record.table, name)]
    names = ", ".join(state.column_label(record.table, name) for name in visible_columns)
    texts = {
        "gone": gettext(
            "The log says that this record exists, but its row is gone: it was removed while auditing was off."
        ),
        "unlogged": gettext(
            "The log says that this record was deleted, but there is a row: made while auditing was off."
        ),
    }
    if names:
        texts["columns"] = gettext(
            "The current row differs from the log in: %(columns)s. It was changed while auditing was off.",
            columns=names,
        )
    return [(texts[found.kind], None)] if found.kind in texts else []


def _counted(log: Log, record: RecordRef, parsed: ParsedSearch, cap: int) -> Count | None:
    try:
        with translated():
            return count_versions(log, record, parsed.criteria, cap)
    except ReadTimeout:
        return None


def _status(presenter: Presenter, newest: ActivityRow) -> str:
    moment = presenter.state.clock.moment(newest.issued_at)
    actor = presenter.actor(newest.transaction)
    who = gettext("somebody not recorded") if actor.kind == "none" else actor.label
    if newest.verb == "delete":
        return gettext("Deleted %(time)s by %(actor)s", time=moment.text, actor=who)
    info = presenter.state.catalog.get(newest.table)
    if info is not None and renamed_to(newest, info.key) is not None:
        return gettext("Got another key %(time)s by %(actor)s", time=moment.text, actor=who)
    return gettext("Exists. Last change %(ago)s by %(actor)s", ago=moment.ago, actor=who)


def _key_parts(state: UIState, record: RecordRef) -> tuple[tuple[str, str], ...]:
    info = state.catalog.get(record.table)
    parts = record.components
    names = info.key if info is not None and len(info.key) == len(parts) else ("key",) * len(parts)
    return tuple((name, visible(part)) for name, part in zip(names, parts, strict=True))


def _values(
    presenter: Presenter, newest: ActivityRow, setters: list[LastSet], link: Any
) -> tuple[list[CurrentValue], list[CurrentValue], int]:
    """The values a record has now: those that were changed since it was made, the others, and how many aren't shown."""
    state, table = presenter.state, newest.table
    row = newest.state_after
    if row is None:
        return [], [], 0
    info = state.catalog.get(table)
    is_renamed = info is not None and renamed_to(newest, info.key) is not None
    record = None if is_renamed else newest.record
    can_revert = record is not None and state.can_revert(record)
    by_column = {entry.column: entry.activity for entry in setters}

    def shown(column: str) -> CurrentValue:
        setter = by_column.get(column)
        value = newest.after(column) if column in row else setter.after(column) if setter else ABSENT
        is_change = setter is not None and setter.verb == "update"
        can_see = state.sight.can_see(table, column)
        return CurrentValue(
            now=presenter.value(table, column, value, brief=True),
            was=presenter.value(table, column, setter.before(column), brief=True) if setter and is_change else None,
            set_by=presenter.actor(setter.transaction) if setter else None,
            set_at=state.clock.moment(setter.issued_at) if setter else None,
            set_href=state.links.activity(setter.id) if setter else None,
            revert_href=state.links.revert(record, setter.id, "before", column)
            if can_revert and record and setter and is_change and can_see
            else None,
            history_href=link({"col": column}, True) if can_see else "",
        )

    columns = presenter.ordered(table, {**row, **by_column})
    changed = {name for name, setter in by_column.items() if setter.verb == "update"}
    first = [name for name in columns if name in changed][:MANY]
    others = [name for name in columns if name not in changed][: MANY - len(first)]
    unshown = len(columns) - len(first) - len(others)
    return [shown(name) for name in first], [shown(name) for name in others], unshown


def _notes(state: UIState, record: RecordRef, newest: ActivityRow) -> list[tuple[str, str | None]]:
    info = state.catalog.get(record.table)
    new_key = renamed_to(newest, info.key) if info is not None else None
    if new_key is None:
        return []
    moved = RecordRef(record.table, stored_key(new_key))
    since = state.clock.moment(newest.issued_at).text
    text = gettext("Since %(time)s this record has key %(key)s", time=since, key=visible(", ".join(new_key)))
    return [(text, state.links.record(moved))]


def _chart(
    state: UIState, record: RecordRef, parsed: ParsedSearch, page: Page[ActivityRow] | None
) -> SparklineShown | None:
    """The course of the one column that is asked for, if it is a number that means something."""
    columns = parsed.form.col.data or []
    info = state.catalog.column(record.table, columns[0]) if len(columns) == 1 else None
    if page is None or not page.rows or info is None or info.kind is not Kind.NUMBER or info.is_key:
        return None
    if state.catalog.target(record.table, info.name) is not None:
        return None
    is_over = page.has_newer or page.rows[0].verb == "delete"
    until = page.rows[0].issued_at if is_over else state.clock.now
    label = state.column_label(record.table, info.name)
    return sparkline(label, info.name, page.rows, state.clock, until)
