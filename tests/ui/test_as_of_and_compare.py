"""Promise: the state of a record at any time, and what differs between any two of its versions."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.support.server import both_drivers
from tests.ui.shop import ANN, make_history, text_of, with_own_shop


@pytest.fixture
def aged(own_shop):
    """The changes of the log lie an hour apart, the first at midnight of 1 January 2026."""
    own_shop.sql("UPDATE activity SET issued_at = timestamptz '2026-01-01 00:00+00' + (id - 1) * interval '1 hour'")
    times = "SELECT transaction_id, min(issued_at) AS issued_at FROM activity GROUP BY 1"
    own_shop.sql(f"UPDATE transaction SET issued_at = a.issued_at FROM ({times}) AS a WHERE id = a.transaction_id")
    return own_shop


def changes_of(shop, key="42"):
    return shop.application.activities(table_name="products", record_key=key)


def hour(activity, minutes=30):
    return f"{activity.issued_at.replace(tzinfo=None, minute=minutes).isoformat(timespec='minutes')}%2B00:00"


@both_drivers
def test_the_row_at_a_time_is_what_was_in_the_table(aged):
    insert, price, stock, _, _ = changes_of(aged)
    html = aged.page(f"/record/products/42/at?time={hour(insert)}")
    assert "price 10.00 2026-01-01" in text_of(html).replace("&#x27;", "'")
    for version, price_then, stock_then in ((insert, "10.00", "5"), (price, "12.50", "5"), (stock, "12.50", "4")):
        text = text_of(aged.page(f"/record/products/42/at?time={hour(version)}").partition("The row at that time")[2])
        assert f" price {price_then} 2026" in text and f" stock {stock_then} 2026" in text


def test_each_value_says_since_when_and_by_whom(aged):
    _, price, stock, *_ = changes_of(aged)
    text = text_of(aged.page(f"/record/products/42/at?time={hour(stock)}"))
    assert f"price 12.50 {price.issued_at:%Y-%m-%d %H:%M:%S} Bob Stone" in text
    assert f"Last change before: updated {stock.issued_at:%Y-%m-%d %H:%M:%S} +00:00 by Bob Stone" in text


def test_times_before_and_after_the_life_of_a_record(aged):
    for time in ("2020-01-01", "0001-01-01T00:30:00%2B00:00"):
        assert "did not exist yet" in aged.page(f"/record/products/42/at?time={time}")
    assert "The row at that time" in aged.page("/record/products/42/at?time=9999-12-31T23:30:00%2B00:00")
    deleted = changes_of(aged, "43")[-1]
    html = aged.page(f"/record/products/43/at?time={hour(deleted)}")
    assert f"had been deleted at {deleted.issued_at:%Y-%m-%d %H:%M:%S}" in html
    assert "The row at that time" not in html


def test_a_bad_time_is_an_error_without_a_row(aged):
    for time in ("soon", "2026-13-01", "2026-01-01T25:00", "0000-01-01", "x" * 5000, "%00"):
        html = aged.page(f"/record/products/42/at?time={time}", 400)
        assert "There is a problem" in html and "The row at that time" not in html
    aged.page("/record/products/4711/at?time=2026-01-01", 404)


def test_versions_can_be_stepped_through(aged):
    path = "/record/products/42/at?time=2020-01-01"
    seen = []
    for _ in range(10):
        html = aged.page(path)
        seen.append(html.partition("/activity/")[2].partition('"')[0])
        if 'rel="next"' not in html:
            break
        path = html.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert [address.rpartition(".")[2] for address in seen[1:]] == [str(change.id) for change in changes_of(aged)]
    assert 'rel="prev"' in html


def test_logs_of_changed_columns_only_are_put_together(new_shop):
    """A table with old_data="changed" has no whole old rows; the values come from the changes that set them."""
    shop = new_shop()
    shop.add(ANN, "Product", id=1, name="Mug", price=Decimal("1.00"), stock=3)
    shop.change(ANN, "Product", 1, price=Decimal("2.00"))
    shop.change(ANN, "Product", 1, stock=4)
    for column in ("price", "stock"):
        kept = f"jsonb_build_object('{column}', old_data -> '{column}')"
        shop.sql(f"UPDATE activity SET old_data = {kept} WHERE verb = 'update' AND changed_data ? '{column}'")
    text = text_of(shop.page("/record/products/1/at"))
    assert "price 2.00" in text and "stock 4" in text and "name Mug" in text


def test_compare_shows_only_what_differs(shop):
    first, price, stock, _, last = changes_of(shop)
    text = text_of(shop.page(f"/record/products/42/compare?from={first.id}&to={stock.id}"))
    assert "price 10.00 12.50 +2.50 (+25 %)" in text and "active true false" in text and "stock 5 4" in text
    assert " name " not in text.partition("What differs")[2]
    everything = text_of(shop.page(f"/record/products/42/compare?from={first.id}&to={stock.id}&all=1"))
    assert "Equal columns" in everything and "name Blue mug" in everything and "secret" not in everything
    assert shop.page("/record/products/42/compare").count(f'.{last.id}"') == 1
    assert f"change {first.id}" in shop.page("/record/products/42/compare") and price


def test_equal_versions_say_so(shop):
    change = changes_of(shop)[0].id
    assert "No differences between these two versions." in shop.page(
        f"/record/products/42/compare?from={change}&to={change}"
    )


@with_own_shop
def test_values_are_compared_as_values(shop):
    """One instant in two zones, 10.0 and 10.00, JSON in another order."""
    first, price, *_ = changes_of(shop)
    for activity, checked, number in (
        (first, "2026-10-25T00:30:00+00:00", "10.0"),
        (price, "2026-10-25T02:30:00+02:00", "10.00"),
    ):
        values = f"jsonb_build_object('checked_at', '{checked}', 'price', {number})"
        columns = f"old_data = old_data || {values}, changed_data = changed_data || {values}"
        shop.sql(f"UPDATE activity SET {columns} WHERE id = {activity.id}")
    assert "No differences" in shop.page(f"/record/products/42/compare?from={first.id}&to={price.id}")


def test_a_deleted_record_is_compared_with_nothing(shop):
    text = text_of(shop.page("/record/products/43/compare"))
    assert "Deleted by change" in text and "name Red mug –" in text


def test_versions_of_nothing_or_of_another_record_are_not_found(shop):
    for query in ["from=abc", "from=999999", "to=99999999999999999999", "from=-1", "from=1", "to=%00"]:
        shop.page(f"/record/products/42/compare?{query}", 404)


@with_own_shop
def test_the_row_as_it_is_now_can_be_compared(shop):
    shop.sql("ALTER TABLE products DISABLE TRIGGER USER; UPDATE products SET stock = 99, price = 12.500 WHERE id = 42")
    assert "The current row differs from the log in: stock. It was changed while auditing was off." in shop.page(
        "/record/products/42"
    )
    text = text_of(shop.page("/record/products/42/compare?from=last&to=now"))
    assert "The current row" in text and "stock 17 99" in text and "price" not in text.partition("What differs")[2]


def test_a_row_that_is_what_the_log_says_has_no_note(shop):
    assert "auditing was off" not in shop.page("/record/products/42")
    assert "auditing was off" not in shop.page("/record/products/43")


@with_own_shop
def test_rows_made_or_removed_unseen_are_noted(shop):
    shop.sql("ALTER TABLE products DISABLE TRIGGER USER")
    shop.sql("DELETE FROM products WHERE id = 42; INSERT INTO products (id) VALUES (43)")
    assert "but its row is gone" in shop.page("/record/products/42")
    assert "but a row exists" in shop.page("/record/products/43")


def test_the_live_row_needs_a_permission(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: action != "live"))
    shop.sql("ALTER TABLE products DISABLE TRIGGER USER; UPDATE products SET stock = 99 WHERE id = 42")
    assert "auditing was off" not in shop.page("/record/products/42")
    shop.page("/record/products/42/compare?to=now", 404)


@with_own_shop
def test_a_table_that_is_gone_still_has_its_history(shop):
    shop.sql("DROP TABLE products")
    assert "<h1>Blue mug, large</h1>" in shop.page("/record/products/42")
    shop.page("/record/products/42/compare?to=now", 404)


def test_the_versions_picked_on_the_page_of_a_record_are_compared(shop):
    """What the form of the page sends is what the comparison reads."""
    html = shop.page("/record/products/42")
    picked = [re.findall(rf'name="{name}" value="([^"]*)"', html) for name in ("from", "to")]
    assert len(picked[0]) == len(picked[1]) > 2
    compared = text_of(shop.page(f"/record/products/42/compare?from={picked[0][-1]}&to={picked[1][0]}"))
    assert "What differs" in compared and "price 10.00 12.50" in compared
