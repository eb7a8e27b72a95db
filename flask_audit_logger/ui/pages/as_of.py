"""A record as of a time, or right after a change."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from flask import abort, request

from ...i18n import gettext
from ...query.paging import Cursor
from ...query.reader import Log
from ...query.record_states import ChangePoint, RecordState, begun_by, exactly, first_after, record_states
from ...query.refs import RecordRef
from ...settings import is_zone
from ..access import action
from ..presenter import MANY, Presenter
from ..shown import ActivityShown, CurrentValue, Page, RecordShown, TableShown
from ..templating import render
from ..times import known_zone, typed_time
from ..urls import change_of
from ..visit import Visit
from .base import head, more_columns, record_name, steps_to
from .record import Note, end_notes, find_origin, incomplete, removal_notes, set_by, without_history


@dataclass(frozen=True, kw_only=True)
class SnapshotPage(Page):
    """A record as of a time."""

    template = "audit/as_of.html"

    record: RecordShown
    table: TableShown
    #: What the time means, if it is special: did not exist yet, deleted, has another key now.
    notes: tuple[tuple[str, str | None], ...]
    action: str
    typed: str
    error: str | None = None
    values: tuple[CurrentValue, ...] = ()
    version: ActivityShown | None = None
    older: str | None = None
    newer: str | None = None
    compare_href: str | None = None
    #: That there are columns besides the values.
    more: str | None = None


@action("record")
def as_of_page(visit: Visit, record: RecordRef) -> Any:
    """The whole row as it was at a time, and who set each value."""
    presenter = Presenter(visit)
    with visit.reader().reading() as log:
        asked = _asked(visit, log, record)
        found, moment = asked.found, asked.moment
        newer = found.newer if found is not None else first_after(log, record, moment)
        if found is None and newer is None:
            gone = removal_notes(visit, log, record)
            return without_history(visit, presenter, record, find_origin(visit, log, record), gone)
        gone = removal_notes(visit, log, record) if found is None else []
        rows = [found.version, *found.touched.values(), *found.later.values()] if found is not None else []
        presenter.learn(log, rows, [record])
    columns = _columns(presenter, found) if found is not None else []
    version = found.version if found is not None else None
    then = version.id if version is not None else None
    shown, shown_table = presenter.record(record, then), presenter.table(record.table)
    name = record_name(shown, shown_table)
    heading = gettext("%(record)s as of %(time)s", record=name, time=asked.text(visit))
    here = gettext("As of %(time)s", time=asked.text(visit))
    context = SnapshotPage(
        **head(visit, heading, heading, *steps_to(shown, shown_table, here)),
        record=shown,
        table=shown_table,
        notes=(*_notes(visit, record, found), *gone) if asked.error is None else (),
        action=visit.links.as_of(record),
        typed=asked.typed,
        error=asked.error,
        values=tuple(_value(presenter, found, column) for column in columns[:MANY]) if found else (),
        more=more_columns(len(columns) - MANY),
        version=presenter.activity(version) if version is not None else None,
        older=_at(visit, record, found.older if found is not None else None),
        newer=_at(visit, record, newer if moment is not None else None),
        compare_href=visit.links.compare(record, **{"from": version.cursor, "to": "last"})
        if version is not None
        else None,
    )
    return render(visit, context, 400 if asked.error else 200)


@dataclass(frozen=True)
class Asked:
    """Which state of a record is asked for: right after a change, at a time that was typed, or now.

    :param moment: unknown if there is an error.
    :param found: how the record stood then, if it existed.
    """

    typed: str
    moment: dt.datetime | None
    found: RecordState | None
    error: str | None = None

    def text(self, visit: Visit) -> str:
        """The time on the viewer's clock."""
        return self.typed if self.moment is None else visit.clock.moment(self.moment).text


def _asked(visit: Visit, log: Log, record: RecordRef) -> Asked:
    typed, zone = request.args.get("time", "").strip(" "), request.args.get("tz") or visit.clock.name
    if "change" in request.args:
        change = change_of(request.args["change"])
        found = _state_of(visit, log, record, exactly(log, change)) if change is not None and not typed else None
        if found is None:
            abort(404)
        return Asked(typed, found.version.issued_at, found)
    try:
        moment = _typed(typed[:100], zone) if typed else visit.clock.now
    except ValueError as problem:
        return Asked(typed, None, None, str(problem))
    return Asked(typed, moment, _state_of(visit, log, record, begun_by(log, moment)))


def _typed(text: str, zone: str) -> dt.datetime:
    """The time that is asked for; a bare date means the last moment of that day."""
    if not is_zone(zone):
        raise ValueError(gettext("There is no time zone %(value)s.", value=repr(zone[:100])))
    start, end = (typed_time(text, known_zone(zone), end_of_day=is_end) for is_end in (False, True))
    return start if start == end else end - dt.timedelta(microseconds=1)


def _notes(visit: Visit, record: RecordRef, found: RecordState | None) -> tuple[Note, ...]:
    if found is None:
        return ((gettext("This record did not exist yet, or the log does not go back that far."), None),)
    notes = end_notes(visit, record, found.version)
    if found.version.verb == "delete":
        deleted_at = visit.clock.moment(found.version.issued_at).text
        notes.append((gettext("This record had been deleted at %(time)s.", time=deleted_at), None))
    text = incomplete(found)
    return (*notes, *([(text, None)] if text else []))


def _state_of(visit: Visit, log: Log, record: RecordRef, which: ChangePoint) -> RecordState | None:
    return record_states(log, record, which, key=visit.catalog.key(record.table))[0]


def _columns(presenter: Presenter, found: RecordState) -> list[str]:
    return presenter.ordered(found.version.table, found.row) if found.row else []


def _value(presenter: Presenter, found: RecordState, column: str) -> CurrentValue:
    now = presenter.value(found.version.table, column, found.value(column), found.version.id)
    return CurrentValue(now=now, **set_by(presenter, found, column))


def _at(visit: Visit, record: RecordRef, version: Cursor | None) -> str | None:
    if version is None:
        return None
    # not by its time: the changes of one statement have the same
    return visit.links.as_of(record, change=version)
