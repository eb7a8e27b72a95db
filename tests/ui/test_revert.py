"""Promise: values are put back only by who may, only as shown, and the log says so."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from flask_audit_logger.query.put_back import put_back
from flask_audit_logger.ui import RevertPolicy
from flask_audit_logger.ui.pages import revert
from tests.support.apps import logged_in_as
from tests.support.server import both_drivers
from tests.ui.everywhere import PACKAGE, addresses, browser_at_the_price
from tests.ui.previews import Browser, change_of, path_of, product
from tests.ui.shop import ANN, BOB, CLEO, links, make_history, may_read, text_of


@pytest.fixture
def shop(new_shop):
    return make_history(new_shop(revert=RevertPolicy()))


@both_drivers
def test_a_price_is_put_back(shop):
    """Support's story: from the record's page, two clicks and a reason."""
    record = shop.page("/record/products/42")
    row = record.partition(">price</a>")[2].partition("</tr>")[0]
    path = re.search(r'class="audit-button" href="([^"]*)">Put back 10.00</a>', row)[1].replace("&amp;", "&")
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
    said = page.partition('role="status">')[2].partition("</p>")[0]
    assert text_of(said) == "price is 10.00 again. Back to its history"
    assert links(said) == ["/audit/record/products/42"]


def test_every_kind_of_value_comes_back(shop):
    before = shop.sql("SELECT to_jsonb(p) - 'secret' FROM products p WHERE id = 42")[0][0]
    shop.sql(
        "UPDATE products SET name = NULL, price = 0, stock = NULL, active = NULL, description = '', "
        "attributes = '[1]', tags = '{}', "
        "launched = NULL, checked_at = now(), picture = NULL, category_id = NULL WHERE id = 42"
    )
    browser, path = Browser(shop), path_of(shop.activity(record_key="42"))
    browser.preview(path)
    response = browser.send(path)
    assert response.status_code == 303
    assert "Done: the values are as they were." in shop.page(response.headers["Location"])
    assert shop.sql("SELECT to_jsonb(p) - 'secret' FROM products p WHERE id = 42")[0][0] == before
    assert product(shop, "secret") == "other"


def test_a_deleted_record_is_restored(shop):
    """Its own page leads there, too, for those who may."""
    deletion = shop.activity(table_name="products", verb="delete")
    browser, path = Browser(shop), path_of(deletion)
    button = re.search(r'class="audit-button" href="([^"]*)">Restore …', shop.page("/record/products/43"))
    assert button[1].replace("&amp;", "&").removeprefix("/audit") == path.removeprefix("/audit")
    assert "Restore …" not in shop.page("/record/products/42")
    assert "<h1>Restore Red mug</h1>" in browser.preview(path)
    response = browser.send(path)
    assert response.status_code == 303 and "Red mug is there again." in shop.page(response.headers["Location"])
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


@pytest.fixture
def revertible(new_shop):
    """Everything that can be switched on is on."""
    return make_history(new_shop(revert=RevertPolicy()))


@pytest.mark.parametrize("token", [None, "", "forged", "20991231235959##0000"])
def test_s10_a_post_without_our_token_does_nothing(revertible, token):
    browser, path = browser_at_the_price(revertible)
    if token is None:
        del browser.fields["audit_token"]
    else:
        browser.fields["audit_token"] = token
    assert browser.send(path).status_code == 400
    assert str(product(revertible, "price")) == "12.50"


def test_s10_the_token_of_another_session_does_nothing(revertible):
    mine, path = browser_at_the_price(revertible)
    other, _ = browser_at_the_price(revertible, BOB)
    assert other.send(path, audit_token=mine.fields["audit_token"]).status_code == 400
    assert str(product(revertible, "price")) == "12.50"
    assert mine.send(path).status_code == 303


def test_s10_a_protection_of_the_whole_application_works_too(new_shop):
    """Flask-WTF's CSRFProtect asks for its own token, and gets it from our form."""
    from flask_wtf.csrf import CSRFProtect

    shop = new_shop(revert=RevertPolicy())
    CSRFProtect(shop.application.app)
    make_history(shop)
    browser, path = Browser(shop), path_of(change_of(shop, "price"), "before", "price")
    html = browser.preview(path)
    assert browser.send(path).status_code == 400 and str(product(shop, "price")) == "12.50"
    token = re.search(r'name="csrf_token" value="([^"]+)"', html)[1]
    assert browser.send(path, csrf_token=token, audit_token="").status_code == 400
    assert browser.send(path, csrf_token=token).status_code == 303 and str(product(shop, "price")) == "10.00"


def test_s11_requests_under_another_method_change_nothing(shop):
    client = shop.application.app.test_client()
    for path in addresses(shop):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            response = client.open(path, method=method, headers=logged_in_as(ANN))
            # two pages can be posted to: no such record is there to be put back, and a form without a token is none
            may_post = 404 if "/revert" in path else 400 if "/take-back" in path else 405
            assert response.status_code == (may_post if method == "POST" else 405), (method, path)


@pytest.mark.slow
def test_s11_reading_writes_nothing(revertible):
    def everything():
        tables = ("activity", "transaction", "products", "categories", "order_items", "users")
        return [revertible.sql(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {t} t") for t in tables]

    before, client = everything(), revertible.application.app.test_client()
    change = change_of(revertible, "price")
    for path in addresses(revertible, activity_id=change.id, transaction_id=change.transaction_id):
        for method in ("GET", "HEAD", "OPTIONS"):
            with client.open(path, method=method, headers=logged_in_as(ANN)) as response:
                assert response.status_code == 200, (method, path)
    assert everything() == before


def test_s12_a_row_that_changed_since_the_preview_is_a_conflict(revertible):
    browser, path = browser_at_the_price(revertible)
    revertible.change(BOB, "Product", 42, stock=1)
    response = browser.send(path)
    assert response.status_code == 409 and "has changed since" in response.text
    assert str(product(revertible, "price")) == "12.50" and "stock" in response.text
    assert browser.client.get(path, headers=browser.headers).status_code == 200


@pytest.mark.parametrize("row", ["", "0" * 64, "é\ud800", None])
def test_s12_a_forged_state_of_the_row_does_nothing(revertible, row):
    browser, path = browser_at_the_price(revertible)
    browser.fields.pop("row")
    sent = {} if row is None else {"row": row.encode("utf-8", "replace")}
    assert browser.send(path, **sent).status_code == 409
    assert str(product(revertible, "price")) == "12.50"


def test_s12_a_change_between_the_check_and_the_write_is_a_conflict(revertible, monkeypatch):
    """The row is locked and looked at again in the transaction that writes."""
    browser, path = browser_at_the_price(revertible)

    def put_back_late(*args, **options):
        revertible.sql("UPDATE products SET stock = 3 WHERE id = 42")
        return put_back(*args, **options)

    monkeypatch.setattr(revert, "put_back", put_back_late)
    assert browser.send(path).status_code == 409
    assert str(product(revertible, "price")) == "12.50" and product(revertible, "stock") == 3


@pytest.mark.parametrize(
    "columns", [["secret"], ["id"], ["price", "id"], ["nothing"], [], ["name; DROP TABLE products"]]
)
def test_s13_columns_that_can_not_be_put_back_are_refused(revertible, columns):
    """Ticking more than the page offers does nothing at all."""
    browser, path = browser_at_the_price(revertible)
    assert browser.send(path, column=columns).status_code == 422
    assert str(product(revertible, "price")) == "12.50" and product(revertible, "secret") == "other"


def test_s13_a_hidden_column_is_refused(blinded):
    browser, path = Browser(blinded), path_of(blinded.activity(record_key="42"))
    browser.preview(path)
    for columns in (["stock"], ["price", "stock"], ["name"]):
        assert browser.send(path, column=columns).status_code == 422
    assert product(blinded, "stock") == 987654


def test_s13_the_permission_is_the_servers(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy(), permission=lambda action, target: action != "revert"))
    path = path_of(change_of(shop, "price"))
    for method in ("get", "post"):
        assert getattr(shop.application.app.test_client(), method)(path, headers=logged_in_as(ANN)).status_code == 403
    assert str(product(shop, "price")) == "12.50"


@pytest.mark.slow
def test_s14_no_parameter_leads_to_another_site(revertible):
    evil = ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)")
    change = change_of(revertible, "price")
    for path in addresses(revertible, activity_id=change.id, transaction_id=change.transaction_id):
        # what no page reads all at once; what some pages read, and refuse, by itself
        together = "next url back return redirect target continue r".split()
        for names, url in (*((together, url) for url in evil), (["to"], evil[0]), (["from"], evil[0])):
            query = urlencode(dict.fromkeys(names, url))
            with revertible.get(f"{path}{'&' if '?' in path else '?'}{query}") as response:
                assert response.status_code not in range(301, 400), (path, query)
                assert "evil" not in response.headers.get("Refresh", "")
                if "text/html" in response.content_type:
                    found = [link for link in links(response.text) if not link.startswith(("/audit", "#"))]
                    assert found == [], (path, query)


def test_s14_the_only_redirect_goes_to_our_own_page(revertible):
    browser, path = browser_at_the_price(revertible)
    response = browser.client.post(
        f"{path}&next=//evil.example",
        data={**browser.fields, "next": "//evil.example"},
        headers={**browser.headers, "Host": "evil.example", "Referer": "https://evil.example/"},
    )
    # another host has no session cookie, so not even that works
    assert response.status_code == 400
    response = browser.send(f"{path}&next=//evil.example", next="//evil.example")
    assert response.status_code == 303 and re.fullmatch(
        r"/audit/activity/\d+\.\d+\?done=1", response.headers["Location"]
    )
    for module in (PACKAGE / "ui").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"request\.(referrer|host_url|url_root)|args(\.get\(|\[)\"(next|back|url)\"", text), module
