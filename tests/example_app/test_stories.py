"""Promise: three questions that people have are answered on the pages, each with a few clicks and fields."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from example_app.extensions import db
from tests.example_app.test_browser import log_in
from tests.ui.browsing import IN_A_BROWSER, follow, running_chromium, served

pytestmark = [*IN_A_BROWSER, pytest.mark.slow]

ZONE = "America/New_York"


@dataclass
class Person:
    """Somebody at a browser who counts what they do: a click, a choice, a field."""

    page: Any
    actions: int = 0

    def goes(self, role: str, name: str, within: str = "body") -> None:
        """Follow a link or press a button that leads to another page."""
        self.actions += 1
        follow(self.page, self.page.locator(within).get_by_role(role, name=name).first)

    def opens(self, name: str) -> None:
        """Open what is folded."""
        self.actions += 1
        self.page.get_by_text(name, exact=True).first.click()

    def fills(self, label: str, value: str) -> None:
        """Fill a field."""
        self.actions += 1
        self.page.get_by_label(label, exact=True).first.fill(value)

    def chooses(self, label: str, option: str) -> None:
        """Choose from a list."""
        self.actions += 1
        self.page.get_by_label(label, exact=True).first.select_option(label=option)

    def reads(self) -> str:
        """What the page says, on one line."""
        return " ".join(self.page.locator("main").inner_text().split())


@pytest.fixture
def person() -> Iterator[Person]:
    with running_chromium() as chromium:
        yield Person(chromium.new_page(viewport={"width": 1280, "height": 900}))


def test_who_changed_this_price_takes_three_actions(seeded, person):
    """From the page of the product in the shop."""
    with seeded.app_context():
        product, name, actor, before, after, reason = db.session.execute(
            text(
                "SELECT a.record_key, p.name, t.actor_label, a.old_data ->> 'price', a.changed_data ->> 'price',"
                " t.context ->> 'reason' FROM activity AS a JOIN transaction AS t ON t.id = a.transaction_id"
                " JOIN products AS p ON p.id::text = a.record_key"
                " WHERE a.table_name = 'products' AND a.verb = 'update' AND a.changed_data ? 'price'"
                " AND t.context ? 'reason' AND t.actor_id IS NOT NULL ORDER BY a.id DESC LIMIT 1"
            )
        ).one()
    with served(seeded) as address:
        log_in(person.page, f"{address}/products/{product}")
        person.goes("link", "History")
        assert name in person.reads()
        person.goes("link", "price", within=".audit-current")
        text_read = person.reads()
    assert person.actions <= 3
    for word in (actor, before, after, reason):
        assert word in text_read


def test_what_one_account_did_in_two_hours_of_local_time_takes_five_actions(seeded, person):
    with seeded.app_context():
        actor, issued_at = db.session.execute(
            text(
                "SELECT actor_label, issued_at FROM transaction WHERE actor_label = 'Ann Price'"
                " ORDER BY id DESC OFFSET 20 LIMIT 1"
            )
        ).one()
        local = issued_at.astimezone(ZoneInfo(ZONE)).replace(minute=0, second=0, microsecond=0)
        times = [(local + dt.timedelta(hours=hours)).replace(tzinfo=None) for hours in (0, 2)]
        wanted = db.session.execute(
            text(
                "SELECT count(*) FROM activity AS a JOIN transaction AS t ON t.id = a.transaction_id WHERE"
                " t.actor_label = :actor AND t.issued_at >= CAST(:since AS timestamp) AT TIME ZONE :zone"
                " AND t.issued_at < CAST(:until AS timestamp) AT TIME ZONE :zone"
            ),
            {"actor": actor, "zone": ZONE, "since": times[0], "until": times[1]},
        ).scalar_one()
    with served(seeded) as address:
        log_in(person.page, f"{address}/audit/?zone={ZONE}")  # chosen once, and kept
        person.page.goto(f"{address}/audit/")
        person.chooses("Who", actor)
        person.opens("More filters")
        person.fills("Or from", times[0].isoformat(timespec="minutes"))
        person.fills("Until", times[1].isoformat(timespec="minutes"))
        person.goes("button", "Show changes")
        said = person.reads()
    assert person.actions <= 5
    changes = "1 change" if wanted == 1 else f"{wanted} changes"
    assert wanted and f"{changes} by {actor}, from {times[0]:%Y-%m-%d %H:%M}" in said and ZONE in said


def test_the_careless_bulk_update_is_found_and_taken_back_with_seven_actions(own_seeded, person):
    """20,000 prices, in one write, from the page of the transaction."""
    page = person.page
    with served(own_seeded) as address:
        log_in(page, f"{address}/audit/")
        person.goes("link", "Transactions")
        person.goes("link", "1,000 rows and more")
        person.goes("link", "Search all time")
        assert "Supplier prices" in person.reads()
        person.actions += 1
        follow(page, page.locator(".audit-rows .audit-c-tx a").first)
        transaction = int(page.url.rpartition("/")[2].partition("?")[0])
        person.goes("link", "Take back …")
        assert "20,000 changes of" in page.locator(".audit-lead").inner_text()
        person.fills("Reason", "The wrong list")
        person.goes("button", "Take back")
        assert f"transaction {transaction}" in page.locator("main").inner_text()
    assert person.actions <= 7
    taken_back = f"""
        SELECT count(*), count(*) FILTER (WHERE p.price = (a.old_data ->> 'price')::numeric)
        FROM activity AS a JOIN warehouse.supplier_prices AS p ON p.id::text = a.record_key
        WHERE a.transaction_id = {transaction}
    """
    with own_seeded.app_context():
        assert tuple(db.session.execute(text(taken_back)).one()) == (20_000, 20_000)
        newest = db.session.execute(text("SELECT id, context FROM transaction ORDER BY id DESC LIMIT 1")).one()
    assert newest.context["undoes"] == transaction and newest.context["reason"].endswith("The wrong list")
    assert page.url.rpartition("/")[2].startswith(str(newest.id))
