"""Which databases can have a log: PostgreSQL. On any other one everything of ours does nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Dialect, Engine


def is_supported(bind: Connection | Engine | Any) -> bool:
    """Whether a database can have a log.

    :param bind: an engine, a connection, or anything else that has a dialect.
    """
    dialect: Dialect = bind.dialect
    return dialect.name == "postgresql"


def reason(bind: Connection | Engine | Any) -> str:
    """Why a database has no log, as a sentence without its full stop."""
    return f"the audit log needs PostgreSQL, and this database is {bind.dialect.name}: no change is logged"
