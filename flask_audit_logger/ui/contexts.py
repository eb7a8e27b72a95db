"""What the pages show, as frozen values: one class per page, and the parts they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..query.diff import FieldDiff
from ..query.diff.fields import Shown
from .clock import Moment


@dataclass(frozen=True)
class Crumb:
    """One step of the breadcrumb; the last one has no link."""

    text: str
    href: str | None = None


@dataclass(frozen=True)
class Chip:
    """An active filter and the address without it."""

    name: str
    value: str
    href: str


@dataclass(frozen=True)
class Pager:
    """Addresses of the pages around this one."""

    newest: str | None = None
    newer: str | None = None
    older: str | None = None
    oldest: str | None = None

    @property
    def is_needed(self) -> bool:
        """Whether there is more than this page."""
        return bool(self.newer or self.older)


@dataclass(frozen=True)
class Option:
    """A link that narrows or changes the view."""

    text: str
    href: str
    is_current: bool = False


@dataclass(frozen=True)
class TableShown:
    """A table: its name for people, its own name, and its activities."""

    label: str
    name: str
    href: str


@dataclass(frozen=True)
class RecordShown:
    """A record: how it is called, its key, its history, and its page in the application."""

    label: str
    key: str
    href: str
    host_url: str | None = None
    is_deleted: bool = False
    #: Whether ``label`` is more than the key.
    is_named: bool = True


@dataclass(frozen=True)
class ActorShown:
    """Who made a change; ``id`` is ``None`` if it was not recorded."""

    label: str
    id: str | None
    href: str | None
    kind: str
    impersonator: str | None = None
    is_deleted: bool = False
    host_url: str | None = None
    #: What is known about a change without actor: the job, the command, or the database user.
    hint: str | None = None


@dataclass(frozen=True)
class Change:
    """One changed column."""

    label: str
    diff: FieldDiff
    before: RecordShown | None = None
    after: RecordShown | None = None
    #: How an application's formatter calls the two values.
    before_text: str | None = None
    after_text: str | None = None
    #: Addresses of the two values as downloads.
    before_href: str | None = None
    after_href: str | None = None


@dataclass(frozen=True)
class ValueShown:
    """One value on its own."""

    label: str
    shown: Shown
    kind: str
    text: str | None = None
    target: RecordShown | None = None


@dataclass(frozen=True)
class ActivityShown:
    """One change as a row of a list or on its own page."""

    id: int
    href: str
    time: Moment
    verb: str
    verb_name: str
    #: The same within a sentence.
    verb_word: str
    table: TableShown
    record: RecordShown | None
    changes: tuple[Change, ...]
    more: int
    actor: ActorShown
    address: str | None
    transaction_id: int
    transaction_href: str | None
    description: str | None = None
    #: Why, as whoever made the change said.
    reason: str | None = None
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class FacetShown:
    """The most frequent values of one kind, each with the address that adds or removes it."""

    name: str
    options: tuple[tuple[Option, str], ...]
    has_more: bool
    timed_out: bool = False


@dataclass(frozen=True)
class BarShown:
    """A bar of the chart, in its units."""

    x: float
    y: float
    width: float
    height: float
    label: str
    href: str


@dataclass(frozen=True)
class HistogramShown:
    """The chart of changes over time.

    ``caption`` says what a bar stands for: changes by day.
    """

    caption: str
    bars: tuple[BarShown, ...]
    most: int
    width: int
    height: int
    timed_out: bool = False


@dataclass(frozen=True)
class SparklineShown:
    """The course of a number: the points of its line, and the same in words."""

    points: str
    text: str
    width: int
    height: int


@dataclass(frozen=True)
class Fact:
    """A line of a list of facts."""

    name: str
    value: str
    href: str | None = None
    is_code: bool = False
    moment: Moment | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """What every page has."""

    template: ClassVar[str]

    title: str
    heading: str
    crumbs: tuple[Crumb, ...]
    zone: str
    viewer: str | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SearchPage(Page):
    """A page with the filter form."""

    form: Any
    action: str
    chips: tuple[Chip, ...] = ()
    clear_href: str
    #: The same search with the dates that its period means now.
    pin_href: str | None = None
    errors: tuple[tuple[str, str, str], ...] = ()
    more_active: int = 0
    actor_choices: tuple[tuple[str, str], ...] = ()
    actors_complete: bool = False
    columns: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ActivitiesPage(SearchPage):
    """The list of activities."""

    template = "audit/activities.html"

    rows: tuple[ActivityShown, ...] = ()
    pager: Pager = Pager()
    count_note: str | None = None
    sort_href: str = ""
    oldest_first: bool = False
    presets: tuple[Option, ...] = ()
    tables: tuple[TableShown, ...] = ()
    all_time_href: str | None = None
    nothing_logged: bool = False
    #: Where this page asks whether it is still the newest, and the newest page.
    poll_href: str | None = None
    newest_href: str = ""
    poll_seconds: int = 0
    #: Addresses of the parts of the breakdown, and of this page with them in it.
    panels: tuple[str, str, str] | None = None
    facets: tuple[FacetShown, ...] = ()
    chart: HistogramShown | None = None
    export_href: str | None = None
    extra_columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ActivityPage(Page):
    """One activity."""

    template = "audit/activity.html"

    activity: ActivityShown
    facts: tuple[Fact, ...]
    unchanged: tuple[ValueShown, ...]
    raw: tuple[tuple[str, str], ...]
    in_record: tuple[str | None, str | None] = (None, None)
    in_transaction: tuple[str | None, str | None] = (None, None)
    #: "3 of 12", if the transaction is not too large.
    place: str | None = None
    actions: tuple[Option, ...] = ()
    done: bool = False


@dataclass(frozen=True)
class CurrentValue:
    """A column of a record as the log last saw it."""

    now: ValueShown
    was: ValueShown | None = None
    set_by: ActorShown | None = None
    set_at: Moment | None = None
    set_href: str | None = None
    history_href: str = ""
    revert_href: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordPage(SearchPage):
    """The history of one record."""

    template = "audit/record.html"

    record: RecordShown
    table: TableShown
    status: str
    status_kind: str
    key_parts: tuple[tuple[str, str], ...]
    current: tuple[CurrentValue, ...]
    never_changed: tuple[CurrentValue, ...]
    rows: tuple[ActivityShown, ...] = ()
    pager: Pager = Pager()
    total: str = ""
    notes: tuple[tuple[str, str | None], ...] = ()
    related: tuple[Option, ...] = ()
    at_action: str = ""
    compare_action: str = ""
    chart: SparklineShown | None = None


@dataclass(frozen=True, kw_only=True)
class TransactionPage(SearchPage):
    """One transaction."""

    template = "audit/transaction.html"

    actor: ActorShown
    facts: tuple[Fact, ...]
    tallies: tuple[TallyShown, ...]
    rows: tuple[ActivityShown, ...] = ()
    pager: Pager = Pager()
    total: str = ""
    same: tuple[SameShown, ...] = ()
    same_note: str | None = None
    undo_href: str | None = None


@dataclass(frozen=True, kw_only=True)
class SnapshotPage(Page):
    """A record as of a time."""

    template = "audit/record_at.html"

    record: RecordShown
    table: TableShown
    #: What the time means: did not exist yet, deleted, or nothing special.
    note: str | None
    action: str
    typed: str
    error: str | None = None
    values: tuple[CurrentValue, ...] = ()
    version: ActivityShown | None = None
    older: str | None = None
    newer: str | None = None
    compare_href: str | None = None
    #: That there are columns besides the values.
    more: str | None = None


@dataclass(frozen=True)
class RevertColumn:
    """A column on the preview of putting values back."""

    name: str
    change: Change
    is_ticked: bool
    obstacle: str | None = None


@dataclass(frozen=True, kw_only=True)
class RevertPage(Page):
    """What would be put back."""

    template = "audit/revert.html"

    record: RecordShown
    source: str
    source_href: str
    is_restore: bool
    columns: tuple[RevertColumn, ...]
    action: str
    form: Any
    hidden: tuple[tuple[str, str], ...]
    reason_required: bool
    problem: str | None = None


@dataclass(frozen=True)
class ComparedSide:
    """One of the two versions that are compared."""

    name: str
    time: Moment | None
    actor: ActorShown | None
    href: str | None
    older: str | None = None
    newer: str | None = None


@dataclass(frozen=True, kw_only=True)
class ComparePage(Page):
    """Two versions of a record."""

    template = "audit/compare.html"

    record: RecordShown
    before: ComparedSide
    after: ComparedSide
    changes: tuple[Change, ...]
    equal: tuple[ValueShown, ...]
    swap_href: str
    all_href: str | None
    live_href: str | None = None
    #: What is not compared or not shown.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SameShown:
    """A change that many rows had in common."""

    number: str
    sample: ActivityShown


@dataclass(frozen=True)
class TransactionShown:
    """One transaction as a row of a list."""

    id: int
    href: str
    time: Moment
    actor: ActorShown
    request: str | None
    address: str | None
    tables: tuple[tuple[TableShown, str], ...]
    rows: str
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class TransactionsPage(SearchPage):
    """The list of transactions."""

    template = "audit/transactions.html"

    rows: tuple[TransactionShown, ...] = ()
    pager: Pager = Pager()
    sort_href: str = ""
    oldest_first: bool = False
    all_time_href: str | None = None


@dataclass(frozen=True, kw_only=True)
class HelpPage(Page):
    """How to search, and what is recorded."""

    template = "audit/help.html"

    tables: tuple[tuple[TableShown, str], ...]
    zone_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExportPage(SearchPage):
    """What will be exported, and how."""

    template = "audit/export.html"

    sentence: str
    note: str | None
    csv_action: str
    jsonl_href: str
    hidden: tuple[tuple[str, str], ...]
    back_href: str


@dataclass(frozen=True)
class TallyShown:
    """So many rows of a table were changed in one way."""

    table: TableShown
    verb: str
    verb_name: str
    number: str
    columns: tuple[str, ...]
    href: str


@dataclass(frozen=True, kw_only=True)
class ActorPage(SearchPage):
    """One actor."""

    template = "audit/actor.html"

    actor: ActorShown
    facts: tuple[Fact, ...]
    addresses: tuple[tuple[str, str, str | None], ...]
    matrix: tuple[tuple[TableShown, tuple[tuple[str, str | None], ...]], ...]
    matrix_verbs: tuple[str, ...]
    matrix_note: str | None = None
    #: A line for each day of the week: its name, and for each hour the number of changes.
    hours: tuple[tuple[str, tuple[int, ...]], ...] = ()
    options: tuple[Option, ...] = ()
    rows: tuple[ActivityShown, ...] = ()
    pager: Pager = Pager()
    count_note: str | None = None


@dataclass(frozen=True, kw_only=True)
class MessagePage(Page):
    """A page that says only one thing: refused, not found, too slow."""

    template = "audit/message.html"

    text: str
    details: tuple[str, ...] = ()
    options: tuple[Option, ...] = field(default=())
