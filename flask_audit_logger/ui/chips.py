"""The active filters of a page."""

from __future__ import annotations

from typing import Any

from ..query.diff.pieces import visible
from .arguments import changed, without
from .forms import network
from .keys import NOBODY
from .names import KIND_NAMES, VERB_NAMES
from .parts import Chip
from .periods import PERIODS
from .search import ParsedSearch
from .state import UIState
from .texts import Texts, gettext, marked

_CHIP_NAMES = Texts(
    {
        "table": marked("Table"),
        "key": marked("Key"),
        "verb": marked("What"),
        "col": marked("Column"),
        "field": marked("Column value"),
        "was": marked("Was"),
        "became": marked("Became"),
        "actor": marked("Who"),
        "kind": marked("Made by"),
        "impersonated": marked("Impersonation"),
        "impersonator": marked("Impersonated by"),
        "addr": marked("Address"),
        "period": "",
        "since": marked("From"),
        "until": marked("Until"),
        "tx": marked("Transaction"),
        "req": marked("Request"),
        "path": marked("Path begins with"),
        "min_rows": marked("Rows, at least"),
    }
)


def chips(state: UIState, parsed: ParsedSearch, link: Any, actor_names: dict[str, str]) -> list[Chip]:
    """The active filters, each with the address that lacks only it."""
    found = []
    for name in parsed.form.NARROWING:
        for value in parsed.args.getlist(name):
            # a blank filters nothing, except by a value that is one
            is_filter = value if name in ("was", "became") else value.strip()
            if (
                is_filter
                and (name, value) != ("period", "all")
                and not (name in ("was", "became") and not parsed.form.field.data)
            ):
                text = _chip_value(state, parsed, name, value, actor_names)
                found.append(Chip(_CHIP_NAMES[name], visible(text), link(without(parsed.args, name, value))))
    if parsed.assumed_period and parsed.assumed_period != "all":
        found.append(Chip("", PERIODS[parsed.assumed_period], link(changed(parsed.args, period="all"))))
    return found


def _chip_value(state: UIState, parsed: ParsedSearch, name: str, value: str, actor_names: dict[str, str]) -> str:
    if name == "table":
        return state.table_label(state.catalog.ref(value))
    if name == "verb":
        return VERB_NAMES.get(value, value)
    if name == "kind":
        return KIND_NAMES.get(value, value)
    if name == "impersonated":
        return gettext("on behalf of somebody") if value == "1" else gettext("directly")
    if name == "impersonator":
        return actor_names.get(value, value)
    if name == "actor":
        return gettext("not recorded") if value == NOBODY else actor_names.get(value, value)
    if name == "period":
        return PERIODS.get(value, value)
    if name == "addr" and not parsed.errors:
        return network(value)
    if name == "until" and parsed.criteria.until is not None:
        return gettext("before %(time)s", time=state.clock.moment(parsed.criteria.until).text)
    if name == "since" and parsed.criteria.since is not None:
        return state.clock.moment(parsed.criteria.since).text
    return value
