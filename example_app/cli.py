"""``flask shop …``: the work that no page does."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from sqlalchemy.dialects.postgresql import ARRAY

from .extensions import db
from .models import Product, StockLevel, SupplierPrice, User

shop = AppGroup("shop", help="Work on the shop's data.")

#: User name, name and role of the accounts that every new shop has.
ACCOUNTS = (
    ("admin", "Ann Price", "admin"),
    ("support", "Sam Okafor", "support"),
    ("auditor", "Iris Lindqvist", "auditor"),
    ("clerk", "Noor Haddad", "clerk"),
)
PASSWORD = "demo"
LOCATIONS = ("Front shop", "Store room")
SUPPLIERS = ("Alder Paper Mill", "Brightwater Inks", "Corvus Trading", "Dunmore & Sons", "Eastgate Supplies")
_KINDS = ("Notebook", "Drawing pad", "Ink", "Fountain pen", "Pencil", "Marker", "Envelope", "Folder", "Ruler", "Eraser")
_SHADES = ("white", "cream", "grey", "black", "navy", "green", "red", "ochre")


def init_app(app: Flask) -> None:
    """Add the commands to ``app``."""
    app.cli.add_command(shop)


@shop.command("create-accounts")
def create_accounts() -> None:
    """Create the accounts that every new shop has, all with the password "demo"."""
    for username, display_name, role in ACCOUNTS:
        if db.session.scalar(db.select(User.id).where(User.username == username)) is None:
            user = User(username=username, display_name=display_name, role=role)
            user.set_password(PASSWORD)
            db.session.add(user)
    db.session.commit()


@shop.command("import-prices")
@click.option("--rows", default=20_000, show_default=True, help="How many lines to make up.")
def import_prices(rows: int) -> None:
    """Read the suppliers' price lists (made up here) in one statement."""
    dice = random.Random(rows)
    columns: dict[str, list[Any]] = {
        "supplier": [SUPPLIERS[number % len(SUPPLIERS)] for number in range(rows)],
        "article_no": [f"{number // len(SUPPLIERS):05d}" for number in range(rows)],
        "title": [f"{dice.choice(_KINDS)}, {dice.choice(_SHADES)}, no. {number}" for number in range(rows)],
        "price": [Decimal(dice.randrange(40, 6000)) / 100 for number in range(rows)],
        "currency": ["EUR"] * rows,
    }
    table = SupplierPrice.__table__
    lines = db.select(*(db.func.unnest(db.cast(values, ARRAY(table.c[name].type))) for name, values in columns.items()))
    with current_app.extensions["audit_logger"].context(job="import-prices"):
        db.session.execute(db.insert(table).from_select(list(columns), lines))
        db.session.commit()
    click.echo(f"{rows:,} prices imported.")


@shop.command("restock")
@click.option("--times", default=3, show_default=True, help="Fill up to so many times the minimum.")
def restock(times: int) -> None:
    """Give every product a stock level, and fill up what has fallen below its minimum."""
    with current_app.extensions["audit_logger"].context(job="restock", reason="Nightly restock"):
        levels = db.select(StockLevel.product_id, StockLevel.location)
        there = {(row.product_id, row.location) for row in db.session.execute(levels)}
        for product_id in db.session.scalars(db.select(Product.id).where(Product.on_sale)):
            for location, minimum in zip(LOCATIONS, (5, 20), strict=True):
                if (product_id, location) not in there:
                    db.session.add(StockLevel(product_id=product_id, location=location, minimum=minimum))
        db.session.flush()
        low = StockLevel.quantity < StockLevel.minimum
        filled = db.session.execute(
            db.update(StockLevel)
            .where(low)
            .values(quantity=StockLevel.minimum * times)
            .execution_options(synchronize_session=False)
        )
        db.session.commit()
    click.echo(f"{filled.rowcount} stock levels filled up.")
