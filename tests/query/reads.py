"""Reads of a shop's log without a page, and what plain SQL says about the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from flask_audit_logger.query.paging import Cursor, Paging, Slice
from flask_audit_logger.query.reader import AuditReader, Log, Scope, everything
from flask_audit_logger.query.refs import RecordRef, stored_key
from flask_audit_logger.query.tables import TableCatalog, TableInfo
from flask_audit_logger.schema.names import TableName
from tests.ui.shop import Shop

PRODUCTS, CATEGORIES, ITEMS = (TableName("public", name) for name in ("products", "categories", "order_items"))

#: Activities with their transactions, for conditions in plain SQL.
JOINED = "activity a JOIN transaction t ON t.id = a.transaction_id"


def reader_of(shop: Shop, scope: Scope = everything) -> AuditReader:
    """What opens reads of the log."""
    with shop.application.app.app_context():
        return AuditReader(shop.db.engine, shop.application.audit_logger.models, scope=scope)


@contextmanager
def reading(shop: Shop, scope: Scope = everything) -> Iterator[Log]:
    """An open read."""
    with reader_of(shop, scope).reading() as log:
        yield log


def only(table: TableName) -> Scope:
    """The scope of somebody who may see one table."""
    return lambda statement: statement.where(sa.literal_column("activity.table_name") == table.name)


def catalog_of(shop: Shop) -> TableCatalog:
    """What the models say about the tables."""
    return TableCatalog([shop.db.metadata])


def info_of(shop: Shop, table: TableName) -> TableInfo:
    """What the models say about one table."""
    info = catalog_of(shop).get(table)
    assert info is not None
    return info


def record_of(table: TableName, *key: Any) -> RecordRef:
    """A record by the values of its key."""
    return RecordRef(table, stored_key([str(part) for part in key]))


def ids_of(shop: Shop, condition: str = "true", order: str = "a.transaction_id DESC, a.id DESC") -> list[int]:
    """Ids of the activities that meet a condition in SQL, in the order of the feed."""
    return [row[0] for row in shop.sql(f"SELECT a.id FROM {JOINED} WHERE {condition} ORDER BY {order}")]


def next_page(page: Slice[Any], paging: Paging, cursor: Cursor, *, newer: bool) -> Paging | None:
    """The page beside one, if there is one.

    :param cursor: the position of the row at that end of the page.
    """
    if not (page.has_newer if newer else page.has_older):
        return None
    return Paging(limit=paging.limit, oldest_first=paging.oldest_first, **{"after" if newer else "before": cursor})
