"""When things happened: events in the order of their times, and the log's times moved to them afterwards."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    MetaData,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Session

from flask_audit_logger import AuditLogger

DAYS = 90
#: Between two events, so that what one of them wrote is over when the next begins.
GAP = dt.timedelta(minutes=2)
#: Between two transactions of one event.
STEP = dt.timedelta(seconds=3)


moved = Table(
    "moved",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("issued_at", DateTime(timezone=True)),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)


@dataclass(frozen=True)
class Event:
    """Something that somebody does at a certain time."""

    moment: dt.datetime
    run: Callable[[], object]


@dataclass(frozen=True)
class Written:
    """The transactions of the log that one event made: those after ``after`` up to ``until``."""

    moment: dt.datetime
    after: int
    until: int


def in_order(events: list[Event]) -> list[Event]:
    """Sort by time, and move apart what is too close."""
    ordered: list[Event] = []
    for event in sorted(events, key=lambda event: event.moment):
        earliest = ordered[-1].moment + GAP if ordered else event.moment
        ordered.append(Event(max(event.moment, earliest), event.run))
    return ordered


def spread(session: Session, log: AuditLogger, written: list[Written]) -> None:
    """Move the times of the log from now, when the script ran, to the times of the events.

    The order of ids stays the order of times: events follow each other, the transactions of an event are
    ``STEP`` apart, and the activities of a transaction keep their distances.
    """
    transaction, activity = log.transaction_cls.__table__, log.activity_cls.__table__
    moved.create(session.connection())
    ids = session.scalars(select(transaction.c.id).order_by(transaction.c.id)).all()
    session.execute(insert(moved), [{"id": key, "issued_at": moment} for key, moment in _moments(ids, written)])
    begun = (
        select(activity.c.transaction_id, func.min(activity.c.issued_at).label("issued_at"))
        .group_by(activity.c.transaction_id)
        .subquery()
    )
    session.execute(
        update(activity)
        .values(issued_at=moved.c.issued_at + (activity.c.issued_at - begun.c.issued_at))
        .where(activity.c.transaction_id == moved.c.id, begun.c.transaction_id == moved.c.id)
    )
    session.execute(update(transaction).values(issued_at=moved.c.issued_at).where(transaction.c.id == moved.c.id))


def _moments(ids: Sequence[int], written: list[Written]) -> Iterator[tuple[int, dt.datetime]]:
    """The time of each transaction that an event made."""
    for event in written:
        own = ids[bisect_right(ids, event.after) : bisect_right(ids, event.until)]
        for number, key in enumerate(own):
            yield key, event.moment + number * STEP
