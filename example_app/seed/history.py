"""Making the history: once, completely, or again from the start if it was interrupted."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask import Flask
from sqlalchemy import Connection, Select, func, select, text

from .. import clock
from ..extensions import db
from ..models import Seeding, User
from .plan import plan_events
from .timeline import Event, Written, in_order, spread

#: Key of the advisory lock: two starts at the same time don't both make a history.
LOCK = 7_246_281


def ensure_history(
    app: Flask,
    echo: Callable[[str], object] = click.echo,
    plan: Callable[[Flask, dt.datetime], list[Event]] = plan_events,
) -> bool:
    """Make the demo's history unless it is there, or the database holds somebody's own data.

    :param echo: where the progress is told.
    :param plan: what happens until the given time.
    :returns: whether it was made now.
    """
    with _lock(app):
        state = _begin(app)
        if state == "there":
            return False
        if state == "again":
            echo("The history was interrupted last time and is made again.")
        started = time.monotonic()
        echo("Making the history of the shop. Its times are spread over the past 90 days.")
        written = list(_run(app, echo, in_order(plan(app, clock.now()))))
        _finish(app, written)
        echo(f"Done in {time.monotonic() - started:.0f} s.")
        return True


@contextmanager
def _lock(app: Flask) -> Iterator[None]:
    with app.app_context():
        engine = db.engine
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.commit()


def _begin(app: Flask) -> str:
    """Note that seeding begins, and clear what an interrupted one left."""
    log = app.extensions["audit_logger"]
    with app.app_context():
        state = db.session.get(Seeding, 1)
        if state is None:
            if db.session.scalar(select(func.count()).select_from(User)):
                return "there"
            db.session.add(Seeding(id=1, started_at=clock.now()))
            db.session.commit()
            return "new"
        if state.finished_at is not None:
            return "there"
        with log.disable(db.session):
            ours = [table for table in db.metadata.sorted_tables if "audit_logged" in table.info]
            tables = [*ours, log.activity_cls.__table__, log.transaction_cls.__table__]
            names = ", ".join(table.fullname for table in tables)
            db.session.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
            db.session.commit()
        return "again"


def _run(app: Flask, echo: Callable[[str], object], events: list[Event]) -> Iterator[Written]:
    """Let the events happen, each at its time by the shop's clock, and say what each has written."""
    log = app.extensions["audit_logger"]
    newest = select(func.coalesce(func.max(log.transaction_cls.id), 0))
    with app.app_context():
        engine = db.engine
    with engine.connect() as connection:
        after = _scalar(connection, newest)
        for event in _told(events, echo):
            with clock.at(event.moment):
                event.run()
            until = _scalar(connection, newest)
            if until > after:
                yield Written(event.moment, after, until)
            after = until


def _told(events: list[Event], echo: Callable[[str], object]) -> Iterator[Event]:
    """The events, with a bar on a terminal and a line for each quarter elsewhere."""
    if sys.stdout.isatty():
        with click.progressbar(events, label="Seeding") as progress:
            yield from progress
        return
    for number, event in enumerate(events, 1):
        yield event
        if number * 4 // len(events) > (number - 1) * 4 // len(events):
            echo(f"Seeding: {number} of {len(events)} events.")


def _scalar(connection: Connection, query: Select[Any]) -> int:
    value = connection.scalar(query)
    connection.commit()
    return value or 0


def _finish(app: Flask, written: list[Written]) -> None:
    """Move the times and note that all is done, in one transaction; then let PostgreSQL tidy up."""
    log = app.extensions["audit_logger"]
    with app.app_context():
        spread(db.session(), log, written)
        db.session.get(Seeding, 1).finished_at = clock.now()
        db.session.commit()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE)"))
