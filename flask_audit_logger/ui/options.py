"""What an application can say about its pages: :class:`AuditUI`, the types of its hooks, and what if a hook fails."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from ..exceptions import ConfigurationError

if TYPE_CHECKING:
    from flask import Response
    from sqlalchemy import Select

    from ..query.refs import RecordRef
    from ..query.rows import ActivityRow


T = TypeVar("T")

logger = logging.getLogger("flask_audit_logger.ui")

#: The permission for a developer's own machine.
DEBUG: Final = "debug"


@dataclass(frozen=True)
class Viewer:
    """The user who looks at the pages.

    :param id: key of the user.
    :param label: name of the user.
    :param timezone: IANA name of the time zone for the pages, or a ``ZoneInfo``; for ``None`` and unknown names
        ``AUDIT_UI_TIMEZONE`` applies.
    :param locale: language of the pages, such as ``de`` or ``de_AT``; ``None`` for Flask-Babel's choice.
    """

    id: str
    label: str | None = None
    timezone: str | dt.tzinfo | None = None
    locale: str | None = None


@dataclass(frozen=True)
class Label:
    """Name of a record or an actor.

    :param text: the name; always escaped.
    :param url: its page in the application; only a path (``/products/42``) or an http(s) URL becomes a link.
    :param deleted: whether it no longer exists.
    """

    text: str
    url: str | None = None
    deleted: bool = False

    @property
    def safe_url(self) -> str | None:
        """The URL if a browser can only read it as a path of this site or as an http(s) address."""
        if self.url is None or re.search(r"[\x00-\x20\\\x7f]", self.url):
            return None
        is_path = self.url.startswith("/") and not self.url.startswith("//")
        return self.url if is_path or re.match(r"https?://[^/]", self.url, re.IGNORECASE) else None


@dataclass(frozen=True)
class Preset:
    """A search offered above the filters.

    :param name: text of the link.
    :param filters: parameters of the list, such as ``{"table": "products", "col": ["price"]}``.
    """

    name: str
    filters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """An additional column of the list of changes and of exports.

    Both functions get the whole activity, including values hidden from the viewer; they decide what to show.

    :param name: in exports.
    :param title: above the column of the list.
    :param cell: ``(activity) -> value`` for the list, shown as text; ``None`` leaves the column out of the list.
    :param export: ``(activity) -> value`` for exports; ``None`` leaves the column out of exports.
    """

    name: str
    title: str
    cell: Callable[[Any], Any] | None = None
    export: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class RevertPolicy:
    """Allow values to be put back.

    :param reason_required: whether a reason must be given.
    """

    reason_required: bool = True


@dataclass(frozen=True)
class ViewEvent:
    """A page of the log was read or refused.

    :param action: the action that the permission callback got.
    :param target: the target that it got.
    :param filters: the parameters of the address.
    :param status: of the response: 200, or 403 for a refused attempt.
    :param rows: number of rows of a list or an export; ``None`` for other pages.
    :param address: client address, as the application sees it.
    """

    viewer: Viewer | None
    action: str | None
    target: Any
    filters: Mapping[str, Sequence[str]]
    status: int
    rows: int | None
    address: str | None
    time: dt.datetime


class Audited(Protocol):
    """The part of an :class:`AuditLogger` that the pages use."""

    @property
    def database(self) -> Any:
        """The way to the application's databases."""

    @property
    def engine(self) -> Any:
        """The engine of the default database."""

    @property
    def read_bind(self) -> str | None:
        """The bind that pages read from, unless it is the default one."""

    @property
    def read_engine(self) -> Any:
        """The engine that pages read from."""

    @property
    def models(self) -> Any:
        """The tables of the log."""

    @property
    def actor_cls(self) -> Any:
        """The model of the actors, if there is one."""

    def name_of(self, user: Any) -> str | None:
        """The name of a user in the log."""

    def context(self, *, reason: str) -> AbstractContextManager[None]:
        """Say why changes are made."""


def asked(name: str, call: Callable[[], T], otherwise: T) -> T:
    """Result of a hook of the application; a failing hook is logged and does not fail the page.

    :param name: which hook of :class:`AuditUI`, for the message.
    """
    try:
        return call()
    except Exception:  # whatever the application raises
        logger.exception("the hook %s failed", name)
        return otherwise


def labelled(name: str, hook: Callable[[set[Any]], Mapping[Any, Label]], wanted: set[Any]) -> dict[Any, Label]:
    """The labels returned by a hook; the page shows the keys of the others."""

    def labels() -> dict[Any, Label]:
        answer = hook(wanted)
        return {key: label for key, label in answer.items() if key in wanted and isinstance(label, Label)}

    return asked(name, labels, {})


@dataclass(frozen=True, kw_only=True)
class AuditUI:
    """The options of the pages.

    Without ``permission`` every page answers 403.

    :param permission: ``(action, target) -> bool | Response``. Only ``True`` grants access. Actions are ``list``,
        ``activity``, ``record``, ``transaction``, ``actor``, ``help`` and others (see ``docs/pages.md``); the target is
        a :class:`RecordRef`, the position of a change (``transaction_id`` and ``activity_id``), the id of a
        transaction, an actor's id as text, or ``None``. A link is shown only if its page would open. ``"debug"`` in
        place of a function opens everything while ``app.debug`` is true, to requests from this machine to ``localhost``
        or a loopback address, and nothing else.
    :param viewer: ``() -> Viewer | None``; by default the user of Flask-Login.
    :param scope: ``(select, viewer) -> select``, applied to every select of activities; may use the columns of
        ``audit_logger.activity_cls``. A record's present row is in the scope while its newest change is. Return the
        select itself for a viewer who may see everything.
    :param can_see_column: ``(table, column, viewer) -> bool``; of a refused column the pages show only that it
        changed. The table is ``transaction`` for ``client_addr`` and ``user_agent``.
    :param mask: ``table.column`` names whose values are hidden from every viewer.
    :param actor_labels: ``(set of ids) -> {id: Label}``; called once per page.
    :param record_labels: ``(set of RecordRef) -> {RecordRef: Label}``; called once per page, for records in the
        viewer's scope.
    :param table_label: ``(table) -> str | None``.
    :param column_label: ``(table, column) -> str | None``.
    :param naming_columns: by table, the columns that name its records, best first.
    :param important_columns: by table, the columns to show first.
    :param formatters: ``{(table, column): value -> str}``.
    :param foreign_keys: columns that refer to other records: ``"auto"`` for those of the models, or all of them
        as ``{(table, column): table}``.
    :param related_records: ``(RecordRef) -> [Label]``; links shown on the page of a record.
    :param extra_columns: additional columns of the list and of exports.
    :param describe: ``(activity) -> str | None``; a sentence shown above the changes.
    :param suggest_actors: ``() -> {id: name}``, offered by the filter; by default the actors in the log.
    :param presets: searches offered above the filters.
    :param on_view: called for every page that was read or refused; not for a repetition within a minute.
    :param view_log_required: answer 503 instead of the page if ``on_view`` fails.
    :param revert: allow viewers with the permission ``revert`` to put values back; needs a ``SECRET_KEY``.
    :param csp_nonce: ``() -> str``, the nonce of the application's Content-Security-Policy.
    :param layout: the template that the pages extend.
    :param name: of the blueprint.
    :param url_prefix: path of the pages.
    """

    STANDALONE = "audit/layout.html"

    permission: Callable[[str, Any], bool | Response] | Literal["debug"] | None = None
    viewer: Callable[[], Viewer | None] | None = None
    scope: Callable[[Select[Any], Viewer | None], Select[Any]] | None = None
    can_see_column: Callable[[str, str, Viewer | None], bool] | None = None
    mask: Collection[str] = ()
    actor_labels: Callable[[set[str]], Mapping[str, Label]] | None = None
    record_labels: Callable[[set[RecordRef]], Mapping[RecordRef, Label]] | None = None
    table_label: Callable[[str], str | None] | None = None
    column_label: Callable[[str, str], str | None] | None = None
    naming_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    important_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    formatters: Mapping[tuple[str, str], Callable[[Any], str]] = field(default_factory=dict)
    foreign_keys: str | Mapping[tuple[str, str], str] = "auto"
    related_records: Callable[[RecordRef], Iterable[Label]] | None = None
    extra_columns: Sequence[Column] = ()
    describe: Callable[[ActivityRow], str | None] | None = None
    suggest_actors: Callable[[], Mapping[str, str]] | None = None
    presets: Sequence[Preset] = ()
    on_view: Callable[[ViewEvent], None] | None = None
    view_log_required: bool = False
    revert: RevertPolicy | None = None
    csp_nonce: Callable[[], str] | None = None
    layout: str = STANDALONE
    name: str = "audit"
    url_prefix: str = "/audit"

    def __post_init__(self) -> None:
        """Refuse what would hide nothing, or fail on every page.

        :raises ConfigurationError: for a callback that can't be called, or a ``mask`` that names no columns.
        """
        for option in fields(self):
            given = getattr(self, option.name)
            # types are texts here: "Callable[[], Viewer | None] | None"
            if str(option.type).startswith("Callable[") and given is not None and not callable(given):
                if option.name == "permission" and given == DEBUG:
                    continue
                raise ConfigurationError(f"AuditUI: {option.name} is {given!r}; give a function.")
        if self.revert is not None and not isinstance(self.revert, RevertPolicy):
            raise ConfigurationError(f"AuditUI: revert is {self.revert!r}; give RevertPolicy().")
        if isinstance(self.mask, str) or any("." not in name for name in self.mask):
            raise ConfigurationError(f"AuditUI: mask is {self.mask!r}; give a list of names such as 'users.phone'.")
