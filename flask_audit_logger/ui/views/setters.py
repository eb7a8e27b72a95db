"""Who set a value, as far as the log tells."""

from __future__ import annotations

from typing import Any

from ...query.rows import ActivityRow
from ...query.standings import Standing
from ..present import Presenter
from ..texts import gettext


def set_by(presenter: Presenter, setter: ActivityRow | None) -> dict[str, Any]:
    """The parts of a shown value that say when it was set and by whom.

    :param setter: the change that set it, or the snapshot that found it.
    """
    if setter is None:
        return {}
    is_found = setter.verb == "snapshot"
    return {
        "set_by": None if is_found else presenter.actor(setter.transaction),
        "set_at": presenter.state.clock.moment(setter.issued_at),
        "set_href": presenter.state.links.activity(setter.id),
        "is_found": is_found,
    }


def incomplete(standing: Standing) -> str | None:
    """That the log has only some of the columns."""
    if not standing.is_incomplete:
        return None
    return gettext("Only columns that were changed are in the log; what the others were is not known.")
