"""Turn rows of the log into the values that templates show: names, links, and what the viewer may not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from ..diff import Budget, ValueKind, as_text, diff_field, show_value
from ..diff.kinds import settled
from ..diff.show import visible
from ..diff.values import ABSENT, MASKED, Value, as_value
from ..i18n import CHANGES, VERB_NAMES, VERB_WORDS, gettext, marked
from ..query.paging import Cursor
from ..query.reader import Log
from ..query.records import Named, Names, names_of
from ..query.refs import RecordRef, TableName, stored_key
from ..query.rows import ActivityRow, TransactionRow
from ..query.scope import with_row
from ..query.sightings import names_today
from .options import Column, Label, asked, labelled
from .shown import ActivityShown, ActorShown, Change, Option, RecordShown, TableShown, ValueShown
from .visit import Visit


@dataclass
class RecordNames:
    """The names of records for one viewer; looked up together, before they are shown.

    The application names what has a key now. What had it in an earlier life is called as the log called it.
    """

    visit: Visit
    _labels: dict[RecordRef, Label] = field(default_factory=dict)
    _logged: dict[RecordRef, Names] = field(default_factory=dict)

    def learn(self, log: Log, records: Iterable[RecordRef], then: Iterable[tuple[RecordRef, Cursor]]) -> None:
        """Find the names of records.

        :param then: those that are meant as they were at a change, each with its position.
        """
        since: dict[RecordRef, Cursor] = {}
        for record, change in then:
            if change.activity_id < since.setdefault(record, change).activity_id:
                since[record] = change
        wanted = (set(records) | since.keys()) - self._labels.keys()
        hook = self.visit.ui.record_labels
        if hook is not None and wanted:  # it names the rows of today
            known = with_row(log, wanted, self.visit.catalog.key)
            self._labels.update(labelled("record_labels", hook, known) if known else {})
        asked_of_log = {ref: since.get(ref) for ref in sorted(wanted) if ref in since or ref not in self._labels}
        if not asked_of_log:
            return
        self._logged.update(names_of(log, asked_of_log, self.visit.naming_columns, self.visit.catalog.key))
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
        """Forget all names, to limit memory."""
        self._labels.clear()
        self._logged.clear()


def _label(found: Named) -> Label | None:
    return Label(found.name, deleted=found.is_deleted) if found.name else None


#: Changes in a cell of a list.
FEW = 3

#: Related records that are linked.
MOST_RELATED = 50

#: Columns on a page of one activity.
MANY = 200

#: Characters of a reason on a list; the page of the change has all of it.
LONGEST_REASON = 200


@dataclass(frozen=True)
class ColumnView:
    """What is the same for all values of a column on a page."""

    label: str
    can_see: bool
    kind: ValueKind | None
    #: Whether its numbers are names of things.
    is_name: bool
    #: The table that it points to.
    target: TableName | None
    formatter: Callable[[Any], Any] | None


@dataclass
class Presenter:
    """Shows rows to one viewer; names are looked up together, before the rows are shown."""

    visit: Visit
    records: RecordNames = field(init=False)
    actors: dict[str, Label] = field(default_factory=dict)
    #: Names of today, of actors who were recorded without one.
    today: dict[str, str] = field(default_factory=dict)
    #: What the values of this page may cost: those on lists, and those shown whole.
    brief: Budget = field(default_factory=Budget.of_list)
    whole: Budget = field(default_factory=Budget)
    _tables: dict[TableName, TableShown] = field(default_factory=dict)
    _columns: dict[tuple[TableName, str], ColumnView] = field(default_factory=dict)
    _actors: dict[int, ActorShown] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records = RecordNames(self.visit)

    def learn(self, log: Log, rows: Iterable[ActivityRow], records: Iterable[RecordRef] = ()) -> None:
        """Find the names of everything that rows mention."""
        known = list(rows)
        then = [(row.record, row.cursor) for row in known if row.record is not None]
        for row in known:
            columns = row.changed_columns
            values = [(c, side(c)) for c in columns for side in (row.before, row.after)]
            then += [(ref, row.cursor) for ref in self.targets(row.table, values)]
        self.records.learn(log, records, then)
        self.learn_actors({row.transaction.actor_id for row in known if row.transaction})
        self.learn_unnamed(log, [row.transaction for row in known if row.transaction])

    def learn_actors(self, actors: Iterable[str | None]) -> None:
        """Ask the application how actors are called today."""
        wanted = {actor for actor in actors if actor is not None} - self.actors.keys()
        hook = self.visit.ui.actor_labels
        if hook is not None and wanted:
            self.actors.update(labelled("actor_labels", hook, wanted))
            self._actors.clear()

    def learn_unnamed(self, log: Log, transactions: Iterable[TransactionRow]) -> None:
        """Look for the actors who were recorded by their key alone, as from a token, in their own table."""
        wanted = {t.actor_id for t in transactions if t.actor_id and not t.actor_label}
        wanted -= self.actors.keys() | self.today.keys()
        model = self.visit.audit_logger.actor_cls
        if not wanted or model is None:
            return
        named = model.__mapper__.local_table
        table = TableName(named.schema or self.visit.catalog.default_schema, named.name)
        if self.visit.catalog.get(table) is not None:
            self.today |= names_today(log, model, lambda column: self.visit.sight.can_see(table, column), wanted)
            self._actors.clear()

    def forget(self) -> None:
        """Forget the names of records and what was made for single transactions, to limit memory."""
        self.records.forget()
        self._actors.clear()

    def activity(self, row: ActivityRow, *, whole: bool = False, cells: tuple[str, ...] = ()) -> ActivityShown:
        """One activity.

        :param whole: with every changed column and long texts; otherwise as a row of a list.
        :param cells: the application's own columns.
        """
        visit, links = self.visit, self.visit.links
        columns = self.ordered(row.table, row.changed_columns, row if not whole else None)
        shown = columns[: MANY if whole else FEW]
        return ActivityShown(
            id=row.id,
            href=links.activity(row.cursor),
            time=visit.clock.moment(row.issued_at),
            verb=row.verb,
            verb_name=self._verbs.get(row.verb, row.verb),
            verb_word=VERB_WORDS.get(row.verb, row.verb),
            table=self.table(row.table),
            record=self.record(row.record, row.id) if row.record is not None else None,
            changes=tuple(self.change(row, column, brief=not whole) for column in shown),
            more=len(columns) - len(shown),
            actor=self.actor(row.transaction),
            address=row.transaction.client_addr if row.transaction and self._show_address else None,
            transaction_id=row.transaction_id,
            transaction_href=self.transaction_href(row.transaction_id),
            description=self._described(row),
            reason=_reason(row.transaction),
            cells=cells,
            notice=self.event(row, whole=whole) if row.is_event else _notice(row) if row.is_notice else None,
        )

    def event(self, row: ActivityRow, *, whole: bool) -> str:
        """What the application recorded, in words; values that the viewer may not see are hidden."""
        event = self.visit.sight.logged(row, row.changed_data)
        name, outcome, data = (event.get(part) for part in ("name", "outcome", "data"))
        known = {"success": marked("%(name)s"), "failure": marked("%(name)s, failed")}
        unknown = marked("%(name)s, outcome unknown")
        said = gettext(known.get(str(outcome), unknown), name=as_text(name))
        parts = [
            f"{key}: {gettext('hidden') if as_value(value) == MASKED else as_text(value)}"
            for key, value in (data if isinstance(data, dict) else {}).items()
        ]
        return visible(" · ".join([said, *parts])[: None if whole else LONGEST_REASON])

    def listed(self, row: ActivityRow) -> ActivityShown:
        """One activity as a row of the list, with the application's own columns."""
        columns = self.visit.ui.extra_columns
        cells = tuple(visible(_cell(column, column.cell, row)) for column in columns if column.cell is not None)
        return self.activity(row, cells=cells)

    def exported(self, row: ActivityRow) -> dict[str, str]:
        """The application's own columns of a line of an export."""
        columns = self.visit.ui.extra_columns
        return {column.name: _cell(column, column.export, row) for column in columns if column.export is not None}

    def related(self, record: RecordRef) -> tuple[Option, ...]:
        """What the application says belongs to a record; a label without a usable address is no link."""
        hook = self.visit.ui.related_records
        if hook is None:
            return ()

        def options() -> tuple[Option, ...]:
            labels = islice(hook(record), MOST_RELATED)
            return tuple(Option(visible(label.text), label.safe_url or "") for label in labels)

        return asked("related_records", options, ())

    def change(self, row: ActivityRow, column: str, *, brief: bool = False) -> Change:
        """What an activity did to a column."""
        before = ABSENT if row.verb in ("insert", "snapshot") else row.before(column)
        after = ABSENT if row.verb in ("delete", "truncate") else row.after(column)
        change = self.compared(row.table, column, before, after, (row.id, row.id), brief=brief)
        if brief:
            return change
        can_download = self.visit.can_download
        sides = (("old", before, change.diff.before), ("new", after, change.diff.after))
        hrefs = {
            side: self.visit.links.value(row.cursor, column, side)
            for side, value, shown in sides
            if value.known
            and (change.diff.more or can_download(change.diff.kind, shown, row.record))
            and self.visit.sight.can_see(row.table, column)
        }
        return replace(change, before_href=hrefs.get("old"), after_href=hrefs.get("new"))

    def compared(
        self,
        table: TableName,
        column: str,
        before: Value,
        after: Value,
        times: tuple[int | None, int | None] = (None, None),
        *,
        brief: bool = False,
    ) -> Change:
        """Two values of a column, as far as the viewer may see them.

        :param times: the changes at whose times they are shown.
        """
        view = self.column(table, column)
        if not view.can_see:
            before, after = (self.visit.sight.value(table, column, value) for value in (before, after))
        budget = self.brief if brief else self.whole
        return Change(
            label=view.label,
            diff=diff_field(column, before, after, view.kind, is_key=view.is_name, brief=brief, budget=budget),
            before=self._target(view.target, before, times[0]),
            after=self._target(view.target, after, times[1]),
            before_text=self._formatted(table, column, before),
            after_text=self._formatted(table, column, after),
        )

    def value(
        self, table: TableName, column: str, value: Value, activity_id: int | None = None, *, brief: bool = False
    ) -> ValueShown:
        """One value of a column, as far as the viewer may see it.

        :param activity_id: the change at whose time it is shown.
        """
        view = self.column(table, column)
        seen = value if view.can_see else self.visit.sight.value(table, column, value)
        kind = settled(view.kind, seen.data)
        return ValueShown(
            label=view.label,
            shown=show_value(seen, kind, brief=brief, budget=self.brief if brief else self.whole),
            kind=kind,
            text=self._formatted(table, column, seen),
            target=self._target(view.target, seen, activity_id),
        )

    def column(self, table: TableName, column: str) -> ColumnView:
        """What is known of a column, found out once for a page."""
        key = (table, column)
        if key not in self._columns:
            visit, info = self.visit, self.visit.catalog.column(table, column)
            target = visit.catalog.target(table, column)
            self._columns[key] = ColumnView(
                label=visit.column_label(table, column),
                can_see=visit.sight.can_see(table, column),
                kind=info.kind if info else None,
                is_name=target is not None or (info is not None and info.is_name),
                target=target,
                formatter=visit.ui.formatters.get((visit.catalog.text(table), column)),
            )
        return self._columns[key]

    def table(self, table: TableName) -> TableShown:
        """A table with the link to its activities."""
        if table not in self._tables:
            links, name = self.visit.links, self.visit.catalog.text(table)
            self._tables[table] = TableShown(self.visit.table_label(table), name, links.table(table))
        return self._tables[table]

    def record(self, record: RecordRef, activity_id: int | None = None) -> RecordShown:
        """A record with the link to its history.

        :param activity_id: the change that it is shown with, if it is the record of that time.
        """
        label = self.records.get(record, activity_id)
        key = visible(", ".join(record.components))
        return RecordShown(
            label=visible(label.text) if label else f"#{key}",
            key=key,
            href=self.visit.links.record(record),
            host_url=label.safe_url if label else None,
            is_deleted=bool(label and label.deleted),
            is_named=label is not None,
        )

    def actor(self, transaction: TransactionRow | None) -> ActorShown:
        """Who made a change, or what is known instead; shown once for all changes of a transaction."""
        if transaction is None:
            return self._actor(None)
        if transaction.id not in self._actors:
            self._actors[transaction.id] = self._actor(transaction)
        return self._actors[transaction.id]

    def _actor(self, transaction: TransactionRow | None) -> ActorShown:
        if transaction is None:
            return ActorShown(gettext("Not recorded"), None, self._actor_href(None), "none")
        impersonator = transaction.impersonator
        behind = None
        if impersonator is not None:
            behind = visible(str(impersonator.get("label") or impersonator.get("id") or gettext("someone")))
        actor_id = transaction.actor_id
        if actor_id is None:
            kind, label, hint = self._without_actor(transaction)
            return ActorShown(label, None, self._actor_href(None), kind, impersonator=behind, hint=hint)
        label_now = self.actors.get(actor_id)
        recorded = label_now.text if label_now else transaction.actor_label
        today = None if recorded else self.today.get(actor_id)
        return ActorShown(
            label=visible(recorded or today or f"#{actor_id}"),
            id=actor_id,
            href=self._actor_href(actor_id),
            kind="user",
            impersonator=behind,
            is_deleted=bool(label_now and label_now.deleted),
            host_url=label_now.safe_url if label_now else None,
            hint=self._beside_actor(transaction, is_today=today is not None),
        )

    def ordered(self, table: TableName, columns: Iterable[str], row: ActivityRow | None = None) -> list[str]:
        """Columns with the important ones first, then in the order of the table.

        :param row: an activity on a list: of a new or deleted record only what says something is kept.
        """
        ordered = self.visit.catalog.ordered(table, columns)
        if self.visit.ui.important_columns:
            important = self.visit.ui.important_columns.get(self.visit.catalog.text(table), ())
            ranks = {name: rank for rank, name in enumerate(important)}
            ordered.sort(key=lambda name: ranks.get(name, len(ranks)))
        if row is None or row.verb == "update":
            return ordered
        info = self.visit.catalog.get(table)
        key = info.key if info is not None else ()
        data = row.old_data if row.verb == "delete" else row.changed_data
        telling = [name for name in ordered if name not in key and self._tells(table, name, data.get(name))]
        return telling or ordered

    def _tells(self, table: TableName, column: str, data: Any) -> bool:
        """Whether a value of a new or deleted record is shown on a list."""
        return data not in (None, "", [], {}) and as_value(data) != MASKED and self.visit.sight.can_see(table, column)

    def _actor_href(self, actor_id: str | None) -> str | None:
        return self.visit.links.actor(actor_id) if self.visit.may("actor", actor_id) else None

    @cached_property
    def _verbs(self) -> dict[str, str]:
        return {verb: str(name) for verb, name in VERB_NAMES.items()}

    @cached_property
    def _show_address(self) -> bool:
        return self.visit.sight.can_see_fact("client_addr")

    def transaction_href(self, transaction_id: int) -> str | None:
        """Address of a transaction that the viewer may see."""
        visit = self.visit
        return visit.links.transaction(transaction_id) if visit.may("transaction", transaction_id) else None

    def _beside_actor(self, transaction: TransactionRow, *, is_today: bool) -> str | None:
        """What is shown with a name: that it is none of the log, and the work that was done in it."""
        hints = [gettext("today's name")] if is_today else []
        job, command = transaction.said("job"), transaction.said("command")
        if job is not None:
            hints.append(gettext("job %(job)s", job=visible(job)))
        elif command is not None:
            hints.append(gettext("command %(command)s", command=visible(command)))
        return " · ".join(hints) or None

    def _without_actor(self, transaction: TransactionRow) -> tuple[str, str, str | None]:
        other = transaction.other_actor
        if transaction.actor_label or other:
            return "named", visible(transaction.actor_label or f"#{other}"), visible(other) if other else None
        job, command = transaction.said("job"), transaction.said("command")
        if job is not None:
            return "service", visible(job), gettext("background job")
        if command is not None:
            return "system", visible(command), gettext("command")
        user = transaction.said("session_user")
        if user is not None:
            return "named", gettext("session of user %(user)s, not verified", user=visible(user)), None
        if not transaction.said("method") and transaction.db_user:
            user, program = visible(transaction.db_user), visible(transaction.application_name or "")
            hint = gettext("database user %(user)s", user=user)
            if program:
                hint = gettext("database user %(user)s (%(program)s)", user=user, program=program)
            return "none", gettext("Not recorded"), hint
        return "none", gettext("Not recorded"), None

    def targets(self, table: TableName, values: Iterable[tuple[str, Value]]) -> list[RecordRef]:
        """The records that values of foreign keys point to, as far as the viewer may see them."""
        found = []
        for column, value in values:
            view = self.column(table, column)
            if view.target is not None and view.can_see:
                ref = self._target_ref(view.target, value)
                found += [ref] if ref is not None else []
        return found

    def _target_ref(self, table: TableName, value: Value) -> RecordRef | None:
        info = self.visit.catalog.get(table)
        if info is None or not info.is_audited or len(info.key) != 1 or not value.known:
            return None
        return RecordRef(table, stored_key([str(value.data)])) if isinstance(value.data, (str, int)) else None

    def _target(self, table: TableName | None, value: Value, activity_id: int | None = None) -> RecordShown | None:
        ref = self._target_ref(table, value) if table is not None else None
        return self.record(ref, activity_id) if ref is not None else None

    def _formatted(self, table: TableName, column: str, value: Value) -> str | None:
        formatter = self.column(table, column).formatter
        if formatter is None or not value.known:
            return None
        name = self.visit.catalog.text(table)
        return asked(f"formatters of {name}.{column}", lambda: visible(str(formatter(value.data))), None)

    def _described(self, row: ActivityRow) -> str | None:
        hook = self.visit.ui.describe
        said = asked("describe", lambda: hook(row), None) if hook is not None else None
        return None if said is None else visible(str(said))


def _notice(row: ActivityRow) -> str:
    """What an entry of the log about itself says, in words."""
    data = {name: visible(str(value))[:LONGEST_REASON] for name, value in row.changed_data.items() if value is not None}
    if row.verb == "pruned":
        return gettext(
            "%(changes)s from before %(day)s removed by the rule %(rule)s",
            changes=CHANGES.counted(int(row.changed_data.get("changes", 0))),
            day=data.get("until", "")[:10],
            rule=data.get("rule", ""),
        )
    if row.verb == "release":
        return gettext("Hold %(hold)s released: %(reason)s", hold=data.get("hold", ""), reason=data.get("reason", ""))
    if row.verb == "erased":
        return gettext("Personal values of %(what)s erased: %(reason)s", what=_of(data), reason=data.get("reason", ""))
    what, reason = _of(data), data.get("reason", "")
    if "until" in data:
        return gettext("%(what)s held until %(day)s: %(reason)s", what=what, day=data["until"], reason=reason)
    return gettext("%(what)s held: %(reason)s", what=what, reason=reason)


def _of(data: Mapping[str, str]) -> str:
    """What a hold or an erasure is of, in words."""
    names = {"key": marked("record %(key)s"), "actor": marked("actor %(key)s"), "month": marked("month %(key)s")}
    parts = [gettext(text, key=data[name]) for name, text in names.items() if name in data]
    return ", ".join(parts) or gettext("the whole table")


def _reason(transaction: TransactionRow | None) -> str | None:
    said = transaction.said("reason") if transaction is not None else None
    return visible(str(said)[:LONGEST_REASON]) if said else None


def _cell(column: Column, tell: Any, row: ActivityRow) -> str:
    value = asked(f"extra_columns, {column.name}", lambda: tell(row), None)
    return "" if value is None else str(value)
