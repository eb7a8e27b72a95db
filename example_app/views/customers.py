"""Pages of customers."""

from __future__ import annotations

from typing import Any

from ..forms import CustomerForm
from ..models import Customer
from .crud import Column, Crud


class Customers(Crud):
    """Customers."""

    name, singular, plural = "customers", "Customer", "Customers"
    model, form = Customer, CustomerForm
    searched = ("name", "email", "city")
    order_by = ("name", "id")
    columns = (
        Column("Name", lambda row: row.name),
        Column("E-mail", lambda row: row.email),
        Column("City", lambda row: row.city),
        Column("Newsletter", lambda row: "yes" if row.newsletter else "no"),
    )

    def facts(self, row: Customer) -> list[tuple[str, Any]]:
        """The list's columns and the rest."""
        return [*super().facts(row), ("Street", row.street), ("Notes", row.notes), ("Customer since", row.created_at)]

    def show_context(self, row: Customer) -> dict[str, Any]:
        """Their orders."""
        return {"orders": row.orders}


blueprints = (Customers().blueprint(),)
