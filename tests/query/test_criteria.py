"""Promise: criteria find exactly the activities that the same condition in plain SQL finds, and as many are counted."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_audit_logger.query.criteria import ColumnValue, Criteria, id_range, scalars
from flask_audit_logger.query.feed import Count, Search, count_activities, find_activities, list_activities
from flask_audit_logger.query.paging import Paging
from tests.query.reads import CATEGORIES, ITEMS, JOINED, PRODUCTS, ids_of, reading
from tests.ui.shop import ANN, BOB, CLEO

BEGIN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
#: When the transactions began, in hours, by their ids: two of them not in the order of the ids, two at once.
HOURS = (0, 1, 2, 4, 3, 5, 5, 6, 7, 8, 9, 10, 11)


def fill(shop):
    """Every verb, kind, side and address; the clock stood still, and once it went back."""
    shop.add(ANN, "Product", id=1, name="Mug", stock=5, attributes={"color": "blue"})
    shop.add(ANN, "Product", id=2, name="5", stock=None)
    shop.add(BOB, "Category", id=1, name="Mugs")
    shop.change(BOB, "Product", 1, addr="198.51.100.7", stock=7)
    shop.change(BOB, "Product", 1, addr="198.51.100.9", name="Blue mug")
    shop.change(None, "Product", 2, addr="2001:db8::9", stock=5)
    with shop.acting(None, job="restock") as session:
        session.get(shop.models.Product, 1).stock = None
        session.add(shop.models.Item(order_id=1, code="a", quantity=5))
    with shop.acting(CLEO, impersonator=ANN) as session:
        session.get(shop.models.Category, 1).name = "Cups"
    shop.remove(CLEO, "Product", 1)
    shop.sql("UPDATE products SET price = 5, stock = 5.0")
    shop.sql("TRUNCATE order_items")
    first = shop.sql("SELECT min(id) FROM transaction")[0][0]
    shop.sql(
        "SET LOCAL session_replication_role = replica;"
        f" UPDATE transaction SET issued_at = timestamptz '{BEGIN.isoformat()}' + interval '1 hour'"
        f" * (ARRAY{list(HOURS)})[id - {first} + 1]"
    )
    assert shop.sql("SELECT count(*) FROM transaction WHERE issued_at IS NULL")[0][0] == 0


def moment(sign):
    """Bounds a microsecond before, at and after each transaction, in another zone than that of the server."""
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    times = (BEGIN + dt.timedelta(hours=hour) + MICROSECOND * step for hour in range(-1, 13) for step in (-1, 0, 1))
    return [(time.astimezone(zone), f"t.issued_at {sign} timestamptz '{time.isoformat()}'") for time in times]


def has(side, column):
    return f"jsonb_exists(a.{side}, '{column}')"


#: Values of each field, and what they mean in SQL.
FIELDS = {
    "tables": [
        ((PRODUCTS,), "a.table_name = 'products'"),
        ((CATEGORIES, ITEMS), "a.table_name IN ('categories', 'order_items')"),
    ],
    "record_key": [("1", "a.record_key = '1'"), ('["1", "a"]', """a.record_key = '["1", "a"]'""")],
    "verbs": [(("update", "truncate"), "a.verb IN ('update', 'truncate')"), (("delete",), "a.verb = 'delete'")],
    "columns": [
        (
            ("stock", "quantity"),
            f"({has('changed_data', 'stock')} OR {has('changed_data', 'quantity')} OR a.verb = 'delete')",
        ),
    ],
    "column_values": [
        ((ColumnValue("stock", "became", (5,)),), "a.changed_data ->> 'stock' = '5'"),
        ((ColumnValue("name", "became", (5, "5")),), "a.changed_data ->> 'name' = '5'"),
        ((ColumnValue("name", "became", (5,)),), "false"),
        (
            (ColumnValue("stock", "became", (None,)),),
            f"{has('changed_data', 'stock')} AND a.changed_data ->> 'stock' IS NULL",
        ),
        (
            (ColumnValue("stock", "was", (5, 7)),),
            f"a.old_data ->> 'stock' IN ('5', '7') AND (a.verb = 'delete' OR {has('changed_data', 'stock')})",
        ),
        (
            (ColumnValue("name", "was", ("Blue mug", "Mug")),),
            f"a.old_data ->> 'name' IN ('Mug', 'Blue mug') AND (a.verb = 'delete' OR {has('changed_data', 'name')})",
        ),
    ],
    "actors": [((str(BOB),), "t.actor_id = 2"), ((None, str(CLEO)), "(t.actor_id IS NULL OR t.actor_id = 3)")],
    "kinds": [
        (("user",), "t.actor_id IS NOT NULL"),
        (("service",), "t.actor_id IS NULL AND t.context ->> 'job' = 'restock'"),
        (("none",), "t.actor_id IS NULL AND t.context ->> 'job' IS NULL"),
    ],
    "impersonated": [
        (True, "t.context -> 'impersonator' IS NOT NULL"),
        (False, "t.context -> 'impersonator' IS NULL"),
    ],
    "impersonators": [((str(ANN),), "t.context -> 'impersonator' IS NOT NULL")],
    "addresses": [
        (("198.51.100.0/29",), "host(t.client_addr) = '198.51.100.7'"),
        (("2001:db8::/32", "198.51.100.9"), "host(t.client_addr) IN ('2001:db8::9', '198.51.100.9')"),
    ],
    "since": moment(">="),
    "until": moment("<"),
}
SEARCHES = st.fixed_dictionaries({}, optional={name: st.sampled_from(choices) for name, choices in FIELDS.items()})


@pytest.fixture
def truth(shop):
    """Which activities meet each condition, by plain SQL, in the order of the feed."""
    conditions = [condition for choices in FIELDS.values() for _, condition in choices]
    columns = ", ".join(f"coalesce({condition}, false)" for condition in conditions)
    rows = shop.sql(f"SELECT a.id, {columns} FROM {JOINED} ORDER BY a.transaction_id DESC, a.id DESC")
    return {None: [row[0] for row in rows]} | {
        condition: [row[0] for row in rows if row[place]] for place, condition in enumerate(conditions, 1)
    }


def found(log, criteria):
    """What each way of reading finds; they must agree."""
    page, _ = find_activities(log, criteria, Paging(limit=200))
    search = Search.prepare(log, criteria)
    again = list_activities(log, search, Paging(limit=200))
    ids = [row.id for row in page.rows]
    assert [row.id for row in again.rows] == ids
    assert count_activities(log, search, 200) == Count(len(ids))
    return ids


def test_every_value_of_every_field_finds_what_sql_finds(shop, truth):
    empty = set()
    with reading(shop) as log:
        for name, choices in FIELDS.items():
            for value, condition in choices:
                assert found(log, Criteria(**{name: value})) == truth[condition], (name, value)
                if not truth[condition] and condition != "false":
                    empty.add(name)
    assert empty <= {"since", "until"}, "conditions that find nothing prove nothing"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=SEARCHES)
def test_fields_are_combined_by_and(shop, truth, chosen):
    sets = [set(truth[condition]) for _, condition in chosen.values()]
    with reading(shop) as log:
        criteria = Criteria(**{name: value for name, (value, _) in chosen.items()})
        assert found(log, criteria) == [number for number in truth[None] if all(number in some for some in sets)]


def test_a_hidden_column_matches_nothing_and_hides_no_other_match(shop):
    """A change of a table is found by its other columns, and by columns of this name in other tables."""
    hidden = frozenset({(CATEGORIES, "name"), (PRODUCTS, "stock")})
    named = ColumnValue("name", "became", ("Mugs", "Mug"))
    stocked = ColumnValue("stock", "was", (5,))
    cases = {
        "a.verb <> 'truncate' AND (a.table_name = 'users' OR a.table_name = 'products' AND (a.verb = 'delete' OR "
        f"{has('changed_data', 'name')}))": {"columns": ("name",)},
        f"a.table_name = 'products' AND (a.verb = 'delete' OR {has('changed_data', 'name')})": {
            "columns": ("name", "stock"),
            "tables": (PRODUCTS,),
        },
        "a.table_name = 'products' AND a.changed_data ->> 'name' = 'Mug'": {"column_values": (named,)},
        "false": {"column_values": (stocked,)},
    }
    with reading(shop) as log:
        assert found(log, Criteria(column_values=(stocked,))), "there is something to hide"
        for condition, fields in cases.items():
            assert found(log, Criteria(hidden=hidden, **fields)) == ids_of(shop, condition), fields
        searchable = Criteria(columns=("name",), searchable=(CATEGORIES,))
        assert found(log, searchable) == ids_of(shop, "a.table_name = 'categories'")


def test_a_period_spans_its_ids_and_an_empty_one_none(shop):
    at_five = BEGIN + dt.timedelta(hours=5)
    with reading(shop) as log:
        bounds = id_range(log, Criteria(since=at_five, until=at_five + MICROSECOND))
        low, high = shop.sql(
            f"SELECT min(id), max(id) FROM transaction WHERE issued_at = timestamptz '{at_five.isoformat()}'"
        )[0]
        assert (bounds.low, bounds.high) == (low, high) and high == low + 1
        empty = Criteria(since=at_five, until=at_five)
        assert id_range(log, empty) is None
        assert Search.prepare(log, empty).is_empty


@pytest.mark.parametrize(
    ("text", "values"),
    [("5", (5, "5")), ("true", (True,)), ("null", (None,)), ('"5"', ("5",)), ("Mug", ("Mug",)), ("NaN", ("NaN",))],
)
def test_a_typed_value_stands_for_what_it_may_mean(text, values):
    assert scalars(text) == values
    assert [type(value) for value in scalars(text)] == [type(value) for value in values]


@pytest.mark.parametrize("text", ["{}", "[1]"])
def test_a_typed_object_is_refused(text):
    with pytest.raises(ValueError, match="search for a number"):
        scalars(text)
