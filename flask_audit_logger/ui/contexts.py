"""What each page shows, as a frozen value: one class per page with the name of its template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .parts import (
    ONE_PAGE,
    ActivityShown,
    ActorShown,
    Change,
    Chip,
    ComparedSide,
    Crumb,
    CurrentValue,
    FacetShown,
    Fact,
    HistogramShown,
    Option,
    Pager,
    RecordShown,
    RevertColumn,
    SameShown,
    SparklineShown,
    TableShown,
    TallyShown,
    TransactionShown,
    ValueShown,
)


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
class ListPage(SearchPage):
    """A page with rows, and links to more of them."""

    pager: Pager = ONE_PAGE


@dataclass(frozen=True, kw_only=True)
class ActivitiesPage(ListPage):
    """The list of activities."""

    template = "audit/activities.html"

    rows: tuple[ActivityShown, ...] = ()
    count_note: str | None = None
    sort_href: str = ""
    oldest_first: bool = False
    presets: tuple[Option, ...] = ()
    tables: tuple[TableShown, ...] = ()
    all_time_href: str | None = None
    nothing_logged: bool = False
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


@dataclass(frozen=True, kw_only=True)
class RecordPage(ListPage):
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
    total: str = ""
    notes: tuple[tuple[str, str | None], ...] = ()
    related: tuple[Option, ...] = ()
    at_action: str = ""
    compare_action: str = ""
    chart: SparklineShown | None = None


@dataclass(frozen=True, kw_only=True)
class TransactionPage(ListPage):
    """One transaction."""

    template = "audit/transaction.html"

    actor: ActorShown
    facts: tuple[Fact, ...]
    tallies: tuple[TallyShown, ...]
    #: That there are more tallies than are shown.
    untold: str | None = None
    rows: tuple[ActivityShown, ...] = ()
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
    #: What the time means, if it is special: did not exist yet, deleted, has another key now.
    notes: tuple[tuple[str, str | None], ...]
    action: str
    typed: str
    #: In which it is read.
    typed_zone: str
    error: str | None = None
    values: tuple[CurrentValue, ...] = ()
    version: ActivityShown | None = None
    older: str | None = None
    newer: str | None = None
    compare_href: str | None = None
    #: That there are columns besides the values.
    more: str | None = None


@dataclass(frozen=True, kw_only=True)
class RevertPage(Page):
    """What would be put back."""

    template = "audit/revert.html"

    record: RecordShown
    source: str
    source_href: str
    is_restore: bool
    columns: tuple[RevertColumn, ...]
    #: Whether a record that is made again has all it had; the columns without which it can't be made.
    is_whole: bool
    lacking: tuple[str, ...]
    action: str
    form: Any
    hidden: tuple[tuple[str, str], ...]
    reason_required: bool
    problem: str | None = None


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


@dataclass(frozen=True, kw_only=True)
class TransactionsPage(ListPage):
    """The list of transactions."""

    template = "audit/transactions.html"

    rows: tuple[TransactionShown, ...] = ()
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


@dataclass(frozen=True, kw_only=True)
class ActorPage(ListPage):
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
    count_note: str | None = None


@dataclass(frozen=True, kw_only=True)
class MessagePage(Page):
    """A page that says only one thing: refused, not found, too slow."""

    template = "audit/message.html"

    text: str
    details: tuple[str, ...] = ()
    options: tuple[Option, ...] = field(default=())
