"""What tests ask of the log: ``assert_audited``, ``captured_changes`` and ``no_audit``.

The log is read where the test writes: in the session's transaction, if one is open, so that nothing has to be
committed. ``pytest_flask_audit_logger`` has the same as fixtures.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby
from typing import Any, overload
from uuid import UUID

from flask import Flask, current_app, has_app_context
from sqlalchemy import Connection, Engine, MetaData, Select, Table, func, inspect, select
from sqlalchemy.orm import Mapper, Session, object_session

from .capture.actors import identify
from .databases import engine_with
from .exceptions import ConfigurationError
from .extension import LOGGER_KEY, AuditLogger
from .history.changes import Change, Difference, History, changes_of, history_of, names_of, typed_rows
from .history.source import Source, Target, source_of, target_of
from .query.criteria import VERBS
from .query.reader import SETTINGS, AuditReader, Log
from .query.rows import activity_columns, read_activities, transaction_columns
from .schema.names import is_supported, reason
from .schema.table_options import audited_tables
from .settings import NOT_STAMPED

__all__ = ["CapturedChanges", "assert_audited", "captured_changes", "no_audit"]

#: Characters of a value in the message of a failure.
WIDTH = 48
#: Other changes that the message of a failure names.
MOST_OTHERS = 10

_ANYBODY: Any = object()


def assert_audited(
    obj: Any,
    *,
    verb: str | None = None,
    changed: Mapping[str, tuple[Any, Any]] | None = None,
    by: Any = _ANYBODY,
    app: Flask | AuditLogger | None = None,
) -> None:
    """Fail unless the log has a change of a record that is as expected.

    What is pending in the session is flushed first, as before a query.

    :param obj: a mapped object, also one that is deleted, or ``(Model, key)``.
    :param verb: ``"insert"``, ``"update"``, ``"delete"``, …; any of them if it is not given.
    :param changed: attributes with what they were and became, ``{"price": ("10.00", "12.50")}``. Values are compared as
        the column has them, so a text stands for a number, a time, a key or a member of an enum; before an insert and
        after a delete it is ``None``. There may be more that changed. ``unittest.mock.ANY`` is any value.
    :param by: who made it: an object or a key, ``None`` for nobody; anybody if it is not given.
    :param app: the application, or its ``AuditLogger``; needed only outside an application context.
    :raises AssertionError: with what is expected and recorded side by side.
    :raises unittest.SkipTest: on a database that captures nothing, such as SQLite: pytest skips the test.
    :raises ConfigurationError: if it is not audited, or an attribute or verb does not exist.
    """
    __tracebackhide__ = True
    if verb is not None and verb not in VERBS:
        raise ConfigurationError(f"{verb!r} is no kind of change; there are {', '.join(VERBS)}.")
    subject, key = obj if isinstance(obj, tuple) else (obj, None)
    table = _table_of(subject)
    with _logger(app, table.metadata) as logger:
        session = _flushed(logger, subject)
        _skip_unless_captured(_bind(logger, session, table))
        target = target_of(logger, subject, key)
        if target.key is None:
            raise ConfigurationError("assert_audited() takes an object, or (Model, key).")
        expected = _Expected(verb, dict(changed or {}), *_actor(logger, by))
        _check(replace(target, source=_seen_by_test(target.source, session, table)), expected)


class CapturedChanges(Sequence[Change]):
    """The changes recorded since a block began, oldest first: up to now inside it, up to its end after it."""

    def __init__(self, logger: AuditLogger, marks: Sequence[tuple[MetaData, int]], app: Flask | None) -> None:
        self._logger = logger
        self._marks = marks
        self._app = app
        self._found: tuple[Change, ...] | None = None

    @overload
    def __getitem__(self, index: int) -> Change: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...

    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self._changes()[index]

    def __len__(self) -> int:
        return len(self._changes())

    def __repr__(self) -> str:
        lines = "".join(f"\n  {_headline(change)}" for change in self._changes())
        return f"<{len(self)} changes{lines}>"

    def _changes(self) -> tuple[Change, ...]:
        if self._found is not None:
            return self._found
        with _context_of(self._app):
            return tuple(c for metadata, mark in self._marks for c in _changes_since(self._logger, metadata, mark))

    def _end(self) -> None:
        self._found = self._changes()


@contextmanager
def captured_changes(app: Flask | AuditLogger | None = None) -> Iterator[CapturedChanges]:
    """The changes that are recorded inside the block, in all databases of the application.

    Those of the application's session need no commit; what is pending in it is flushed at both ends. What another
    session or connection writes counts if it is committed, or if the test runs both on one connection.

    :param app: the application, or its ``AuditLogger``; needed only outside an application context.
    :raises unittest.SkipTest: on a database that captures nothing, such as SQLite: pytest skips the test.
    """
    with _logger(app) as logger:
        logged = [m for m in logger.database.metadatas.values() if any(True for _ in audited_tables(m))]
        if not logged:
            raise ConfigurationError("No table of this application is audited, so nothing could be captured.")
        marks = [(metadata, _mark(logger, metadata)) for metadata in logged]
        place = logger.database.place()
    # The block is in no application context in which it would not be without this.
    changes = CapturedChanges(logger, marks, place if isinstance(place, Flask) else None)
    yield changes
    changes._end()


@contextmanager
def no_audit(app: Flask | AuditLogger | None = None) -> Iterator[None]:
    """Record nothing inside the block, as for the rows that a test only needs to be there.

    :param app: the application, or its ``AuditLogger``; needed only outside an application context.
    """
    with _logger(app) as logger:
        _flush_current(logger)
    with logger.disable():
        yield
        _flush_current(logger)


# Where the log is


@contextmanager
def _context_of(app: Flask | None) -> Iterator[None]:
    """A context of an application, unless there is one."""
    current = current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]  # a proxy
    with nullcontext() if app is None or app is current else app.app_context():
        yield


@contextmanager
def _logger(given: Flask | AuditLogger | None, metadata: MetaData | None = None) -> Iterator[AuditLogger]:
    """The logger that is meant, in a context of its application.

    :param metadata: of tables that it is about.
    """
    with _context_of(given if isinstance(given, Flask) else None):
        yield given if isinstance(given, AuditLogger) else _found(metadata)


def _found(metadata: MetaData | None) -> AuditLogger:
    found = current_app.extensions.get("audit_logger") if has_app_context() else None
    if found is None and has_app_context():  # init_app() need not have been called
        metadatas = getattr(current_app.extensions.get("sqlalchemy"), "metadatas", {})
        found = metadatas[None].info.get(LOGGER_KEY) if None in metadatas else None
    if found is None and metadata is not None:
        found = metadata.info.get(LOGGER_KEY)
    if not isinstance(found, AuditLogger):
        raise ConfigurationError(
            "No AuditLogger is found here. Push the application's context, or give app=: the application, or the "
            "AuditLogger where there is none."
        )
    return found


def _table_of(subject: Any) -> Table:
    mapper: Any = inspect(subject if isinstance(subject, type) else type(subject), raiseerr=False)
    if not isinstance(mapper, Mapper) or not isinstance(mapper.local_table, Table):
        raise ConfigurationError(f"{subject!r} is neither a mapped object nor (Model, key).")
    return mapper.local_table


def _flush_current(logger: AuditLogger) -> None:
    if logger.database.place() is not None and (session := logger.database.current_session()) is not None:
        session.flush()


def _flushed(logger: AuditLogger, obj: Any = None) -> Session | None:
    """The session in which a test writes: that of the object, else the application's."""
    session = object_session(obj) if obj is not None and not isinstance(obj, type) else None
    session = session or logger.database.current_session()
    if session is None and (sessions := logger.database.sessions()) is not None:
        session = sessions()  # a new one, which knows on which connection a test runs
    if session is not None:
        session.flush()
    return session


def _bind(logger: AuditLogger, session: Session | None, table: Table) -> Engine | Connection:
    return engine_with(logger.database, table.metadata) if session is None else session.get_bind(clause=table)


def _skip_unless_captured(bind: Engine | Connection) -> None:
    if not is_supported(bind):
        # pytest takes this for a skip, too, and unittest knows no other
        raise unittest.SkipTest(f"nothing is captured: {reason(bind)}")


@dataclass(frozen=True)
class _TestReader(AuditReader):
    """Reads in the open transaction of a session, else what is committed.

    :param session: the session of the test.
    :param table: a table of its database.
    """

    session: Session | None = field(default=None, kw_only=True)
    table: Table = field(kw_only=True)

    @contextmanager
    def reading(self, *, timeout_ms: int | None = None) -> Iterator[Log]:
        """Read without a trace: what is set for reading ends with a savepoint."""
        connection = self._open()
        if connection is None:
            with super().reading(timeout_ms=timeout_ms) as log:
                yield log
            return
        savepoint = connection.begin_nested()
        try:
            connection.execution_options(**{NOT_STAMPED: True})
            connection.execute(select(*(func.set_config(name, value, True) for name, value in SETTINGS)))
            yield Log(connection=connection, models=self.models)
        finally:
            connection.execution_options(**{NOT_STAMPED: False})
            savepoint.rollback()

    def _open(self) -> Connection | None:
        """The connection with the open transaction of the test, if there is one."""
        if self.session is not None and self.session.in_transaction():
            connection = self.session.connection(bind_arguments={"clause": self.table})
            # in autocommit all is committed, and a savepoint can't be made
            is_open = not getattr(connection.connection.dbapi_connection, "autocommit", False)
            return connection if is_open else None
        bind = self.engine if self.session is None else self.session.get_bind(clause=self.table)
        return bind if isinstance(bind, Connection) and bind.in_transaction() else None


def _seen_by_test(source: Source, session: Session | None, table: Table) -> Source:
    bind: Any = source.engine if session is None else session.get_bind(clause=table)
    reader = _TestReader(bind.engine, source.reader.models, source.reader.timeout_ms, session=session, table=table)
    return replace(source, reader=reader)


# Captured changes


def _source(logger: AuditLogger, metadata: MetaData) -> Source:
    session, table = _flushed(logger), next(iter(metadata.tables.values()))
    _skip_unless_captured(_bind(logger, session, table))
    bind = next(bind for bind, each in logger.database.metadatas.items() if each is metadata)
    return _seen_by_test(source_of(logger, bind), session, table)


def _mark(logger: AuditLogger, metadata: MetaData) -> int:
    """The last number of an entry. Tests have small logs: finding it reads all of them."""
    source = _source(logger, metadata)
    with source.reader.reading() as log:
        return log.scalar(select(func.coalesce(func.max(log.models.activity.c.id), 0))) or 0


def _changes_since(logger: AuditLogger, metadata: MetaData, mark: int) -> tuple[Change, ...]:
    source = _source(logger, metadata)
    with source.reader.reading() as log:
        a, t = log.models.activity, log.models.transaction
        columns = (*activity_columns(log.models, whole=True), *transaction_columns(log.models))
        joined = a.outerjoin(t, a.c.transaction_id == t.c.id)
        statement: Select[Any] = select(*columns).select_from(joined).where(a.c.id > mark).order_by(a.c.id)
        return changes_of(source, log, read_activities(log.all(statement)))


# Comparing


@dataclass(frozen=True)
class _Expected:
    """What a change should be.

    :param by: how the actor is called in a message; ``None`` if anybody will do.
    """

    verb: str | None
    changed: Mapping[str, tuple[Any, Any]]
    by: str | None
    actor_id: str | None
    other_actor: Mapping[str, Any] | None


def _actor(logger: AuditLogger, by: Any) -> tuple[str | None, str | None, Mapping[str, Any] | None]:
    if by is _ANYBODY:
        return None, None, None
    actor = identify(by, with_label=False)
    if actor.model is None or actor.is_among(logger.actor_cls):
        return actor.id or "nobody", actor.id, None
    # an actor of another class than the log's is in the context
    other = {"class": actor.model.__name__, "key": actor.id}
    return f"{actor.model.__name__} {actor.id}", None, other


class _Line:
    """One line of a comparison: what is expected and what is recorded, and whether that is the same."""

    def __init__(self, name: str, expected: str, recorded: str, is_same: bool) -> None:
        self.name = name
        self.is_same = is_same
        self.expected, self.recorded = (expected, recorded) if is_same else _cut(expected, recorded)


def _check(target: Target, expected: _Expected) -> None:
    __tracebackhide__ = True
    recorded = [_merged(changes) for changes in _together(history_of(target))]
    typed = _typed(target, expected.changed)
    compared = [_compared(change, expected, typed) for change in recorded]
    if any(all(line.is_same for line in lines) for lines in compared):
        return
    what = f"{target.mapper.class_.__name__} {target.key}"
    if not recorded:
        raise AssertionError(
            f"Nothing is recorded of {what}.\nexpected: {_wanted(expected)}\n"
            "If it was written: does `flask audit status` find the trigger, and is the session the one that wrote it?"
        )
    nearest = max(range(len(recorded)), key=lambda i: sum(line.is_same for line in compared[i]))
    raise AssertionError(_message(what, recorded, nearest, compared[nearest]))


def _together(history: History) -> Iterator[list[Change]]:
    """The changes of a record; those of its rows in several tables that one transaction wrote are one."""
    if len(history.tables) <= 1:
        yield from ([change] for change in history)
        return
    for _, group in groupby(history, key=lambda change: change.cursor.transaction_id):
        changes = list(group)
        for verb in dict.fromkeys(change.verb for change in changes):
            yield [change for change in changes if change.verb == verb]


def _merged(changes: Sequence[Change]) -> Change:
    if len(changes) == 1:
        return changes[0]
    diff: dict[str, Difference] = {}
    for change in changes:  # newest first
        for name, values in change.diff.items():
            diff[name] = Difference(values.before, diff[name].after) if name in diff else values
    return replace(changes[0], diff=diff)


def _typed(target: Target, changed: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """What is expected, read by PostgreSQL as it reads what is logged."""
    found: dict[str, tuple[Any, Any]] = {}
    for info in target.tables:
        columns = {attribute: column for column, attribute in names_of(target.source, info).items()}
        for name in changed.keys() & columns.keys():
            column = columns[name]
            pair: Any = changed[name]
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ConfigurationError(f"changed[{name!r}] is {pair!r}; give what it was and what it became.")
            if column in info.excluded:
                raise ConfigurationError(f"{name!r} is excluded, so the log never has it.")
            with target.source.reader.reading() as log:
                before, after = (typed_rows(log, info, [{column: _logged(value)}])[0][column] for value in pair)
            found.setdefault(name, (before, after))
    unknown = [name for name in changed if name not in found]
    if unknown:
        raise ConfigurationError(f"{target.mapper.class_.__name__} has no column {unknown[0]!r}.")
    return found


def _logged(value: Any) -> Any:
    """A value as the log may have it; what it can't be as text or number is compared as it is."""
    if isinstance(value, float | Decimal | UUID):
        return str(value)
    return value if isinstance(value, int | str) else None


def _compared(change: Change, expected: _Expected, typed: Mapping[str, tuple[Any, Any]]) -> list[_Line]:
    lines = []
    if expected.verb is not None:
        lines.append(_Line("verb", expected.verb, change.verb, expected.verb == change.verb))
    if expected.by is not None:
        lines.append(_Line("by", expected.by, _who(change), _is_by(change, expected)))
    for name, pair in expected.changed.items():
        found = change.diff.get(name)
        is_same = found is not None and all(map(_is_value, pair, typed[name], found))
        lines.append(_Line(name, _pair(pair), "not changed" if found is None else _pair(found), is_same))
    return lines


def _is_value(expected: Any, typed: Any, recorded: Any) -> bool:
    return bool(expected == recorded) or (typed is not None and bool(typed == recorded))


def _is_by(change: Change, expected: _Expected) -> bool:
    other = None if change.transaction is None else change.transaction.context.get("actor")
    return change.actor.id == expected.actor_id and (other == expected.other_actor)


# Messages


def _who(change: Change) -> str:
    other = None if change.transaction is None else change.transaction.context.get("actor")
    if change.actor.id is None and isinstance(other, dict):
        return f"{other.get('class')} {other.get('key')}"
    label = f" ({change.actor.label})" if change.actor.label else ""
    return f"{change.actor.id or 'nobody'}{label}"


def _pair(values: Sequence[Any]) -> str:
    return f"{values[0]!r} → {values[1]!r}"


def _cut(one: str, other: str) -> tuple[str, str]:
    """Two texts from shortly before where they differ, if they are too long to stand side by side."""
    if max(len(one), len(other)) <= WIDTH:
        return one, other
    same = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, min(same - WIDTH // 3, max(len(one), len(other)) - WIDTH))

    def part(text: str) -> str:
        end = "…" if len(text) > start + WIDTH else ""
        return ("…" if start else "") + text[start : start + WIDTH] + end

    return part(one), part(other)


def _headline(change: Change) -> str:
    what = change.event.name if change.event is not None else ", ".join(change.diff) or "no column"
    return f"{change.id} {change.verb} {change.table} {change.key or ''} by {_who(change)}: {what}"


def _wanted(expected: _Expected) -> str:
    parts = [expected.verb or "a change"]
    parts += [] if expected.by is None else [f"by {expected.by}"]
    parts += [f"{name} {_pair(pair)}" for name, pair in expected.changed.items()]
    return ", ".join(parts)


def _message(what: str, recorded: Sequence[Change], nearest: int, lines: Sequence[_Line]) -> str:
    change = recorded[nearest]
    head = ("", "expected", f"recorded as {change.id}")
    rows = [(line.name, line.expected, line.recorded) for line in lines]
    first, second = (max(len(row[i]) for row in [head, *rows]) for i in (0, 1))
    table = [
        f"{'≠' if number and not lines[number - 1].is_same else ' '} {a:{first}}  {b:{second}}  {c}".rstrip()
        for number, (a, b, c) in enumerate([head, *rows])
    ]
    others = [_headline(each) for i, each in enumerate(recorded) if i != nearest]
    also = ["Also recorded:", *(f"  {text}" for text in others[:MOST_OTHERS])] if others else []
    more = [f"  and {len(others) - MOST_OTHERS} more"] if len(others) > MOST_OTHERS else []
    return "\n".join([f"No change of {what} is as expected. The nearest:", *table, *also, *more])
