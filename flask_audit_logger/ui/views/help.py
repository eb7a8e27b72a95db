"""How to search, and what is recorded."""

from __future__ import annotations

from typing import Any

from ..contexts import Crumb, HelpPage
from ..gate import action
from ..messages import crumbs
from ..present import Presenter
from ..rendering import render
from ..state import UIState, current_state
from ..words import joined
from .common import page_title, viewer_name


@action("help")
def help_page() -> Any:
    """What can be searched for, what the signs mean, and what is logged of each table."""
    state = current_state()
    presenter = Presenter(state)
    context = HelpPage(
        title=page_title(state, "Help"),
        heading="Help",
        crumbs=crumbs(state, Crumb("Help")),
        zone=state.clock.name,
        viewer=viewer_name(state),
        tables=tuple((presenter.table(info.ref), _recorded(state, info)) for info in state.catalog.audited),
    )
    return render(context)


def _recorded(state: UIState, info: Any) -> str:
    """What is left out of the log of a table."""
    words = []
    excluded = [state.column_label(info.ref, name) for name in info.ordered(info.excluded)]
    masked = [state.column_label(info.ref, name) for name in info.ordered(info.masked)]
    if excluded:
        words.append(f"without {joined(excluded)}")
    if masked:
        words.append(f"of {joined(masked)} only that there was a change")
    return "; ".join(words) or "every column"
