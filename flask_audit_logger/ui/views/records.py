"""The history of one record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...query.activities import Count
from ...query.diff import Kind
from ...query.diff.pieces import visible
from ...query.errors import ReadTimeout, translated
from ...query.live import Drift, drift
from ...query.paging import Page
from ...query.reader import Log
from ...query.records import count_versions, renamed_to, versions
from ...query.refs import RecordRef
from ...query.rows import ActivityRow
from ...query.scope import Newest, newest_change
from ...query.standings import NEWEST, Standing, standings
from ..arguments import pager
from ..contexts import RecordPage
from ..gate import action, allowed
from ..parts import Crumb, CurrentValue, SparklineShown
from ..present import MANY, Presenter
from ..rendering import render
from ..search import ParsedSearch, SearchRules
from ..sparkline import sparkline
from ..state import UIState, current_state
from ..texts import gettext
from ..words import CHANGES, amount
from .common import actor_choices, frame, is_all, more_columns, open_search, record_name
from .record_notes import drift_notes, end_notes, find_origin, origin_note, without_history
from .setters import incomplete, set_by

FIXED = ("table", "key", "tx", "req", "sort")


@dataclass(frozen=True)
class History:
    """What the page of a record is made of."""

    standing: Standing
    page: Page[ActivityRow] | None
    drift: Drift
    count: Count | None
    newest: Newest

    @property
    def is_whole(self) -> bool:
        """Whether the page shows how the record came into being, not another one that had its key."""
        made = (row for row in self.page.rows if row.verb in ("insert", "snapshot")) if self.page else ()
        return any(row.id > self.standing.since for row in made)


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
        origin = _origin(state, log, record, found)
    if found is None:
        return without_history(state, presenter, record, origin)
    if origin is not None and found.drift.kind == "unlogged":  # it was not made unseen, it got this key
        found = replace(found, drift=Drift("none"))
    last, page = found.standing.version, found.page
    shown, shown_table = presenter.record(record), presenter.table(record.table)

    def link(args: Any, anchor: bool = False) -> str:
        return state.links.record(record, args, anchor=anchor)

    current, never, unshown = _values(presenter, record, found, link)
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
        status_kind="deleted" if found.standing.is_deleted else "exists",
        key_parts=_key_parts(state, record),
        current=tuple(current),
        never_changed=tuple(never),
        rows=tuple(presenter.activity(row) for row in page.rows) if page else (),
        pager=pager(parsed, page, lambda args: link(args, True), lambda row: row.cursor),
        total="" if parsed.errors else amount(found.count, CHANGES),
        notes=(
            *end_notes(state, record, last, page.rows if page else ()),
            *((origin_note(state, origin),) if origin is not None else ()),
            *drift_notes(state, record, found.drift),
            *((text, None) for text in (more_columns(unshown), incomplete(found.standing)) if text),
        ),
        related=presenter.related(record) if found.newest.has_row else (),
        chart=_chart(state, record, parsed, page, found.standing),
        at_action=state.links.record_at(record),
        compare_action=state.links.compare(record) if can_compare else "",
    )
    return render(context, 400 if parsed.errors else 200)


def _read(presenter: Presenter, log: Log, record: RecordRef, parsed: ParsedSearch) -> History | None:
    """Everything the page needs. What may fail comes last, as nothing can be read after it."""
    state = presenter.state
    (standing,) = standings(log, record, NEWEST, key=state.catalog.key(record.table))
    if standing is None:
        return None
    last = standing.version
    page = None if parsed.errors else versions(log, record, parsed.paging, parsed.criteria)
    rows = [*(page.rows if page else ()), last, *standing.touched.values(), *standing.later.values()]
    presenter.learn(log, rows, [record])
    newest = newest_change(log, record, state.catalog.key)
    info = state.catalog.get(record.table)
    found = drift(log, info, record, last) if info and allowed(state, "live", record) else Drift("none")
    count: Count | None = None
    if page is not None and is_all(page):
        count = Count(len(page.rows))
    elif page is not None and found.kind != "unknown":
        count = _counted(log, record, parsed, state.config.count_cap)
    return History(standing, page, found, count, newest)


def _origin(state: UIState, log: Log, record: RecordRef, found: History | None) -> ActivityRow | None:
    """The change by which the record got its key, if that may be what nothing else tells."""
    if found is None:
        return find_origin(state, log, record)
    if found.drift.kind == "unlogged":
        return find_origin(state, log, record, after=found.standing.version.id)
    begins = found.page is not None and is_all(found.page) and not found.is_whole
    if begins and found.drift.kind != "unknown":  # nothing can be read after a failure
        return find_origin(state, log, record, after=found.standing.since)
    return None


def _counted(log: Log, record: RecordRef, parsed: ParsedSearch, cap: int) -> Count | None:
    try:
        with translated():
            return count_versions(log, record, parsed.criteria, cap)
    except ReadTimeout:
        return None


def _status(presenter: Presenter, newest: ActivityRow) -> str:
    moment = presenter.state.clock.moment(newest.issued_at)
    actor = presenter.actor(newest.transaction)
    who = gettext("somebody not recorded") if actor.kind == "none" and not actor.impersonator else actor.name
    if newest.verb == "delete":
        return gettext("Deleted %(time)s by %(actor)s", time=moment.text, actor=who)
    if newest.verb == "truncate":
        return gettext("Emptied %(time)s by %(actor)s", time=moment.text, actor=who)
    if newest.verb == "snapshot":  # whoever took it made nothing
        return gettext("Exists. Found by a snapshot of the table %(ago)s", ago=moment.ago)
    if renamed_to(newest, presenter.state.catalog.key(newest.table)) is not None:
        return gettext("Got another key %(time)s by %(actor)s", time=moment.text, actor=who)
    return gettext("Exists. Last change %(ago)s by %(actor)s", ago=moment.ago, actor=who)


def _key_parts(state: UIState, record: RecordRef) -> tuple[tuple[str, str], ...]:
    info = state.catalog.get(record.table)
    parts = record.components
    names = info.key if info is not None and len(info.key) == len(parts) else ("key",) * len(parts)
    return tuple((name, visible(part)) for name, part in zip(names, parts, strict=True))


def _values(
    presenter: Presenter, record: RecordRef, found: History, link: Any
) -> tuple[list[CurrentValue], list[CurrentValue], int]:
    """The values a record has now: those that were changed since it was made, the others, and how many aren't shown."""
    state, table, standing = presenter.state, record.table, found.standing
    is_renamed = renamed_to(standing.version, state.catalog.key(table)) is not None
    can_revert = found.newest.is_seen and not is_renamed and state.can_revert(record)

    def shown(column: str) -> CurrentValue:
        setter = standing.setter(column)
        is_change = setter is not None and setter.verb == "update"
        can_see = state.sight.can_see(table, column)
        return CurrentValue(
            now=presenter.value(table, column, standing.value(column), brief=True),
            was=presenter.value(table, column, setter.before(column), brief=True) if setter and is_change else None,
            **set_by(presenter, setter),
            revert_href=state.links.revert(record, setter.id, "before", column)
            if can_revert and setter and is_change and can_see
            else None,
            history_href=link({"col": column}, True) if can_see else "",
        )

    columns = presenter.ordered(table, standing.row or {})
    changed = {name for name in columns if standing.is_changed(name)}
    first = [name for name in columns if name in changed][:MANY]
    others = [name for name in columns if name not in changed][: MANY - len(first)]
    unshown = len(columns) - len(first) - len(others)
    return [shown(name) for name in first], [shown(name) for name in others], unshown


def _chart(
    state: UIState, record: RecordRef, parsed: ParsedSearch, page: Page[ActivityRow] | None, standing: Standing
) -> SparklineShown | None:
    """The course of the one column that is asked for, if it is a number that means something."""
    columns = parsed.form.col.data or []
    info = state.catalog.column(record.table, columns[0]) if len(columns) == 1 else None
    if page is None or not page.rows or info is None or info.kind is not Kind.NUMBER or info.is_name:
        return None
    if state.catalog.target(record.table, info.name) is not None:
        return None
    end = standing.version.issued_at if standing.is_deleted else state.clock.now
    until = page.rows[0].issued_at if page.has_newer else end
    label = state.column_label(record.table, info.name)
    return sparkline(label, info.name, page.rows, state.clock, until)
