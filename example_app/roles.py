"""Who may do what: in the shop, and in the history of its data."""

from __future__ import annotations

from typing import Any

from flask_login import current_user

READ = frozenset({"read"})
WRITE = READ | {"create", "edit", "delete"}
EVERYTHING = ("categories", "products", "customers", "orders", "order_items", "stock", "supplier_prices", "users")

ROLES = {
    "admin": "Administrator",
    "support": "Customer support",
    "auditor": "Auditor",
    "clerk": "Warehouse clerk",
}

SHOP: dict[str, dict[str, frozenset[str]]] = {
    "admin": dict.fromkeys(EVERYTHING, WRITE | {"review"}),
    "support": {
        "categories": READ,
        "products": READ | {"edit"},
        "customers": WRITE,
        "orders": WRITE,
        "order_items": WRITE,
        "stock": READ,
    },
    "auditor": dict.fromkeys(EVERYTHING, READ) | {"orders": READ | {"review"}},
    "clerk": {"products": READ, "stock": WRITE, "supplier_prices": WRITE},
}

#: Tables that the shop's pages have another name for.
RESOURCES = {"stock_levels": "stock"}

#: Roles that may read the whole log, and what customer support may do in it.
AUDIT_READERS = frozenset({"admin", "auditor"})
AUDIT_SUPPORT_ACTIONS = frozenset({"list", "record", "activity", "compare", "live", "value", "help"})


def may(action: str, resource: str) -> bool:
    """May the logged-in person do this with rows of ``resource``?"""
    if not current_user.is_authenticated:
        return False
    return action in SHOP.get(current_user.role, {}).get(resource, frozenset())


def may_audit(action: str, target: Any = None) -> bool:
    """Permission callback of the audit pages: administrators and auditors read everything, support a part.

    Putting a value back is an edit: of them, whoever may edit such a record in the shop may do it. A whole transaction,
    whose target is its id, may have changed anything, so that takes an administrator.
    """
    if not current_user.is_authenticated:
        return False
    role = current_user.role
    if action == "revert" and isinstance(target, int):
        return bool(role == "admin")
    if action == "revert":
        reads = role in AUDIT_READERS or role == "support"
        return reads and target is not None and may("edit", RESOURCES.get(target.table.name, target.table.name))
    return role in AUDIT_READERS or (role == "support" and action in AUDIT_SUPPORT_ACTIONS)
