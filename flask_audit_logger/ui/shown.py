"""The frozen values that templates show: activities, records, actors, fields, and the parts of a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..diff import FieldDiff, Shown
from ..i18n import gettext
from .times import Moment


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
    #: Whether the page begins with the oldest row.
    is_upwards: bool = False
    #: Which rows of how many are on it: "51–100 of 163".
    place: str | None = None

    @property
    def is_needed(self) -> bool:
        """Whether there is more than this page."""
        return bool(self.newer or self.older)


#: All rows are on the page.
ONE_PAGE = Pager()


@dataclass(frozen=True)
class Option:
    """A link that narrows or changes the view."""

    text: str
    href: str
    is_current: bool = False


@dataclass(frozen=True)
class Fact:
    """A line of a list of facts."""

    name: str
    value: str
    href: str | None = None
    is_code: bool = False
    moment: Moment | None = None


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
    #: What is known besides: the job or the command; without an actor the database user, too.
    hint: str | None = None

    @property
    def name(self) -> str:
        """The name within a sentence: also of whoever acted under it."""
        if self.impersonator is None:
            return self.label
        return gettext("%(impersonator)s as %(actor)s", impersonator=self.impersonator, actor=self.label)


@dataclass(frozen=True)
class ValueShown:
    """One value on its own."""

    label: str
    shown: Shown
    kind: str
    text: str | None = None
    target: RecordShown | None = None


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
    #: What the log says about itself.
    notice: str | None = None
    cells: tuple[str, ...] = ()
    #: All of its transaction that matches, if a list tells that as one.
    fold: FoldShown | None = None


@dataclass(frozen=True)
class TallyShown:
    """A number of rows of a table with the same change."""

    table: TableShown
    verb: str
    verb_name: str
    number: str
    columns: tuple[str, ...]
    href: str


@dataclass(frozen=True)
class FoldShown:
    """Many changes of one transaction as one row of a list, and the list of them."""

    number: str
    href: str
    tallies: tuple[TallyShown, ...]
    #: Whether the numbers of the tallies say more than the number.
    is_mixed: bool
    note: str | None


@dataclass(frozen=True)
class CurrentValue:
    """A column of a record as the log last saw it."""

    now: ValueShown
    was: ValueShown | None = None
    set_by: ActorShown | None = None
    set_at: Moment | None = None
    set_href: str | None = None
    #: Whether it had been set before, and was found at that time.
    is_found: bool = False
    #: Whether it may have been set by an older change than was read.
    is_older: bool = False
    history_href: str = ""
    #: The page that puts the value before back, named with it if it is short.
    put_back: Option | None = None


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
    #: How far was looked, if not to the end, and the page that looks further.
    searched: Option | None = None
    #: The same list with large transactions as one row, or not.
    fold: Option | None = None


@dataclass(frozen=True, kw_only=True)
class MessagePage(Page):
    """A page that says only one thing: refused, not found, too slow."""

    template = "audit/message.html"

    text: str
    details: tuple[str, ...] = ()
    options: tuple[Option, ...] = field(default=())
