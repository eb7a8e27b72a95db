"""Every record of the shop can be listed, created, edited and deleted in the browser; mistakes are explained."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import select

from example_app.extensions import db
from example_app.models import Category, OrderItem, Product, User
from example_app.seed.picture import picture
from example_app.seed.visitor import Visitor
from tests.example_app.shops import browser, log_in, open_shop, rows

PRODUCT = {"name": "Ink", "sku": "INK-1", "price": "9.80", "tags": "blue, new, blue", "attributes": '{"ml": 50}'}
CUSTOMER = {"name": "Rosa Lind", "email": "rosa@example.com"}


def fill(admin: Visitor) -> dict[str, str]:
    """Create one record of each kind; returns the paths of their pages."""
    paths = {"categories": admin.submit("/categories/new", name="Ink", description="Bottled")}
    category = paths["categories"].rpartition("/")[2]
    paths["products"] = admin.submit("/products/new", **PRODUCT, categories=[category])
    paths["customers"] = admin.submit("/customers/new", **CUSTOMER)
    paths["orders"] = admin.submit("/orders/new", customer_id=paths["customers"].rpartition("/")[2])
    order, product = (paths[kind].rpartition("/")[2] for kind in ("orders", "products"))
    paths["order-items"] = admin.submit(f"/order-items/new?order_id={order}", product_id=product, quantity=2)
    paths["stock"] = admin.submit("/stock/new", product_id=product, location="Shelf 1", quantity=3)
    line = {"supplier": "Brightwater", "article_no": "1", "title": "Ink", "price": "3"}
    paths["supplier-prices"] = admin.submit("/supplier-prices/new", **line)
    new = {"username": "tom", "display_name": "Tom Marsh", "role": "clerk", "password": "long enough"}
    paths["users"] = admin.submit("/users/new", **new)
    return paths


@pytest.fixture(scope="session")
def template(server, with_accounts):
    """A database to copy, with one record of each kind, and the paths of their pages."""
    with server.database(template=with_accounts) as url:
        with open_shop(url) as app:
            paths = fill(browser(app, "admin"))
        yield url.database, paths


@pytest.fixture
def filled(template) -> dict[str, str]:
    """One record of each kind: the path of its page."""
    return dict(template[1])


@pytest.fixture
def shop(server, driver, template):
    """The shop with one record of each kind."""
    with server.database(driver, template=template[0]) as url, open_shop(url) as app:
        yield app


@pytest.fixture
def admin(shop) -> Visitor:
    return browser(shop, "admin")


EDITS = {
    "categories": {"description": "In bottles"},
    "products": {"price": "10.50"},
    "customers": {"city": "Ghent"},
    "orders": {"note": "Gift"},
    "order-items": {"quantity": 3},
    "stock": {"quantity": 9},
    "supplier-prices": {"currency": "USD"},
    "users": {"display_name": "Thomas Marsh"},
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_record_is_listed_shown_and_edited(kind, admin, filled):
    changed = {name: str(value) for name, value in EDITS[kind].items()}
    admin.submit(f"{filled[kind]}/edit", **EDITS[kind])
    for path in (f"/{kind}/", filled[kind], f"{filled[kind]}/edit"):
        assert admin.client.get(path).status_code == 200
    page = admin.client.get(f"{filled[kind]}/edit").text
    assert all(value in page for value in changed.values())


@pytest.mark.parametrize("kind", ["order-items", "orders", "stock", "supplier-prices", "users"])
def test_a_record_is_deleted(kind, admin, filled):
    admin.submit(f"{filled[kind]}/delete", reason="Not needed")
    assert admin.client.get(filled[kind]).status_code == 404


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("categories", "products in this category"),
        ("products", "part of orders"),
        ("customers", "has orders"),
    ],
)
def test_a_record_that_others_need_is_not_deleted(kind, words, admin, filled):
    answer = admin.send(f"{filled[kind]}/delete")
    assert answer.status_code == 422
    assert words in answer.text
    assert admin.client.get(filled[kind]).status_code == 200


def test_an_unchanged_form_changes_nothing(shop, admin, filled):
    log = shop.extensions["audit_logger"]
    count = select(db.func.count()).select_from(log.activity_cls)
    before = rows(shop, count)
    for path in filled.values():
        admin.submit(f"{path}/edit")
    assert rows(shop, count) == before


def test_a_product_keeps_numbers_lists_and_objects(shop, filled):
    [product] = rows(shop, select(Product.price, Product.tags, Product.attributes))
    assert str(product.price) == "9.80"
    assert product.tags == ["blue", "new"]
    assert product.attributes == {"ml": 50}


def test_an_item_is_sold_at_the_price_of_the_day(shop, admin, filled):
    admin.submit(f"{filled['products']}/edit", price="20")
    assert [str(price) for (price,) in rows(shop, select(OrderItem.unit_price))] == ["9.80"]


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ("/products/new", {**PRODUCT, "sku": "INK-1"}, "Another product has this article number."),
        ("/products/new", {**PRODUCT, "sku": "NEW-1", "price": "-1"}, "The price must be between"),
        ("/products/new", {**PRODUCT, "sku": "NEW-1", "price": "abc"}, "Not a valid decimal value."),
        ("/products/new", {**PRODUCT, "sku": "NEW-1", "attributes": "{"}, "This is not JSON"),
        ("/products/new", {**PRODUCT, "sku": "NEW-1", "attributes": "[1]"}, "Write an object"),
        ("/products/new", {**PRODUCT, "sku": "NEW-1", "attributes": r'{"a": "\u0000"}'}, "can't store one of these"),
        ("/customers/new", {"name": "Other", "email": "rosa@example.com"}, "Another customer has this e-mail address."),
        ("/customers/new", {"name": "Other", "email": "no address"}, "This is no e-mail address."),
        ("/categories/new", {"name": "Ink"}, "There is a category of this name already."),
        (
            "/users/new",
            {"username": "ann", "display_name": "Ann", "role": "clerk", "password": "short"},
            "8 characters",
        ),
        ("/stock/new", {"location": "a/b", "quantity": "1", "minimum": "0", "product_id": "1"}, "Leave the slash out."),
    ],
)
def test_a_mistake_is_explained_and_nothing_is_saved(path, changes, words, shop, admin, filled):
    log = shop.extensions["audit_logger"]
    count = select(db.func.count()).select_from(log.activity_cls)
    before = rows(shop, count)
    answer = admin.send(path, **changes)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True).replace("&#39;", "'")
    assert rows(shop, count) == before


def test_a_picture_is_stored_and_served_with_the_type_of_its_content(admin, filled):
    content = picture(1)
    admin.submit(f"{filled['products']}/edit", image=(io.BytesIO(content), "evil.html"))
    answer = admin.client.get(f"{filled['products']}/image")
    assert (answer.data, answer.mimetype) == (content, "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("content", [b"<script>alert(1)</script>", b"\x89PNG\r\n\x1a\n" + bytes(300 * 1024)])
def test_what_is_no_small_picture_is_refused(content, admin, filled):
    answer = admin.send(f"{filled['products']}/edit", image=(io.BytesIO(content), "a.png"))
    assert answer.status_code == 422


@pytest.mark.parametrize("status", ["new", "shipped", "nonsense", ""])
def test_an_order_goes_only_where_it_may(status, shop, admin, filled):
    admin.send(filled["orders"], form="status", status=status)
    assert "Mark as paid" in admin.client.get(filled["orders"]).text


@pytest.mark.parametrize("path", ["/products/99999999999999999999", "/products/9", "/order-items/1/9", "/nowhere"])
def test_what_is_not_there_is_not_found(path, shop):
    assert log_in(shop, "admin").get(path).status_code == 404


@pytest.mark.parametrize("query", ["q=%00", "q=%25", "page=9", "page=-1", "page=x", "q=" + "a" * 5000])
def test_odd_searches_are_answered(query, shop):
    assert log_in(shop, "admin").get(f"/users/?{query}").status_code in (200, 404)


def test_a_form_without_a_token_changes_nothing(shop):
    client = log_in(shop, "admin")
    assert client.post("/categories/new", data={"name": "Paper"}).status_code == 422
    assert rows(shop, select(Category.name)) == [("Ink",)]


@pytest.mark.parametrize(
    ("username", "path", "status"),
    [
        ("clerk", "/customers/", 403),
        ("clerk", "/users/", 403),
        ("support", "/products/new", 403),
        ("support", "/users/1/edit", 403),
        ("auditor", "/users/", 200),
        ("auditor", "/users/1/edit", 403),
        ("auditor", "/supplier-prices/adjust", 403),
        ("clerk", "/supplier-prices/adjust", 200),
    ],
)
def test_roles_decide_who_may_do_what(username, path, status, shop):
    assert log_in(shop, username).get(path).status_code == status


def test_strangers_are_sent_to_the_login(shop):
    answer = shop.test_client().get("/products/")
    assert answer.status_code == 302
    assert answer.location.startswith("/login?next=")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "\\evil", "/a\nb"])
def test_the_login_leads_nowhere_else(target, shop):
    visitor = browser(shop, "admin")
    assert visitor.log_in(next=target) == "/"


def test_a_deleted_account_is_logged_out(shop, admin, filled):
    tom = browser(shop, "tom", password="long enough")
    tom.log_in()
    assert tom.client.get("/stock/").status_code == 200
    admin.submit(f"{filled['users']}/delete")
    assert tom.client.get("/stock/").status_code == 302


def test_nobody_deletes_their_own_account(shop, admin):
    [(own,)] = rows(shop, select(User.id).where(User.username == "admin"))
    answer = admin.send(f"/users/{own}/delete")
    assert answer.status_code == 422
    assert "your own account" in answer.text


def test_the_log_never_holds_passwords_addresses_or_pictures(shop, admin, filled):
    admin.submit(f"{filled['products']}/edit", image=(io.BytesIO(picture(1)), "a.png"), name="Blue ink")
    admin.submit(f"{filled['customers']}/edit", email="new@example.com")
    log = shop.extensions["audit_logger"].activity_cls
    for table, old, new in rows(shop, select(log.table_name, log.old_data, log.changed_data)):
        text = f"{old} {new}"
        assert "scrypt" not in text and "@example.com" not in text, table
        assert "image" not in old and "image" not in new
    [change] = rows(shop, select(log.changed_data).where(log.table_name == "customers", log.verb == "update"))
    assert change.changed_data == {"email": {"audit_logger": "masked"}}
