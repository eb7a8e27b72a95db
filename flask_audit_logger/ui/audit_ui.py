"""The browser pages of the log as an application configures them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Flask

from ..exceptions import ConfigurationError
from .blueprint import make_blueprint
from .config import UIConfig
from .embed import audit_recent_changes, audit_stylesheet
from .hooks import Audited, Column, Label, Preset, RevertPolicy, Viewer, ViewEvent
from .rendering import make_environment
from .sight import refuse_masked_keys
from .state import UIState, add_state
from .urls import audit_actor_url, audit_record_url

if TYPE_CHECKING:
    from flask import Response
    from sqlalchemy import Select

    from ..query.refs import RecordRef
    from ..query.rows import ActivityRow

logger = logging.getLogger("flask_audit_logger.ui")


@dataclass(frozen=True, kw_only=True)
class AuditUI:
    """The pages of the log and everything an application can say about them.

    Without ``permission`` every page is refused to everybody.

    :param permission: ``(action, target) -> bool | Response``. Only ``True`` lets somebody in. Actions are ``list``,
        ``activity``, ``record``, ``transaction``, ``actor``, ``help`` and what the pages offer besides; the target is a
        :class:`RecordRef`, an id, an actor's id as text, or ``None``.
    :param viewer: ``() -> Viewer | None``; by default the user of Flask-Login.
    :param scope: ``(select, viewer) -> select``, put on every select of activities; may use the columns of
        ``audit_logger.activity_cls``. A record's present row is in the scope while its newest change is. Return the
        select itself for a viewer who may see everything.
    :param can_see_column: ``(table, column, viewer) -> bool``; what it refuses is shown as changed, value hidden. The
        table is ``transaction`` for ``client_addr`` and ``user_agent``.
    :param mask: ``table.column`` whose values are never shown, whoever looks.
    :param actor_labels: ``(set of ids) -> {id: Label}``; called once for a page.
    :param record_labels: ``(set of RecordRef) -> {RecordRef: Label}``; called once for a page, for records in the
        viewer's scope.
    :param table_label: ``(table) -> str | None``.
    :param column_label: ``(table, column) -> str | None``.
    :param naming_columns: for a table the columns that name its records, best first.
    :param important_columns: for a table the columns that are shown first.
    :param formatters: ``{(table, column): value -> str}``.
    :param foreign_keys: which columns point to other records: ``"auto"`` for those that the models say, or all of them
        as ``{(table, column): table}``.
    :param related_records: ``(RecordRef) -> [Label]``; links shown on the page of a record.
    :param extra_columns: columns of the application's own on the list and in exports.
    :param describe: ``(activity) -> str | None``; a sentence shown above the changes, never instead of them.
    :param suggest_actors: ``() -> {id: name}``, offered by the filter; by default the actors in the log.
    :param presets: searches offered above the filters.
    :param on_view: told of every page that was read or refused; the same one again within a minute is not reported.
    :param view_log_required: answer 503 instead of the page if ``on_view`` fails.
    :param revert: lets who has the permission ``revert`` put values back; the application needs a ``SECRET_KEY``.
    :param csp_nonce: ``() -> str``, the nonce of the application's Content-Security-Policy.
    :param layout: the template that the pages extend.
    :param name: of the blueprint.
    :param url_prefix: where the pages are.
    """

    STANDALONE = "audit/layout.html"

    permission: Callable[[str, Any], bool | Response] | None = None
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

    def init_app(self, app: Flask, audit_logger: Audited, url_prefix: str | None = None) -> None:
        """Register the pages with an application.

        :param audit_logger: the log to read.
        :param url_prefix: where the pages are, if not where ``AuditUI(url_prefix=…)`` says.
        :raises ConfigurationError: for a bad value of an ``AUDIT_UI_…`` key or of ``foreign_keys``, or for a
            ``mask`` that hides a key.
        """
        if self.foreign_keys != "auto" and not isinstance(self.foreign_keys, Mapping):
            raise ConfigurationError(
                f"foreign_keys is {self.foreign_keys!r}; it must be 'auto' or a mapping such as "
                "{('orders', 'user_id'): 'users'}"
            )
        config = UIConfig.read(app.config)
        for key, value in config.defaults().items():
            app.config.setdefault(key, value)
        prefix = self.url_prefix if url_prefix is None else url_prefix
        blueprint = make_blueprint(self.name)
        app.register_blueprint(blueprint, url_prefix=prefix)
        state = UIState(self, audit_logger, config, make_environment(app), self.name)
        if self.mask:
            with app.app_context():
                refuse_masked_keys(state.catalog, self.mask)
        add_state(app, state)
        app.jinja_env.globals.update(
            audit_record_url=audit_record_url,
            audit_actor_url=audit_actor_url,
            audit_recent_changes=audit_recent_changes,
            audit_stylesheet=audit_stylesheet,
        )
        if self.permission is None:
            logger.warning("AuditUI has no permission callback: every page below %s answers 403", prefix)

    def is_anonymous(self, app: Flask) -> bool:
        """Whether Flask-Login is used and nobody is logged in."""
        if self.viewer is not None or not hasattr(app, "login_manager"):
            return False
        return not getattr(_login_user(), "is_authenticated", False)

    def find_viewer(self, app: Flask) -> Viewer | None:
        """Who looks at the pages."""
        if self.viewer is not None:
            return self.viewer()
        if not hasattr(app, "login_manager"):
            return None
        user = _login_user()
        label = getattr(user, "display_name", None) or getattr(user, "name", None) or getattr(user, "username", None)
        zone, locale = getattr(user, "timezone", None), getattr(user, "locale", None)
        return Viewer(str(user.get_id()), str(label) if label else None, zone, str(locale) if locale else None)


def _login_user() -> Any:
    from flask_login import current_user  # an application without Flask-Login has no login_manager either

    return current_user
