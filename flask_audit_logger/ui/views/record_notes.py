"""What the pages of a record say besides its values: other keys it had or got, and changes that nobody recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import abort

from ...query.diff.pieces import visible
from ...query.errors import ReadTimeout, translated
from ...query.live import Drift
from ...query.reader import Log
from ...query.records import renamed_from, renamed_to
from ...query.refs import RecordRef, stored_key
from ...query.rows import ActivityRow
from ..messages import message
from ..parts import Option
from ..present import Presenter
from ..state import UIState
from ..texts import gettext, marked
from .common import record_name

#: A text and the page it leads to.
Note = tuple[str, str | None]


def find_origin(state: UIState, log: Log, record: RecordRef, after: int = 0) -> ActivityRow | None:
    """The change by which the record got its key, if it had another one and that is found in time.

    :param after: id of the last change before this life of the key.
    """
    key = state.catalog.key(record.table)
    if not key or not all(state.sight.can_see(record.table, name) for name in key):
        return None
    try:
        with translated():
            log.limit(state.config.panel_timeout_ms)
            return renamed_from(log, record, key, after)
    except ReadTimeout:
        return None


def origin_note(state: UIState, origin: ActivityRow) -> Note:
    """That the record had another key before."""
    record = origin.record
    assert record is not None  # noqa: S101 - its key is not the one that was looked for, so it has one
    since = state.clock.moment(origin.issued_at).text
    text = gettext("Before %(time)s this record had key %(key)s", time=since, key=visible(", ".join(record.components)))
    return text, state.links.record(record)


def without_history(state: UIState, presenter: Presenter, record: RecordRef, origin: ActivityRow | None) -> Any:
    """The page of a key that a record has since its last change."""
    if origin is None:
        abort(404)
    text, href = origin_note(state, origin)
    heading = record_name(presenter.record(record), presenter.table(record.table))
    said = gettext("No change has been recorded under this key yet.")
    return message(state, 200, heading, said, options=[Option(text, href or "")])


def drift_notes(state: UIState, record: RecordRef, found: Drift) -> list[Note]:
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


def end_notes(state: UIState, record: RecordRef, newest: ActivityRow, others: Iterable[ActivityRow] = ()) -> list[Note]:
    """Where the record is that has the key no longer.

    :param newest: the last change of the record.
    :param others: those before it that are on the page: its key may have been taken from it and given to another.
    """
    found = [_moved(state, record, newest, marked("Since %(time)s this record has key %(key)s"))]
    text = marked("Until %(time)s this was the key of a record that then got key %(key)s")
    found += [_moved(state, record, row, text) for row in others if row.id < newest.id]
    if newest.verb == "truncate":
        found.append((gettext("The whole table was emptied by TRUNCATE."), state.links.activity(newest.id)))
    return [note for note in found if note is not None]


def _moved(state: UIState, record: RecordRef, change: ActivityRow, text: str) -> Note | None:
    new_key = renamed_to(change, state.catalog.key(record.table))
    if not new_key:  # none, or one that the log does not tell
        return None
    moved, time = RecordRef(record.table, stored_key(new_key)), state.clock.moment(change.issued_at).text
    return gettext(text, time=time, key=visible(", ".join(new_key))), state.links.record(moved)
