"""Error pages, and what a refusal by the database means in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, render_template
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from .extensions import db


@dataclass(frozen=True)
class Problem:
    """A refusal: the field that it belongs to, if any, and a text for the person at the form."""

    text: str
    field: str = ""


_CONSTRAINTS = {
    "uq_users_username": Problem("Somebody else has this user name.", "username"),
    "uq_categories_name": Problem("There is a category of this name already.", "name"),
    "uq_products_sku": Problem("Another product has this article number.", "sku"),
    "ck_products_price_not_negative": Problem("The price can't be below zero.", "price"),
    "uq_customers_email": Problem("Another customer has this e-mail address.", "email"),
    "fk_orders_customer_id": Problem("This customer has orders. Delete or move them first."),
    "fk_order_items_product_id": Problem("This product is part of orders. Take it off sale instead of deleting it."),
    "fk_product_categories_category_id": Problem("There are products in this category. Move them first."),
    "pk_order_items": Problem("The order holds this product already. Change its quantity instead.", "product_id"),
    "pk_stock_levels": Problem("There is a stock level for this product and location.", "location"),
    "uq_supplier_prices_supplier_article_no": Problem("This supplier's list has this number already.", "article_no"),
}


def explain(error: DataError | IntegrityError | StaleDataError) -> Problem:
    """What the person at the form can do about ``error``."""
    if isinstance(error, StaleDataError):
        return Problem("Somebody else deleted this record a moment ago.")
    if isinstance(error, DataError):
        return Problem("PostgreSQL can't store one of these values. Nothing was saved.")
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    fallback = Problem(f"The database refused this change ({constraint or 'no name given'}). Nothing was saved.")
    return _CONSTRAINTS.get(constraint, fallback)


_ADVICE = {
    400: "The form was incomplete or too old. Go back, reload the page and try again.",
    403: "Your account may not do this. Ask an administrator if you think it should.",
    404: "There is nothing here. It may have been deleted.",
    405: "This address can't be used that way.",
    413: "The upload is too large.",
    500: "Something went wrong on our side. Nothing was saved.",
}


def init_app(app: Flask) -> None:
    """Show errors as pages of the shop; the audit pages have their own."""
    app.register_error_handler(HTTPException, _error_page)


def _error_page(error: HTTPException) -> tuple[str, int] | HTTPException:
    code = error.code or 500
    if error.response is not None or code < 400:
        return error
    if code == 500:
        db.session.rollback()
    return render_template("shop/error.html", error=error, advice=_ADVICE.get(code, "")), code
