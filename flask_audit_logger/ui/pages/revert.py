"""Putting values of a record back: a preview, then the change, on the one page that writes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

from flask import abort, current_app, redirect, request, session
from wtforms import Form, StringField, ValidationError
from wtforms.csrf.session import SessionCSRF

from ...diff import as_text
from ...diff.show import visible
from ...exceptions import Conflict, Refused
from ...i18n import gettext, lazy_gettext, marked
from ...query.drift import key_of
from ...query.put_back import MADE, LiveRow, PlannedColumn, plan, put_back, read_in_scope, read_live
from ...query.reader import Log
from ...query.record_states import NEWEST, exactly, record_states
from ...query.records import last_version, renamed_to
from ...query.refs import RecordRef, stored_key
from ...query.rows import ActivityRow
from ...query.scope import with_row
from ...query.tables import TableInfo
from ..access import action
from ..forms import TranslatedMeta
from ..presenter import Presenter
from ..shown import Change, Page, RecordShown
from ..templating import render
from ..urls import change_of
from ..visit import Visit
from .base import head, record_name, steps_to


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


@dataclass(frozen=True)
class RevertColumn:
    """A column on the preview of putting values back."""

    name: str
    change: Change
    is_ticked: bool
    obstacle: str | None = None


MAX_REASON = 500


class RevertForm(Form):
    """What is posted besides the ticked columns."""

    class Meta(TranslatedMeta):
        csrf = True
        csrf_class = SessionCSRF
        csrf_field_name = "audit_token"

        @property
        def csrf_secret(self) -> bytes:  # type: ignore[override]  # WTForms takes an attribute for it
            key = current_app.secret_key or ""
            return b"audit:" + (key if isinstance(key, bytes) else key.encode())

        @property
        def csrf_context(self) -> Any:  # type: ignore[override]  # as above
            return session

    #: Whether whoever puts values back has to say why.
    reason_required: bool = True

    reason = StringField(lazy_gettext("Reason"), id="audit-reason")
    row = StringField("Row")

    def validate_reason(self, field: Any) -> None:
        if self.reason_required and not (field.data or "").strip():
            raise ValidationError(gettext("Enter a reason."))
        if len(field.data or "") > MAX_REASON:
            raise ValidationError(gettext("A reason can have at most %(most)s characters.", most=MAX_REASON))
        if "\x00" in (field.data or ""):
            raise ValidationError(gettext("A reason can't contain control characters."))


def _form(visit: Visit, posted: Any = None) -> RevertForm:
    form = RevertForm(posted)
    form.reason_required = visit.ui.revert is not None and visit.ui.revert.reason_required
    return form


@action("revert")
def revert_page(visit: Visit, record: RecordRef) -> Any:
    """GET shows what would change; POST does it, if the row is still the one that was shown."""
    info = visit.catalog.get(record.table)
    if info is None or visit.ui.revert is None or not visit.can_revert(record) or not current_app.secret_key:
        abort(404)
    presenter = Presenter(visit)
    with visit.reader(at_source=True).reading() as log:
        proposal = _propose(presenter, log, info, record)
    if request.method != "POST":  # HEAD is a GET whose body nobody reads
        return _preview(presenter, proposal, _form(visit))
    return _post(presenter, info, proposal)


@dataclass(frozen=True)
class Proposal:
    """What would be put back.

    :param key: the values of the record's key as text.
    :param version: the change before or after which the record was so.
    :param live: the row as it is now.
    """

    record: RecordRef
    key: tuple[str, ...]
    version: ActivityRow
    live: LiveRow
    columns: tuple[PlannedColumn, ...]


def _propose(presenter: Presenter, log: Log, info: TableInfo, record: RecordRef) -> Proposal:
    visit = presenter.visit
    wanted, side = change_of(request.args.get("to", "")), request.args.get("side", "before")
    if wanted is None or side not in ("before", "after"):
        abort(404)
    found, newest = record_states(log, record, exactly(log, wanted), NEWEST, key=info.key)
    if found is None or newest is None:
        abort(404)
    target = found.version.state_before if side == "before" else found.row
    # under another key it exists; making it again would be a second one
    if not target or renamed_to(newest.version, info.key) is not None:
        abort(404)
    try:
        key = key_of(info, record, target)
        live = read_in_scope(log, info, record, key)
    except (LookupError, Refused):
        abort(404)
    if live is None:
        abort(404)
    planned = plan(info, _mappers(visit), live, target, _hidden(visit, info, target))
    presenter.learn(log, [found.version], [record])
    planned = [_checked(visit, log, info, column, is_restore=live.row is None) for column in planned]
    if live.row is not None and found.version.id <= newest.since:
        other = marked("the key has changed since then, and another record may have it now")
        planned = [replace(column, obstacle=column.obstacle or other) for column in planned]
    return Proposal(record, key, found.version, live, tuple(planned))


def _checked(visit: Visit, log: Log, info: TableInfo, column: PlannedColumn, *, is_restore: bool) -> PlannedColumn:
    """The column, refused if it is a foreign key whose row is gone."""
    declared = info.columns.get(column.name)
    ref, key = declared.target if declared is not None and declared.target is not None else (None, None)
    target = visit.catalog.get(ref) if ref is not None else None
    if declared is None or target is None or column.obstacle or not column.then.known or target.key != (key,):
        return column
    pointed = RecordRef(target.name, stored_key((as_text(column.then.data),)))
    if not with_row(log, [pointed], visit.catalog.key):
        return column  # whether it exists is not theirs to know; the database says so when the value is written
    try:
        is_gone = read_live(log.connection, target, (as_text(column.then.data),)).row is None
    except Refused:
        return column  # the database says so when the value is written
    if not is_gone:
        return column
    return replace(
        column,
        obstacle=marked("the referenced record no longer exists"),
        is_lacking=is_restore and declared.is_required,
    )


def _hidden(visit: Visit, info: TableInfo, target: dict[str, Any]) -> set[str]:
    return {name for name in (*target, *info.columns) if not visit.sight.can_see(info.name, name)}


def _mappers(visit: Visit) -> Any:
    return visit.audit_logger.database.mappers()


def _post(presenter: Presenter, info: TableInfo, proposal: Proposal) -> Any:
    visit = presenter.visit
    form = _form(visit, request.form)
    record, live = proposal.record, proposal.live

    def again(status: int, problem: str) -> Any:
        return _preview(presenter, proposal, form, status, problem)

    if not form.validate():
        if form.errors.get("audit_token"):
            return again(400, gettext("This form has expired. Check it and send it again."))
        return again(422, gettext("Nothing was changed. See below."))
    # before the columns: what was shown of another row says nothing about those of this one
    if not hmac.compare_digest((form.row.data or "").encode("utf-8", "replace"), signed(live.digest).encode()):
        return again(409, gettext("The row has changed since this page was loaded. These are its current values."))
    ticked = set(request.form.getlist("column"))
    possible = {column.name: column.logged for column in proposal.columns if column.obstacle is None}
    if live.row is None:
        ticked |= set(info.key) & set(possible)
    if any(column.is_lacking for column in proposal.columns):
        return again(422, gettext("Nothing was changed. See below."))
    if not ticked or not ticked <= set(possible):
        text = gettext("Choose columns that can be put back.") if ticked else gettext("Choose at least one column.")
        return again(422, text)
    reason = f"Put back from change {proposal.version.id}: {(form.reason.data or '').strip()}".rstrip(": ")
    with visit.audit_logger.database.writing() as session:
        try:
            with visit.audit_logger.context(reason=reason):
                values = {name: possible[name] for name in possible if name in ticked}
                put_back(
                    session,
                    _mappers(visit),
                    info,
                    record,
                    proposal.key,
                    reader=visit.reader(at_source=True),
                    digest=live.digest,
                    values=values,
                )
                session.commit()
        except Conflict:
            session.rollback()
            return again(409, gettext("The row has changed in the meantime. The values below are from before."))
        except Refused as error:
            session.rollback()
            if error.objection is None:
                return again(422, gettext("Nothing was changed. The row can't be read."))
            objection = visible(error.objection)
            return again(
                422,
                gettext("Nothing was changed. The database refused the change: %(objection)s.", objection=objection),
            )
        except Exception:  # of a listener or a trigger of the application; it goes on to whoever handles errors
            session.rollback()
            raise
    with visit.reader(at_source=True).reading() as log:
        newest = last_version(log, record)
    if newest is None:
        return redirect(visit.links.activities(), 303)
    return redirect(visit.links.activity(newest.cursor) + "?done=1", 303)


def _preview(
    presenter: Presenter, proposal: Proposal, form: RevertForm, status: int = 200, problem: str | None = None
) -> Any:
    visit, record, version, live = presenter.visit, proposal.record, proposal.version, proposal.live
    shown, shown_table = presenter.record(record), presenter.table(record.table)
    asked = set(request.form.getlist("column") if request.method == "POST" else request.args.getlist("col"))
    is_restore = live.row is None
    columns = []
    for column in proposal.columns:
        change = presenter.compared(record.table, column.name, column.now, column.then)
        is_ticked = column.obstacle is None and (is_restore or not asked or column.name in asked)
        columns.append(RevertColumn(column.name, change, is_ticked, column.obstacle))
    form.row.data = signed(live.digest)
    name = record_name(shown, shown_table)
    heading = gettext("Restore %(record)s", record=name) if is_restore else gettext("Put back %(record)s", record=name)
    side = request.args.get("side", "before")
    assert visit.ui.revert is not None  # noqa: S101 - the view answers 404 without it
    page = RevertPage(
        **head(visit, heading, heading, *steps_to(shown, shown_table, gettext("Put back"))),
        record=shown,
        source=gettext("before change %(id)s", id=version.id)
        if side == "before"
        else gettext("after change %(id)s", id=version.id),
        source_href=visit.links.activity(version.cursor),
        is_restore=is_restore,
        columns=tuple(columns),
        is_whole=all(column.obstacle in (None, MADE) for column in proposal.columns),
        lacking=tuple(
            visit.column_label(record.table, column.name) for column in proposal.columns if column.is_lacking
        ),
        action=visit.links.revert(record, version.cursor, side),
        form=form,
        hidden=host_token(),
        reason_required=visit.ui.revert.reason_required,
        problem=problem,
    )
    return render(visit, page, status)


def signed(digest: str) -> str:
    """The digest of a row that only this application can have made."""
    key = current_app.secret_key or ""
    secret = key if isinstance(key, bytes) else key.encode()
    return hmac.new(b"audit-row:" + secret, digest.encode(), hashlib.sha256).hexdigest()


def host_token() -> tuple[tuple[str, str], ...]:
    """The token that a CSRF protection of the whole application asks for."""
    make = current_app.jinja_env.globals.get("csrf_token")
    if "csrf" not in current_app.extensions or not callable(make):
        return ()
    return ((str(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")), str(make())),)
