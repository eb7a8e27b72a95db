"""Taking a transaction back: a preview of what goes back and what stays, then one write."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, current_app, redirect, request
from wtforms import BooleanField

from ...diff.show import visible
from ...exceptions import Conflict, Refused, TooManyChanges
from ...history.reverts import MOST_CHANGES, Preview, Problem, Revert
from ...history.targets import make_revert, of_transaction
from ...i18n import VERB_NAMES, gettext, number
from ...query.summaries import summarized
from ..access import action
from ..presenter import Presenter
from ..shown import ActivityShown, Crumb, Page, RecordShown, TableShown
from ..templating import render
from ..visit import Visit
from .base import head
from .revert import RevertForm, host_token, signed


@dataclass(frozen=True)
class GroupShown:
    """Rows of a table that go back in the same way."""

    table: TableShown
    verb: str
    verb_name: str
    number: str
    columns: tuple[str, ...]
    lacking: tuple[str, ...]
    samples: tuple[ActivityShown, ...]


@dataclass(frozen=True)
class ProblemShown:
    """Records that stay as they are."""

    table: TableShown
    reason: str
    number: str
    samples: tuple[RecordShown, ...]


@dataclass(frozen=True, kw_only=True)
class TakeBackPage(Page):
    """What would be taken back."""

    template = "audit/take_back.html"

    transaction_id: int
    transaction_href: str
    #: The transactions that took it back already, or a part of it, each with its address.
    notes: tuple[tuple[str, str], ...]
    total: int
    groups: tuple[GroupShown, ...]
    conflicts: tuple[ProblemShown, ...]
    impossible: tuple[ProblemShown, ...]
    form: Any
    hidden: tuple[tuple[str, str], ...]
    reason_required: bool
    problem: str | None = None


class TakeBackForm(RevertForm):
    """What is posted: the reason, the signed preview, and whether conflicts stay as they are."""

    skip = BooleanField("Skip")


@action("revert")
def take_back_page(visit: Visit, transaction_id: int) -> Any:
    """GET shows what would go back; POST does it, if it still is what was shown."""
    if not visit.can_take_back(transaction_id) or not current_app.secret_key:
        abort(404)
    with visit.reader(at_source=True).reading() as log:
        transaction, summary = summarized(log, transaction_id)
    if transaction is None:
        abort(404)
    undone_by = summary.undone_by
    form = TakeBackForm(request.form if request.method == "POST" else None)
    form.reason_required = visit.ui.revert is not None and visit.ui.revert.reason_required
    wanted = _revert(visit, transaction_id, None)
    try:
        preview = wanted.preview()
    except TooManyChanges:
        text = gettext("At most %(most)s changes can be taken back at once.", most=number(MOST_CHANGES))
        return _page(visit, transaction_id, undone_by, Preview((), (), (), 0, ""), form, 422, text)
    except Refused:
        text = gettext("Nothing was changed. The row can't be read.")
        return _page(visit, transaction_id, undone_by, Preview((), (), (), 0, ""), form, 422, text)
    if request.method != "POST":  # HEAD is a GET whose body nobody reads
        return _page(visit, transaction_id, undone_by, preview, form)
    return _post(visit, transaction_id, undone_by, preview, form)


def _revert(visit: Visit, transaction_id: int, reason: str | None) -> Revert:
    sight = visit.sight
    return make_revert(
        visit.audit_logger,
        of_transaction(transaction_id),
        visit.reader(at_source=True),
        visit.catalog,
        visit.audit_logger.database.metadatas[None],
        reason=reason,
        undoes=transaction_id,
        hidden=lambda table, column: not sight.can_see(table, column),
    )


def _post(visit: Visit, transaction_id: int, undone_by: tuple[int, ...], preview: Preview, form: TakeBackForm) -> Any:
    def again(status: int, problem: str) -> Any:
        return _page(visit, transaction_id, undone_by, preview, form, status, problem)

    if not form.validate():
        if form.errors.get("audit_token"):
            return again(400, gettext("This form has expired. Check it and send it again."))
        return again(422, gettext("Nothing was changed. See below."))
    changed = gettext("Something has changed since this page was loaded. This is the state of now.")
    if not hmac.compare_digest((form.row.data or "").encode("utf-8", "replace"), signed(preview.digest).encode()):
        return again(409, changed)
    if preview.conflicts and not form.skip.data:
        return again(422, gettext("Nothing was changed. Say that what was changed since is to stay as it is."))
    reason = f"Took back transaction {transaction_id}: {(form.reason.data or '').strip()}".rstrip(": ")
    try:
        done = _revert(visit, transaction_id, reason).apply(conflicts="skip", expected=preview.digest)
    except Conflict:
        return again(409, changed)
    except Refused as error:
        if error.objection is None:
            return again(422, gettext("Nothing was changed. There is nothing that can be taken back."))
        objection = visible(error.objection)
        return again(
            422, gettext("Nothing was changed. The database refused the change: %(objection)s.", objection=objection)
        )
    if done.transaction_id is None:
        return redirect(visit.links.transaction(transaction_id), 303)
    return redirect(visit.links.transaction(done.transaction_id, {"done": "1"}), 303)


def _page(
    visit: Visit,
    transaction_id: int,
    undone_by: tuple[int, ...],
    preview: Preview,
    form: TakeBackForm,
    status: int = 200,
    problem: str | None = None,
) -> Any:
    presenter = Presenter(visit)
    samples = [row for group in preview.groups for row in group.samples]
    records = [record for found in (*preview.conflicts, *preview.impossible) for record in found.samples]
    with visit.reader(at_source=True).reading() as log:
        presenter.learn(log, samples, records)
    form.row.data = signed(preview.digest)
    heading = gettext("Take back transaction %(id)s", id=transaction_id)
    steps = (
        Crumb(gettext("Transactions"), visit.links.transactions()),
        Crumb(f"{transaction_id}", visit.links.transaction(transaction_id)),
        Crumb(gettext("Take back")),
    )
    assert visit.ui.revert is not None  # noqa: S101 - the view answers 404 without it
    groups = tuple(
        GroupShown(
            presenter.table(group.table),
            group.verb,
            VERB_NAMES.get(group.verb, group.verb),
            number(group.number),
            tuple(visit.column_label(group.table, column) for column in group.columns),
            tuple(visit.column_label(group.table, column) for column in group.lacking),
            tuple(presenter.activity(row) for row in group.samples),
        )
        for group in preview.groups
    )
    page = TakeBackPage(
        **head(visit, heading, heading, *steps),
        transaction_id=transaction_id,
        transaction_href=visit.links.transaction(transaction_id),
        notes=tuple(
            (gettext("Already taken back by transaction %(id)s.", id=undoing), visit.links.transaction(undoing))
            for undoing in undone_by
        ),
        total=preview.number,
        groups=groups,
        conflicts=_problems(presenter, preview.conflicts),
        impossible=_problems(presenter, preview.impossible),
        form=form,
        hidden=host_token(),
        reason_required=visit.ui.revert.reason_required,
        problem=problem,
    )
    return render(visit, page, status)


def _problems(presenter: Presenter, problems: Sequence[Problem]) -> tuple[ProblemShown, ...]:
    return tuple(
        ProblemShown(
            presenter.table(problem.table),
            problem.reason,
            number(problem.number),
            tuple(presenter.record(record) for record in problem.samples),
        )
        for problem in problems
    )
