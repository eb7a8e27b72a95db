"""Which rows of today are in the scope of a reader.

A scope says which activities a reader may see; it says nothing about the rows of the application's tables. A row counts
as the reader's while the newest change of its key is in the scope and left a row; whoever reads the row also asks
:func:`~.drift.is_as_logged`, as it may have been changed while auditing was off. Whatever else is in the table then is
treated as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, literal, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from ..schema.names import TableName
from .criteria import is_change, is_verb
from .reader import Log
from .records import asked_records, asked_values, is_end, key_columns, renamed_to
from .refs import RecordRef, stored_key
from .rows import ActivityRow

#: Names of the columns of a table's key.
KeyOf = Callable[[TableName], Sequence[str]]


@dataclass(frozen=True)
class Newest:
    """The newest change of a key, whoever may see it.

    :param is_seen: whether it is in the reader's scope.
    :param is_end: whether no row has the key after it.
    """

    transaction_id: int
    is_seen: bool
    is_end: bool

    @property
    def has_row(self) -> bool:
        """Whether the row of today is the reader's to see and to change."""
        return self.is_seen and not self.is_end


#: What a reader without a scope takes for granted, and what is known of a record without any change.
_SEEN, _UNKNOWN = Newest(0, is_seen=True, is_end=False), Newest(0, is_seen=False, is_end=True)


def newest_changes(log: Log, records: Collection[RecordRef], key: KeyOf) -> dict[RecordRef, Newest]:
    """The newest change of each record, by one statement; records without any are left out.

    :param key: of a table.
    """
    if not records:
        return {}
    wanted = list(records)
    asked = asked_records()
    # apart from the scope: what is hidden counts
    n = log.models.activity.alias("newest_change")
    own = (n.c.table_name == asked.c.table_name, n.c.record_key == asked.c.record_key, n.c.schema == asked.c.schema)
    ended = is_end(n.c, func.array(key_columns(asked), type_=ARRAY(Text)))
    newest = select(n.c.id, n.c.transaction_id, ended.label("is_end")).where(*own, is_change(n.c.verb))
    newest = newest.order_by(n.c.id.desc()).limit(1)
    last = newest.correlate(asked).lateral("last")
    e = log.models.activity.alias("emptied")
    whole = (e.c.table_name == asked.c.table_name, e.c.record_key.is_(None), e.c.schema == asked.c.schema)
    emptied = select(literal(1)).where(*whole, is_verb(e.c.verb, "truncate"), e.c.id > last.c.id)
    a = log.models.activity.c
    same = (a.table_name == asked.c.table_name, a.record_key == asked.c.record_key, a.schema == asked.c.schema)
    seen = log.activities(literal(1)).where(*same, a.id == last.c.id)
    statement = select(
        asked.c.place,
        last.c.transaction_id,
        seen.correlate(asked, last).exists().label("is_seen"),
        or_(last.c.is_end, emptied.correlate(asked, last).exists()).label("is_end"),
    ).select_from(asked.join(last, true()))
    rows = log.all(statement, asked_values([(record, None) for record in wanted], key))
    return {wanted[row.place - 1]: Newest(row.transaction_id, row.is_seen, row.is_end) for row in rows}


def with_row(log: Log, records: Collection[RecordRef], key: KeyOf) -> set[RecordRef]:
    """The records whose rows of today the reader may see and change; all of them if the reader has no scope."""
    if not log.is_scoped:
        return set(records)
    found = newest_changes(log, records, key)
    return {record for record, newest in found.items() if newest.has_row}


def newest_change(log: Log, record: RecordRef, key: KeyOf) -> Newest:
    """The newest change of one record; to a reader without a scope it is seen, whatever it is."""
    return newest_changes(log, [record], key).get(record, _UNKNOWN) if log.is_scoped else _SEEN


def out_of_reach(log: Log, rows: Iterable[ActivityRow], key: KeyOf) -> set[int]:
    """Ids of the changes that a reader can't take back, as their records may be others' by now."""
    if not log.is_scoped:
        return set()
    touched = {row.id: (row, _left(row, key)) for row in rows if row.record is not None}
    records = {record for row, left in touched.values() for record in (row.record, left) if record is not None}
    found = newest_changes(log, records, key)
    return {number for number, (row, left) in touched.items() if not _is_reached(row, left, found)}


def _left(row: ActivityRow, key: KeyOf) -> RecordRef | None:
    """The record that a change left, under the key it has after it; ``None`` after a deletion."""
    if row.verb == "delete" or row.record is None:
        return None
    renamed = renamed_to(row, key(row.table))
    return row.record if renamed is None else RecordRef(row.table, stored_key(renamed)) if renamed else None


def _is_reached(row: ActivityRow, left: RecordRef | None, found: dict[RecordRef, Newest]) -> bool:
    newest = [found[record] for record in (row.record, left) if record is not None and record in found]
    if not all(change.is_seen for change in newest):
        return False
    last = found.get(left) if left is not None else None
    # what is gone is made again by the same write if it went in the same transaction; else the key may be another's
    return last is None or not last.is_end or last.transaction_id == row.transaction_id
