"""Pages of orders and their items."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..extensions import db
from ..forms import OrderForm, OrderItemForm, OrderReviewForm, OrderStatusForm
from ..models import Order, OrderItem, OrderStatus
from .crud import Column, Crud, saved


class Orders(Crud):
    """Orders: beside the usual pages, a button for the next step and the auditor's review."""

    name, singular, plural = "orders", "Order", "Orders"
    model, form = Order, OrderForm
    searched = ("id", "status", "note")
    order_by = ("-id",)
    show_template = "shop/order.html"
    columns = (
        Column("Number", lambda row: str(row)),
        Column("Customer", lambda row: row.customer),
        Column("Status", lambda row: row.status),
        Column("Placed", lambda row: row.placed_at),
        Column("Total in euro", lambda row: f"{row.total:,.2f}", number=True),
    )

    def select(self) -> Any:
        """With their items, so that a list is two queries."""
        return db.select(Order).options(db.selectinload(Order.items))

    def show_context(self, row: Order) -> dict[str, Any]:
        """The steps that may follow."""
        return {"status_form": OrderStatusForm(), "following": OrderStatus(row.status).following}

    def set_status(self, id: int) -> ResponseReturnValue:
        """Take the order one step further."""
        self.require("edit")
        row = self.get({"id": id})
        form = OrderStatusForm(request.form)
        following = [status.value for status in OrderStatus(row.status).following]
        if not form.validate():
            flash(" ".join(str(text) for texts in form.errors.values() for text in texts), "bad")
        elif form.status.data not in following:
            flash(f"An order that is {row.status} can't become {form.status.data}.", "bad")
        else:
            row.status = form.status.data
            if saved(form):
                flash(f"{row} is now {row.status}.", "good")
        return redirect(url_for("orders.show", id=id))

    def review(self, id: int) -> ResponseReturnValue:
        """What the auditor found."""
        self.require("review")
        row = self.get({"id": id})
        form = OrderReviewForm(self.submitted(), obj=row)
        if request.method == "POST" and form.validate():
            form.populate_obj(row)
            if saved(form):
                flash(f"The review of {row} was saved.", "good")
                return redirect(url_for("orders.show", id=id))
        page = render_template("shop/form.html", crud=self, form=form, row=row, row_title=f"Review of {row}")
        return page, 422 if form.errors else 200


class OrderItems(Crud):
    """Items of orders: the key is order and product."""

    name, singular, plural = "order_items", "Order item", "Order items"
    model, form = OrderItem, OrderItemForm
    key = {"order_id": "int", "product_id": "int"}  # noqa: RUF012 - the annotation is in the base class
    searched = ("order_id",)
    order_by = ("-order_id", "product_id")
    columns = (
        Column("Product", lambda row: row.product),
        Column("Order", lambda row: row.order),
        Column("Quantity", lambda row: row.quantity, number=True),
        Column("Price of one", lambda row: f"{row.unit_price:,.2f}", number=True),
    )

    def select(self) -> Any:
        """With their orders."""
        return db.select(OrderItem).options(db.joinedload(OrderItem.order))

    def prefilled(self) -> dict[str, Any]:
        """The order from whose page one comes."""
        return {"order_id": request.args.get("order_id", type=int)}

    def after_delete(self, row: OrderItem) -> str:
        """Back to the order."""
        return url_for("orders.show", id=row.order_id)


orders = Orders()
_orders = orders.blueprint()
_orders.add_url_rule("/<int:id>/status", "set_status", orders.set_status, methods=["POST"])
_orders.add_url_rule("/<int:id>/review", "review", orders.review, methods=["GET", "POST"])
blueprints = (_orders, OrderItems().blueprint())
