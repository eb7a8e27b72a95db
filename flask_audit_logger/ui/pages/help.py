"""How to search, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...i18n import gettext, joined
from ..access import action
from ..presenter import Presenter
from ..shown import Crumb, Page, TableShown
from ..templating import render
from ..visit import Visit
from .base import head


@dataclass(frozen=True, kw_only=True)
class HelpPage(Page):
    """How to search, and what is recorded."""

    template = "audit/help.html"

    tables: tuple[tuple[TableShown, str], ...]


@action("help")
def help_page(visit: Visit) -> Any:
    """What can be searched for, what the signs mean, and what is logged of each table."""
    presenter = Presenter(visit)
    context = HelpPage(
        **head(visit, gettext("Help"), gettext("Help"), Crumb(gettext("Help"))),
        tables=tuple((presenter.table(info.name), _recorded(visit, info)) for info in visit.catalog.audited),
    )
    return render(visit, context)


def _recorded(visit: Visit, info: Any) -> str:
    """What is left out of the log of a table."""
    excluded = [visit.column_label(info.name, name) for name in info.ordered(info.excluded)]
    masked = [visit.column_label(info.name, name) for name in info.ordered(info.masked)]
    values = {"excluded": joined(excluded), "masked": joined(masked)}
    if excluded and masked:
        return gettext("without %(excluded)s; values of %(masked)s not recorded", **values)
    if excluded:
        return gettext("without %(excluded)s", **values)
    return gettext("values of %(masked)s not recorded", **values) if masked else gettext("every column")
