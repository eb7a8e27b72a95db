"""SQL that takes a transaction back, as a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response, abort, request, stream_with_context

from ...query.activities import Search, batches, count_activities
from ...query.criteria import Criteria
from ...query.paging import MAX_ID, Paging
from ...query.rows import ActivityRow
from ...query.scope import out_of_reach
from ...query.undo import undo_script
from ..gate import action
from ..state import current_state
from ..viewlog import note_rows
from ..words import number

#: Most rows that a script takes back.
MOST = 10_000


@action("undo_sql")
def undo_file(transaction_id: int) -> Any:
    """The script; it changes nothing as it is."""
    state = current_state()
    if transaction_id > MAX_ID:
        abort(404)
    search = Search(Criteria(transactions=(transaction_id,)))
    with ExitStack() as stack:
        log = stack.enter_context(state.reader().reading(timeout_ms=state.config.export_timeout_ms))
        count = count_activities(log, search, MOST)
        if not count.number:
            abort(404)
        reading = stack.pop_all()
    note_rows(count.number)
    sight = state.sight
    remarks = [
        f"Takes transaction {transaction_id} back, newest change first. Made {state.clock.now.isoformat()}.",
        "This changes nothing: it ends with ROLLBACK. Read it, try it, then replace ROLLBACK by COMMIT.",
        "A row that was changed since is left as it is: UPDATE 0 or DELETE 0.",
    ]
    if count.is_capped:
        remarks.append(f"CUT: only the newest {number(MOST)} changes are taken back, the older ones are not.")

    def stream() -> Iterator[str]:
        with reading:
            unreached: set[int] = set()

            def rows() -> Iterator[ActivityRow]:
                for batch in batches(log, search, Paging(), most=MOST):
                    unreached.update(out_of_reach(log, batch, state.catalog.key))
                    yield from batch

            yield from undo_script(
                rows(),
                state.catalog.get,
                lambda table, column: not sight.can_see(table, column),
                remarks,
                unreached=unreached,
            )

    response = Response(stream_with_context(stream()), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="undo-transaction-{transaction_id}.sql"'
    # a body that nobody reads never starts the generator above
    response.call_on_close(reading.close)
    if request.method == "HEAD":
        reading.close()
    return response
