"""The history of one record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from flask import abort

from ...diff import ValueKind, as_text
from ...diff.show import visible
from ...i18n import CHANGES, amount, gettext, marked, ngettext
from ...query.drift import Drift, drift
from ...query.feed import Count
from ...query.paging import Slice
from ...query.reader import Log
from ...query.record_states import NEAREST, NEWEST, RecordState, record_states
from ...query.records import count_versions, removal, renamed_from, renamed_to, versions
from ...query.refs import RecordRef, stored_key
from ...query.rows import ActivityRow
from ...query.scope import Newest, newest_change
from ..access import action
from ..filters import ParsedSearch, SearchRules, pager
from ..presenter import MANY, Presenter
from ..shown import ActivityShown, Crumb, CurrentValue, ListPage, Option, RecordShown, TableShown
from ..templating import message, render
from ..times import Clock
from ..visit import Visit
from .base import (
    DEEPER,
    actor_choices,
    counted,
    frame,
    is_all,
    is_deeper,
    more_columns,
    open_search,
    record_name,
    searched,
    short,
    unless_slow,
)


@dataclass(frozen=True, kw_only=True)
class RecordPage(ListPage):
    """The history of one record."""

    template = "audit/record.html"

    record: RecordShown
    table: TableShown
    status: str
    status_kind: str
    restore_href: str | None
    key_parts: tuple[tuple[str, str], ...]
    current: tuple[CurrentValue, ...]
    never_changed: tuple[CurrentValue, ...]
    #: How many these are, in words.
    never_text: str = ""
    rows: tuple[ActivityShown, ...] = ()
    total: str = ""
    notes: tuple[tuple[str, str | None], ...] = ()
    related: tuple[Option, ...] = ()
    at_action: str = ""
    compare_action: str = ""
    chart: SparklineShown | None = None


@dataclass(frozen=True)
class SparklineShown:
    """The course of a number: the points of its line, and the same in words."""

    points: str
    text: str
    width: int
    height: int


FIXED = ("table", "key", "tx", "req", "sort")


@dataclass(frozen=True)
class History:
    """What the page of a record is made of."""

    state: RecordState
    page: Slice[ActivityRow] | None
    drift: Drift
    count: Count | None
    newest: Newest
    further: Option | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the page shows how the record came into being, not another one that had its key."""
        made = (row for row in self.page.rows if row.verb in ("insert", "snapshot")) if self.page else ()
        return any(row.id > self.state.since for row in made)


@action("record")
def record_page(visit: Visit, record: RecordRef) -> Any:
    """Who set each value of a record, and all its versions."""
    parsed = open_search(visit, SearchRules(fixed=FIXED, extra=(DEEPER,)))
    presenter = Presenter(visit)

    def link(args: Any, anchor: bool = False) -> str:
        return visit.links.record(record, args, anchor=anchor)

    with visit.reader().reading() as log:
        actors = actor_choices(visit, log)
        found = _read(presenter, log, record, parsed, link)
        origin = _origin(visit, log, record, found)
        gone = _removed(visit, log, record, found)
    if found is None:
        return without_history(visit, presenter, record, origin, gone)
    if origin is not None and found.drift.kind == "unlogged":  # it was not made unseen, it got this key
        found = replace(found, drift=Drift("none"))
    last, page = found.state.version, found.page
    shown, shown_table = presenter.record(record), presenter.table(record.table)
    current, never, unshown = _values(presenter, record, found, link)
    can_compare = page is not None and sum(not row.is_notice for row in page.rows) > 1 and visit.may("compare", record)
    context = RecordPage(
        **frame(
            visit,
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
        status_kind="deleted" if found.state.is_deleted else "exists",
        key_parts=_key_parts(visit, record),
        restore_href=_restore_href(visit, record, found),
        current=tuple(current),
        never_changed=tuple(never),
        never_text=_never(found.state, len(never)),
        rows=tuple(presenter.activity(row) for row in page.rows) if page else (),
        pager=pager(parsed, page, lambda args: link(args, True), lambda row, _: row.cursor, found.count),
        searched=found.further,
        total="" if parsed.errors else amount(found.count, CHANGES),
        notes=(
            *end_notes(visit, record, last, page.rows if page else ()),
            *((origin_note(visit, origin),) if origin is not None else ()),
            *gone,
            *drift_notes(visit, record, found.drift),
            *((text, None) for text in (more_columns(unshown), incomplete(found.state)) if text),
        ),
        related=presenter.related(record) if found.newest.has_row else (),
        chart=_chart(visit, record, parsed, page, found.state),
        at_action=visit.links.as_of(record),
        compare_action=visit.links.compare(record) if can_compare else "",
    )
    return render(visit, context, 400 if parsed.errors else 200)


def _read(presenter: Presenter, log: Log, record: RecordRef, parsed: ParsedSearch, link: Any) -> History | None:
    """Everything the page needs. Reads that may time out come last, as nothing can be read after one."""
    visit = presenter.visit
    (state,) = record_states(log, record, NEWEST, key=visit.catalog.key(record.table))
    if state is None:
        return None
    last = state.version
    page = None
    if not parsed.errors:
        page = versions(log, record, parsed.paging, parsed.criteria, deeper=is_deeper())
    further = searched(visit, log, parsed, page, link)
    rows = [*(page.rows if page else ()), last, *state.touched.values(), *state.later.values()]
    presenter.learn(log, rows, [record])
    newest = newest_change(log, record, visit.catalog.key)
    info = visit.catalog.get(record.table)
    found = drift(log, info, record, last) if info and visit.may("live", record) else Drift("none")
    count: Count | None = None
    if page is not None and (is_all(page) or found.kind != "unknown"):
        count = counted(page, lambda: count_versions(log, record, parsed.criteria, visit.settings.count_cap))
    return History(state, page, found, count, newest, further)


def _origin(visit: Visit, log: Log, record: RecordRef, found: History | None) -> ActivityRow | None:
    """The change by which the record got its key, if that may be what nothing else tells."""
    if found is None:
        return find_origin(visit, log, record)
    if found.drift.kind == "unlogged":
        return find_origin(visit, log, record, after=found.state.version.id)
    begins = found.page is not None and is_all(found.page) and not found.is_whole
    if begins and found.drift.kind != "unknown":  # nothing can be read after a failure
        return find_origin(visit, log, record, after=found.state.since)
    return None


def _removed(visit: Visit, log: Log, record: RecordRef, found: History | None) -> list[Note]:
    """Why the history may begin late, where it ends on this page without how the record came into being."""
    if found is None:
        return removal_notes(visit, log, record)
    ends = found.page is not None and not found.page.has_older and not found.is_whole
    return removal_notes(visit, log, record) if ends and found.drift.kind != "unknown" else []


def _status(presenter: Presenter, newest: ActivityRow) -> str:
    moment = presenter.visit.clock.moment(newest.issued_at)
    actor = presenter.actor(newest.transaction)
    who = gettext("an unknown actor") if actor.kind == "none" and not actor.impersonator else actor.name
    if newest.verb == "delete":
        return gettext("Deleted %(time)s by %(actor)s", time=moment.text, actor=who)
    if newest.verb == "truncate":
        return gettext("Emptied %(time)s by %(actor)s", time=moment.text, actor=who)
    if newest.verb == "snapshot":  # whoever took it made nothing
        return gettext("Exists. Recorded by a table snapshot %(ago)s", ago=moment.ago)
    if renamed_to(newest, presenter.visit.catalog.key(newest.table)) is not None:
        return gettext("Key changed %(time)s by %(actor)s", time=moment.text, actor=who)
    return gettext("Exists. Last change %(ago)s by %(actor)s", ago=moment.ago, actor=who)


def _key_parts(visit: Visit, record: RecordRef) -> tuple[tuple[str, str], ...]:
    info = visit.catalog.get(record.table)
    parts = record.components
    names = info.key if info is not None and len(info.key) == len(parts) else ("key",) * len(parts)
    return tuple((name, visible(part)) for name, part in zip(names, parts, strict=True))


def _can_revert(visit: Visit, record: RecordRef, found: History) -> bool:
    is_renamed = renamed_to(found.state.version, visit.catalog.key(record.table)) is not None
    return found.newest.is_seen and not is_renamed and visit.can_revert(record)


def _restore_href(visit: Visit, record: RecordRef, found: History) -> str | None:
    """The page that brings a deleted record back as it was."""
    last = found.state.version
    if last.verb != "delete" or not _can_revert(visit, record, found):
        return None
    return visit.links.revert(record, last.cursor, "before")


def _values(
    presenter: Presenter, record: RecordRef, found: History, link: Any
) -> tuple[list[CurrentValue], list[CurrentValue], int]:
    """The present values: those changed since the record was made, the others, and how many are not shown."""
    visit, table, state = presenter.visit, record.table, found.state
    can_revert = _can_revert(visit, record, found)

    def shown(column: str) -> CurrentValue:
        setter = state.setter(column)
        is_change = setter is not None and setter.verb == "update"
        can_see = visit.sight.can_see(table, column)
        was = presenter.value(table, column, setter.before(column), brief=True) if setter and is_change else None
        put_back = None
        if can_revert and setter and was and can_see:
            text = short(was)
            text = gettext("Put back …") if text is None else gettext("Put back %(value)s", value=text)
            put_back = Option(text, visit.links.revert(record, setter.cursor, "before", column))
        return CurrentValue(
            now=presenter.value(table, column, state.value(column), brief=True),
            was=was,
            **set_by(presenter, state, column),
            put_back=put_back,
            history_href=link({"col": column}, True) if can_see else "",
        )

    columns = presenter.ordered(table, state.row or {})
    changed = {name for name in columns if state.is_changed(name)}
    first = [name for name in columns if name in changed][:MANY]
    others = [name for name in columns if name not in changed][: MANY - len(first)]
    unshown = len(columns) - len(first) - len(others)
    return [shown(name) for name in first], [shown(name) for name in others], unshown


def _never(state: RecordState, number: int) -> str:
    if not state.is_cut:
        return ngettext("%(number)s column never changed", "%(number)s columns never changed", number)
    return ngettext(
        "%(number)s column not in the newest %(most)s changes",
        "%(number)s columns not in the newest %(most)s changes",
        number,
        most=NEAREST,
    )


def _chart(
    visit: Visit, record: RecordRef, parsed: ParsedSearch, page: Slice[ActivityRow] | None, state: RecordState
) -> SparklineShown | None:
    """The chart of the column that is asked for, if it is a number and no key."""
    columns = parsed.form.col.data or []
    info = visit.catalog.column(record.table, columns[0]) if len(columns) == 1 else None
    if page is None or not page.rows or info is None or info.kind is not ValueKind.NUMBER or info.is_name:
        return None
    if visit.catalog.target(record.table, info.name) is not None:
        return None
    end = state.version.issued_at if state.is_deleted else visit.clock.now
    until = page.rows[0].issued_at if page.has_newer else end
    label = visit.column_label(record.table, info.name)
    return sparkline(label, info.name, page.rows, visit.clock, until)


def set_by(presenter: Presenter, state: RecordState, column: str) -> dict[str, Any]:
    """The parts of a shown value that say when it was set and by whom, or that a snapshot found it."""
    setter = state.setter(column)
    if setter is None:
        return {"is_older": state.is_older(column)}
    is_found = setter.verb == "snapshot"
    return {
        "set_by": None if is_found else presenter.actor(setter.transaction),
        "set_at": presenter.visit.clock.moment(setter.issued_at),
        "set_href": presenter.visit.links.activity(setter.cursor),
        "is_found": is_found,
    }


def incomplete(state: RecordState) -> str | None:
    """A note that the log lacks some of the columns."""
    if not state.is_incomplete:
        return None
    return gettext("The log has only the changed columns; the values of the others are unknown.")


#: A text and the page it leads to.
Note = tuple[str, str | None]


def find_origin(visit: Visit, log: Log, record: RecordRef, after: int = 0) -> ActivityRow | None:
    """The change by which the record got its key, if it had another one and that is found in time.

    :param after: id of the last change before this life of the key.
    """
    key = visit.catalog.key(record.table)
    if not key or not all(visit.sight.can_see(record.table, name) for name in key):
        return None
    return unless_slow(lambda: renamed_from(log, record, key, after), log, visit.settings.breakdown_timeout_ms)


def origin_note(visit: Visit, origin: ActivityRow) -> Note:
    """That the record had another key before."""
    record = origin.record
    assert record is not None  # noqa: S101 - its key is not the one that was looked for, so it has one
    since = visit.clock.moment(origin.issued_at).text
    text = gettext("Before %(time)s this record had key %(key)s", time=since, key=visible(", ".join(record.components)))
    return text, visit.links.record(record)


def removal_notes(visit: Visit, log: Log, record: RecordRef) -> list[Note]:
    """That older changes of the table were removed from the log."""
    found = removal(log, record.table)
    if found is None:
        return []
    text = gettext(
        "Older changes were removed on %(day)s by the rule %(rule)s.", day=found.on, rule=visible(found.rule)
    )
    return [(text, None)]


def without_history(
    visit: Visit, presenter: Presenter, record: RecordRef, origin: ActivityRow | None, removed: Sequence[Note] = ()
) -> Any:
    """The page of a key that a record has since its last change, or of which nothing is left in the log.

    :param removed: why nothing may be left.
    """
    if origin is None and removed:
        heading = record_name(presenter.record(record), presenter.table(record.table))
        said = gettext("The log has no change of this record.")
        return message(visit, 200, heading, f"{said} {removed[0][0]}")
    if origin is None:
        abort(404)
    text, href = origin_note(visit, origin)
    heading = record_name(presenter.record(record), presenter.table(record.table))
    said = gettext("No change has been recorded under this key yet.")
    return message(visit, 200, heading, said, options=[Option(text, href or "")])


def drift_notes(visit: Visit, record: RecordRef, found: Drift) -> list[Note]:
    """Notes on differences between the row and the log."""
    visible_columns = [name for name in found.columns if visit.sight.can_see(record.table, name)]
    names = ", ".join(visit.column_label(record.table, name) for name in visible_columns)
    texts = {
        "gone": gettext(
            "The record exists according to the log, but its row is gone. It was deleted while auditing was off."
        ),
        "unlogged": gettext(
            "The record is deleted according to the log, but a row exists. It was created while auditing was off."
        ),
    }
    if names:
        texts["columns"] = gettext(
            "The current row differs from the log in: %(columns)s. It was changed while auditing was off.",
            columns=names,
        )
    return [(texts[found.kind], None)] if found.kind in texts else []


def end_notes(visit: Visit, record: RecordRef, newest: ActivityRow, others: Iterable[ActivityRow] = ()) -> list[Note]:
    """Notes on what became of the record if it no longer has the key.

    :param newest: the last change of the record.
    :param others: those before it that are on the page: its key may have been taken from it and given to another.
    """
    found = [_moved(visit, record, newest, marked("Since %(time)s this record has key %(key)s"))]
    text = marked("Until %(time)s this key belonged to a record whose key changed to %(key)s")
    found += [_moved(visit, record, row, text) for row in others if row.id < newest.id]
    if newest.verb == "truncate":
        found.append((gettext("The whole table was emptied by TRUNCATE."), visit.links.activity(newest.cursor)))
    return [note for note in found if note is not None]


def _moved(visit: Visit, record: RecordRef, change: ActivityRow, text: str) -> Note | None:
    new_key = renamed_to(change, visit.catalog.key(record.table))
    if not new_key:  # none, or one that the log does not tell
        return None
    moved, time = RecordRef(record.table, stored_key(new_key)), visit.clock.moment(change.issued_at).text
    return gettext(text, time=time, key=visible(", ".join(new_key))), visit.links.record(moved)


#: Size of the chart in its own units, and the room that keeps the line from being cut at its edges.
WIDTH, HEIGHT, EDGE = 600, 80, 4

Point = tuple[dt.datetime, "int | Decimal"]


def sparkline(
    label: str, column: str, rows: Iterable[ActivityRow], clock: Clock, until: dt.datetime
) -> SparklineShown | None:
    """The line of a column; ``None`` unless it had two values that are numbers.

    A value holds until the next one, so the line has steps.

    :param label: name of the column.
    :param rows: changes of one record, in any order.
    :param until: where the line ends.
    """
    points = _points(column, sorted(rows, key=lambda row: row.id))
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    lowest, highest = min(values), max(values)
    text = gettext(
        "%(column)s from %(first)s (%(since)s) to %(last)s (%(until)s); lowest %(lowest)s, highest %(highest)s",
        column=label,
        first=_number(values[0]),
        since=clock.moment(points[0][0]).text,
        last=_number(values[-1]),
        until=clock.moment(points[-1][0]).text,
        lowest=_number(lowest),
        highest=_number(highest),
    )
    return SparklineShown(_line(points, lowest, highest, max(until, points[-1][0])), text, WIDTH, HEIGHT)


def _points(column: str, rows: Sequence[ActivityRow]) -> list[Point]:
    found: list[Point] = []
    for row in rows:
        value = row.after(column).data if row.verb in ("insert", "snapshot", "update") else None
        if column in row.changed_data and isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            found.append((row.issued_at, value))
    return found


def _line(points: Sequence[Point], lowest: int | Decimal, highest: int | Decimal, until: dt.datetime) -> str:
    first = points[0][0]
    span = (until - first).total_seconds() or 1.0
    heights = [_height(value, lowest, highest) for _, value in points]
    places: list[tuple[float, float]] = []
    for (moment, _), y in zip(points, heights, strict=True):
        x = max(0.0, (moment - first).total_seconds() / span * WIDTH)
        places += [(x, places[-1][1]), (x, y)] if places else [(x, y)]
    places.append((WIDTH, heights[-1]))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _height(value: int | Decimal, lowest: int | Decimal, highest: int | Decimal) -> float:
    # numbers in a log may be longer than a float can hold; their ratio is not
    if lowest == highest:
        return HEIGHT / 2
    share = (Decimal(value) - Decimal(lowest)) / (Decimal(highest) - Decimal(lowest))
    return EDGE + (1 - float(share)) * (HEIGHT - 2 * EDGE)


def _number(value: int | Decimal) -> str:
    text = visible(as_text(value))
    return text if len(text) <= 40 else f"{text[:40]}…"
