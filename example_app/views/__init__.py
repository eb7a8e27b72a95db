"""The pages of the shop, one blueprint a file."""

from __future__ import annotations

from flask import Flask

from . import auth, catalogue, customers, home, orders, staff, warehouse


def register(app: Flask) -> None:
    """Add all pages to ``app``."""
    for module in (home, auth, catalogue, customers, orders, warehouse, staff):
        for blueprint in module.blueprints:
            app.register_blueprint(blueprint)
