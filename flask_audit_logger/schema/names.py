"""The name of a table, always with its schema."""

from __future__ import annotations

from typing import NamedTuple

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
