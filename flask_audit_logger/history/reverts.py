"""Take back a transaction, a change, or what happened to a record since a time: plan, preview, and one write.

The changes are walked from the newest to the oldest, back through the states that existed, so that foreign keys and
unique values hold at each step. ``docs/decisions/history.md`` says what is not taken back, and why.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from ..diff.show import printable
from ..exceptions import Conflict, Refused, TooManyChanges
from ..i18n import marked
from ..query.put_back import objection_of
from ..query.reader import SETTINGS, Log
from ..query.refs import RecordRef, stored_key
from ..query.rows import ActivityRow
from ..query.scope import newest_changes, out_of_reach
from ..query.tables import TableCatalog, TableInfo
from ..schema.names import TableName
from ..sql import quote_ident, quote_literal
from .references import missing_targets, pointing_rows
from .runs import BACK, Run, Step, StepRules, in_order, is_as_left, statement_of
from .write_back import live_rows, write

#: Most changes that are taken back in one write.
MOST_CHANGES = 100_000

#: Examples of each group in a preview.
SAMPLES = 3

#: Reads the chosen changes with their whole old rows, newest first.
Changes = Callable[[Log], Iterable[ActivityRow]]

_CHANGED = marked("changed since")
_GONE = marked("gone")
_THERE = marked("there is such a record again")
_POINTED_AT = marked("other records point to it")
_TARGET_GONE = marked("the referenced record no longer exists")
_UNREACHED = marked("the record is gone, or not visible to you")
_EMPTIED = marked("the table was emptied later")
_MOVED = marked("the record has no key, or its key has changed")


@dataclass(frozen=True)
class Group:
    """Changes of one kind that go back.

    :param verb: what happens to the rows: ``insert``, ``update`` or ``delete``.
    :param columns: that an update sets.
    :param lacking: columns that rows which are made again will not have as they were.
    :param samples: some of the changes.
    """

    table: TableName
    verb: str
    columns: tuple[str, ...]
    lacking: tuple[str, ...]
    number: int
    samples: tuple[ActivityRow, ...]


@dataclass(frozen=True)
class Problem:
    """Records that stay as they are.

    :param number: of records; of changes where a record has no key.
    :param samples: some of the records.
    """

    table: TableName
    reason: str
    number: int
    samples: tuple[RecordRef, ...]

    def text(self, table: str) -> str:
        """On one line, with nothing in it that a terminal would obey or that would end a comment.

        :param table: its name.
        """
        samples = ", ".join(shlex.join(record.components) for record in self.samples if record.key)
        more = f": {samples}" if samples else ""
        return printable(f"{table}: {self.number:,} ({self.reason}){more}")


@dataclass(frozen=True)
class Preview:
    """What would be taken back.

    :param conflicts: what was changed since; it stays as it is.
    :param impossible: what can't be taken back.
    :param number: changes that go back.
    :param digest: of all of this: what is applied with it is what was previewed.
    """

    groups: tuple[Group, ...]
    conflicts: tuple[Problem, ...]
    impossible: tuple[Problem, ...]
    number: int
    digest: str


@dataclass(frozen=True)
class Reverted:
    """What was taken back.

    :param transaction_id: id of the transaction that did it; ``None`` if nothing that is logged was written.
    """

    preview: Preview
    transaction_id: int | None


@dataclass(eq=False)
class _Track:
    """A record on the way back.

    :param key: the values of its key today.
    :param start: its record today; ``end``: at the end of the way.
    :param exists: whether there is a row at this point of the way.
    :param live: the row of today, while it still is what is there.
    :param covered: columns that are known to be as a change left them.
    :param needs: the records that it points to then and that are not there today, by the columns of the foreign key.
    """

    key: tuple[str, ...]
    start: RecordRef | None
    end: RecordRef | None
    exists: bool
    newest: int
    is_live: bool = True
    covered: frozenset[str] = frozenset()
    conflict: str | None = None
    obstacle: str | None = None
    dependents: list[tuple[_Track, str, bool]] = field(default_factory=list)
    needs: dict[tuple[str, ...], RecordRef] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether it stays as it is."""
        return bool(self.conflict or self.obstacle)


@dataclass
class _Plan:
    """What is found out on the way back, before anything is written."""

    tracks: dict[RecordRef, _Track] = field(default_factory=dict)
    starts: dict[RecordRef, _Track] = field(default_factory=dict)
    entries: list[tuple[int, int, _Track]] = field(default_factory=list)
    groups: dict[tuple[Any, ...], tuple[int, list[ActivityRow]]] = field(default_factory=dict)
    emptied: set[TableName] = field(default_factory=set)
    edges: list[tuple[_Track, RecordRef]] = field(default_factory=list)

    def kept(self) -> set[int]:
        """Ids of the changes that are not taken back."""
        return {number for number, _, track in self.entries if track.is_kept}


@dataclass(frozen=True)
class Revert:
    """Taking changes back: :meth:`preview` reads, :meth:`apply` writes, :meth:`sql` prints.

    :param changes: reads the chosen changes.
    :param rules: what is known of tables, classes and what may be seen.
    :param catalog: the tables.
    :param reading: opens a read of the log.
    :param log_of: the log as it is read in the transaction that writes.
    :param writing: opens the session in which it is written.
    :param context: what the log says about the write.
    :param bind: of the database, as a table of it.
    """

    changes: Changes
    rules: StepRules
    catalog: TableCatalog
    reading: Callable[[], AbstractContextManager[Log]]
    log_of: Callable[[Connection], Log]
    writing: Callable[[], AbstractContextManager[Session]]
    context: Callable[[], AbstractContextManager[None]]
    bind: Any

    def preview(self) -> Preview:
        """What goes back, what was changed since, and what can't be taken back; it reads only.

        :raises TooManyChanges: if there are more changes than one write takes back.
        """
        with self.reading() as log:
            return self._planned(log, lock=False)[0]

    def sql(self) -> Iterator[str]:
        """The statements as a script that changes nothing until its last word is replaced by ``COMMIT``."""
        with self.reading() as log:
            preview, kept = self._planned(log, lock=False)
            for problem in (*preview.conflicts, *preview.impossible):
                yield f"-- NOT TAKEN BACK: {problem.text(self.catalog.text(problem.table))}\n"
            yield "BEGIN;\n"
            for name, value in SETTINGS:
                yield f"SET LOCAL {quote_ident(name)} = {quote_literal(value)};\n"
            yield "SET CONSTRAINTS ALL DEFERRED;\n"
            for run, steps in self._steps(log, kept):
                statement = statement_of(run, steps, self.rules.mappers)
                if statement is not None:
                    yield statement.with_parameter(quote_literal(printable(statement.data))) + ";\n"
            yield "ROLLBACK;\n"

    def apply(
        self, *, conflicts: str = "refuse", expected: str | None = None, session: Session | None = None
    ) -> Reverted:
        """Take it back in one write, through the application's session.

        :param conflicts: ``"refuse"`` if anything was changed since, or ``"skip"``: that stays as it is.
        :param expected: the digest of a preview.
        :param session: writes in this one, and leaves the commit to its owner. Without it the application's session is
            committed, with whatever else it has.
        :raises Conflict: if something was changed since, or anything is not as it was previewed.
        :raises Refused: if nothing can be taken back, or the database refused it. Nothing is changed then.
        """
        if conflicts not in ("refuse", "skip"):
            raise ValueError(f"conflicts must be 'refuse' or 'skip', not {conflicts!r}")
        if session is not None:
            return self._apply(session, conflicts, expected)
        with self.writing() as own:
            try:
                done = self._apply(own, conflicts, expected)
                own.commit()
            except BaseException:
                own.rollback()
                raise
        return done

    def _apply(self, session: Session, conflicts: str, expected: str | None) -> Reverted:
        session.flush()
        with self.context():
            connection = session.connection(bind_arguments={"clause": self.bind})
            connection.execute(select(*(func.set_config(name, value, True) for name, value in SETTINGS)))
            log = self.log_of(connection)
            preview, kept = self._planned(log, lock=True)
            if expected is not None and preview.digest != expected:
                raise Conflict("something has changed since the preview")
            if conflicts == "refuse" and preview.conflicts:
                raise Conflict(f"changed since: {sum(p.number for p in preview.conflicts)} records")
            if not preview.number:
                raise Refused("there is nothing that can be taken back")
            try:
                with connection.begin_nested():
                    connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
                    for run, steps in self._steps(log, kept):
                        write(session, run, steps, self.rules.mappers)
                    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
            except SQLAlchemyError as error:
                objection = objection_of(error)
                raise Refused(f"the database refused it: {objection}", objection) from error
            session.expire_all()
            remembered = select(func.current_setting("flask_audit_logger.transaction", True))
            parts = (connection.execute(remembered).scalar() or "").split(" ")
        return Reverted(preview, int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None)

    def _steps(self, log: Log, kept: Collection[int]) -> Iterator[tuple[Run, list[Step]]]:
        for run in in_order(self.rules.runs(self.changes(log))):
            steps = [step for step in run.steps if step.row.id not in kept]
            if steps:
                yield run, steps

    def _planned(self, log: Log, *, lock: bool) -> tuple[Preview, set[int]]:
        plan = _Plan()
        try:
            for run in self.rules.runs(self.changes(log)):
                self._walk(log, plan, run, lock=lock)
                if len(plan.entries) > MOST_CHANGES:
                    raise TooManyChanges(f"one write takes back at most {MOST_CHANGES:,} changes")
        except DBAPIError as error:
            objection = objection_of(error)
            raise Refused(f"the rows can't be read: {objection}") from error
        _settle(plan)
        return _preview(plan), plan.kept()

    def _walk(self, log: Log, plan: _Plan, run: Run, *, lock: bool) -> None:
        """Look at the changes of a run, and go back to how the records were before it."""
        info = run.info
        unreached = out_of_reach(log, [step.row for step in run.steps], self.catalog.key)
        if info is None or not run.steps[0].before:
            for step in run.steps:
                self._lose(plan, run, step)
            return
        wanted = {}
        for step in run.steps:
            known = plan.tracks.get(RecordRef(run.table, stored_key(step.after)))
            if known is None or known.is_live:
                key = step.after if known is None else known.key
                wanted[stored_key(key)] = key
        live = live_rows(log.connection, info, list(wanted.values()), lock=lock)
        taken = []
        for step in run.steps:
            record = RecordRef(run.table, stored_key(step.after))
            track = plan.tracks.get(record)
            if track is None:
                track = _Track(step.after, record, record, record.key in live, step.row.transaction_id)
                plan.starts[record] = track
            now = live.get(track.start.key) if track.start is not None else None
            self._look(log, plan, run, step, track, now)
            if step.row.id in unreached:
                track.obstacle = track.obstacle or _UNREACHED
            taken.append((step, record, track))
            if step.is_renamed:
                plan.tracks.pop(record, None)
            else:
                plan.tracks[record] = track
        for step, record, track in taken:
            if step.is_renamed:
                track.end = RecordRef(run.table, stored_key(step.before))
                plan.tracks[track.end] = track
                gone = _Track(step.after, None, record, False, step.row.transaction_id, is_live=False)
                plan.tracks.setdefault(record, gone)
        self._neighbours(log, plan, run, taken)

    def _lose(self, plan: _Plan, run: Run, step: Step) -> None:
        """A change that can't be taken back, of no record that is known."""
        record = step.row.record
        track = _Track((), record, record, False, step.row.transaction_id, obstacle=step.refusal)
        plan.entries.append((step.row.id, _group(plan, run, step), track))
        if run.verb == "truncate":
            plan.emptied.add(run.table)

    def _look(self, log: Log, plan: _Plan, run: Run, step: Step, track: _Track, live: dict[str, Any] | None) -> None:
        """Whether the record is as the change left it; if so, it goes back to how it was before."""
        info, row = run.info, step.row
        assert info is not None  # noqa: S101 - see _walk
        if step.then or step.refusal is not None or run.verb != "update":
            plan.entries.append((row.id, _group(plan, run, step), track))
        if step.refusal is not None or run.table in plan.emptied:
            track.obstacle = track.obstacle or step.refusal or _EMPTIED
        keeps_key = not all(self.rules.goes_back(info, name) for name in info.key)
        if step.then and keeps_key and track.start is not None and track.start.key != stored_key(step.after):
            track.obstacle = track.obstacle or _MOVED
        if track.exists != (run.verb != "delete"):
            track.conflict = track.conflict or (_THERE if track.exists else _GONE)
        elif track.is_live and live is not None and run.verb != "delete":
            left = step.left
            if log.is_scoped and not track.covered:  # what they can't see changed: it may be another's by now
                state = row.state_after or {}
                left = {name: value for name, value in state.items() if self.rules.is_compared(info, name)}
            if not is_as_left(info, live, left, track.covered):
                track.conflict = track.conflict or _CHANGED
            track.covered = track.covered | frozenset(left)
        if run.verb == "delete":
            track.exists, track.is_live = True, False
        elif run.verb == "insert":
            track.exists, track.is_live = False, False

    def _neighbours(self, log: Log, plan: _Plan, run: Run, taken: list[tuple[Step, RecordRef, _Track]]) -> None:
        """Note what the rows that come back point to, and what points to those that go."""
        info = run.info
        assert info is not None  # noqa: S101 - see _walk
        taken = [(step, record, track) for step, record, track in taken if not track.is_kept]
        if run.verb == "insert":
            for number, child in pointing_rows(log.connection, self.catalog, info, [step.left for step, *_ in taken]):
                plan.edges.append((taken[number][2], child))
            self._look_behind(log, info, taken)
        elif not log.is_scoped:  # else the database says so: whether a record of others exists is not told
            missing: dict[int, dict[tuple[str, ...], RecordRef]] = {}
            for number, names, target in missing_targets(
                log.connection, self.catalog, info, [s.then for s, *_ in taken]
            ):
                missing.setdefault(number, {})[names] = target
            for number, (step, _, track) in enumerate(taken):  # what an older change brings back counts
                left = {names: target for names, target in track.needs.items() if step.then.keys().isdisjoint(names)}
                track.needs = left | missing.get(number, {})

    def _look_behind(self, log: Log, info: TableInfo, taken: list[tuple[Step, RecordRef, _Track]]) -> None:
        """A row with values that can't be compared goes only if the log has no later change of it."""
        if not any(not self.rules.is_compared(info, name) for name in info.columns if name not in info.ignored):
            return
        records = {track.start for _, _, track in taken if track.start is not None}
        found = newest_changes(log, records, self.catalog.key)
        for _, _, track in taken:
            newest = found.get(track.start) if track.start in records else None
            if newest is not None and newest.transaction_id > track.newest:
                track.conflict = track.conflict or _CHANGED


def _group(plan: _Plan, run: Run, step: Step) -> int:
    """The number of the group of changes that a change is one of."""
    columns = tuple(step.then) if run.verb == "update" else ()
    key = (run.table, BACK.get(run.verb, run.verb), columns, step.lacking)
    number, samples = plan.groups.setdefault(key, (len(plan.groups), []))
    if len(samples) < SAMPLES * 3 and step.refusal is None:
        samples.append(step.row)
    return number


def _settle(plan: _Plan) -> None:
    """Leave as they are, too: rows whose reference would lead nowhere, and rows to which something else points."""
    tracks = {id(track): track for *_, track in plan.entries}.values()
    needs = ((track, target) for track in tracks if track.exists for target in track.needs.values())
    for track, target in needs:
        found = plan.tracks.get(target)
        if found is None or not found.exists:
            track.obstacle = track.obstacle or _TARGET_GONE
        else:
            found.dependents.append((track, _TARGET_GONE, False))
    for track, child in plan.edges:
        found = plan.starts.get(child)
        if found is None:
            track.conflict = track.conflict or _POINTED_AT
        else:
            found.dependents.append((track, _POINTED_AT, True))
    waiting = [track for *_, track in plan.entries if track.is_kept]
    while waiting:
        for dependent, reason, is_conflict in waiting.pop().dependents:
            if dependent.is_kept:
                continue
            if is_conflict:
                dependent.conflict = reason
            else:
                dependent.obstacle = reason
            waiting.append(dependent)


def _preview(plan: _Plan) -> Preview:
    digest = hashlib.sha256()
    numbers: dict[int, int] = {}
    problems: dict[tuple[bool, TableName, str], dict[int, RecordRef | None]] = {}
    tables = {number: key for key, (number, _) in plan.groups.items()}
    kept = plan.kept()
    for change, group, track in plan.entries:
        reason = track.obstacle or track.conflict or ""
        digest.update(f"{change}:{reason};".encode())
        if not reason:
            numbers[group] = numbers.get(group, 0) + 1
            continue
        table = tables[group][0]
        problems.setdefault((bool(track.obstacle), table, reason), {})[id(track)] = track.start or track.end
    groups = [
        Group(table, verb, columns, lacking, numbers[number], tuple(r for r in samples if r.id not in kept)[:SAMPLES])
        for (table, verb, columns, lacking), (number, samples) in plan.groups.items()
        if number in numbers
    ]
    return Preview(
        tuple(groups),
        tuple(_problem(key, found) for key, found in problems.items() if not key[0]),
        tuple(_problem(key, found) for key, found in problems.items() if key[0]),
        sum(numbers.values()),
        digest.hexdigest(),
    )


def _problem(key: tuple[bool, TableName, str], found: dict[int, RecordRef | None]) -> Problem:
    _, table, reason = key
    samples = [record for record in list(found.values())[:SAMPLES] if record is not None]
    return Problem(table, reason, len(found), tuple(samples))
