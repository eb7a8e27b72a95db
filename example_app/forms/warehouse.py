"""Forms of stock and of suppliers' prices."""

from __future__ import annotations

from typing import Any

from wtforms import DecimalField, IntegerField, SelectField, StringField
from wtforms.validators import InputRequired, Length, NumberRange, Optional, Regexp

from ..extensions import db
from ..models import Product, SupplierPrice
from .base import ReasonForm, options, strip


class StockLevelForm(ReasonForm):
    """How many pieces lie where."""

    product_id = SelectField("Product", coerce=int)
    location = StringField(
        "Location",
        [InputRequired(), Length(max=40), Regexp(r"^[^/]*$", message="Leave the slash out.")],
        filters=[strip],
    )
    quantity = IntegerField("Quantity", [InputRequired(), NumberRange(min=0, max=1_000_000)])
    minimum = IntegerField("Order again below", [InputRequired(), NumberRange(min=0, max=1_000_000)], default=0)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = db.session.execute(db.select(Product.id, Product.name).order_by(Product.name))
        self.product_id.choices = options(rows)


class SupplierPriceForm(ReasonForm):
    """One line of a price list."""

    supplier = StringField("Supplier", [InputRequired(), Length(max=80)], filters=[strip])
    article_no = StringField("Article number", [InputRequired(), Length(max=40)], filters=[strip])
    title = StringField("Article", [InputRequired(), Length(max=200)], filters=[strip])
    price = DecimalField("Price", [InputRequired(), NumberRange(min=0, max=99_999_999)], places=2)
    currency = StringField(
        "Currency",
        [InputRequired(), Regexp(r"^[A-Z]{3}$", message="Three capitals, such as EUR.")],
        filters=[strip],
        default="EUR",
    )


class AdjustPricesForm(ReasonForm):
    """Raises or lowers the prices of one supplier, or of all if none is chosen."""

    supplier = SelectField("Supplier", [Optional()])
    percent = DecimalField(
        "Change in percent",
        [InputRequired(), NumberRange(min=-90, max=900)],
        description="For example 2.5 or -10.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = db.session.scalars(db.select(SupplierPrice.supplier).distinct().order_by(SupplierPrice.supplier))
        self.supplier.choices = options([("", "All suppliers"), *((name, name) for name in names)])
