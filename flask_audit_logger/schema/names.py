"""The name of a table, always with its schema, and which databases can have a log."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Engine

from ..sql import quote_ident


class TableName(NamedTuple):
    """A table and its schema. Text is read by :meth:`resolve` once; from then on no schema is missing."""

    schema: str
    name: str

    @classmethod
    def resolve(cls, name: str, schema: str | None, default_schema: str) -> TableName:
        """The table that a name stands for.

        :param schema: its schema, if one is given.
        :param default_schema: the schema of a name without one.
        """
        return cls(schema or default_schema, name)

    @property
    def quoted(self) -> str:
        """The name in SQL: ``"schema"."table"``."""
        return quote_ident(self.schema, self.name)

    def short(self, default_schema: str) -> str:
        """The name as people write it: without the schema if that is the default one."""
        return self.name if self.schema == default_schema else str(self)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def is_supported(bind: Connection | Engine | Any) -> bool:
    """Whether a database can have a log, as those of PostgreSQL can. On any other the package does nothing.

    :param bind: an engine, a connection, or anything else that has a dialect.
    """
    dialect: Dialect = bind.dialect
    return dialect.name == "postgresql"


def reason(bind: Connection | Engine | Any) -> str:
    """Why a database has no log, for use inside a message."""
    return f"an audit log needs PostgreSQL; this database is {bind.dialect.name}, so its changes are not logged"
