"""Pages of categories and products."""

from __future__ import annotations

from typing import Any

from flask import Response, abort

from ..forms import CategoryForm, ProductForm
from ..models import Category, Product
from .crud import Column, Crud


class Categories(Crud):
    """Categories."""

    name, singular, plural = "categories", "Category", "Categories"
    model, form = Category, CategoryForm
    searched = ("name", "description")
    order_by = ("name",)
    columns = (
        Column("Name", lambda row: row.name),
        Column("Description", lambda row: row.description),
    )

    def show_context(self, row: Category) -> dict[str, Any]:
        """Its products."""
        return {"products": row.products}


class Products(Crud):
    """Products, with a page of their own and a picture."""

    name, singular, plural = "products", "Product", "Products"
    model, form = Product, ProductForm
    searched = ("name", "sku", "description")
    order_by = ("name", "id")
    show_template = "shop/product.html"
    columns = (
        Column("Name", lambda row: row.name),
        Column("Article number", lambda row: row.sku),
        Column("Price in euro", lambda row: f"{row.price:,.2f}", number=True),
        Column("Tags", lambda row: ", ".join(row.tags)),
        Column("On sale", lambda row: "yes" if row.on_sale else "no"),
    )

    def image(self, id: int) -> Response:
        """The picture; its type was found from its content when it was stored."""
        self.require("read")
        row = self.get({"id": id})
        if row.image is None:
            abort(404)
        return Response(row.image, mimetype=row.image_type or "application/octet-stream")


products = Products()
_products = products.blueprint()
_products.add_url_rule("/<int:id>/image", "image", products.image)
blueprints = (Categories().blueprint(), _products)
