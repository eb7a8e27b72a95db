"""What time it is for the shop: now, except while the demo's history is being made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_pretended: ContextVar[dt.datetime | None] = ContextVar("example_app.clock", default=None)


def now() -> dt.datetime:
    """The time that the shop writes into its own columns."""
    return _pretended.get() or dt.datetime.now(dt.UTC)


@contextmanager
def at(moment: dt.datetime) -> Iterator[None]:
    """Pretend that it is ``moment`` (the seeding script does)."""
    token = _pretended.set(moment)
    try:
        yield
    finally:
        _pretended.reset(token)
