"""Counting what is really sent to the server, at the level of the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Every statement that any cursor of the engine's new connections executes, ours included."""
    sent: list[str] = []
    engine.dispose()

    def on_connect(driver: Any, record: Any) -> None:
        driver.cursor_factory = _recording(driver.cursor_factory, sent)

    event.listen(engine, "connect", on_connect)
    try:
        yield sent
    finally:
        event.remove(engine, "connect", on_connect)
        engine.dispose()


def _recording(base: Any, sent: list[str]) -> Any:
    if base is None:
        import psycopg2.extensions

        base = psycopg2.extensions.cursor

    class RecordingCursor(base):  # type: ignore[misc]
        def execute(self, query: Any, *args: Any, **kw: Any) -> Any:
            sent.append(str(query))
            return super().execute(query, *args, **kw)

        def executemany(self, query: Any, *args: Any, **kw: Any) -> Any:
            sent.append(str(query))
            return super().executemany(query, *args, **kw)

    return RecordingCursor
