"""Which databases can have a log: those of PostgreSQL.

On any other database the package does nothing.
"""

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
    """Why a database has no log, for use inside a message."""
    return f"an audit log needs PostgreSQL; this database is {bind.dialect.name}, so its changes are not logged"
