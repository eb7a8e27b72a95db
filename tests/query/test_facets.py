"""Promise: the numbers of facets and bars are those of plain SQL, and the bars together are the list."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from flask_audit_logger.query import facets as query_facets
from flask_audit_logger.query.criteria import Criteria
from flask_audit_logger.query.facets import FACETS, MOST_BARS, MOST_VALUES, facets, histogram
from flask_audit_logger.query.feed import Search
from tests.query.reads import CATEGORIES, JOINED, PRODUCTS, only, reading
from tests.ui.shop import ANN, BOB, with_own_shop

#: What each facet counts, in SQL.
KEYS = {
    "table": "schema, table_name",
    "verb": "verb",
    "actor": "actor_id::text",
    "addr": "abbrev(client_addr)",
}
#: Searches, in SQL as well, with the facets that are computed without them.
SEARCHES = (
    (Criteria(), "true", ()),
    (Criteria(tables=(PRODUCTS,), record_key="2"), "table_name = 'products' AND record_key = '2'", ("table",)),
    (Criteria(verbs=("update",)), "verb = 'update'", ("verb",)),
    (Criteria(actors=(str(ANN),)), "actor_id = 1", ("actor",)),
    (Criteria(addresses=("192.0.2.0/24",)), "client_addr <<= '192.0.2.0/24'", ("addr",)),
)
#: Clocks go back an hour on this day, at one o'clock UTC.
BEGIN = dt.datetime(2026, 10, 24, 22, 30, tzinfo=dt.UTC)
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")


def fill(shop):
    """Changes by several people from many addresses, a quarter of an hour apart."""
    shop.sql("INSERT INTO products (id, name) SELECT n, 'a' FROM generate_series(1, 4) n")
    shop.add(ANN, "Category", id=1, name="a")
    for number in range(12):
        shop.change((ANN, BOB, None)[number % 3], "Product", number % 3 + 1, addr=f"192.0.{number}.1", stock=number)
    shop.change(ANN, "Product", 1, addr="2001:db8::9", stock=99)
    shop.sql("DELETE FROM products WHERE id = 4; UPDATE users SET name = 'Ann, renamed' WHERE id = 1")
    shop.change(ANN, "Product", 1, stock=100)
    spread(shop, "15 minutes")


def spread(shop, step):
    """Let the transactions begin so far apart."""
    shop.sql(
        "SET LOCAL session_replication_role = replica;"
        f" UPDATE transaction t SET issued_at = timestamptz '{BEGIN.isoformat()}' + interval '{step}' * n.place"
        " FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM transaction) n WHERE n.id = t.id"
    )


def counted(shop, key, condition):
    rows = shop.sql(f"SELECT {key}, count(*) FROM {JOINED} WHERE {condition} GROUP BY {key}")
    return sorted(((tuple(row[:-1]), row[-1]) for row in rows), key=lambda entry: -entry[1])


def test_facets_count_what_sql_counts(shop):
    """Each without its own filter, so that it tells what else there would be."""
    with reading(shop) as log:
        for criteria, condition, without in SEARCHES:
            for name in FACETS:
                found = facets(log, Search(criteria), list(FACETS))[name]
                expected = counted(shop, KEYS[name], "true" if name in without else condition)
                numbers = [(value.key, value.number) for value in found.values]
                assert set(numbers) <= set(expected), (name, criteria)
                assert [number for _, number in numbers] == [number for _, number in expected[:MOST_VALUES]]
                assert found.has_more == (len(expected) > MOST_VALUES), (name, criteria)
        assert facets(log, Search(Criteria()), ["addr"])["addr"].has_more, "there are more addresses than a facet shows"


def test_an_actor_has_the_name_of_the_newest_transaction(shop):
    with reading(shop) as log:
        labels = {value.key[0]: value.label for value in facets(log, Search(Criteria()), ["actor"])["actor"].values}
    assert labels == {str(ANN): "Ann, renamed", str(BOB): "Bob Stone", None: None}
    with reading(shop, only(CATEGORIES)) as log:
        assert [(v.key, v.label, v.number) for v in facets(log, Search(Criteria()), ["actor"])["actor"].values] == [
            ((str(ANN),), "Ann Price", 1)
        ]
        assert [value.key for value in facets(log, Search(Criteria()), ["table"])["table"].values] == [
            ("public", "categories")
        ]


STEPS = {
    "1 minute": "minute",
    "15 minutes": "hour",
    "1 day": "day",
    "8 days": "week",
    "40 days": "month",
    "400 days": "year",
}


@pytest.mark.parametrize("zone", ZONES)
@with_own_shop
def test_the_bars_are_the_list_cut_by_the_clock(shop, zone):
    """As SQL cuts it, also where an hour comes twice; empty bars included, without gap or overlap."""
    for step, unit in STEPS.items():
        spread(shop, step)
        now = shop.sql("SELECT max(issued_at) + interval '3 min' FROM transaction")[0][0]
        period = Criteria(since=BEGIN + (now - BEGIN) / 5, until=now - (now - BEGIN) / 5)
        cases = ((Criteria(), "true"), (Criteria(verbs=("update",)), "verb = 'update'"), (period, bounded(period)))
        for criteria, condition in cases:
            with reading(shop) as log:
                found = histogram(log, Search.prepare(log, criteria), ZoneInfo(zone), now)
            bars = found.bars
            assert found.unit == unit or criteria is period
            assert len(bars) <= MOST_BARS + 2  # those at the ends are parts
            assert all(left.end == right.start for left, right in pairwise(bars))
            assert (bars[0].start, bars[-1].end) == (criteria.since or BEGIN, criteria.until or now)
            rows = shop.sql(
                f"SELECT greatest(date_trunc('{found.unit}', t.issued_at, '{zone}'), '{bars[0].start.isoformat()}'),"
                f" count(*) FROM {JOINED} WHERE {condition} GROUP BY 1 ORDER BY 1".replace(":", "\\:")
            )
            assert [(bar.start, bar.number) for bar in bars if bar.number] == [tuple(row) for row in rows], step


def bounded(criteria):
    return f"t.issued_at >= '{criteria.since.isoformat()}' AND t.issued_at < '{criteria.until.isoformat()}'"


@with_own_shop
def test_a_chart_without_period_reaches_from_the_first_change_to_the_last(shop):
    """Also if the last one begins a bar and is later than the page; what is out of scope adds nothing."""
    spread(shop, "1 day")
    shop.sql("UPDATE transaction SET issued_at = '2027-01-01Z' WHERE id = (SELECT max(id) FROM transaction)")
    # A transaction without a change has only marks.
    shop.sql("INSERT INTO transaction (native_transaction_id, issued_at) VALUES (1, '2001-01-01Z'), (2, '2031-01-01Z')")
    with reading(shop) as log:
        found = histogram(log, Search(Criteria()), dt.UTC, BEGIN)
    assert sum(bar.number for bar in found.bars) == shop.sql("SELECT count(*) FROM activity")[0][0]
    first, last = shop.sql(f"SELECT min(t.issued_at), max(t.issued_at) FROM {JOINED}")[0]
    assert found.bars[0].start == first
    assert found.bars[-1].start <= last < found.bars[-1].end < last + dt.timedelta(days=40)
    with reading(shop, only(CATEGORIES)) as log:
        found = histogram(log, Search(Criteria()), dt.UTC, BEGIN)
    times = f"SELECT min(t.issued_at) FROM {JOINED} WHERE table_name = 'categories'"
    assert found.bars[0].start == shop.sql(times)[0][0] > BEGIN


def test_an_hour_has_sixty_bars(shop):
    criteria = Criteria(since=BEGIN, until=BEGIN + dt.timedelta(hours=1))
    with reading(shop) as log:
        found = histogram(log, Search.prepare(log, criteria), dt.UTC, BEGIN)
    assert (found.unit, len(found.bars)) == ("minute", MOST_BARS)


def test_what_nobody_did_has_no_bars(shop):
    none = Criteria(since=BEGIN - dt.timedelta(days=9), until=BEGIN)
    with reading(shop) as log:
        search = Search.prepare(log, none)
        assert histogram(log, search, dt.UTC, BEGIN) is None
        assert not any(facets(log, search, [name])[name].values for name in FACETS)
        nothing = Search(Criteria(verbs=("truncate",)))
        assert histogram(log, nothing, dt.UTC, BEGIN) is None


def test_of_many_changes_the_newest_are_counted_and_it_says_so(shop, monkeypatch):
    monkeypatch.setattr(query_facets, "MOST_READ", 5)
    newest = f"SELECT a.verb FROM {JOINED} ORDER BY a.transaction_id DESC, a.id DESC LIMIT 5"
    with reading(shop) as log:
        found = facets(log, Search(Criteria()), list(FACETS))
        expected = shop.sql(f"SELECT verb, count(*) FROM ({newest}) AS n GROUP BY 1 ORDER BY 2 DESC, 1")
        assert [(value.key[0], value.number) for value in found["verb"].values] == [tuple(row) for row in expected]
        assert all(facet.is_cut for facet in found.values())
        chart = histogram(log, Search(Criteria(verbs=("update",))), dt.UTC, BEGIN)
        assert chart.is_cut and not chart.is_estimate and sum(bar.number for bar in chart.bars) == 5
        monkeypatch.setattr(query_facets, "LOOKED_THROUGH", 3)
        few = facets(log, Search(Criteria(columns=("slug",))), ["verb"])["verb"]
        assert few.is_cut and not few.values, "the search ended before it found any"


def test_a_chart_of_all_changes_tells_their_number_by_their_ids(shop, monkeypatch):
    """No id of this log is missing, so the estimate is right."""
    with reading(shop) as log:
        exact = histogram(log, Search(Criteria()), dt.UTC, BEGIN)
        monkeypatch.setattr(query_facets, "MOST_READ", 5)
        estimated = histogram(log, Search(Criteria()), dt.UTC, BEGIN)
    assert estimated.is_estimate and not exact.is_estimate
    assert [(bar.start, bar.number) for bar in estimated.bars] == [(bar.start, bar.number) for bar in exact.bars]
