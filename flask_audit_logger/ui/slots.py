"""So many heavy reads at once and no more: the parts of the breakdown and exports."""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import Any

from flask import Response, g, request

from .messages import busy
from .state import current_state

#: What may read much of the log.
HEAVY = frozenset({"panel", "export", "export_csv", "export_jsonl", "undo_sql"})


class Slot:
    """The right to one heavy read; given back once, however often that is asked for."""

    def __init__(self, slots: BoundedSemaphore) -> None:
        self._slots: BoundedSemaphore | None = slots

    def release(self) -> None:
        """Let somebody else read."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()


def take_slot() -> Any:
    """Answer 429 if too much is being read already. Runs after the gate: who may not read takes no slot."""
    state = current_state()
    slots = state.slots
    if slots is None or not _is_heavy():
        return None
    if not slots.acquire(blocking=False):
        return busy(state)
    g.audit_slot = Slot(slots)
    return None


def hand_on_slot(response: Response) -> Response:
    """Keep the slot until the response was sent: an export is read while it is sent."""
    slot: Slot | None = g.pop("audit_slot", None)
    if slot is not None:
        response.call_on_close(slot.release)
    return response


def drop_slot(_error: BaseException | None) -> None:
    """Give the slot back if the request came to no response of ours."""
    slot: Slot | None = g.pop("audit_slot", None)
    if slot is not None:
        slot.release()


def _is_heavy() -> bool:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    return endpoint in HEAVY or (endpoint == "activities" and request.args.get("panels") == "1")
