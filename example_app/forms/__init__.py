"""The forms of the shop."""

from __future__ import annotations

from .base import DeleteForm, ReasonForm, ShopForm
from .catalogue import CategoryForm, ProductForm
from .order import OrderForm, OrderItemForm, OrderReviewForm, OrderStatusForm
from .people import CustomerForm, LoginForm, NewUserForm, UserForm
from .warehouse import AdjustPricesForm, StockLevelForm, SupplierPriceForm

__all__ = [
    "AdjustPricesForm",
    "CategoryForm",
    "CustomerForm",
    "DeleteForm",
    "LoginForm",
    "NewUserForm",
    "OrderForm",
    "OrderItemForm",
    "OrderReviewForm",
    "OrderStatusForm",
    "ProductForm",
    "ReasonForm",
    "ShopForm",
    "StockLevelForm",
    "SupplierPriceForm",
    "UserForm",
]
