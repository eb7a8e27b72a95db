"""Keyset pagination: a cursor names the last row seen, never a number of rows to skip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, Text, func, tuple_

T = TypeVar("T")
#: Largest value of PostgreSQL's ``bigint``.
MAX_ID = 2**63 - 1


@dataclass(frozen=True, order=True)
class Cursor:
    """The address of a change and its position in the feed, written ``<transaction id>.<activity id>``."""

    transaction_id: int
    activity_id: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor.

        :raises ValueError: if the text is not a cursor.
        """
        match = re.fullmatch(r"([0-9]{1,19})\.([0-9]{1,19})", text, re.ASCII)
        if match is None:
            raise ValueError(f"{text!r} is not a position in the log; one looks like 120.4711")
        cursor = cls(int(match[1]), int(match[2]))
        if cursor.transaction_id > MAX_ID or cursor.activity_id > MAX_ID:
            raise ValueError(f"{text!r} is outside the log")
        return cursor

    @classmethod
    def read(cls, text: str | None) -> Cursor | None:
        """Read what :func:`position` selects."""
        return None if text is None else cls.parse(text)

    def __str__(self) -> str:
        return f"{self.transaction_id}.{self.activity_id}"


#: Before everything: the page after it is the oldest one.
ORIGIN = Cursor(0, 0)

#: After everything: the page before it is the newest one.
END = Cursor(2**63 - 1, 2**63 - 1)


@dataclass(frozen=True)
class Paging:
    """Which page is wanted.

    :param limit: rows on a page.
    :param before: only what is older than this position.
    :param after: only what is newer than this position, nearest first.
    :param oldest_first: order of the rows on the page.
    """

    limit: int = 50
    before: Cursor | None = None
    after: Cursor | None = None
    oldest_first: bool = False

    @property
    def reads_down(self) -> bool:
        """Whether rows are fetched from newer to older, whatever the order on the page."""
        return self.before is not None or (self.after is None and not self.oldest_first)


@dataclass(frozen=True)
class Slice(Generic[T]):
    """Rows in the order wanted, and whether there is more on either side.

    :param reached: a search that looked through all it may without filling its page ended there.
    """

    rows: tuple[T, ...]
    has_newer: bool
    has_older: bool
    reached: Cursor | None = None


def position(columns: Any) -> ColumnElement[str]:
    """The position of an activity as text.

    :param columns: of the table of activities.
    """
    return func.pg_catalog.concat(columns.transaction_id, ".", columns.id, type_=Text)


def paged(
    select: Select[Any],
    paging: Paging,
    *columns: ColumnElement[Any],
    ends: Sequence[str] = ("transaction_id", "activity_id"),
    order: Sequence[ColumnElement[Any]] = (),
) -> Select[Any]:
    """Order a select by its keyset columns, start at the cursor and fetch one row more than the page holds.

    :param columns: compared with the cursor.
    :param ends: the parts of the cursor they are compared with.
    :param order: equal columns of a joined table to order by, where its index should drive.
    """
    return ordered(started(select, paging, *columns, ends=ends), paging, *(order or columns)).limit(paging.limit + 1)


def started(
    select: Select[Any],
    paging: Paging,
    *columns: ColumnElement[Any],
    ends: Sequence[str] = ("transaction_id", "activity_id"),
) -> Select[Any]:
    """Start a select at the cursor; the parameters are those of :func:`paged`."""
    cursor = paging.before or paging.after
    if cursor is None or paging.before == END or paging.after == ORIGIN:
        return select
    if len(columns) > 1:
        return select.where(*beyond(columns[0], columns[1], cursor, is_below=paging.before is not None))
    value = getattr(cursor, ends[0])
    return select.where(columns[0] < value if paging.before is not None else columns[0] > value)


def beyond(
    transaction_id: ColumnElement[int], activity_id: ColumnElement[int], cursor: Cursor, *, is_below: bool
) -> list[ColumnElement[bool]]:
    """That a position is before or after a cursor, and for itself its transaction: others' months are not planned.

    A scan of the index begins at one of the two conditions. PostgreSQL takes ``<=`` before ``<`` and ``>`` before
    ``>=``, so the one of the whole position is written such that it is taken: it is the nearer one.
    """
    whole, number = tuple_(transaction_id, activity_id), cursor.transaction_id
    if not is_below:
        return [whole > tuple_(number, cursor.activity_id), transaction_id >= number]
    conditions: list[ColumnElement[bool]] = [whole <= tuple_(number, cursor.activity_id - 1)]
    return conditions if number == MAX_ID else [*conditions, transaction_id < number + 1]


def ordered(select: Select[Any], paging: Paging, *columns: ColumnElement[Any]) -> Select[Any]:
    """Order a select in the direction in which its page is read."""
    return select.order_by(*(column.desc() if paging.reads_down else column.asc() for column in columns))


def edge(column: ColumnElement[int], paging: Paging) -> list[ColumnElement[bool]]:
    """The part of the cursor that a joined table's transaction id can use as well.

    The planner does not carry an inequality over the join, so the joined table has to be told.
    """
    if paging.before is not None:
        return [column <= paging.before.transaction_id]
    return [] if paging.after is None else [column >= paging.after.transaction_id]


def slice_of(rows: Sequence[T], paging: Paging, edge: Cursor | None = None) -> Slice[T]:
    """Cut the extra row off and put the rest into the order of the page.

    :param edge: how far was looked, if not to the end.
    """
    is_full = len(rows) > paging.limit
    reached = None if is_full else edge
    more = is_full or reached is not None
    kept = list(rows[: paging.limit])
    if paging.reads_down == paging.oldest_first:
        kept.reverse()
    if paging.reads_down:
        return Slice(tuple(kept), has_newer=paging.before not in (None, END), has_older=more, reached=reached)
    return Slice(tuple(kept), has_newer=more, has_older=paging.after not in (None, ORIGIN), reached=reached)
