"""How the audit pages call the shop's records, and where the shop shows them."""

from __future__ import annotations

from typing import Any

from flask import url_for
from sqlalchemy import inspect, select, tuple_

from flask_audit_logger.query.refs import RecordRef
from flask_audit_logger.schema.names import TableName
from flask_audit_logger.ui import Label

from .extensions import db
from .models import Category, Customer, Order, OrderItem, Product, StockLevel, SupplierPrice, User
from .roles import may

#: Which pages show the records of a model.
PAGES = {
    "categories": Category,
    "products": Product,
    "customers": Customer,
    "orders": Order,
    "order_items": OrderItem,
    "stock": StockLevel,
    "supplier_prices": SupplierPrice,
    "users": User,
}
_BY_TABLE = {TableName(model.__table__.schema or "public", model.__table__.name): page for page, model in PAGES.items()}


def record_labels(refs: set[RecordRef]) -> dict[RecordRef, Label]:
    """Names of the records that still exist; one query for each table."""
    labels: dict[RecordRef, Label] = {}
    for table in {ref.table for ref in refs} & set(_BY_TABLE):
        labels |= _labels_of(table, [ref for ref in refs if ref.table == table])
    return labels


def _labels_of(table: TableName, refs: list[RecordRef]) -> dict[RecordRef, Label]:
    page = _BY_TABLE[table]
    columns = inspect(PAGES[page]).primary_key
    by_key = {key: ref for ref in refs if (key := _key(columns, ref)) is not None}
    rows = db.session.scalars(select(PAGES[page]).where(tuple_(*columns).in_(list(by_key))))
    found = {tuple(inspect(row).identity): row for row in rows}
    return {by_key[key]: Label(str(row), _url(page, columns, key)) for key, row in found.items()}


def _key(columns: tuple[Any, ...], ref: RecordRef) -> tuple[Any, ...] | None:
    if len(columns) != len(ref.components):
        return None
    try:
        return tuple(column.type.python_type(part) for column, part in zip(columns, ref.components, strict=True))
    except ValueError:
        return None


def _url(page: str, columns: tuple[Any, ...], key: tuple[Any, ...]) -> str | None:
    if not may("read", page):
        return None
    return url_for(f"{page}.show", **{column.name: part for column, part in zip(columns, key, strict=True)})
