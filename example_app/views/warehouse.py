"""Pages of stock and of suppliers' prices."""

from __future__ import annotations

from decimal import Decimal

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ..extensions import db
from ..forms import AdjustPricesForm, StockLevelForm, SupplierPriceForm
from ..models import StockLevel, SupplierPrice
from .crud import Column, Crud, reason


class Stock(Crud):
    """Stock levels: the key is product and location."""

    name, singular, plural = "stock", "Stock level", "Stock levels"
    model, form = StockLevel, StockLevelForm
    key = {"product_id": "int", "location": "string"}  # noqa: RUF012 - the annotation is in the base class
    searched = ("location",)
    order_by = ("product_id", "location")
    columns = (
        Column("Product", lambda row: row.product),
        Column("Location", lambda row: row.location),
        Column("Quantity", lambda row: row.quantity, number=True),
        Column("Order again below", lambda row: row.minimum, number=True),
    )


class SupplierPrices(Crud):
    """Price lists: 20,000 lines, and a form that changes many of them at once."""

    name, singular, plural = "supplier_prices", "Supplier price", "Supplier prices"
    model, form = SupplierPrice, SupplierPriceForm
    searched = ("supplier", "article_no", "title")
    order_by = ("id",)
    columns = (
        Column("Article", lambda row: row.title),
        Column("Supplier", lambda row: row.supplier),
        Column("Article number", lambda row: row.article_no),
        Column("Price", lambda row: f"{row.price:,.2f}", number=True),
        Column("Currency", lambda row: row.currency),
    )

    def adjust(self) -> ResponseReturnValue:
        """Change the prices of a supplier, or of all of them, by some percent: one UPDATE, however many rows."""
        self.require("edit")
        form = AdjustPricesForm(self.submitted())
        if request.method == "POST" and form.validate():
            factor = 1 + form.percent.data / Decimal(100)
            change = db.update(SupplierPrice).values(price=db.func.round(SupplierPrice.price * factor, 2))
            if form.supplier.data:
                change = change.where(SupplierPrice.supplier == form.supplier.data)
            with reason(form):
                count = db.session.execute(change.execution_options(synchronize_session=False)).rowcount
                db.session.commit()
            flash(f"{count:,} prices were changed by {form.percent.data} %.", "good")
            return redirect(url_for("supplier_prices.index"))
        page = self.render("shop/form.html", form=form, row=None, row_title="Adjust prices")
        return page, 422 if form.errors else 200


prices = SupplierPrices()
_prices = prices.blueprint()
_prices.add_url_rule("/adjust", "adjust", prices.adjust, methods=["GET", "POST"])
blueprints = (Stock().blueprint(), _prices)
