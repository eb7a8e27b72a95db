"""Where our comparators stand among those of Alembic and of other packages: before the first, and after the last.

Alembic 1.18 and newer sort comparators by a declared priority. Before, they ran in the order in which they were
registered, in a list that only those versions have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import comparators

#: Nobody else's comparator can stop ours: Alembic lets one stop those of its own group only.
_GROUP = "flask_audit_logger"

FIRST: dict[str, Any] = {}
LAST: dict[str, Any] = {}
CONTINUE: Any = None

try:
    from alembic.util import DispatchPriority, PriorityDispatchResult
except ImportError:
    IS_SORTED = False
else:
    IS_SORTED = True
    FIRST = {"priority": DispatchPriority.FIRST, "subgroup": _GROUP}
    LAST = {"priority": DispatchPriority.LAST, "subgroup": _GROUP}
    CONTINUE = PriorityDispatchResult.CONTINUE


def put_first(comparator: Callable[..., Any]) -> None:
    """Let a registered comparator run before all others."""
    if not IS_SORTED:
        _unsorted().remove(comparator)
        _unsorted().insert(0, comparator)


def put_last(comparator: Callable[..., Any]) -> None:
    """Let a registered comparator run after all others; the first comparator may call this while they run."""
    if not IS_SORTED:
        _unsorted().remove(comparator)
        _unsorted().append(comparator)


def _unsorted() -> list[Callable[..., Any]]:
    registered: list[Callable[..., Any]] = comparators._registry["schema", "default"]
    return registered
