"""The changes that are taken back, newest first, in runs of which one statement each takes care."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Integer
from sqlalchemy.dialects import postgresql

from ..diff import ValueKind, differs
from ..diff.values import JSON_NULL, MASKED, NULL, as_value, dump, mark_of, value_of
from ..i18n import marked
from ..query.drift import is_json_array, json_array, key_of
from ..query.put_back import MADE, NO_ROW, column_of, counted_column, obstacle_of
from ..query.records import renamed_to
from ..query.refs import stored_key
from ..query.rows import ActivityRow
from ..query.tables import TableInfo
from ..schema.names import TableName
from ..sql import quote_ident, quote_literal

#: Changes that one statement takes back, and characters of their values.
MOST_IN_RUN = 2000
MOST_CHARACTERS = 8_000_000

#: What takes back a change.
BACK = {"insert": "delete", "update": "update", "delete": "insert"}

#: The application's table, which the statements call so.
ROW = "audit_row"


@dataclass
class Step:
    """One change that is taken back.

    :param before: the values of the record's key before the change as text; after a new row the key it has.
    :param after: the same after it.
    :param left: the values that it left, as logged.
    :param then: the values that come back, as logged.
    :param lacking: columns of a row that is made again which it will not have as they were.
    :param refusal: why it can't be taken back.
    """

    row: ActivityRow
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    left: dict[str, Any] = field(default_factory=dict)
    then: dict[str, Any] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def is_renamed(self) -> bool:
        """Whether the change gave the record another key."""
        return self.before != self.after


@dataclass
class Run:
    """Neighbouring changes of one table and verb; of none if ``info`` is ``None``."""

    table: TableName
    verb: str
    info: TableInfo | None
    steps: list[Step] = field(default_factory=list)
    size: int = 0
    _befores: dict[str, Step] = field(default_factory=dict)
    _afters: set[str] = field(default_factory=set)
    _plain: set[str] = field(default_factory=set)

    def takes(self, step: Step) -> bool:
        """Whether a step can be taken in the same statement as those that are there."""
        row = step.row
        if row.table != self.table or row.verb != self.verb:
            return False
        before, after = stored_key(step.before), stored_key(step.after)
        if before in self._plain or after in self._plain:
            # several updates of a record are one; nothing else of it can be in one statement
            return self.verb == "update" and not step.is_renamed and not self.is_full
        if not step.is_renamed:
            return not self.is_full and before not in self._befores and before not in self._afters
        if before in self._befores or after in self._afters or self._is_of_another_statement(step):
            return False
        return after not in self._befores or self._is_beside(step)

    def _is_of_another_statement(self, step: Step) -> bool:
        """Whether keys changed before those of the run: taken back with them, a record would get a key too early."""
        newer = next(iter(self._befores.values()), step)
        return newer.row.issued_at != step.row.issued_at

    def _is_beside(self, step: Step) -> bool:
        """Whether a row got the key that another one lost in the same statement, as if all keys are counted up."""
        lost, made = self._befores[stored_key(step.after)].row.old_data, {**step.row.old_data, **step.row.changed_data}
        return any(lost.get(name) != made.get(name) for name in lost.keys() & made.keys())

    @property
    def is_full(self) -> bool:
        """Whether the next change belongs to another statement.

        Keys that change at once go back at once, and rows that may point to each other.
        """
        if self._befores or (self.info is not None and self.points_to({self.table})):
            return False
        return len(self.steps) >= MOST_IN_RUN or self.size >= MOST_CHARACTERS

    def points_to(self, tables: Collection[TableName]) -> bool:
        """Whether a foreign key of the table leads to one of these."""
        return self.info is not None and any(name in tables for name in self.info.targets)

    def may_follow(self, tables: Collection[TableName]) -> bool:
        """Whether foreign keys can have made the changes because of rows of these tables."""
        if self.info is None or not self.points_to(tables) or self.verb == "insert":
            return False
        pointing = {column.name for key in self.info.table.foreign_key_constraints for column in key.columns}
        return self.verb == "delete" or any(pointing & step.row.changed_data.keys() for step in self.steps)

    def add(self, step: Step) -> None:
        """Take a step into the run."""
        self.steps.append(step)
        self.size += len(step.row.old_text or "") + len(step.row.changed_text or "")
        if step.is_renamed:
            self._befores[stored_key(step.before)] = step
            self._afters.add(stored_key(step.after))
        else:
            self._plain.add(stored_key(step.before))


@dataclass(frozen=True)
class StepRules:
    """What is needed to make steps of changes.

    :param find: what the models say about a table.
    :param mappers: the mapped classes.
    :param hidden: whether a column may not be seen by whoever takes back.
    :param only: the columns of each table that go back; all if it is ``None``.
    """

    find: Callable[[TableName], TableInfo | None]
    mappers: Collection[Any]
    hidden: Callable[[TableName, str], bool]
    only: Mapping[TableName, Collection[str]] | None = None
    _counted: dict[TableName, str | None] = field(default_factory=dict)

    def runs(self, rows: Iterable[ActivityRow]) -> Iterator[Run]:
        """The changes in runs.

        :param rows: with their whole old rows, newest first.
        """
        run: Run | None = None
        for row in rows:
            if row.verb not in (*BACK, "truncate") or (self.only is not None and row.verb != "update"):
                continue  # an entry about the log itself or an event: nothing of it is in a row
            step = self._step(row)
            if run is None or not step.before or not run.steps[0].before or not run.takes(step):
                if run is not None:
                    yield run
                run = Run(row.table, row.verb, self._info(row.table))
            run.add(step)
        if run is not None:
            yield run

    def _info(self, table: TableName) -> TableInfo | None:
        info = self.find(table)
        return info if info is not None and info.is_audited else None

    def _step(self, row: ActivityRow) -> Step:
        info = self._info(row.table)
        if row.verb == "truncate":
            return Step(row, refusal=marked("the rows that TRUNCATE removed are not in the log"))
        if info is None:
            return Step(row, refusal=marked("the application has no such table"))
        before = _key(info, row)
        renamed = renamed_to(row, info.key)
        after = before if renamed is None else renamed
        if not before or not after:
            return Step(row, refusal=marked("the record has no key, or its key has changed"))
        if row.verb == "insert":
            return self._removed(info, Step(row, before, after))
        step = Step(row, before, after)
        return self._made(info, step) if row.verb == "delete" else self._updated(info, step)

    def _removed(self, info: TableInfo, step: Step) -> Step:
        """The row that a change made goes."""
        step.left = {name: value for name, value in step.row.changed_data.items() if self.is_compared(info, name)}
        return step

    def _made(self, info: TableInfo, step: Step) -> Step:
        """The row that a change removed is made again, by the rules by which a single one is."""
        data = step.row.old_data
        unknown = {n for n in info.columns if n not in data or self.hidden(info.name, n) or value_of(data, n) == MASKED}
        lacking = [n for n in info.ordered(unknown) if not info.columns[n].is_generated]
        step.then = {name: value for name, value in data.items() if name not in unknown}
        step.lacking = tuple(lacking)
        if any(info.columns[name].is_required for name in lacking):
            step.refusal = marked("the log has no values for columns that are required")
        self._check(info, step)
        return step

    def _updated(self, info: TableInfo, step: Step) -> Step:
        row, counted = step.row, self._counted_in(info)
        touched = [n for n in info.ordered(row.changed_data) if self.goes_back(info, n)]
        touched = [n for n in touched if n != counted and n not in info.ignored]
        if any(self.hidden(info.name, n) or MASKED in (row.before(n), value_of(row.changed_data, n)) for n in touched):
            step.refusal = marked(
                "some of its values are masked or hidden from you; in code, only= names the columns that may go back"
            )
        elif not set(touched) <= row.old_data.keys():
            step.refusal = marked("its old values are not in the log")
        step.then = {name: row.old_data.get(name) for name in touched}
        step.left = {name: row.changed_data[name] for name in touched if self.is_compared(info, name)}
        self._check(info, step)
        return step

    def _check(self, info: TableInfo, step: Step) -> None:
        """Leave out what the database makes; refuse what can't be written."""
        for name, value in list(step.then.items()):
            declared = info.columns.get(name)
            obstacle = obstacle_of(info, name, value, NO_ROW, None)
            is_numbered = declared is not None and declared.is_numbered and step.row.verb == "update"
            if obstacle == MADE or is_numbered:
                del step.then[name]
            elif obstacle is not None:
                step.refusal = step.refusal or obstacle
        is_odd = any(mark_of(v) == "text" and info.kind(n) is not ValueKind.JSON for n, v in step.left.items())
        if is_odd or any(mark_of(value) == "too large" for value in step.left.values()):
            step.refusal = step.refusal or marked("the log could not store the exact value")

    def goes_back(self, info: TableInfo, name: str) -> bool:
        """Whether a column is one of those that are wanted."""
        return self.only is None or name in self.only.get(info.name, ())

    def _counted_in(self, info: TableInfo) -> str | None:
        if info.name not in self._counted:
            self._counted[info.name] = counted_column(self.mappers, info)
        return self._counted[info.name]

    def is_compared(self, info: TableInfo, name: str) -> bool:
        """Whether a row that has another value by now was changed by somebody."""
        declared = info.columns.get(name)
        if declared is None:
            return False
        unseen = name in info.masked or name in info.ignored or self.hidden(info.name, name)
        return not unseen and not declared.is_generated and name != self._counted_in(info)


def _key(info: TableInfo, row: ActivityRow) -> tuple[str, ...]:
    """The values of the key that the record had before the change."""
    try:
        found = key_of(info, row.record, {**row.changed_data, **row.old_data}) if row.record is not None else ()
    except LookupError:
        return ()
    return found if len(found) == len(info.key) else ()


def is_as_left(info: TableInfo, live: Mapping[str, Any], left: Mapping[str, Any], but: Collection[str] = ()) -> bool:
    """Whether a row still has the values that a change left."""
    now = dict(live)
    return all(
        name in but or not differs(value_of(now, name), as_value(value), info.kind(name))
        for name, value in left.items()
    )


@dataclass(frozen=True)
class Statement:
    """A statement with one parameter, the values as JSON, and the number of rows it changes.

    :param before: its text before the parameter.
    :param after: its text after it.
    """

    before: str
    after: str
    data: str
    number: int

    def with_parameter(self, parameter: str) -> str:
        """The statement with a parameter or literal."""
        return f"{self.before}{parameter}{self.after}"


def statement_of(run: Run, steps: list[Step], mappers: Collection[Any]) -> Statement | None:
    """The statement that takes some steps of a run back; ``None`` if they leave nothing to write."""
    info = run.info
    assert info is not None  # noqa: S101 - a run of a table that is gone has no steps that can be taken
    steps = _folded(steps) if run.verb == "update" else steps
    steps = [step for step in steps if step.then or run.verb != "update"]
    if not steps:
        return None
    names = info.ordered({name for step in steps for name in step.then})
    data = dump([_sent(info, step) for step in steps])
    table = info.name.quoted
    source = "(SELECT v FROM pg_catalog.jsonb_array_elements(CAST("
    tail = " AS pg_catalog.jsonb)) AS d(v)) AS given"
    key = f"pg_catalog.jsonb_populate_record(NULL::{table}, given.v -> 'key') AS key"
    same = " AND ".join(f"{ROW}.{quote_ident(name)} = key.{quote_ident(name)}" for name in info.key)
    if run.verb == "insert":
        before = f"DELETE FROM {table} AS {ROW} USING {source}"  # noqa: S608 - quoted
        return Statement(before, f"{tail} CROSS JOIN LATERAL {key} WHERE {same}", data, len(steps))
    columns = ", ".join(map(quote_ident, names))
    if run.verb == "delete":
        values = ", ".join(_value(info, name) for name in names)
        before = f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {source}"  # noqa: S608
        made = f"pg_catalog.jsonb_populate_record(NULL::{table}, given.v -> 'row') AS made"
        return Statement(before, f"{tail} CROSS JOIN LATERAL {made}", data, len(steps))
    sets = [
        f"{quote_ident(n)} = CASE WHEN given.v -> 'names' OPERATOR(pg_catalog.?) {quote_literal(n)} "
        f"THEN {_value(info, n)} ELSE {ROW}.{quote_ident(n)} END"
        for n in names
    ]
    counted = counted_column(mappers, info)
    if counted is not None and isinstance(column_of(info, counted).type, Integer):
        # so that whoever has the row open finds out that it was changed
        sets.append(f"{quote_ident(counted)} = {ROW}.{quote_ident(counted)} + 1")
    before = f"UPDATE {table} AS {ROW} SET {', '.join(sets)} FROM {source}"  # noqa: S608 - quoted
    made = f"pg_catalog.jsonb_populate_record(NULL::{table}, given.v -> 'row') AS made"
    both = f"CROSS JOIN LATERAL {key} CROSS JOIN LATERAL {made}"
    return Statement(before, f"{tail} {both} WHERE {same}", data, len(steps))


def _folded(steps: list[Step]) -> list[Step]:
    """The updates of a record as one: as it was before the oldest of them."""
    folded: dict[str, Step] = {}
    for step in steps:  # newest first
        newer = folded.get(stored_key(step.after))
        folded[stored_key(step.after)] = step if newer is None else replace(step, then={**newer.then, **step.then})
    return list(folded.values())


def _sent(info: TableInfo, step: Step) -> dict[str, Any]:
    """What a statement is told of a step: key, names of what is set, plain values, and JSON as texts."""
    texts = {n: _json_text(value) for n, value in step.then.items() if info.kind(n) is ValueKind.JSON}
    return {
        "key": dict(zip(info.key, step.after, strict=True)),
        "names": list(step.then),
        "row": {n: as_value(value).data for n, value in step.then.items() if n not in texts},
        "texts": texts,
    }


def _json_text(value: Any) -> str | None:
    """A value of a JSON column: as a text it can be JSON null, which would be NULL, and what jsonb can't hold."""
    if as_value(value) == NULL:
        return None
    if as_value(value) == JSON_NULL:
        return "null"
    return str(value["text"]) if mark_of(value) == "text" else dump(as_value(value).data)


def _value(info: TableInfo, name: str) -> str:
    """A column of the row as it was: PostgreSQL knows best how to read what it wrote."""
    type_ = column_of(info, name).type
    kind = type_.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    if info.kind(name) is ValueKind.JSON:
        return f"CAST(given.v -> 'texts' ->> {quote_literal(name)} AS {kind})"
    if is_json_array(type_):
        return json_array("given.v -> 'row'", quote_literal(name), kind)
    return f"made.{quote_ident(name)}"


def in_order(runs: Iterable[Run]) -> Iterator[Run]:
    """The runs in the order in which they can be taken back.

    What a foreign key did to rows because of the row they point to is logged after that row, and it can be taken back
    only after it, too. All else goes newest first.

    :param runs: newest first.
    """
    together: list[Run] = []
    for run in runs:
        if together and together[-1].steps[-1].row.issued_at != run.steps[0].row.issued_at:
            yield from _by_cause(together)
            together = []
        if run.info is not None and not run.info.targets and not together:
            yield run
        else:
            together.append(run)
    yield from _by_cause(together)


def _by_cause(together: list[Run]) -> Iterator[Run]:
    """Runs of one statement: each cause before its effects, the newest cause first."""
    units: list[list[Run]] = []
    causes: set[TableName] = set()
    for run in reversed(together):
        if not run.may_follow(causes):
            units.append([])
            causes = set()
        units[-1].append(run)
        if run.verb == "delete" or any(step.is_renamed for step in run.steps):
            causes.add(run.table)
    for unit in reversed(units):
        yield from _as_met(unit)


def _as_met(unit: list[Run]) -> Iterator[Run]:
    """The runs of a unit, whose later changes meet records under the keys that taking back the earlier ones gave them.

    As if a key is followed by two columns of a row, which are two changes of it.
    """
    moved: dict[tuple[TableName, str], tuple[str, ...]] = {}
    for run in unit:
        if run.verb == "update":
            steps, run.steps = run.steps, []
            for step in steps:
                before, after = (moved.get((run.table, stored_key(key)), key) for key in (step.before, step.after))
                run.steps.append(replace(step, before=before, after=after))
            for old, new in zip(steps, run.steps, strict=True):
                if new.is_renamed:
                    moved[run.table, stored_key(old.after)] = new.before
        yield run
