"""What the shop sells."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .. import clock
from ..extensions import db

if TYPE_CHECKING:
    from .warehouse import StockLevel

product_categories = Table(
    "product_categories",
    db.metadata,
    Column("product_id", ForeignKey("products.id", ondelete="CASCADE"), primary_key=True),
    Column("category_id", ForeignKey("categories.id", ondelete="RESTRICT"), primary_key=True, index=True),
    info={"audit_logged": True},
)


class Category(db.Model):
    """A shelf of the shop."""

    __tablename__ = "categories"
    __table_args__ = ({"info": {"audit_logged": True}},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")

    products: Mapped[list[Product]] = relationship(secondary=product_categories, order_by="Product.name", viewonly=True)

    def __str__(self) -> str:
        return self.name


class Product(db.Model):
    """An article with its price; the log leaves out its picture, and a time that it knows better itself."""

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("price >= 0", name="price_not_negative"),
        {"info": {"audit_logged": {"exclude": ["image", "updated_at"]}}},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(index=True)
    description: Mapped[str] = mapped_column(default="")
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    image: Mapped[bytes | None] = mapped_column(deferred=True)
    image_type: Mapped[str | None]
    on_sale: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), default=clock.now)
    updated_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), default=clock.now, onupdate=clock.now)

    categories: Mapped[list[Category]] = relationship(secondary=product_categories, order_by="Category.name")
    stock: Mapped[list[StockLevel]] = relationship(
        back_populates="product", order_by="StockLevel.location", passive_deletes="all"
    )

    def __str__(self) -> str:
        return self.name
