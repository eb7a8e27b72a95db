"""Foreign keys of rows that are taken back: what they point to, and what points to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, ForeignKeyConstraint, Table
from sqlalchemy.exc import NoReferenceError

from ..diff import as_text
from ..diff.values import as_value, dump, load
from ..query.refs import RecordRef, stored_key
from ..query.tables import TableCatalog, TableInfo
from ..schema.names import TableName
from ..sql import quote_ident

#: Rows pointing to the rows of one statement that are looked at; with more, none of the rows goes.
MOST_POINTING = 100_000


def missing_targets(
    connection: Connection, catalog: TableCatalog, info: TableInfo, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, tuple[str, ...], RecordRef]]:
    """Which of some rows point to records that don't exist now: the place of the row, the columns, and the record.

    :param rows: logged values; a foreign key that is not among them is not looked at.
    """
    for key in info.table.foreign_key_constraints:
        target = _target(catalog, key)
        if target is None:
            continue
        names = [element.parent.name for element in key.elements]
        there = [element.column.name for element in key.elements]
        if set(there) != set(target.key):
            continue  # of another unique constraint: the database says so when it is written
        given = [(n, row) for n, row in enumerate(rows) if all(row.get(name) is not None for name in names)]
        if not given:
            continue
        same = " AND ".join(f"p.{quote_ident(t)} = r.{quote_ident(n)}" for t, n in zip(there, names, strict=True))
        statement = (
            f"SELECT d.n FROM {_given(info)} WHERE NOT EXISTS "  # noqa: S608 - quoted
            f"(SELECT 1 FROM {target.name.quoted} AS p WHERE {same})"
        )
        for (place,) in connection.exec_driver_sql(_escaped(statement), {"data": _data(row for _, row in given)}):
            number, row = given[place - 1]
            values = {t: as_text(as_value(row[n]).data) for t, n in zip(there, names, strict=True)}
            yield number, tuple(names), RecordRef(target.name, stored_key([values[name] for name in target.key]))


def pointing_rows(
    connection: Connection, catalog: TableCatalog, info: TableInfo, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, RecordRef]]:
    """Which records point to some rows now: the place of the row, and the record.

    :param rows: logged values.
    """
    for table in info.table.metadata.tables.values():
        for key in table.foreign_key_constraints:
            if rows and _referred(key) is info.table:
                child = catalog.get(TableName(table.schema or catalog.default_schema, table.name))
                yield from _pointing(connection, info, table, child, key, rows)


def _pointing(
    connection: Connection,
    info: TableInfo,
    table: Table,
    child: TableInfo | None,
    key: ForeignKeyConstraint,
    rows: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[int, RecordRef]]:
    pairs = [(element.parent.name, element.column.name) for element in key.elements]
    if child is None or not all(there in row for row in rows for _, there in pairs):
        return
    same = " AND ".join(f"c.{quote_ident(here)} = r.{quote_ident(there)}" for here, there in pairs)
    parts = ", ".join(f"c.{quote_ident(name)}" for name in child.key)
    statement = (
        f"SELECT d.n, CAST(pg_catalog.jsonb_build_object('key', pg_catalog.jsonb_build_array({parts})) AS text) "  # noqa: S608
        f"FROM {_given(info)} JOIN {child.name.quoted} AS c ON {same} LIMIT {MOST_POINTING + 1}"
    )
    found = connection.exec_driver_sql(_escaped(statement), {"data": _data(rows)}).all()
    if len(found) > MOST_POINTING:
        yield from ((number, RecordRef(child.name, "")) for number in range(len(rows)))
        return
    for place, text in found:
        yield place - 1, RecordRef(child.name, stored_key([as_text(part) for part in load(text)["key"]] or [""]))


def _given(info: TableInfo) -> str:
    return (
        "pg_catalog.jsonb_array_elements(CAST(%(data)s AS pg_catalog.jsonb)) WITH ORDINALITY AS d(v, n) "
        f"CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::{info.name.quoted}, d.v) AS r"
    )


def _escaped(statement: str) -> str:
    return statement.replace("%", "%%").replace("%%(data)s", "%(data)s")


def _data(rows: Any) -> str:
    return dump([{name: as_value(value).data for name, value in row.items()} for row in rows])


def _target(catalog: TableCatalog, key: ForeignKeyConstraint) -> TableInfo | None:
    table = _referred(key)
    return None if table is None else catalog.get(TableName(table.schema or catalog.default_schema, table.name))


def _referred(key: ForeignKeyConstraint) -> Table | None:
    try:
        return key.referred_table
    except NoReferenceError:  # of a table or column that is in no model
        return None
