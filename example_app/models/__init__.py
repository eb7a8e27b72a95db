"""The tables of the shop. All of them are audited; each says in ``info`` what the log may keep."""

from __future__ import annotations

from .catalogue import Category, Product, product_categories
from .customer import Customer
from .demo import Seeding
from .order import Order, OrderItem, OrderStatus
from .user import User
from .warehouse import StockLevel, SupplierPrice

__all__ = [
    "Category",
    "Customer",
    "Order",
    "OrderItem",
    "OrderStatus",
    "Product",
    "Seeding",
    "StockLevel",
    "SupplierPrice",
    "User",
    "product_categories",
]
