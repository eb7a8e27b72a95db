"""Promise: values are put back only by who may, only as shown, and the log says so."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
import sqlalchemy as sa

from flask_audit_logger.ui import RevertPolicy
from tests.support.server import both_drivers
from tests.ui.previews import Browser, change_of, path_of, product
from tests.ui.shop import ANN, BOB, CLEO, make_history, may_read, text_of


@pytest.fixture
def shop(new_shop):
    return make_history(new_shop(revert=RevertPolicy()))


@both_drivers
def test_a_price_is_put_back(shop):
    """Support's story: from the record's page, two clicks and a reason."""
    record = shop.page("/record/products/42")
    row = record.partition(">price</a>")[2].partition("</tr>")[0]
    path = re.search(r'class="audit-button" href="([^"]*)">Put back', row)[1].replace("&amp;", "&")
    browser = Browser(shop)
    html = browser.preview(path)
    assert "price 12.50 10.00" in text_of(html)
    response = browser.send(path)
    assert response.status_code == 303
    assert product(shop, "price") == Decimal("10.00") and product(shop, "stock") == 17
    page = shop.page(response.headers["Location"])
    newest = shop.activity(record_key="42")
    assert newest.changed_data == {"price": 10.0} and newest.transaction.actor_id == ANN
    assert newest.transaction.context["reason"] == f"Put back from change {change_of(shop, 'price').id}: A slip"
    assert 'role="status"' in page and "Done." in page


def test_every_kind_of_value_comes_back(shop):
    before = shop.sql("SELECT to_jsonb(p) - 'secret' FROM products p WHERE id = 42")[0][0]
    shop.sql(
        "UPDATE products SET name = NULL, price = 0, stock = NULL, active = NULL, description = '', "
        "attributes = '[1]', tags = '{}', "
        "launched = NULL, checked_at = now(), picture = NULL, category_id = NULL WHERE id = 42"
    )
    browser, path = Browser(shop), path_of(shop.activity(record_key="42"))
    browser.preview(path)
    assert browser.send(path).status_code == 303
    assert shop.sql("SELECT to_jsonb(p) - 'secret' FROM products p WHERE id = 42")[0][0] == before
    assert product(shop, "secret") == "other"


def test_a_deleted_record_is_restored(shop):
    deletion = shop.activity(table_name="products", verb="delete")
    browser, path = Browser(shop), path_of(deletion)
    assert "<h1>Restore Red mug</h1>" in browser.preview(path)
    assert browser.send(path).status_code == 303
    assert (product(shop, "name", 43), product(shop, "price", 43)) == ("Red mug", Decimal("9.00"))
    assert shop.activity(record_key="43").verb == "insert"


def test_a_composite_key_is_restored(shop):
    shop.add(ANN, "Item", order_id=1, code="a/b", quantity=3)
    shop.remove(ANN, "Item", (1, "a/b"))
    deletion = shop.activity(table_name="order_items", verb="delete")
    path = f"/audit/record/order_items/1,a~2Fb/revert?to={deletion.id}&side=before"
    browser = Browser(shop)
    browser.preview(path)
    assert browser.send(path).status_code == 303
    assert shop.sql("SELECT quantity FROM order_items WHERE code = 'a/b'") == [(3,)]


def test_a_reason_is_required(shop):
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    for reason in (" ", "x" * 501, "a\x00b"):
        response = browser.send(path, reason=reason)
        assert response.status_code == 422 and 'aria-describedby="audit-reason-error"' in response.text
    assert product(shop, "price") == Decimal("12.50")


def test_a_policy_can_do_without_a_reason(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy(reason_required=False)))
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    assert browser.send(path, reason="").status_code == 303


def test_what_the_database_refuses_changes_nothing(shop):
    shop.sql("ALTER TABLE products ADD CONSTRAINT not_that_cheap CHECK (price > 11)")
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    response = browser.send(path)
    assert response.status_code == 422 and "not_that_cheap" in response.text and "10.00" in response.text
    assert product(shop, "price") == Decimal("12.50")
    assert shop.get("/").status_code == 200


def test_a_category_that_is_gone_is_refused(shop):
    shop.change(ANN, "Product", 42, category_id=None)
    shop.sql("DELETE FROM categories")
    browser, path = Browser(shop), path_of(shop.activity(record_key="42"))
    browser.preview(path)
    response = browser.send(path)
    assert response.status_code == 422 and "category_id" in response.text


def test_nothing_to_put_back_says_so(shop):
    newest = shop.activity(table_name="products", record_key="42")
    assert "Nothing to put back." in shop.page(path_of(newest, "after"))


def test_obstacles_are_named(shop):
    shop.sql("ALTER TABLE products DROP COLUMN stock")
    html = shop.page(path_of(change_of(shop, "stock")))
    assert "Not possible: the column is gone." in html
    assert re.search(r'value="stock" disabled', html)


def test_events_of_the_application_fire(shop):
    seen = []
    sa.event.listen(shop.models.Product, "before_update", lambda mapper, connection, target: seen.append(target.id))
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    assert browser.send(path).status_code == 303 and seen == [42]


def test_nobody_else_writes_between_the_look_and_the_write(shop):
    """The row is locked from the look on: an UPDATE of another session can't get in between and be overwritten."""
    refused = []

    def meanwhile(mapper, connection, target):
        try:
            shop.sql("SELECT price FROM products WHERE id = 42 FOR UPDATE NOWAIT")
        except sa.exc.OperationalError as error:
            refused.append(error)

    sa.event.listen(shop.models.Product, "before_update", meanwhile)
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    assert browser.send(path).status_code == 303 and product(shop, "price") == Decimal("10.00")
    assert len(refused) == 1 and "could not obtain lock" in str(refused[0])


def test_it_is_off_without_a_policy(new_shop):
    shop = make_history(new_shop())
    activity = change_of(shop, "price")
    shop.page(path_of(activity), 404)
    assert "Put back" not in shop.page("/record/products/42") and "Put back" not in shop.page(
        f"/activity/{activity.id}"
    )


def test_who_may_not_read_may_not_put_back(shop):
    assert shop.get(path_of(change_of(shop, "price")), user=CLEO).status_code == 403


def test_who_may_only_read_is_offered_nothing_to_put_back(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy(), permission=lambda action, target: action != "revert"))
    for path in ("/record/products/42", f"/activity/{change_of(shop, 'price').id}"):
        assert "Put back" not in shop.page(path), path


def test_versions_that_do_not_exist_are_not_found(shop):
    for query in ["", "to=1", "to=abc", "to=99999999999999999999", "to=1&side=x", "side=before"]:
        shop.page(f"/record/products/42/revert?{query}", 404)
        shop.page(f"/record/nothing/42/revert?{query}", 404)


def test_hidden_columns_stay_as_they_are(new_shop):
    shop = make_history(
        new_shop(
            revert=RevertPolicy(), can_see_column=lambda table, column, viewer: column != "name", permission=may_read
        )
    )
    shop.change(BOB, "Product", 42, name="Hidden", price=Decimal("1.00"))
    browser, path = Browser(shop), path_of(shop.activity(record_key="42"))
    html = browser.preview(path)
    assert 'value="name"' not in html and "Hidden" not in html
    assert browser.send(path).status_code == 303
    assert (product(shop, "name"), product(shop, "price")) == ("Hidden", Decimal("12.50"))


def test_the_token_of_a_protection_of_the_whole_application_is_sent_along(shop):
    """As Flask-WTF's CSRFProtect asks for it."""
    app = shop.application.app
    path = path_of(change_of(shop, "price"))
    assert "csrf_token" not in shop.page(path)
    app.extensions["csrf"] = object()
    app.jinja_env.globals["csrf_token"] = lambda: '"host-token'
    assert '<input type="hidden" name="csrf_token" value="&#34;host-token">' in shop.page(path)


def test_without_a_secret_key_there_is_no_form(shop):
    shop.application.app.secret_key = None
    shop.page(path_of(change_of(shop, "price")), 404)


def test_values_of_a_former_record_are_not_put_into_another_one(new_shop):
    """The key was used again: what the new record is has nothing to do with what the old one was."""
    shop = make_history(new_shop(revert=RevertPolicy()))
    shop.sql("INSERT INTO products (id, name, price) VALUES (1, 'Old one', 5)")
    shop.sql("UPDATE products SET price = 6 WHERE id = 1")
    change = change_of(shop, "price", "1")
    shop.sql("DELETE FROM products WHERE id = 1")
    assert "checked" in Browser(shop).preview(path_of(change)), "it can be made again"
    shop.sql("INSERT INTO products (id, name, price) VALUES (1, 'New one', 9)")
    browser = Browser(shop)
    assert "another record may have it now" in browser.preview(path_of(change))
    assert browser.send(path_of(change), column=["price"]).status_code == 422
    assert product(shop, "price", 1) == 9
