"""Write what goes back: one statement for a run of changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..diff import as_text
from ..exceptions import Refused
from ..query.drift import read_live_row, select_live_rows
from ..query.refs import stored_key
from ..query.tables import TableInfo
from .runs import Run, Statement, Step, is_as_left, statement_of


def live_rows(
    connection: Connection, info: TableInfo, keys: list[tuple[str, ...]], *, lock: bool = False
) -> dict[str, dict[str, Any]]:
    """The rows of today by their stored keys."""
    if not keys:
        return {}
    found = {}
    for row in connection.execute(select_live_rows(info, keys, lock=lock)):
        live = read_live_row(info, row) or {}
        found[stored_key([as_text(live[name]) for name in info.key])] = live
    return found


def write(session: Session, run: Run, steps: list[Step], mappers: Collection[Any]) -> None:
    """One statement for the run; if its order matters to a constraint, one for each change."""
    statement = statement_of(run, steps, mappers)
    if statement is None:
        return
    try:
        with session.connection(bind_arguments=_bind(run)).begin_nested():
            _execute(session, run, steps, statement)
    except IntegrityError:
        if len(steps) == 1:
            raise
        for step in steps:
            single = statement_of(run, [step], mappers)
            if single is not None:
                _execute(session, run, [step], single)


def _bind(run: Run) -> dict[str, Any]:
    return {"clause": run.info.table if run.info is not None else None}


def _execute(session: Session, run: Run, steps: list[Step], statement: Statement) -> None:
    parts = (part.replace(":", "\\:") for part in (statement.before, statement.after))
    # through the session, so that the application is asked who acts
    done: Any = session.execute(text(":data".join(parts)), {"data": statement.data}, bind_arguments=_bind(run))
    number, connection = done.rowcount, session.connection(bind_arguments=_bind(run))
    if number != statement.number and not _is_done(connection, run, steps):
        raise Refused("a trigger or a rule of the database kept a row as it is", "trigger")


def _is_done(connection: Connection, run: Run, steps: list[Step]) -> bool:
    """Whether the rows are as they are to be although a statement didn't meet them all: a cascade was first."""
    info = run.info
    assert info is not None  # noqa: S101 - steps that can be taken have a table
    oldest = {stored_key(step.before): step for step in steps}
    live = live_rows(connection, info, [step.before for step in oldest.values()])
    if run.verb == "insert":
        return not live
    return live.keys() == oldest.keys() and all(is_as_left(info, live[key], oldest[key].then) for key in oldest)
