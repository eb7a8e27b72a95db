"""How to search, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...i18n import gettext, joined
from ..access import action
from ..presenter import Presenter
from ..shown import Crumb, Page, TableShown
from ..templating import crumbs, render
from ..visit import UIState, current_state
from .base import page_title, viewer_name


@dataclass(frozen=True, kw_only=True)
class HelpPage(Page):
    """How to search, and what is recorded."""

    template = "audit/help.html"

    tables: tuple[tuple[TableShown, str], ...]
    zone_names: tuple[str, ...] = ()


@action("help")
def help_page() -> Any:
    """What can be searched for, what the signs mean, and what is logged of each table."""
    state = current_state()
    presenter = Presenter(state)
    context = HelpPage(
        title=page_title(state, gettext("Help")),
        heading=gettext("Help"),
        crumbs=crumbs(state, Crumb(gettext("Help"))),
        zone=state.clock.name,
        viewer=viewer_name(state),
        tables=tuple((presenter.table(info.ref), _recorded(state, info)) for info in state.catalog.audited),
    )
    return render(context)


def _recorded(state: UIState, info: Any) -> str:
    """What is left out of the log of a table."""
    excluded = [state.column_label(info.ref, name) for name in info.ordered(info.excluded)]
    masked = [state.column_label(info.ref, name) for name in info.ordered(info.masked)]
    values = {"excluded": joined(excluded), "masked": joined(masked)}
    if excluded and masked:
        return gettext("without %(excluded)s; of %(masked)s only that there was a change", **values)
    if excluded:
        return gettext("without %(excluded)s", **values)
    return gettext("of %(masked)s only that there was a change", **values) if masked else gettext("every column")
