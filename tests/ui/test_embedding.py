"""Promise: an application's own pages show the newest changes of a record, to who may see them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from flask_audit_logger.exceptions import ConfigurationError, NotInitializedError
from flask_audit_logger.ui.embed import audit_recent_changes
from tests.support.apps import logged_in_as
from tests.support.documents import named
from tests.ui.shop import ANN, CLEO, make_history, text_of

PAGES = Path(__file__).parents[2] / "docs" / "pages.md"

TEMPLATE = """
{% from "audit/embed.html" import recent_changes %}{{ audit_stylesheet() }}
[{{ recent_changes(product, limit=2) }}][{{ recent_changes("products", 42) }}]
"""


def embedded(shop, user=ANN, template=TEMPLATE):
    app = shop.application.app
    headers = logged_in_as(user) if user else {}
    with app.test_request_context("/product", headers=headers):
        product = shop.db.session.get(shop.models.Product, 42)
        return app.jinja_env.from_string(template).render(product=product, user=SimpleNamespace(id=1))


def test_the_newest_changes_of_a_record(shop):
    html = embedded(shop)
    first = text_of(html.partition("[")[2].partition("][")[0])
    assert "stock 4 → 17 (+325 %)" in first and "Cleo D’Angelo" in first and "10.00 → 12.50" not in first
    assert "Whole history" in first and "price 10.00 → 12.50 (+25 %)" in text_of(html.partition("][")[2])
    assert 'href="/audit/record/products/42"' in html
    assert re.search(r'<link rel="stylesheet" href="/audit/static/audit.css\?v=\w+">', html)


def test_the_links_of_the_documentation(shop):
    template = named(PAGES)["links"]
    html = embedded(shop, template=template)
    assert re.findall(r'^<a href="(.*)">(?:History|What they did)</a>$', html, re.MULTILINE) == [
        "/audit/record/products/42",
        "/audit/record/billing.orders/7,A-1",
        "/audit/actor/1",
    ]
    assert "stock 4 → 17" in text_of(html)


def test_a_link_for_those_who_may_open_it_as_documented(shop):
    shop.application.app.jinja_env.globals["may_audit"] = shop.application.audit_logger.ui.permission
    template = named(PAGES)["links_who_may"]
    assert embedded(shop, template=template).startswith('<a href="/audit/record/products/42">')
    assert embedded(shop, CLEO, template) == ""


ADDRESSES = re.findall(r"^\| `(/audit/[^`]+)` \|", PAGES.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("address", [address for address in ADDRESSES if "?" in address and "<" not in address])
def test_an_address_of_the_documentation_is_a_search(shop, address):
    page = shop.page(address)
    assert "Unknown filters" not in page


@pytest.mark.parametrize("user", [CLEO, None])
def test_who_may_not_see_them_sees_nothing(shop, user):
    assert "[][]" in embedded(shop, user)


def test_without_a_permission_nobody_sees_them(new_shop):
    assert "[][]" in embedded(make_history(new_shop(permission=None)))


def test_scope_and_masks_hold(new_shop):
    def scope(select, viewer):
        return select.where(shop.application.audit_logger.activity_cls.verb != "insert")

    shop = make_history(new_shop(scope=scope, mask=["products.stock"]))
    html = embedded(shop, template="{{ audit_recent_changes('products', 42, 25) }}")
    text = re.sub(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d", "", text_of(html))
    assert "Created" not in html and "17" not in text and "changed, value hidden" in html


def test_values_are_escaped_also_where_the_application_does_not(new_shop):
    shop = new_shop()
    shop.application.app.jinja_env.autoescape = False
    make_history(shop)
    shop.change(ANN, "Product", 42, name="<img src=x>")
    assert "<img" not in embedded(shop)


def test_a_log_that_can_not_be_read_leaves_the_page_alone(new_shop, caplog):
    def scope(select, viewer):
        return select.where(sa.func.pg_sleep(1).is_not(None))

    shop = make_history(new_shop(scope=scope, config={"AUDIT_UI_STATEMENT_TIMEOUT_MS": 50}))
    assert "[][]" in embedded(shop)
    assert "can't be shown" in caplog.text


def test_an_application_without_pages_says_so(create_app):
    application = create_app()
    with application.app.test_request_context(), pytest.raises(NotInitializedError, match="has no audit pages"):
        audit_recent_changes("articles", 1)


def test_without_a_free_connection_the_application_goes_on(new_shop):
    """A pool that is used up costs what the log would show, not the page of the application."""
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    shop = make_history(new_shop(config={"SQLALCHEMY_ENGINE_OPTIONS": pool}))
    assert "[][]" in embedded(shop)
    with shop.application.app.app_context(), shop.db.engine.connect():
        response = shop.get("/")
    assert response.status_code == 503 and response.headers["Retry-After"] == "30"


def test_the_link_macros_of_the_application(shop):
    render = shop.application.app.jinja_env.from_string
    with shop.application.app.test_request_context():
        product = shop.db.session.get(shop.models.Product, 42)
        assert render("{{ audit_record_url(p) }}").render(p=product) == "/audit/record/products/42"
        assert render("{{ audit_record_url('products', 42) }}").render() == "/audit/record/products/42"
        assert (
            render("{{ audit_record_url('billing.orders', (1, 'a b')) }}").render()
            == "/audit/record/billing.orders/1,a+b"
        )
        assert (
            render("{{ audit_actor_url(2) }}|{{ audit_actor_url(none) }}").render()
            == "/audit/actor/2|/audit/actor/~none"
        )
        with pytest.raises(ConfigurationError, match="has no key yet"):
            render("{{ audit_record_url(p) }}").render(p=shop.models.Product())
        with pytest.raises(ConfigurationError, match="needs the record's key"):
            render("{{ audit_record_url('products') }}").render()
