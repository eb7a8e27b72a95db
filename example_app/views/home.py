"""The start page."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required

from ..extensions import db
from ..models import Category, Customer, Order, Product, StockLevel
from ..roles import may

home = Blueprint("home", __name__)
blueprints = (home,)


@home.route("/")
@login_required
def index() -> ResponseReturnValue:
    """What waits for somebody today."""
    counts = {
        "products": ("Products", _count(Product)),
        "categories": ("Categories", _count(Category)),
        "customers": ("Customers", _count(Customer)),
        "orders": ("Open orders", _count(Order, Order.status.in_(["new", "paid", "packed"]))),
        "stock": ("To be restocked", _count(StockLevel, StockLevel.quantity < StockLevel.minimum)),
    }
    tiles = [(name, label, number) for name, (label, number) in counts.items() if may("read", name)]
    newest = db.select(Order).order_by(Order.id.desc()).limit(8)
    orders = db.session.scalars(newest).all() if may("read", "orders") else []
    changed = db.session.scalars(db.select(Product).order_by(Product.updated_at.desc()).limit(8)).all()
    return render_template("shop/home.html", tiles=tiles, orders=orders, products=changed)


@home.route("/favicon.ico")
def favicon() -> ResponseReturnValue:
    """The icon of pages that name none, such as those of the audit log."""
    return redirect(url_for("static", filename="icon.svg"))


def _count(model: type, *where: object) -> int:
    return db.session.scalar(db.select(db.func.count()).select_from(model).where(*where)) or 0
