"""One request to the pages: the viewer, what they may do and see, the clock, the links, names of tables and columns."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from flask import Flask, Response, current_app, g, has_request_context, request
from jinja2 import Environment

from ..diff import Shown, ValueKind
from ..diff.show import visible
from ..diff.values import ABSENT, MASKED, Value
from ..exceptions import ConfigurationError
from ..i18n import VERB_NAMES, gettext
from ..query.criteria import actor_value
from ..query.reader import AuditReader, Lag, checked_scope, everything, lag_of
from ..query.records import NAMING_COLUMNS
from ..query.refs import RecordRef, TableName
from ..query.rows import ActivityRow
from ..query.tables import TableCatalog
from ..settings import PageSettings, is_zone
from .options import DEBUG, Audited, AuditUI, Viewer, asked
from .times import Clock, viewers_zone, zone_names
from .urls import Links

#: Keeps the zone that somebody chose, for the pages of one address.
ZONE_COOKIE = "audit_tz"

#: A callback that says yes and means it, and is refused all the same.
NOT_TRUE = "permission(%r, …) returned %.80r, which allows nothing: it must return True itself; use bool(…)."

logger = logging.getLogger("flask_audit_logger.ui")

ColumnRule = Callable[[str, str, Viewer | None], bool]


class Sight:
    """Decides for each column whether its values are shown; each column is asked for once.

    :param mask: ``table.column`` or ``schema.table.column`` that nobody may see here.
    :param rule: the application's ``can_see_column``.
    """

    def __init__(
        self, catalog: TableCatalog, mask: Collection[str], rule: ColumnRule | None, viewer: Viewer | None
    ) -> None:
        self._catalog = catalog
        self._mask = frozenset(mask)
        self._rule = rule
        self._viewer = viewer
        self._known: dict[tuple[TableName, str], bool] = {}
        self._whole: dict[TableName, bool] = {}

    def can_see(self, table: TableName, column: str) -> bool:
        """Whether values of a column are shown and may be searched for."""
        key = (table, column)
        if key not in self._known:
            self._known[key] = self._decide(table, column)
        return self._known[key]

    def can_see_all(self, table: TableName) -> bool:
        """Whether no value of a table is hidden, whatever columns it had."""
        if table not in self._whole:
            info = self._catalog.get(table)
            self._whole[table] = not self._mask and self._rule is None and not (info is not None and info.masked)
        return self._whole[table]

    def value(self, table: TableName, column: str, value: Value) -> Value:
        """A value, or the mask. Not even whether it is null shows through; only that it was not logged."""
        return value if value == ABSENT or self.can_see(table, column) else MASKED

    def row(self, table: TableName, row: dict[str, object]) -> dict[str, object]:
        """A whole row for machines, with the same marks that the trigger writes for masked columns."""
        marked = {"audit_logger": "masked"}
        return {column: value if self.can_see(table, column) else marked for column, value in row.items()}

    def logged(self, row: ActivityRow, data: dict[str, Any]) -> dict[str, Any]:
        """What an entry has of a row, for machines; what an event has is hidden as columns of its table are."""
        if not row.is_event:
            return self.row(row.table, data)
        given = data.get("data")
        return {**data, "data": self.row(row.table, given)} if isinstance(given, dict) else data

    def can_see_fact(self, name: str) -> bool:
        """Whether a column of the transaction table, such as ``client_addr``, is shown."""
        return f"transaction.{name}" not in self._mask and self._allows("transaction", name)

    def _decide(self, table: TableName, column: str) -> bool:
        if names_in_mask(self._catalog, table, column) & self._mask:
            return False
        info = self._catalog.get(table)
        # what was logged before the table got its option is hidden as well
        if info is not None and column in info.masked:
            return False
        return self._allows(self._catalog.text(table), column)

    def _allows(self, table: str, column: str) -> bool:
        return self._rule is None or bool(self._rule(table, column, self._viewer))


def humanized(name: str) -> str:
    """A name of a table or column as words."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] if words else name


def names_in_mask(catalog: TableCatalog, table: TableName, column: str) -> set[str]:
    """How ``AuditUI(mask=…)`` may name a column."""
    return {f"{catalog.text(table)}.{column}", f"{table}.{column}"}


def refuse_masked_keys(catalog: TableCatalog, mask: Collection[str]) -> None:
    """Check that no key is masked: records are found, named and linked by it, so it can't be hidden.

    :raises ConfigurationError: naming the column.
    """
    for info in catalog.audited:
        for column in info.key:
            masked = names_in_mask(catalog, info.name, column) & set(mask)
            if masked:
                raise ConfigurationError(
                    f"AuditUI(mask=…) names {min(masked)!r}, but {column!r} is part of the key of its table. "
                    "Records are found, named and linked by their keys, which can't be hidden. Take it out of the "
                    "mask; AuditUI(scope=…) keeps people from the table, and a key without a meaning tells nothing."
                )


#: Where an application keeps its sites, by the names of their blueprints. They refer to the application, so that a
#: dictionary of this module, be it a weak one, would keep every application alive.
_EXTENSION = "audit_logger_ui"


@dataclass
class Site:
    """The pages of one application: what its requests share."""

    ui: AuditUI
    audit_logger: Audited
    settings: PageSettings
    environment: Environment
    #: Name of the blueprint.
    name: str
    #: Views that were reported a moment ago.
    recent_views: dict[tuple[Any, ...], dt.datetime] = field(default_factory=dict)
    #: Actions for which the permission callback returned something that is taken for a yes, and is none.
    warned: set[str] = field(default_factory=set)
    #: The actors that the filter offers, and when they were looked up.
    known_actors: tuple[float, list[tuple[str, str]]] | None = None
    _catalog: tuple[tuple[int, str], TableCatalog] | None = None

    @property
    def catalog(self) -> TableCatalog:
        """The tables of the application, read again when there are more of them.

        :raises ConfigurationError: if the key of a table is masked.
        """
        metadatas = list(self.audit_logger.database.metadatas.values())
        # the driver knows the default schema only after its first connection
        default = self.audit_logger.engine.dialect.default_schema_name or "public"
        known = (sum(len(metadata.tables) for metadata in metadatas), default)
        if self._catalog is None or self._catalog[0] != known:
            references = None if isinstance(self.ui.foreign_keys, str) else self.ui.foreign_keys
            catalog = TableCatalog(metadatas, default, references)
            refuse_masked_keys(catalog, self.ui.mask)
            self._catalog = (known, catalog)
        return self._catalog[1]


class Visit:
    """One request to the pages of a site, or to a page of the application that shows a part of them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ui = site.ui
        self.audit_logger = site.audit_logger
        self.settings = site.settings
        #: The viewer; unknown until :meth:`identify`.
        self.viewer: Viewer | None = None
        #: What the permission callback is asked for, and about what.
        self.action: str | None = None
        self.target: Any = None
        #: Rows that the page shows, if it is a list.
        self.rows: int | None = None
        #: Whether the response is one of ours, and no error page or login page of the application.
        self.is_answered = False
        #: The language of the texts, kept by :mod:`..i18n`.
        self.language: Any = None
        #: How far the copy of the log is behind, if that was read.
        self.lag: Lag | None = None
        #: What a developer has to know about the answer of the permission callback.
        self.note: str | None = None
        self._request = _this_request()
        self._is_identified = False
        self._answers: dict[tuple[str, Any], Any] = {}
        self._naming: dict[TableName, Sequence[str]] = {}

    @property
    def is_current(self) -> bool:
        """Whether this is a visit of the present request: an application context may see several requests."""
        return self._request is _this_request()

    @cached_property
    def catalog(self) -> TableCatalog:
        """The tables of the application."""
        return self.site.catalog

    @cached_property
    def sight(self) -> Sight:
        """What the viewer may see of a row."""
        return Sight(self.catalog, self.ui.mask, self.ui.can_see_column, self.viewer)

    @cached_property
    def clock(self) -> Clock:
        """Times in the zone that was chosen, else in the viewer's."""
        return Clock(self._chosen_zone() or self.usual_zone)

    @property
    def usual_zone(self) -> str:
        """The viewer's zone, or that of all who have none."""
        given = self.viewer.timezone if self.viewer is not None else None
        return viewers_zone(given, self.settings.timezone)

    def _chosen_zone(self) -> str | None:
        """The zone of the address, so that it shows the same to everybody, or the one that this browser keeps."""
        if self._request is None or self.site.name not in self._request.blueprints[:1]:
            return None  # a page of the application has arguments of its own
        asked, kept = self._request.args.get("tz", ""), self._request.cookies.get(ZONE_COOKIE)
        if is_zone(asked):  # an address with another one is told so
            return str(asked)
        return kept if kept in zone_names() else None

    @cached_property
    def links(self) -> Links:
        """Addresses of the pages."""
        return Links(self.site.name, self.catalog, lambda: self.clock.name)

    def reader(self, *, at_source: bool = False) -> AuditReader:
        """Reads the log as far as the viewer may see it.

        :param at_source: on the server that is written to, although pages read from another one.
        """
        scope, viewer = self.ui.scope, self.viewer
        narrow: Callable[[Any], Any] = everything if scope is None else lambda statement: scope(statement, viewer)
        if scope is not None:
            narrow = checked_scope(narrow, self.audit_logger.models)
        reader = AuditReader(
            engine=self.audit_logger.engine,
            models=self.audit_logger.models,
            timeout_ms=self.settings.statement_timeout_ms,
            scope=narrow,
        )
        if at_source or self.audit_logger.read_bind is None:
            return reader
        follower = replace(reader, engine=self.audit_logger.read_engine)
        # Before the page reads, so that the page has no less than it says.
        self.lag = self.lag or lag_of(follower, reader)
        return follower

    def is_anonymous(self) -> bool:
        """Whether Flask-Login is used and nobody is logged in. With ``permission="debug"`` nobody has to be."""
        if self.ui.viewer is not None or self.ui.permission == DEBUG or not hasattr(current_app, "login_manager"):
            return False
        return not getattr(_login_user(), "is_authenticated", False)

    def identify(self) -> None:
        """Set the viewer, once for each request."""
        if not self._is_identified:
            self.viewer, self._is_identified = self._find_viewer(), True

    def ask(self, action: str, target: Any = None) -> Any:
        """The answer to ``AuditUI(permission=…)``; a callback is asked once for each action and target."""
        permission = self.ui.permission
        if permission is None or isinstance(permission, str):
            return permission == DEBUG and self.not_local is None
        key = (action, target)
        if key not in self._answers:
            self._answers[key] = permission(action, target)
        return self._answers[key]

    @cached_property
    def not_local(self) -> str | None:
        """Why ``permission="debug"`` keeps this request out; ``None`` if it lets it in."""
        return why_not_local(current_app.debug, self._request.environ if self._request is not None else {})

    def may(self, action: str, target: Any = None) -> bool:
        """Whether the viewer may do something. A link is shown only if its page would open."""
        if action == "live" and self.audit_logger.read_bind is not None:
            return False  # the row of today is on the other server, and may be newer than the log is here
        # exactly True: a callback that forgets to return, or returns something else by mistake, allows nothing
        answer = self.ask(action, target)
        if not isinstance(answer, bool | Response) and answer:
            self.note = NOT_TRUE % (action, answer)
            if action not in self.site.warned:
                self.site.warned.add(action)
                logger.warning(self.note)
        return answer is True

    def can_revert(self, record: RecordRef) -> bool:
        """Whether the viewer may put values of a record back."""
        if self.ui.revert is None or self.catalog.get(record.table) is None:
            return False
        return self.may("revert", record)

    def can_take_back(self, transaction_id: int) -> bool:
        """Whether the viewer may take a transaction back."""
        return self.ui.revert is not None and self.may("revert", transaction_id)

    def can_download(self, kind: ValueKind, shown: Shown, record: RecordRef | None) -> bool:
        """Whether a value is offered as a download: a long text, or a binary one with a permission of its own."""
        return self.may("download_binary", record) if kind is ValueKind.BINARY else shown.is_cut

    def table_label(self, table: TableName) -> str:
        """How a table is called. Events without a target have none."""
        if not table.schema:
            return str(VERB_NAMES["event"])
        hook, name = self.ui.table_label, self.catalog.text(table)
        given = asked("table_label", lambda: hook(name), None) if hook is not None else None
        if given:
            return visible(str(given))
        is_default = table.schema == self.catalog.default_schema
        return visible(humanized(table.name) if is_default else f"{humanized(table.name)} ({table.schema})")

    def column_label(self, table: TableName, column: str) -> str:
        """How a column is called: its own name, unless the application has a better one."""
        hook, name = self.ui.column_label, self.catalog.text(table)
        given = asked("column_label", lambda: hook(name, column), None) if hook is not None else None
        label, info = visible(str(given or column)), self.catalog.get(table)
        is_gone = info is not None and column not in info.columns
        return gettext("%(column)s (not in the application today)", column=label) if is_gone else label

    def naming_columns(self, table: TableName) -> Sequence[str]:
        """The columns that name a record of a table, if the viewer may see them.

        Without a setting none for a table that has none of the usual ones today: to look for names in vain is most of
        what a file costs.
        """
        if table not in self._naming:
            given, info = self.ui.naming_columns.get(self.catalog.text(table)), self.catalog.get(table)
            if given is None:
                is_nameless = info is not None and not any(column in info.columns for column in NAMING_COLUMNS)
                given = () if is_nameless else NAMING_COLUMNS
            self._naming[table] = [column for column in given if self.sight.can_see(table, column)]
        return self._naming[table]

    def check_actor(self, actor: str) -> None:
        """Check that there can be such an actor.

        :raises ValueError: saying why not.
        """
        actor_value(self.audit_logger.models, actor)

    def nonce(self) -> str | None:
        """The nonce of this response's Content-Security-Policy, if the application has one."""
        return self.ui.csp_nonce() if self.ui.csp_nonce is not None and has_request_context() else None

    def _find_viewer(self) -> Viewer | None:
        if self.ui.viewer is not None:
            return self.ui.viewer()
        if not hasattr(current_app, "login_manager"):
            return None
        user = _login_user()
        zone, locale = getattr(user, "timezone", None), getattr(user, "locale", None)
        name = self.audit_logger.name_of(user)
        return Viewer(str(user.get_id()), name, zone, str(locale) if locale else None)


def add_site(app: Flask, site: Site) -> None:
    """Remember the pages of an application."""
    app.extensions.setdefault(_EXTENSION, {})[site.name] = site


def find_site() -> Site | None:
    """The first site of the application: links on its own pages lead there."""
    return next(iter(current_app.extensions.get(_EXTENSION, {}).values()), None)


def visit_to(site: Site) -> Visit:
    """The visit of this request, or a new one."""
    known: Visit | None = g.get("audit_visit")
    if known is not None and known.is_current:
        # a page of one site may show a part of another one
        return known if known.site is site else Visit(site)
    visit = g.audit_visit = Visit(site)
    return visit


def current_visit() -> Visit:
    """The visit to the blueprint that answers this request."""
    return visit_to(current_app.extensions[_EXTENSION][request.blueprints[0] if request.blueprints else ""])


#: What a browser on this machine says when it opens a page of this machine. Any other name may be one whose owner makes
#: it resolve to 127.0.0.1 for a moment (DNS rebinding).
_LOCAL_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.ASCII | re.IGNORECASE)

#: What proxies add: behind one, each request comes from an address of this machine, whoever sent it.
_FORWARDED = re.compile(r"HTTP_(X_FORWARDED_\w+|FORWARDED|X_REAL_IP|VIA)", re.ASCII)


def why_not_local(is_debug: bool, environ: Mapping[str, Any]) -> str | None:
    """Why a request is not one of a developer to the own machine in debug mode; ``None`` if it is.

    Nothing that a header says counts in favour of a request.

    :param environ: of the request.
    """
    if not is_debug:
        return "app.debug is off; start the application with flask run --debug"
    header = next((name for name in environ if _FORWARDED.fullmatch(name)), None)
    if header is not None:
        name = header.removeprefix("HTTP_").replace("_", "-").title()
        return f"a proxy forwarded the request ({name})"
    address = environ.get("REMOTE_ADDR") or ""
    if not _is_loopback(address):
        return f"the request came from {address!r}, which is not this machine"
    host = environ.get("HTTP_HOST") or ""
    if not _LOCAL_HOST.fullmatch(host):
        return f"the request was sent to {host!r}; open http://localhost or http://127.0.0.1, with the port"
    return None


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _this_request() -> Any:
    return request._get_current_object() if has_request_context() else None  # type: ignore[attr-defined]  # a proxy


def _login_user() -> Any:
    from flask_login import current_user  # an application without Flask-Login has no login_manager either

    return current_user
