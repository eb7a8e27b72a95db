"""How records are called: by the application, or by the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..query.names import Named, Names, names_of
from ..query.reader import Log
from ..query.refs import RecordRef
from ..query.scope import with_row
from .hooks import Label, asked
from .state import UIState


@dataclass
class RecordNames:
    """The names of records for one viewer; looked up together, before they are shown.

    The application names what has a key now. What had it in an earlier life is called as the log called it.
    """

    state: UIState
    _labels: dict[RecordRef, Label] = field(default_factory=dict)
    _logged: dict[RecordRef, Names] = field(default_factory=dict)

    def learn(self, log: Log, records: Iterable[RecordRef], then: Iterable[tuple[RecordRef, int]]) -> None:
        """Find the names of records.

        :param then: those that are meant as they were at a change, each with its id.
        """
        since: dict[RecordRef, int | None] = {}
        for record, activity_id in then:
            since[record] = min(activity_id, since.get(record) or activity_id)
        wanted = (set(records) | since.keys()) - self._labels.keys()
        hook = self.state.ui.record_labels
        if hook is not None and wanted:  # it names the rows of today
            known = with_row(log, wanted, self.state.catalog.key)
            self._labels.update(labelled("record_labels", hook, known) if known else {})
        asked_of_log = {ref: since.get(ref) for ref in sorted(wanted) if ref in since or ref not in self._labels}
        if not asked_of_log:
            return
        self._logged.update(names_of(log, asked_of_log, self.state.naming_columns, self.state.catalog.key))
        for ref in asked_of_log.keys() & self._logged.keys() - self._labels.keys():
            label = _label(self._logged[ref].newest)
            self._labels.update({ref: label} if label is not None else {})

    def get(self, record: RecordRef, activity_id: int | None = None) -> Label | None:
        """The name of a record, if it has one.

        :param activity_id: a change at whose time it had the key; otherwise it is the one that had the key last.
        """
        names = self._logged.get(record) if activity_id is not None else None
        earlier = names.before(activity_id) if names is not None and activity_id is not None else None
        return self._labels.get(record) if earlier is None else _label(earlier)

    def forget(self) -> None:
        """Make room for others."""
        self._labels.clear()
        self._logged.clear()


def labelled(name: str, hook: Callable[[set[Any]], Mapping[Any, Label]], wanted: set[Any]) -> dict[Any, Label]:
    """The names that a hook gives; the page shows keys for the others."""

    def labels() -> dict[Any, Label]:
        answer = hook(wanted)
        return {key: label for key, label in answer.items() if key in wanted and isinstance(label, Label)}

    return asked(name, labels, {})


def _label(found: Named) -> Label | None:
    return Label(found.name, deleted=found.is_deleted) if found.name else None
