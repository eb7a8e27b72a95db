"""Promise: what is said of an actor is what plain SQL says of their transactions, as far as the reader may see them."""

from __future__ import annotations

from itertools import product

import pytest

from flask_audit_logger.query import sightings
from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.feed import Search
from flask_audit_logger.query.sightings import KnownActor, Sighting, acted_as, addresses, known_actors, sighting, work
from tests.query.reads import CATEGORIES, JOINED, PRODUCTS, only, reading
from tests.ui.shop import ANN, BOB, CLEO, with_own_shop


def fill(shop):
    """Ann has another name by now; Bob acted as Cleo; somebody worked outside."""
    shop.add(ANN, "Category", id=1, name="a")
    shop.add(ANN, "Product", id=1, name="a")
    for number in range(9):
        shop.change((ANN, BOB)[number % 2], "Product", 1, addr=f"192.0.2.{number // 4}", stock=number)
    shop.sql("UPDATE users SET name = 'Ann, renamed' WHERE id = 1")
    shop.change(ANN, "Product", 1, addr="2001:db8::9", name="b")
    with shop.acting(CLEO, impersonator=shop.models.User(id=BOB, name="Bob Stone")) as session:
        session.get(shop.models.Product, 1).name = "c"
    shop.sql(
        "SET LOCAL session_replication_role = replica;"
        " UPDATE transaction SET issued_at = timestamptz '2026-02-27 22:30Z' + id * interval '7 hours'"
    )


@with_own_shop
def test_actors_are_listed_once_with_their_last_name(shop):
    names = {ANN: "Ann, renamed", BOB: "Bob Stone", CLEO: "Cleo D’Angelo"}
    everybody = [KnownActor(str(key), name) for key, name in names.items()]
    with reading(shop) as log:
        assert known_actors(log) == everybody
        assert known_actors(log, limit=2) == everybody[:2]
        assert acted_as(log, str(BOB)) == KnownActor(str(BOB), "Bob Stone")
        assert acted_as(log, str(ANN)) is None
    with shop.acting(CLEO, impersonator=shop.models.User(id=BOB, name="Bob, renamed")) as session:
        session.get(shop.models.Product, 1).name = "d"
    with reading(shop) as log:
        assert acted_as(log, str(BOB)) == KnownActor(str(BOB), "Bob, renamed")
    with reading(shop, only(CATEGORIES)) as log:
        assert acted_as(log, str(BOB)) is None, "what was done as another is out of scope"


@pytest.mark.parametrize(("scope", "condition"), [(None, "true"), (PRODUCTS, "table_name = 'products'")])
def test_first_last_and_addresses_are_those_of_sql(shop, scope, condition):
    with reading(shop, *([only(scope)] if scope else [])) as log:
        for actor in (str(ANN), str(BOB), str(CLEO), None):
            whose = f"t.actor_id IS NOT DISTINCT FROM {actor or 'NULL'} AND {condition}"
            (ends,) = shop.sql(f"SELECT min(t.issued_at), max(t.issued_at) FROM {JOINED} WHERE {whose}")
            labels = shop.sql(f"SELECT t.actor_label FROM {JOINED} WHERE {whose} ORDER BY t.id DESC LIMIT 1")
            assert sighting(log, actor) == (Sighting(*ends, labels[0][0]) if labels else None), actor
            counts = shop.sql(
                f"SELECT abbrev(client_addr), count(DISTINCT t.id) FROM {JOINED} WHERE {whose} GROUP BY 1"
                " ORDER BY 2 DESC, 1"
            )
            assert addresses(log, actor) == [tuple(row) for row in counts], actor
            assert addresses(log, actor, limit=1) == [tuple(row) for row in counts[:1]], actor
        assert sighting(log, "99") is None and addresses(log, "99") == []


def test_sums_by_table_verb_and_hour_are_those_of_sql(shop):
    """Monday is 0; a day begins at midnight of the zone."""
    searches = ((Criteria(), "true"), (Criteria(actors=(str(ANN),)), "actor_id = 1"))
    with reading(shop) as log:
        for zone, (criteria, condition) in product(("UTC", "Asia/Kolkata", "America/Los_Angeles"), searches):
            found = work(log, Search(criteria), zone)
            tallies = shop.sql(
                f"SELECT schema, table_name, verb, count(*) FROM {JOINED} WHERE {condition}"
                " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3"
            )
            assert [(t.table.schema, t.table.name, t.verb, t.number) for t in found.tallies] == tallies
            hours = shop.sql(
                f"SELECT mod(to_char(t.issued_at AT TIME ZONE '{zone}', 'D')::int + 5, 7),"
                f" to_char(t.issued_at AT TIME ZONE '{zone}', 'HH24')::int, count(*)".replace(":", "\\:")
                + f" FROM {JOINED} WHERE {condition} GROUP BY 1, 2"
            )
            assert dict(found.hours) == {(day, hour): number for day, hour, number in hours}
            assert not found.is_cut
        assert work(log, Search(Criteria(), is_empty=True), zone).tallies == ()


@with_own_shop
def test_what_happened_in_one_hour_is_added_up(shop):
    shop.sql("UPDATE transaction SET issued_at = '2026-02-27 22\\:30Z'")
    with reading(shop) as log:
        found = work(log, Search(Criteria()), "UTC")
    assert dict(found.hours) == {(4, 22): shop.sql("SELECT count(*) FROM activity")[0][0]}


def test_only_the_newest_are_looked_at(shop, monkeypatch):
    total = shop.sql("SELECT count(*) FROM activity")[0][0]
    for looked_at, counted, is_cut in ((total + 1, total, False), (total - 1, total - 1, True)):
        monkeypatch.setattr(sightings, "LOOKED_AT", looked_at)
        with reading(shop) as log:
            found = work(log, Search(Criteria()), "UTC")
        assert (sum(tally.number for tally in found.tallies), found.is_cut) == (counted, is_cut)
    monkeypatch.setattr(sightings, "LOOKED_AT", 1)
    with reading(shop) as log:
        assert addresses(log, str(ANN)) == [("2001:db8::9", 1)]
        assert [(t.table, t.verb) for t in work(log, Search(Criteria()), "UTC").tallies] == [(PRODUCTS, "update")]
