"""Numbers in addresses."""

from __future__ import annotations

from ..query.paging import MAX_ID


def activity_id_of(text: str) -> int | None:
    """An id of an activity, or ``None`` if the text can't be one."""
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if is_number and int(text) <= MAX_ID else None
