"""Databases that many tests begin with: made once in a process, then copied for a tenth of what a log costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import URL

from tests.support.apps import Application, make_app
from tests.support.models import declare_blog
from tests.support.server import Server, plain_engine

#: What changes nothing of what ``create_all()`` makes.
ELSEWHERE = {"create_all", "get_actor_id", "get_actor_label", "get_client_addr", "init", "redact_request", "ui"}

#: Whether anything was made, granted or set in a database, or somebody is in it.
IS_USED = """
SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_proc WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_type WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_namespace WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_extension WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_event_trigger)
    OR EXISTS (SELECT FROM pg_default_acl)
    OR EXISTS (
        SELECT FROM pg_namespace
        WHERE nspname = 'public' AND nspacl::text <> '{pg_database_owner=UC/pg_database_owner,=U/pg_database_owner}'
    )
    OR EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
    OR EXISTS (
        SELECT FROM pg_database AS d LEFT JOIN pg_db_role_setting AS s ON s.setdatabase = d.oid
        WHERE d.datname = current_database() AND (d.datacl IS NOT NULL OR s.setdatabase IS NOT NULL)
    )
"""


class Copies:
    """What ``create_all()`` made for the applications of a process, by their models and the schema of their log."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: dict[Any, str | None] = {}
        self._databases = ExitStack()

    def make_app(self, url: URL, **options: Any) -> Application:
        """As :func:`make_app` in the database of a test; from the second application of a kind on it is copied."""
        kind = _kind(options)
        if kind is None or not options.get("create_all", True):
            return make_app(url, **options)
        if kind not in self._made:
            self._made[kind] = None
            return make_app(url, **options)
        with plain_engine(url).connect() as connection:
            if connection.exec_driver_sql(IS_USED).scalar():
                return make_app(url, **options)
        template = self._made[kind] = self._made[kind] or self._template(options)
        self._server.copy(template, url.database or "")
        application = make_app(url, **{**options, "create_all": False})
        with application.app.app_context(), application.db.engine.connect():
            pass  # as create_all() does: what SQLAlchemy asks a new engine is asked before the test
        return application

    def _template(self, options: dict[str, Any]) -> str:
        url = self._databases.enter_context(self._server.database())
        make_app(url, **{name: value for name, value in options.items() if name not in ELSEWHERE}).dispose()
        return url.database or ""

    def forget(self) -> None:
        self._databases.close()


def _kind(options: dict[str, Any]) -> tuple[Any, ...] | None:
    """What decides what is made, or ``None`` if that can't be told from the arguments."""
    others = {name: value for name, value in options.items() if name not in ELSEWHERE}
    declare: Callable[..., Any] = others.pop("declare", declare_blog)
    schema, audited = others.pop("schema", None), others.pop("audited", True)
    is_plain = inspect.isfunction(declare) and declare.__closure__ is None and "<" not in declare.__qualname__
    config = others.pop("config", None) or {}
    if others or not is_plain or any(not name.startswith("AUDIT_UI_") for name in config):
        return None
    return declare, schema, audited


@contextmanager
def copies(server: Server) -> Iterator[Copies]:
    """The copies of a process; they are dropped at the end."""
    found = Copies(server)
    try:
        yield found
    finally:
        found.forget()
