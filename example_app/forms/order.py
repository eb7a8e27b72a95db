"""Forms of orders and their items."""

from __future__ import annotations

from typing import Any

from wtforms import DecimalField, HiddenField, IntegerField, SelectField, TextAreaField
from wtforms.validators import AnyOf, InputRequired, Length, NumberRange, Optional

from ..extensions import db
from ..models import Customer, Order, OrderItem, OrderStatus, Product
from .base import ReasonForm, options, strip

REVIEWS = {"": "Not reviewed", "checked": "Checked", "questioned": "Questioned"}


def _choices(column: Any, name: Any, *where: Any) -> list[Any]:
    return options(db.session.execute(db.select(column, name).where(*where).order_by(name)))


class OrderForm(ReasonForm):
    """An order without its items."""

    customer_id = SelectField("Customer", coerce=int)
    note = TextAreaField("Note", [Length(max=2000)], filters=[strip], default="")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.customer_id.choices = _choices(Customer.id, Customer.name)


class OrderItemForm(ReasonForm):
    """One product of an order; without a price it is sold at today's."""

    order_id = IntegerField("Order number", [InputRequired()])
    product_id = SelectField("Product", coerce=int)
    quantity = IntegerField("Quantity", [InputRequired(), NumberRange(min=1, max=10_000)], default=1)
    unit_price = DecimalField(
        "Price of one",
        [Optional(), NumberRange(min=0, max=99_999_999)],
        places=2,
        description="Leave empty for today's price.",
    )

    def __init__(self, *args: Any, obj: OrderItem | None = None, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        there = [Product.id == obj.product_id] if obj is not None else []
        self.product_id.choices = _choices(Product.id, Product.name, db.or_(Product.on_sale, *there))

    def validate_order_id(self, field: Any) -> None:
        """The order must exist."""
        if db.session.get(Order, field.data) is None:
            raise ValueError(f"There is no order {field.data}.")

    def populate_obj(self, obj: Any) -> None:
        """Copy the fields and fill in the price."""
        super().populate_obj(obj)
        if obj.unit_price is None:
            obj.unit_price = db.get_or_404(Product, self.product_id.data).price


class OrderStatusForm(ReasonForm):
    """The next step of an order, chosen by a button."""

    status = HiddenField(validators=[AnyOf([status.value for status in OrderStatus])])


class OrderReviewForm(ReasonForm):
    """What the auditor thinks of an order."""

    review = SelectField("Result", choices=options(REVIEWS.items()))
    review_note = TextAreaField("Remark", [Length(max=2000)], filters=[strip], default="")
