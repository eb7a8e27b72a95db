"""What happens in the shop within 90 days: a list of events, always the same for the same seed."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

from flask import Flask

from . import texts
from .deeds import Deeds
from .timeline import Event

ORDERS = 44


def plan_events(app: Flask, now: dt.datetime) -> list[Event]:
    """What happens in the 90 days before ``now``."""
    return Plan(app, now).make()


def day_of_order(number: int) -> float:
    """When an order is placed."""
    return 6 + number * 1.65


class Plan(Deeds):
    """The chapters of the history."""

    def make(self) -> list[Event]:
        """All events, in no particular order."""
        self.opening()
        self.customers()
        self.orders()
        self.catalogue_work()
        self.stock_work()
        self.reviews()
        self.tom()
        self.outside()
        self.last_days()
        return self.events

    def opening(self) -> None:
        """Accounts by a command, then the categories and products by the administrator."""
        self.at(0, 7.5, self.command("create-accounts"))
        hour = 8.0
        for name, description in texts.CATEGORIES.items():
            self.at(0, hour, self.create("categories", name, self.admin, name=name, description=description))
            hour += 0.07
        for number, article in enumerate(texts.ARTICLES):
            self.at(0 if number < 20 else 1, hour, self.create_article(article, number))
            hour = hour + 0.11 if number != 19 else 9.0
        self.at(1, 20.0, self.command("import-prices"))
        self.at(2, 3.0, self.command("restock"))

    def customers(self) -> None:
        """Forty customers, some of whom move; one asks to be forgotten."""
        for number in range(40):
            first = texts.FIRST_NAMES[number % 20]
            last = texts.LAST_NAMES[(number * 7 + number // 20) % 20]
            day = 2 + number * 1.6
            email = f"{first}.{last}{number}@example.com".lower().replace(" ", "").encode("ascii", "ignore").decode()
            fields = {"name": f"{first} {last}", "email": email, "newsletter": self.dice.choice(["y", None]),
                      "street": f"{self.dice.choice(texts.STREETS)} {self.dice.randrange(1, 140)}",
                      "city": self.dice.choice(texts.CITIES)}  # fmt: skip
            self.at(day, self.hour(), self.create("customers", f"customer {number}", self.support, **fields))
            if number % 3 == 1:
                moved = {"street": f"{self.dice.choice(texts.STREETS)} {self.dice.randrange(1, 140)}",
                         "city": self.dice.choice(texts.CITIES), "reason": "Moved house"}  # fmt: skip
                self.at(day + 12, self.hour(), self.edit(f"customer {number}", self.support, **moved))
            if number % 5 == 2:
                note = self.dice.choice(texts.CUSTOMER_NOTES)
                self.at(day + 6, self.hour(), self.edit(f"customer {number}", self.support, notes=note))
            if number % 9 == 4:
                new = {"email": f"post{number}@example.org"}
                self.at(day + 9, self.hour(), self.edit(f"customer {number}", self.support, **new))
        self.at(66, 11.2, self.delete("customer 39", self.support, "Asked to be forgotten"))

    def orders(self) -> None:
        """Orders on their way from new to delivered; some are changed, cancelled or returned."""
        for number in range(ORDERS):
            name, day = f"order {number}", day_of_order(number)
            then = self.at(day, self.hour(), self.place_order(number, day))
            if number % 8 == 3:
                then = self.at(day, 17.5, self.change_quantity(name), after=then)
            if number % 11 == 6:
                reason = self.dice.choice(texts.CANCEL_REASONS)
                self.at(day + 1, self.hour(), self.step(name, "cancelled", self.support, reason), after=then)
                continue
            for status, later in (("paid", 1), ("packed", 2), ("shipped", 3), ("delivered", 6)):
                if number < ORDERS - 2:
                    then = self.at(day + later, self.hour(), self.step(name, status, self.support), after=then)
            if number % 23 == 9:
                self.at(day + 12, self.hour(), self.step(name, "returned", self.support, "Arrived damaged"), after=then)

    def catalogue_work(self) -> None:
        """Prices go up and down, texts get better, tags and attributes are kept."""
        popular = texts.ARTICLES[::4]
        for number in range(50):
            article = self.dice.choice(popular * 4 + texts.ARTICLES)
            factor = Decimal(self.dice.choice(["0.90", "0.95", "1.03", "1.05", "1.10"]))
            who = self.dice.choice([self.admin, self.admin, self.admin_at_home])
            reason = self.dice.choice(texts.RAISE_REASONS if factor > 1 else texts.CUT_REASONS)
            self.at(3 + number * 1.6, self.hour(), self.change_price(article, factor, who, reason))
        for number, (sku, description) in enumerate(texts.BETTER_DESCRIPTIONS.items()):
            self.at(10 + number * 6.5, self.hour(), self.edit(sku, self.support, description=description))
        for number in range(14):
            article = self.dice.choice(texts.ARTICLES)
            tags = f"{article.tags}, {self.dice.choice(['new', 'bestseller', 'last pieces', 'regional'])}"
            self.at(14 + number * 4.7, self.hour(), self.edit(article.sku, self.admin, tags=tags))
        for number in range(14):
            article = self.dice.choice(texts.ARTICLES)
            more = {**article.attributes, "warranty_months": self.dice.choice([12, 24, 36]), "origin": "EU"}
            attributes = json.dumps(more)
            self.at(20 + number * 4.1, self.hour(), self.edit(article.sku, self.admin, attributes=attributes))
        for number, sku in enumerate(("NB-001", "FP-004", "PC-001", "INK-05", "BG-001")):
            categories = [self.home_of(sku), "Gifts"]
            self.at(31 + number * 3, self.hour(), self.categorise(sku, categories))
        self.at(57, 10.1, self.edit("PC-003", self.admin, name="Carpenter's pencil, red", reason="There is a blue one"))
        self.at(71, 14.6, self.delete("NB-005", self.admin, "Publisher stopped it"))

    def stock_work(self) -> None:
        """The clerk counts; the nightly job fills up."""
        for number in range(32):
            sku = self.dice.choice(texts.ARTICLES[:36]).sku
            place = self.dice.choice(["Front shop", "Store room"])
            self.at(4 + number * 2.5, self.hour(), self.count_stock(sku, place, self.dice.randrange(0, 70), self.clerk))
        for day in (21, 42, 63, 79):
            self.at(day, 3.0, self.command("restock"))

    def reviews(self) -> None:
        """The auditor looks at every fourth order a good week later."""
        for number in range(2, ORDERS - 4, 4):
            doubts = number % 12 == 2
            note = self.dice.choice(texts.QUESTIONS if doubts else texts.REVIEW_NOTES)
            fields = {"review": "questioned" if doubts else "checked", "review_note": note}
            self.at(day_of_order(number) + 9, self.hour(), self.review(f"order {number}", fields))

    def tom(self) -> None:
        """Somebody who comes, changes 20,000 prices by mistake and leaves; the history still names him."""
        fields = {"username": "tom", "display_name": "Tom Marsh", "role": "clerk", "password": "between-shelves"}
        self.at(9, 9.0, self.create("users", "tom", self.admin, **fields))
        for number in range(14):
            sku = self.dice.choice(texts.ARTICLES[:36]).sku
            self.at(10 + number * 2.6, self.hour(),
                    self.count_stock(sku, "Store room", self.dice.randrange(0, 90), self.leaver))  # fmt: skip
        careless = {"supplier": "", "percent": "2.5", "reason": "Brightwater Inks raised their prices"}
        self.at(46, 17.8, lambda: self.leaver.submit("/supplier-prices/adjust", **careless))
        self.at(55, 17.0, self.edit("tom", self.admin, active=[], reason="Left the shop"))
        self.at(60, 9.1, self.delete("tom", self.admin, "Left the shop"))

    def outside(self) -> None:
        """Somebody with a database console changes prices without the shop knowing."""
        self.at(68, 22.7, self.by_console)

    def last_days(self) -> None:
        """What one sees first: a few changes of the last two days."""
        for hours_ago, article, factor, who, reason in (
            (44, texts.ARTICLES[12], "1.04", self.admin, "Larch has become dearer"),
            (27, texts.ARTICLES[27], "0.90", self.admin_at_home, "Autumn sale"),
            (7, texts.ARTICLES[6], "1.05", self.admin, "Supplier raised the price"),
            (4, texts.ARTICLES[1], "0.95", self.admin, ""),
        ):
            self.ago(hours_ago, self.change_price(article, Decimal(factor), who, reason))
        self.ago(29, self.count_stock("DK-001", "Front shop", 3, self.clerk))
        self.ago(6, self.step(f"order {ORDERS - 1}", "paid", self.support))
        self.ago(5, self.edit("customer 12", self.support, street="Canal Street 18", reason="Moved house"))
        self.ago(
            2,
            self.review(
                f"order {ORDERS - 3}", {"review": "checked", "review_note": "Invoice and delivery note agree."}
            ),
        )
