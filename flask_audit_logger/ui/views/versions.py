"""A record as of a time, and two of its versions compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import abort, request

from ...query.diff.fields import differs
from ...query.live import live_row
from ...query.reader import Log
from ...query.records import (
    Snapshot,
    first_version,
    last_set,
    last_version,
    neighbours_of,
    snapshot,
    version_at,
    version_of,
)
from ...query.refs import RecordRef
from ...query.rows import ActivityRow
from ...query.values import value_of
from ..contexts import ComparedSide, ComparePage, Crumb, CurrentValue, SnapshotPage
from ..gate import action, allowed
from ..ids import activity_id_of
from ..messages import crumbs
from ..periods import typed_time
from ..present import Presenter
from ..rendering import render
from ..state import UIState, current_state
from .common import page_title, record_name, viewer_name


@action("record")
def at_page(table: str, key: str) -> Any:
    """The whole row as it was at a time, and who set each value."""
    state = current_state()
    record = state.record_from(table, key)
    typed = request.args.get("time", "").strip(" ")
    moment, error = None, None
    try:
        moment = typed_time(typed[:100], state.clock.zone, end_of_day=True) if typed else state.clock.now
    except ValueError as problem:
        error = str(problem)
    presenter = Presenter(state)
    with state.reader().reading() as log:
        newest = last_version(log, record)
        if newest is None:
            abort(404)
        version = version_at(log, record, moment) if moment is not None else None
        found = snapshot(log, record, version)
        setters = last_set(log, record, until=version.id) if version is not None else []
        older, newer = neighbours_of(log, record, version, moment) if moment is not None else (None, None)
        rows = [row for row in (newest, version, *(entry.activity for entry in setters)) if row is not None]
        presenter.learn(log, rows, [record])
    by_column = {entry.column: entry.activity for entry in setters}
    shown, shown_table = presenter.record(record), presenter.table(record.table)
    name = record_name(shown, shown_table)
    when = state.clock.moment(moment).text if moment is not None else typed
    context = SnapshotPage(
        title=page_title(state, f"{name} as of {when}"),
        heading=f"{name} as of {when}",
        crumbs=crumbs(
            state, Crumb(shown_table.label, shown_table.href), Crumb(shown.label, shown.href), Crumb(f"As of {when}")
        ),
        zone=state.clock.name,
        viewer=viewer_name(state),
        record=shown,
        table=shown_table,
        note=_note(state, found, error),
        action=state.links.record_at(record),
        typed=typed,
        error=error,
        values=tuple(_value(presenter, found, column, by_column) for column in _columns(presenter, found)),
        version=presenter.activity(version) if version is not None else None,
        older=_at(state, record, older),
        newer=_at(state, record, newer),
        compare_href=state.links.compare(record, **{"from": version.id, "to": "last"}) if version is not None else None,
    )
    return render(context, 400 if error else 200)


@dataclass(frozen=True)
class Side:
    """A version to compare: the state right after a change, or the row as it is now."""

    name: str
    row: dict[str, Any]
    version: ActivityRow | None


@action("compare")
def compare_page(table: str, key: str) -> Any:
    """What differs between two versions of a record."""
    state = current_state()
    record = state.record_from(table, key)
    wanted = {name: request.args.get(name, default) for name, default in (("from", "first"), ("to", "last"))}
    show_all = request.args.get("all") == "1"
    presenter = Presenter(state)
    with state.reader().reading() as log:
        sides = {name: _side(state, log, record, text) for name, text in wanted.items()}
        steps = {name: _steps(log, record, side) for name, side in sides.items()}
        rows = [side.version for side in sides.values() if side.version is not None]
        presenter.learn(log, rows, [record, *_targets(presenter, record, sides.values())])
    before, after = sides["from"], sides["to"]
    columns = presenter.ordered(record.table, {**before.row, **after.row})
    differing = [c for c in columns if differs(value_of(before.row, c), value_of(after.row, c))]
    # whether two masked values are equal is not known
    equal = [c for c in columns if c not in differing and state.sight.can_search(record.table, c)]
    shown, shown_table = presenter.record(record), presenter.table(record.table)
    name = record_name(shown, shown_table)

    def link(**values: Any) -> str:
        return state.links.compare(record, **{**wanted, **({"all": "1"} if show_all else {}), **values})

    context = ComparePage(
        title=page_title(state, f"{name}: {before.name} and {after.name}"),
        heading=f"{name}: two versions",
        crumbs=crumbs(
            state, Crumb(shown_table.label, shown_table.href), Crumb(shown.label, shown.href), Crumb("Compare")
        ),
        zone=state.clock.name,
        viewer=viewer_name(state),
        record=shown,
        before=_shown(presenter, before, "from", steps["from"], link),
        after=_shown(presenter, after, "to", steps["to"], link),
        changes=tuple(
            presenter.compared(record.table, c, value_of(before.row, c), value_of(after.row, c)) for c in differing
        ),
        equal=tuple(presenter.value(record.table, c, value_of(after.row, c)) for c in equal) if show_all else (),
        swap_href=state.links.compare(record, **{"from": wanted["to"], "to": wanted["from"]}),
        all_href=None if show_all or not equal else link(all="1"),
        live_href=link(to="now") if allowed(state, "live", record) and wanted["to"] != "now" else None,
    )
    return render(context)


def _note(state: UIState, found: Snapshot, error: str | None) -> str | None:
    if error is not None:
        return None
    if found.version is None:
        return "This record did not exist yet, or the log does not reach back that far."
    if found.is_deleted:
        return f"This record had been deleted at {state.clock.moment(found.version.issued_at).text}."
    return None


def _columns(presenter: Presenter, found: Snapshot) -> list[str]:
    return presenter.ordered(found.version.table, found.row) if found.version and found.row else []


def _value(presenter: Presenter, found: Snapshot, column: str, setters: dict[str, ActivityRow]) -> CurrentValue:
    state, setter = presenter.state, setters.get(column)
    assert found.version is not None  # noqa: S101 - there are columns only of a version
    return CurrentValue(
        now=presenter.value(found.version.table, column, found.value(column)),
        set_by=presenter.actor(setter.transaction) if setter else None,
        set_at=state.clock.moment(setter.issued_at) if setter else None,
        set_href=state.links.activity(setter.id) if setter else None,
    )


def _at(state: UIState, record: RecordRef, version: ActivityRow | None) -> str | None:
    if version is None:
        return None
    # to the microsecond and with the offset, so that the link means this very version
    return state.links.record_at(record, time=version.issued_at.isoformat(timespec="microseconds"))


def _side(state: UIState, log: Log, record: RecordRef, text: str) -> Side:
    version: ActivityRow | None
    if text == "now":
        return Side("now", _live(state, log, record), None)
    if text in ("first", "last"):
        version = first_version(log, record) if text == "first" else last_version(log, record)
    else:
        wanted = activity_id_of(text)
        version = version_of(log, record, wanted) if wanted is not None else None
    if version is None:
        abort(404)
    return Side(f"change {version.id}", snapshot(log, record, version).row or {}, version)


def _live(state: UIState, log: Log, record: RecordRef) -> dict[str, Any]:
    info = state.catalog.get(record.table)
    # who may not see any change of the record may not see its row either
    if info is None or not allowed(state, "live", record) or last_version(log, record) is None:
        abort(404)
    try:
        return live_row(log, info, record) or {}
    except LookupError:
        abort(404)


def _steps(log: Log, record: RecordRef, side: Side) -> tuple[ActivityRow | None, ActivityRow | None]:
    return neighbours_of(log, record, side.version, None) if side.version is not None else (None, None)


def _targets(presenter: Presenter, record: RecordRef, sides: Any) -> list[RecordRef]:
    pairs = [(column, value_of(side.row, column)) for side in sides for column in side.row]
    return presenter.targets(record.table, pairs)


def _shown(presenter: Presenter, side: Side, name: str, steps: Any, link: Any) -> ComparedSide:
    state, version = presenter.state, side.version
    if version is None:
        return ComparedSide("The row as it is now", None, None, None)
    older, newer = steps
    what = "Deleted by" if version.verb == "delete" else "After"
    return ComparedSide(
        name=f"{what} change {version.id}",
        time=state.clock.moment(version.issued_at),
        actor=presenter.actor(version.transaction),
        href=state.links.activity(version.id),
        older=link(**{name: older.id}) if older is not None else None,
        newer=link(**{name: newer.id}) if newer is not None else None,
    )
