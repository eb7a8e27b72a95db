"""What can happen in the shop: each deed is a function that does it through the shop's own pages."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from . import texts
from .picture import picture
from .timeline import DAYS, Event
from .visitor import SeedingError, Visitor

SEED = 20_261
CENT = Decimal("0.01")
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"
CHROME = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/142.0.0.0 Safari/537.36"
TABLET = f"Mozilla/5.0 (iPad; CPU OS 19_1 like Mac OS X) {WEBKIT} Version/19.1 Safari/605.1.15"
SCANNER = f"Mozilla/5.0 (Linux; Android 14; TC58) {WEBKIT} Chrome/141.0.0.0 Mobile Safari/537.36"


class Deeds:
    """What people and commands do, each as a function to be called at its time; remembers the records they made."""

    def __init__(self, app: Flask, now: dt.datetime) -> None:
        self.app = app
        self.dice = random.Random(SEED)
        first = (now - dt.timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
        self.start = first + dt.timedelta(days=7 - first.weekday())  # a Monday, so that a weekend is a weekend
        self.now = now
        self.events: list[Event] = []
        self.paths: dict[str, str] = {}
        self.prices: dict[str, Decimal] = {}
        self.admin = Visitor(app, "admin", "demo", "10.20.0.11", FIREFOX)
        self.admin_at_home = Visitor(app, "admin", "demo", "2001:db8:5a::17", TABLET)
        self.support = Visitor(app, "support", "demo", "10.20.0.23", CHROME)
        self.auditor = Visitor(app, "auditor", "demo", "203.0.113.77", CHROME)
        self.clerk = Visitor(app, "clerk", "demo", "10.20.4.8", SCANNER)
        self.leaver = Visitor(app, "tom", "between-shelves", "10.20.4.9", SCANNER)

    def create(self, kind: str, name: str, who: Visitor, /, **fields: Any) -> Callable[[], None]:
        """Create a record and remember its path."""

        def run() -> None:
            self.paths[name] = who.submit(f"/{kind}/new", **fields)

        return run

    def create_article(self, article: texts.Article, number: int) -> Callable[[], None]:
        """Create a product, every other one with a picture."""

        def run() -> None:
            fields = {"sku": article.sku, "name": article.name, "price": article.price, "tags": article.tags,
                      "description": article.description, "attributes": json.dumps(article.attributes),
                      "categories": [self.key(article.category)]}  # fmt: skip
            if number % 2 == 0:
                fields["image"] = (io.BytesIO(picture(number)), f"{article.sku}.png")
            self.paths[article.sku] = self.admin.submit("/products/new", **fields)

        return run

    def edit(self, name: str, who: Visitor, /, **fields: Any) -> Callable[[], object]:
        """Change fields of a record."""
        return lambda: name in self.paths and who.submit(f"{self.paths[name]}/edit", **fields)

    def delete(self, name: str, who: Visitor, reason: str) -> Callable[[], object]:
        """Delete a record."""
        return lambda: who.submit(f"{self.paths.pop(name)}/delete", reason=reason)

    def step(self, name: str, status: str, who: Visitor, reason: str = "") -> Callable[[], object]:
        """Take an order further."""
        return lambda: who.submit(self.paths[name], form="status", status=status, reason=reason)

    def review(self, name: str, fields: dict[str, str]) -> Callable[[], object]:
        """The auditor's verdict."""
        return lambda: self.auditor.submit(f"{self.paths[name]}/review", **fields)

    def change_price(self, article: texts.Article, factor: Decimal, who: Visitor, reason: str) -> Callable[[], None]:
        """Multiply the price that the product has at that time."""

        def run() -> None:
            if article.sku in self.paths:
                price = (self.price(article) * factor).quantize(CENT)
                self.prices[article.sku] = price
                who.submit(f"{self.paths[article.sku]}/edit", price=str(price), reason=reason)

        return run

    def categorise(self, sku: str, categories: list[str]) -> Callable[[], object]:
        """Put a product into categories."""
        return lambda: self.admin.submit(
            f"{self.paths[sku]}/edit", categories=[self.key(category) for category in categories]
        )

    def count_stock(self, sku: str, place: str, quantity: int, who: Visitor) -> Callable[[], object]:
        """Write down how many pieces there are."""
        return lambda: sku in self.paths and who.submit(f"/stock/{self.key(sku)}/{place}/edit", quantity=quantity)

    def place_order(self, number: int, day: float) -> Callable[[], None]:
        """An order of one to three products, for a customer that exists by then."""
        dice = random.Random(SEED + number)
        customer = f"customer {dice.randrange(max(min(int((day - 6) / 1.6), 39), 1))}"
        note = dice.choice(texts.ORDER_NOTES)
        articles = dice.sample([article for article in texts.ARTICLES if article.sku != "NB-005"], dice.randrange(1, 4))

        def run() -> None:
            path = self.support.submit("/orders/new", customer_id=self.key(customer), note=note)
            self.paths[f"order {number}"] = path
            order = self.key(f"order {number}")
            for article in articles:
                product = self.key(article.sku)
                form = {"product_id": product, "quantity": dice.randrange(1, 6)}
                self.support.submit(f"/order-items/new?order_id={order}", **form)
                self.paths.setdefault(f"order {number} item", f"/order-items/{order}/{product}")

        return run

    def change_quantity(self, name: str) -> Callable[[], object]:
        """The customer wants more of it."""
        return lambda: self.support.submit(f"{self.paths[name + ' item']}/edit", quantity=7, reason="Customer called")

    def by_console(self) -> None:
        """Plain SQL on a connection of its own, outside the application."""
        with self.app.app_context():
            url = self.app.extensions["sqlalchemy"].engine.url
        console = create_engine(url, poolclass=NullPool, connect_args={"application_name": "psql"})
        with console.begin() as connection:
            connection.execute(text("UPDATE products SET price = round(price * 1.03, 2) WHERE sku LIKE 'INK-%'"))
        console.dispose()
        for article in texts.ARTICLES:
            if article.sku.startswith("INK-"):
                self.prices[article.sku] = (self.price(article) * Decimal("1.03")).quantize(CENT, ROUND_HALF_UP)

    def command(self, name: str) -> Callable[[], None]:
        """``flask shop name``."""

        def run() -> None:
            result = self.app.test_cli_runner().invoke(args=["shop", name])
            if result.exception is not None:
                raise SeedingError(f"flask shop {name}: {result.output}") from result.exception

        return run

    def at(
        self, day: float, hour: float, run: Callable[[], object], *, after: dt.datetime | None = None
    ) -> dt.datetime:
        """Plan something for a day and hour; what would fall on a weekend waits for Monday.

        :param after: not before half an hour after this.
        :returns: the time; what would fall into the last two days is left out, they have events of their own.
        """
        moment = self.start + dt.timedelta(days=int(day))
        moment += dt.timedelta(days={5: 2, 6: 1}.get(moment.weekday(), 0), hours=hour)
        if after is not None:
            moment = max(moment, after + dt.timedelta(minutes=30))
        if moment < self.now - dt.timedelta(days=2):
            self.events.append(Event(moment, run))
        return moment

    def ago(self, hours: float, run: Callable[[], object]) -> None:
        """Plan something for so many hours before the seeding."""
        self.events.append(Event(self.now - dt.timedelta(hours=hours), run))

    def hour(self) -> float:
        """Some time of a working day."""
        return self.dice.uniform(8.2, 17.4)

    def key(self, name: str) -> str:
        """The last part of a record's path: its key."""
        return self.paths[name].rpartition("/")[2]

    def home_of(self, sku: str) -> str:
        """The category that a product was first in."""
        return next(article.category for article in texts.ARTICLES if article.sku == sku)

    def price(self, article: texts.Article) -> Decimal:
        """The price that this script gave a product last."""
        return self.prices.get(article.sku, Decimal(article.price))
