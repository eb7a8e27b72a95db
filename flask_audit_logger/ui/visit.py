"""One request to the pages: who looks, what they may see, the clock, the links and the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, current_app, g, has_request_context, request
from jinja2 import Environment

from ..exceptions import ConfigurationError
from ..query.criteria import actor_value
from ..query.diff import Kind, Shown
from ..query.diff.pieces import visible
from ..query.names import NAMING_COLUMNS
from ..query.reader import AuditReader, checked_scope, everything
from ..query.refs import RecordRef, TableRef, stored_key
from ..query.tables import TableCatalog
from ..query.values import ABSENT, MASKED, Value
from ..settings import PageSettings
from .options import Audited, AuditUI, Viewer, asked
from .times import Clock, viewers_zone
from .urls import Links, decode_key, decode_table

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
        self._known: dict[tuple[TableRef, str], bool] = {}

    def can_see(self, table: TableRef, column: str) -> bool:
        """Whether values of a column are shown and may be searched for."""
        key = (table, column)
        if key not in self._known:
            self._known[key] = self._decide(table, column)
        return self._known[key]

    def value(self, table: TableRef, column: str, value: Value) -> Value:
        """A value, or the mask. Not even whether it is null shows through; only that it was not logged."""
        return value if value == ABSENT or self.can_see(table, column) else MASKED

    def row(self, table: TableRef, row: dict[str, object]) -> dict[str, object]:
        """A whole row for machines, with the same marks that the trigger writes for masked columns."""
        marked = {"audit_logger": "masked"}
        return {column: value if self.can_see(table, column) else marked for column, value in row.items()}

    def can_see_fact(self, name: str) -> bool:
        """Whether a column of the transaction table, such as ``client_addr``, is shown."""
        return f"transaction.{name}" not in self._mask and self._allows("transaction", name)

    def _decide(self, table: TableRef, column: str) -> bool:
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


def names_in_mask(catalog: TableCatalog, table: TableRef, column: str) -> set[str]:
    """How ``AuditUI(mask=…)`` may name a column."""
    return {f"{catalog.text(table)}.{column}", f"{table}.{column}"}


def refuse_masked_keys(catalog: TableCatalog, mask: Collection[str]) -> None:
    """Check that no key is masked: records are found, named and linked by it, so it can't be hidden.

    :raises ConfigurationError: naming the column.
    """
    for info in catalog.audited:
        for column in info.key:
            masked = names_in_mask(catalog, info.ref, column) & set(mask)
            if masked:
                raise ConfigurationError(
                    f"AuditUI(mask=…) names {min(masked)!r}, but {column!r} is part of the key of its table. "
                    "Records are found, named and linked by their keys, which can't be hidden. Take it out of the "
                    "mask; AuditUI(scope=…) keeps people from the table, and a key without a meaning tells nothing."
                )


#: Where an application keeps the state of each blueprint of ours by its name. The states refer to the application, so
#: that a dictionary of this module, be it a weak one, would keep every application alive.
_EXTENSION = "audit_logger_ui"


@dataclass
class UIState:
    """The pages of one application."""

    ui: AuditUI
    audit_logger: Audited
    config: PageSettings
    environment: Environment
    name: str
    #: Views that were reported a moment ago.
    recent_views: dict[tuple[Any, ...], dt.datetime] = field(default_factory=dict)
    #: The actors that the filter offers, and when they were looked up.
    known_actors: tuple[float, list[tuple[str, str]]] | None = None
    _catalog: tuple[tuple[int, str], TableCatalog] | None = None

    @property
    def catalog(self) -> TableCatalog:
        """The tables of the application, read again when there are more of them.

        :raises ConfigurationError: if the key of a table is masked.
        """
        metadatas = list(self.audit_logger.db.metadatas.values())
        # the driver knows the default schema only after its first connection
        default = self.audit_logger.db.engine.dialect.default_schema_name or "public"
        known = (sum(len(metadata.tables) for metadata in metadatas), default)
        if self._catalog is None or self._catalog[0] != known:
            catalog = TableCatalog(metadatas, default, self.references)
            refuse_masked_keys(catalog, self.ui.mask)
            self._catalog = (known, catalog)
        return self._catalog[1]

    @property
    def references(self) -> Mapping[tuple[str, str], str] | None:
        """The references that the application names, if it does not leave that to its models."""
        given = self.ui.foreign_keys
        return None if isinstance(given, str) else given

    @property
    def viewer(self) -> Viewer | None:
        """Who looks, as the gate found out."""
        found: Viewer | None = g.get("audit_viewer")
        return found

    @property
    def sight(self) -> Sight:
        """What the viewer may see of a row."""
        if "audit_sight" not in g:
            g.audit_sight = Sight(self.catalog, self.ui.mask, self.ui.can_see_column, self.viewer)
        sight: Sight = g.audit_sight
        return sight

    @property
    def links(self) -> Links:
        """Addresses of the pages."""
        return Links(self.name, self.catalog, lambda: self.clock.name)

    @property
    def clock(self) -> Clock:
        """Times in the viewer's zone."""
        given = self.viewer.timezone if self.viewer is not None else None
        return Clock(viewers_zone(given, self.config.timezone))

    def reader(self) -> AuditReader:
        """Reads the log as far as the viewer may see it."""
        scope, viewer = self.ui.scope, self.viewer
        narrow: Callable[[Any], Any] = everything if scope is None else lambda statement: scope(statement, viewer)
        if scope is not None:
            narrow = checked_scope(narrow, self.audit_logger.models)
        return AuditReader(
            engine=self.audit_logger.db.engine,
            models=self.audit_logger.models,
            timeout_ms=self.config.statement_timeout_ms,
            scope=narrow,
        )

    def table_from(self, text: str) -> TableRef:
        """The table that a part of a URL names.

        :raises BadKey: if it can't be one.
        """
        schema, name = decode_table(text)
        return TableRef(schema or self.catalog.default_schema, name)

    def record_from(self, table: str, key: str) -> RecordRef:
        """The record that two parts of a URL name.

        :raises BadKey: if they can't be one.
        """
        return RecordRef(self.table_from(table), stored_key(decode_key(key)))

    def may(self, action: str) -> bool:
        """Whether links to pages of this kind are of use to the viewer.

        The callback is asked once, without a target; one that needs a target decides when the link is followed.
        """
        known: dict[str, bool] = g.setdefault("audit_may", {})
        if action not in known:
            known[action] = self.ui.permission is not None and self.ui.permission(action, None) is True
        return known[action]

    def can_revert(self, record: RecordRef) -> bool:
        """Whether the viewer may put values of a record back."""
        permission = self.ui.permission
        if self.ui.revert is None or permission is None or self.catalog.get(record.table) is None:
            return False
        return permission("revert", record) is True

    def table_label(self, table: TableRef) -> str:
        """How a table is called."""
        hook, name = self.ui.table_label, self.catalog.text(table)
        given = asked("table_label", lambda: hook(name), None) if hook is not None else None
        if given:
            return visible(str(given))
        is_default = table.schema == self.catalog.default_schema
        return visible(humanized(table.name) if is_default else f"{humanized(table.name)} ({table.schema})")

    def column_label(self, table: TableRef, column: str) -> str:
        """How a column is called: its own name, unless the application has a better one."""
        hook, name = self.ui.column_label, self.catalog.text(table)
        given = asked("column_label", lambda: hook(name, column), None) if hook is not None else None
        return visible(str(given or column))

    def naming_columns(self, table: TableRef) -> Sequence[str]:
        """The columns that name a record of a table, if the viewer may see them."""
        given = self.ui.naming_columns.get(self.catalog.text(table), NAMING_COLUMNS)
        return [column for column in given if self.sight.can_see(table, column)]

    def can_download(self, kind: Kind, shown: Shown) -> bool:
        """Whether a value is offered as a download: a long text, or a binary one with a permission of its own."""
        if kind is Kind.BINARY:
            return self.ui.permission is not None and self.ui.permission("download_binary", None) is True
        return shown.size is not None

    def check_actor(self, actor: str) -> None:
        """Check that there can be such an actor.

        :raises ValueError: saying why not.
        """
        actor_value(self.audit_logger.models, actor)

    def nonce(self) -> str | None:
        """The nonce of this response's Content-Security-Policy, if the application has one."""
        return self.ui.csp_nonce() if self.ui.csp_nonce is not None and has_request_context() else None


def add_state(app: Flask, state: UIState) -> None:
    """Remember the state of a blueprint."""
    app.extensions.setdefault(_EXTENSION, {})[state.name] = state


def find_state(app: Flask) -> UIState | None:
    """The first state of an application: the one that links on its own pages go to."""
    return next(iter(app.extensions.get(_EXTENSION, {}).values()), None)


def this_app() -> Flask:
    """The application itself, in whose context this is."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # a proxy that is typed as what it hides
    return app


def current_state() -> UIState:
    """The state of the blueprint that answers this request."""
    state: UIState = current_app.extensions[_EXTENSION][request.blueprints[0] if request.blueprints else ""]
    return state


def _login_user() -> Any:
    from flask_login import current_user  # an application without Flask-Login has no login_manager either

    return current_user


def is_anonymous(ui: AuditUI, app: Flask) -> bool:
    """Whether Flask-Login is used and nobody is logged in."""
    if ui.viewer is not None or not hasattr(app, "login_manager"):
        return False
    return not getattr(_login_user(), "is_authenticated", False)


def find_viewer(ui: AuditUI, app: Flask) -> Viewer | None:
    """Who looks at the pages."""
    if ui.viewer is not None:
        return ui.viewer()
    if not hasattr(app, "login_manager"):
        return None
    user = _login_user()
    label = getattr(user, "display_name", None) or getattr(user, "name", None) or getattr(user, "username", None)
    zone, locale = getattr(user, "timezone", None), getattr(user, "locale", None)
    return Viewer(str(user.get_id()), str(label) if label else None, zone, str(locale) if locale else None)
