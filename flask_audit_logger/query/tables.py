"""What the application's metadata says about the logged tables: column order, types, keys and references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Table
from sqlalchemy.types import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    TypeEngine,
)

from ..diff.kinds import ValueKind
from ..schema.declared import Declaration, declaration_of
from ..schema.names import TableName
from ..schema.table_options import TableOptions, audited_tables, table_options
from ..sql import VERBS


@dataclass(frozen=True)
class ColumnInfo:
    """A column as the models declare it today."""

    name: str
    kind: ValueKind
    is_key: bool = False
    #: Whether its values are names of records, so that to reckon with them means nothing.
    is_name: bool = False
    #: Table and column a single-column foreign key points to.
    target: tuple[TableName, str] | None = None
    #: Whether the value is made by the database from other columns.
    is_generated: bool = False
    #: Whether the database numbers the rows and takes no other number.
    is_numbered: bool = False
    #: Whether a row can't be made without a value for it.
    is_required: bool = False


@dataclass(frozen=True)
class TableInfo:
    """A table as the models declare it today."""

    name: TableName
    columns: Mapping[str, ColumnInfo]
    key: tuple[str, ...]
    table: Table
    is_audited: bool
    #: Columns whose values are never logged, and those that are not logged at all.
    masked: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    #: Columns whose change alone is not logged.
    ignored: frozenset[str] = frozenset()
    #: What is logged.
    verbs: frozenset[str] = frozenset(VERBS)
    #: Tables that foreign keys lead to.
    targets: frozenset[TableName] = frozenset()

    def kind(self, column: str) -> ValueKind | None:
        """The kind of a column, if the models know it."""
        found = self.columns.get(column)
        return None if found is None else found.kind

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Names in the order of the table; what the models don't know comes last, by name."""
        position = self._positions
        return sorted(names, key=lambda name: (position.get(name, len(position)), name))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.columns)}


class TableCatalog:
    """The tables of one application.

    :param metadatas: every metadata of the application.
    :param default_schema: schema of tables that name none.
    :param references: which columns point to other tables, if not those that the metadata says.
    """

    def __init__(
        self,
        metadatas: Iterable[MetaData],
        default_schema: str = "public",
        references: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self.default_schema = default_schema
        self._references = references
        self._tables: dict[TableName, TableInfo] = {}
        for metadata in metadatas:
            declaration = declaration_of(metadata)
            audited = set(audited_tables(metadata)) if declaration is not None else set()
            for table in metadata.tables.values():
                info = _table_info(table, default_schema, declaration if table in audited else None)
                self._tables.setdefault(info.name, info)

    def get(self, table: TableName) -> TableInfo | None:
        """What the models say about a table, if they know it."""
        return self._tables.get(table)

    def column(self, table: TableName, name: str) -> ColumnInfo | None:
        """What the models say about a column, if they know it."""
        info = self._tables.get(table)
        return None if info is None else info.columns.get(name)

    def key(self, table: TableName) -> tuple[str, ...]:
        """Names of the columns of a table's key, if the models know it."""
        info = self._tables.get(table)
        return () if info is None else info.key

    def target(self, table: TableName, name: str) -> TableName | None:
        """The table that a column points to."""
        if self._references is None:
            column = self.column(table, name)
            return None if column is None or column.target is None else column.target[0]
        found = self._references.get((self.text(table), name)) or self._references.get((str(table), name))
        return None if found is None else self.named(found)

    def ordered(self, table: TableName, names: Iterable[str]) -> list[str]:
        """Column names in the order of the table."""
        info = self._tables.get(table)
        return list(names) if info is None else info.ordered(names)

    @property
    def names(self) -> tuple[TableName, ...]:
        """All tables that the models know."""
        return tuple(self._tables)

    @property
    def audited(self) -> tuple[TableInfo, ...]:
        """The audited tables by name, those of the default schema first."""
        found = [info for info in self._tables.values() if info.is_audited]
        return tuple(sorted(found, key=lambda i: (i.name.schema != self.default_schema, i.name.schema, i.name.name)))

    def named(self, text: str) -> TableName:
        """Read ``table`` or ``schema.table``.

        A name with a dot that is a table of the default schema means that table.
        """
        plain = TableName(self.default_schema, text)
        if plain in self._tables or "." not in text:
            return plain
        schema, _, name = text.partition(".")
        return TableName(schema, name)

    def text(self, table: TableName) -> str:
        """The shortest text that :meth:`named` reads as this table."""
        if table.schema == self.default_schema and self.named(table.name) == table:
            return table.name
        return str(table)


def _table_info(table: Table, default_schema: str, declaration: Declaration | None) -> TableInfo:
    options = TableOptions() if declaration is None else _options(table, declaration)
    stored = options.only if options.only is not None else tuple(column.name for column in table.columns)
    return TableInfo(
        name=TableName(table.schema or default_schema, table.name),
        columns={column.name: _column_info(column, default_schema) for column in table.columns},
        key=tuple(column.name for column in table.primary_key.columns),
        table=table,
        is_audited=declaration is not None,
        masked=frozenset(options.mask),
        excluded=frozenset(column.name for column in table.columns if column.name not in stored)
        | frozenset(options.exclude),
        ignored=frozenset(options.ignore),
        verbs=frozenset(options.verbs),
        targets=frozenset(found[0] for key in table.foreign_keys if (found := _pointed(key, default_schema))),
    )


def _options(table: Table, declaration: Declaration) -> TableOptions:
    return table_options(
        table, attributes=declaration.attributes(table), exclude=declaration.exclude, mask=declaration.mask
    )


def _column_info(column: Column[Any], default_schema: str) -> ColumnInfo:
    return ColumnInfo(
        name=column.name,
        kind=kind_of_type(column.type),
        is_key=column.primary_key,
        is_name=column.primary_key or bool(column.foreign_keys),
        target=_target(column, default_schema),
        is_generated=column.computed is not None,
        is_numbered=column.identity is not None and bool(column.identity.always),
        is_required=not column.nullable and _has_no_default(column),
    )


def _has_no_default(column: Column[Any]) -> bool:
    return column.default is None and column.server_default is None and column.identity is None


def _target(column: Column[Any], default_schema: str) -> tuple[TableName, str] | None:
    # the target is read from the text of the key: resolving it would fail for a table that is not declared (yet)
    for key in column.foreign_keys:
        if key.constraint is not None and len(key.constraint.elements) > 1:
            continue
        found = _pointed(key, default_schema)
        if found is not None:
            return found
    return None


def _pointed(key: ForeignKey, default_schema: str) -> tuple[TableName, str] | None:
    parts = key.target_fullname.split(".")
    return (TableName(".".join(parts[:-2]) or default_schema, parts[-2]), parts[-1]) if len(parts) >= 2 else None


def kind_of_type(column_type: TypeEngine[Any]) -> ValueKind:
    """The kind of a declared column type."""
    if isinstance(column_type, TypeDecorator):
        return kind_of_type(column_type.impl_instance)
    name = column_type.__visit_name__.upper()
    if name == "TSVECTOR":
        return ValueKind.DERIVED
    if isinstance(column_type, DateTime):
        return ValueKind.INSTANT if column_type.timezone else ValueKind.TIMESTAMP
    kinds: tuple[tuple[type[Any], ValueKind], ...] = (
        (ARRAY, ValueKind.ARRAY),
        (JSON, ValueKind.JSON),
        (Boolean, ValueKind.BOOLEAN),
        (Integer, ValueKind.NUMBER),
        (Numeric, ValueKind.NUMBER),
        (Float, ValueKind.NUMBER),  # since SQLAlchemy 2.1 no Numeric
        (Date, ValueKind.DATE),
        (LargeBinary, ValueKind.BINARY),
        (Enum, ValueKind.PLAIN),
        (String, ValueKind.TEXT),
    )
    return next((kind for python, kind in kinds if isinstance(column_type, python)), ValueKind.PLAIN)
