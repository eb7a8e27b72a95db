"""Whether there is something new in a list that somebody has open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from flask import abort, jsonify, request

from ...query.activities import count_after
from ...query.paging import ORIGIN, Cursor
from ...query.rows import ActivityRow
from ..arguments import changed
from ..gate import action
from ..search import ParsedSearch, SearchRules
from ..state import UIState, current_state
from .common import open_search

#: A transaction may commit after one that began later: for so long its rows are waited for.
OVERLAP = dt.timedelta(seconds=60)
#: New rows up to which they are counted.
MOST = 1000
#: Parameters of the poll itself: rows after this position are counted, and so many of them are on the page.
OWN = ("from", "seen")


@action("poll")
def poll() -> Any:
    """How many changes match that the page does not show: at least so many."""
    state = current_state()
    if not state.config.poll_seconds:
        abort(404)
    rules = SearchRules(
        default_period=state.config.default_period, fixed=("before", "after", "sort", "limit"), extra=OWN
    )
    parsed = open_search(state, rules)
    seen = request.args.get("seen", "0")
    if parsed.errors or not seen.isdecimal() or not seen.isascii() or len(seen) > 3:
        abort(404)
    try:
        position = Cursor.parse(request.args.get("from", str(ORIGIN)))
    except ValueError:
        abort(404)
    with state.reader().reading(timeout_ms=state.config.panel_timeout_ms) as log:
        count = count_after(log, parsed.criteria, position, MOST + int(seen))
    # rows that the page has may be gone: out of the period, or archived
    return jsonify(new=max(0, count.number - int(seen)), capped=count.is_capped)


def poll_href(state: UIState, parsed: ParsedSearch, rows: Sequence[ActivityRow]) -> str | None:
    """Where the newest page of a list, newest first, asks; ``None`` for any other page."""
    paging = parsed.paging
    if not state.config.poll_seconds or paging.before or paging.after or paging.oldest_first or not state.may("poll"):
        return None
    recent = list(takewhile(lambda row: _time(row) >= _time(rows[0]) - OVERLAP, rows))
    position = recent[-1].cursor if recent else ORIGIN
    filters = {**changed(parsed.args, sort=None, limit=None), "from": str(position), "seen": max(len(recent) - 1, 0)}
    return state.links.poll(filters)


def _time(row: ActivityRow) -> dt.datetime:
    return row.transaction.issued_at if row.transaction is not None else row.issued_at
