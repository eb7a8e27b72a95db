"""How to search, and what is recorded."""

from __future__ import annotations

from typing import Any

from ..contexts import HelpPage
from ..gate import action
from ..messages import crumbs
from ..parts import Crumb
from ..present import Presenter
from ..rendering import render
from ..state import UIState, current_state
from ..texts import gettext
from ..words import joined
from .common import page_title, viewer_name


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
