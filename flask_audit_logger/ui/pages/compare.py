"""Two versions of a record, compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import abort, request

from ...diff import differs
from ...diff.values import value_of
from ...i18n import gettext, marked, ngettext
from ...query.drift import is_as_logged, live_row
from ...query.reader import Log
from ...query.record_states import NEWEST, OLDEST, ChangePoint, RecordState, exactly, record_states
from ...query.refs import RecordRef
from ...query.rows import ActivityRow
from ...query.scope import with_row
from ..access import action
from ..presenter import MANY, Presenter
from ..shown import ActorShown, Change, Page, RecordShown, ValueShown
from ..templating import render
from ..times import Moment
from ..urls import change_of
from ..visit import Visit
from .base import head, more_columns, record_name, steps_to
from .record import find_origin, incomplete, removal_notes, without_history


@dataclass(frozen=True, kw_only=True)
class ComparePage(Page):
    """Two versions of a record."""

    template = "audit/compare.html"

    record: RecordShown
    before: ComparedSide
    after: ComparedSide
    changes: tuple[Change, ...]
    equal: tuple[ValueShown, ...]
    swap_href: str
    all_href: str | None
    live_href: str | None = None
    #: What is not compared or not shown.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparedSide:
    """One of the two versions that are compared."""

    name: str
    time: Moment | None
    actor: ActorShown | None
    href: str | None
    older: str | None = None
    newer: str | None = None


@dataclass(frozen=True)
class Side:
    """A version to compare: the state right after a change, or the row as it is now."""

    name: str
    row: dict[str, Any]
    state: RecordState | None = None

    @property
    def version(self) -> ActivityRow | None:
        """The change, unless this is the row as it is now."""
        return self.state.version if self.state is not None else None

    @property
    def id(self) -> int | None:
        """The change at whose time this is meant; none for the row as it is now."""
        return self.version.id if self.version is not None else None

    def knows(self, column: str) -> bool:
        """Whether the value of a column is known, or that there is none."""
        return self.state is None or column in self.row or not self.state.is_incomplete


@action("compare")
def compare_page(visit: Visit, record: RecordRef) -> Any:
    """Compare two versions of a record."""
    wanted = {name: request.args.get(name, default) for name, default in (("from", "first"), ("to", "last"))}
    show_all = request.args.get("all") == "1"
    presenter = Presenter(visit)
    with visit.reader().reading() as log:
        sides = _sides(visit, log, record, wanted)
        if not sides:
            gone = removal_notes(visit, log, record)
            return without_history(visit, presenter, record, find_origin(visit, log, record), gone)
        rows = [side.version for side in sides.values() if side.version is not None]
        presenter.learn(log, rows, [record, *_targets(presenter, record, sides.values())])
    before, after = sides["from"], sides["to"]
    columns = presenter.ordered(record.table, {**before.row, **after.row})
    # whether two hidden values are equal must not be known either, or one could be tried against another
    seen = [c for c in columns if visit.sight.can_see(record.table, c)]
    compared = [c for c in seen if before.knows(c) and after.knows(c)]
    info = visit.catalog.get(record.table)
    kinds = {c: info.kind(c) if info else None for c in compared}
    differing = [c for c in compared if differs(value_of(before.row, c), value_of(after.row, c), kinds[c])]
    equal = [c for c in compared if c not in set(differing)]
    shown, shown_table = presenter.record(record), presenter.table(record.table)
    name = record_name(shown, shown_table)

    def link(**values: Any) -> str:
        return visit.links.compare(record, **{**wanted, **({"all": "1"} if show_all else {}), **values})

    title = gettext("%(record)s: %(from)s and %(to)s", **{"record": name, "from": before.name, "to": after.name})
    heading = gettext("%(record)s: two versions", record=name)
    context = ComparePage(
        **head(visit, title, heading, *steps_to(shown, shown_table, gettext("Compare"))),
        record=shown,
        before=_shown(presenter, before, "from", link),
        after=_shown(presenter, after, "to", link),
        changes=tuple(
            presenter.compared(record.table, c, value_of(before.row, c), value_of(after.row, c), (before.id, after.id))
            for c in differing[:MANY]
        ),
        equal=tuple(presenter.value(record.table, c, value_of(after.row, c), after.id) for c in equal[:MANY])
        if show_all
        else (),
        notes=_compare_notes(sides, len(columns) - len(seen), differing, equal if show_all else []),
        swap_href=visit.links.compare(record, **{"from": wanted["to"], "to": wanted["from"]}),
        all_href=None if show_all or not equal else link(all="1"),
        live_href=link(to="now") if visit.may("live", record) and wanted["to"] != "now" else None,
    )
    return render(visit, context)


def _compare_notes(sides: dict[str, Side], hidden: int, *shown: list[str]) -> tuple[str, ...]:
    """How many columns are left out, and why."""
    notes = [more_columns(sum(max(0, len(names) - MANY) for names in shown))]
    notes += dict.fromkeys(incomplete(side.state) for side in sides.values() if side.state is not None)
    if hidden:
        notes.append(
            ngettext(
                "%(number)s column is not compared, as its values are hidden.",
                "%(number)s columns are not compared, as their values are hidden.",
                hidden,
            )
        )
    return tuple(note for note in notes if note)


def _sides(visit: Visit, log: Log, record: RecordRef, wanted: dict[str, str]) -> dict[str, Side]:
    """The two versions; none if the record has no history, 404 if there is no such change that the viewer may see."""
    texts = [text for text in wanted.values() if text != "now"] or ["last"]
    changes, key = (_change(log, text) for text in texts), visit.catalog.key(record.table)
    found = dict(zip(texts, record_states(log, record, *changes, key=key), strict=True))
    if any(state is None for state in found.values()):
        return {} if {"first", "last"}.issuperset(texts) else abort(404)
    sides = {}
    for name, text in wanted.items():
        state = found.get(text)
        if text == "now":
            known = next(state for state in found.values() if state is not None)
            sides[name] = Side(gettext("now"), _live(visit, log, record, known))
        elif state is not None:
            sides[name] = Side(gettext("change %(id)s", id=state.version.id), state.row or {}, state)
    return sides


def _change(log: Log, text: str) -> ChangePoint:
    if text in ("first", "last"):
        return OLDEST if text == "first" else NEWEST
    wanted = change_of(text)
    if wanted is None:
        abort(404)
    return exactly(log, wanted)


def _live(visit: Visit, log: Log, record: RecordRef, known: RecordState) -> dict[str, Any]:
    info = visit.catalog.get(record.table)
    if info is None or not visit.may("live", record):
        abort(404)
    if record not in with_row(log, [record], visit.catalog.key):
        return {}
    try:
        row = live_row(log, info, record, known.row or known.version.old_data)
    except LookupError:
        abort(404)
    return row if row is not None and is_as_logged(log, info, record, row) else {}


def _targets(presenter: Presenter, record: RecordRef, sides: Any) -> list[RecordRef]:
    pairs = [(column, value_of(side.row, column)) for side in sides for column in side.row]
    return presenter.targets(record.table, pairs)


def _shown(presenter: Presenter, side: Side, name: str, link: Any) -> ComparedSide:
    visit, version, state = presenter.visit, side.version, side.state
    if version is None or state is None:
        return ComparedSide(gettext("The current row"), None, None, None)
    older, newer = state.older, state.newer
    text = marked("Deleted by change %(id)s") if state.is_deleted else marked("After change %(id)s")
    if version.verb == "snapshot":
        text = marked("Recorded by snapshot %(id)s")
    return ComparedSide(
        name=gettext(text, id=version.id),
        time=visit.clock.moment(version.issued_at),
        actor=presenter.actor(version.transaction),
        href=visit.links.activity(version.cursor),
        older=link(**{name: older}) if older is not None else None,
        newer=link(**{name: newer}) if newer is not None else None,
    )
