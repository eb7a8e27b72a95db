"""Who buys."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from sqlalchemy import DateTime
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .. import clock
from ..extensions import db

if TYPE_CHECKING:
    from .order import Order


class Customer(db.Model):
    """A person or firm that orders. That the e-mail address changed is logged, the address itself never."""

    __tablename__ = "customers"
    __table_args__ = ({"info": {"audit_logged": {"mask": ["email"]}}},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    email: Mapped[str] = mapped_column(unique=True)
    street: Mapped[str] = mapped_column(default="")
    city: Mapped[str] = mapped_column(default="")
    newsletter: Mapped[bool] = mapped_column(default=False)
    notes: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), default=clock.now)

    orders: Mapped[list[Order]] = relationship(
        back_populates="customer", order_by="Order.id.desc()", passive_deletes="all"
    )

    def __str__(self) -> str:
        return self.name
