"""What lies where, and what suppliers ask for it: a schema of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..extensions import db

if TYPE_CHECKING:
    from .catalogue import Product

SCHEMA = "warehouse"


class StockLevel(db.Model):
    """How many pieces of a product lie at a location."""

    __tablename__ = "stock_levels"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        {"schema": SCHEMA, "info": {"audit_logged": True}},
    )

    product_id: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"), primary_key=True)
    location: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[int] = mapped_column(default=0)
    minimum: Mapped[int] = mapped_column(default=0)

    product: Mapped[Product] = relationship(back_populates="stock", lazy="joined", innerjoin=True)

    def __str__(self) -> str:
        return f"{self.product} in {self.location}"


class SupplierPrice(db.Model):
    """A line of a supplier's price list."""

    __tablename__ = "supplier_prices"
    __table_args__ = (
        UniqueConstraint("supplier", "article_no"),
        CheckConstraint("price >= 0", name="price_not_negative"),
        {"schema": SCHEMA, "info": {"audit_logged": True}},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    supplier: Mapped[str]
    article_no: Mapped[str]
    title: Mapped[str]
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    currency: Mapped[str] = mapped_column(default="EUR")

    def __str__(self) -> str:
        return f"{self.supplier} {self.article_no}"
