"""What was ordered, and how far it is."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Numeric
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .. import clock
from ..extensions import db

if TYPE_CHECKING:
    from .catalogue import Product
    from .customer import Customer


class OrderStatus(enum.StrEnum):
    """The steps of an order, in the words that the table stores."""

    NEW = "new"
    PAID = "paid"
    PACKED = "packed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    RETURNED = "returned"
    CANCELLED = "cancelled"

    @property
    def following(self) -> tuple[OrderStatus, ...]:
        """Where an order may go from here."""
        return _FOLLOWING[self]


_FOLLOWING = {
    OrderStatus.NEW: (OrderStatus.PAID, OrderStatus.CANCELLED),
    OrderStatus.PAID: (OrderStatus.PACKED, OrderStatus.CANCELLED),
    OrderStatus.PACKED: (OrderStatus.SHIPPED, OrderStatus.CANCELLED),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED, OrderStatus.RETURNED),
    OrderStatus.DELIVERED: (OrderStatus.RETURNED,),
    OrderStatus.RETURNED: (),
    OrderStatus.CANCELLED: (),
}


class Order(db.Model):
    """An order of one customer."""

    __tablename__ = "orders"
    __table_args__ = ({"info": {"audit_logged": True}},)

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id", ondelete="RESTRICT"), index=True)
    status: Mapped[str] = mapped_column(default=OrderStatus.NEW.value)
    note: Mapped[str] = mapped_column(default="")
    placed_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), default=clock.now)
    #: Set by the auditor: nothing, "checked" or "questioned".
    review: Mapped[str] = mapped_column(default="")
    review_note: Mapped[str] = mapped_column(default="")

    customer: Mapped[Customer] = relationship(back_populates="orders", lazy="joined", innerjoin=True)
    items: Mapped[list[OrderItem]] = relationship(
        back_populates="order", order_by="OrderItem.product_id", passive_deletes="all"
    )

    @property
    def total(self) -> Decimal:
        """Sum of the items."""
        return sum((item.amount for item in self.items), Decimal("0.00"))

    def __str__(self) -> str:
        return f"Order {self.id}"


class OrderItem(db.Model):
    """How many of a product an order holds, at the price of that day. Goes away with its order."""

    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price >= 0", name="unit_price_not_negative"),
        {"info": {"audit_logged": True}},
    )

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True)
    product_id: Mapped[int] = mapped_column(
        ForeignKey("products.id", ondelete="RESTRICT"), primary_key=True, index=True
    )
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Numeric(10, 2))

    order: Mapped[Order] = relationship(back_populates="items")
    product: Mapped[Product] = relationship(lazy="joined", innerjoin=True)

    @property
    def amount(self) -> Decimal:
        """Price of the whole line."""
        return self.quantity * self.unit_price

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"
