"""What is known about a transaction, as lines of a list."""

from __future__ import annotations

from ...query.diff.pieces import visible
from ...query.rows import TransactionRow
from ...query.values import dump
from ..parts import Fact
from ..state import UIState
from ..texts import gettext

#: Keys of the context that have a line of their own.
_KNOWN = {
    "method",
    "url_rule",
    "path",
    "endpoint",
    "request_id",
    "user_agent",
    "trace_id",
    "command",
    "job",
    "reason",
    "impersonator",
    "actor",
    "capture_off",
    "rows_unread",
}


def transaction_facts(state: UIState, transaction: TransactionRow | None, *, with_time: bool = True) -> list[Fact]:
    """Everything recorded about who made a change, from where and why. What was not recorded has no line."""
    if transaction is None:
        return [Fact(gettext("Transaction"), gettext("not recorded: its row is gone from the log"))]
    said = transaction.said
    facts: list[Fact | None] = []
    if with_time:
        moment = state.clock.moment(transaction.issued_at)
        facts.append(Fact(gettext("Time"), moment.exact, moment=moment))
    facts.append(_fact(gettext("Reason"), said("reason")))
    if transaction.client_addr and state.sight.can_see_fact("client_addr"):
        href = state.links.activities({"addr": transaction.client_addr})
        facts.append(Fact(gettext("Address"), transaction.client_addr, href=href, is_code=True))
    request = " ".join(part for part in (said("method"), said("path")) if part)
    facts.append(_fact(gettext("Request"), request or None, is_code=True))
    if said("url_rule") != said("path"):
        facts.append(_fact(gettext("URL rule"), said("url_rule"), is_code=True))
    facts.append(_fact(gettext("Endpoint"), said("endpoint"), is_code=True))
    request_id = said("request_id")
    if request_id:
        facts.append(
            Fact(
                gettext("Request id"),
                visible(request_id),
                href=state.links.activities({"req": request_id}),
                is_code=True,
            )
        )
    facts.append(_fact(gettext("Trace id"), said("trace_id"), is_code=True))
    if state.sight.can_see_fact("user_agent"):
        facts.append(_fact(gettext("Browser"), said("user_agent")))
    facts.append(_fact(gettext("Background job"), said("job"), is_code=True))
    facts.append(_fact(gettext("Command"), said("command"), is_code=True))
    facts.append(_fact(gettext("Auditing switched off for"), _listed(transaction.context.get("capture_off"))))
    unread = _listed(transaction.context.get("rows_unread"))
    facts.append(_fact(gettext("Single rows not recorded for"), unread))
    for name, value in transaction.context.items():
        if name not in _KNOWN and state.sight.can_see_fact(name):
            facts.append(_fact(name, value if isinstance(value, str) else dump(value), is_code=True))
    facts.append(_fact(gettext("Database user"), transaction.db_user, is_code=True))
    facts.append(_fact(gettext("Application name"), transaction.application_name or None, is_code=True))
    return [fact for fact in facts if fact is not None]


def _fact(name: str, value: str | None, *, is_code: bool = False) -> Fact | None:
    return None if value is None else Fact(visible(name), visible(value), is_code=is_code)


def _listed(value: object) -> str | None:
    return ", ".join(str(item) for item in value) if isinstance(value, list) and value else None
