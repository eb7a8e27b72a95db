"""Promise: a print says who made it, when, of which address, what was filtered, and whether there is more."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask_login import UserMixin, login_user

from flask_audit_logger.ui import AuditUI, Viewer
from tests.support.apps import logged_in_as
from tests.support.models import AUDITED
from tests.ui.browsing import IN_A_BROWSER, served, tab
from tests.ui.shop import make_history, text_of

MORE, ALL = "There are more rows than on this page.", "All matching rows are on this page."


def printed(html):
    return text_of(html.partition('<p class="audit-print">')[2].partition("</p>")[0])


@pytest.fixture
def long_shop(new_shop):
    shop = make_history(new_shop())
    shop.sql("INSERT INTO products (id) SELECT i FROM generate_series(1000, 1059) i")
    return shop


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/?table=products&fold=0", MORE),
        ("/?table=categories", ALL),
        ("/?table=products&fold=0&after=0.0", MORE),
        ("/transactions", ALL),
        ("/record/products/42", ALL),
        ("/actor/~none?table=products&limit=25&fold=0", MORE),
    ],
)
def test_a_print_says_where_it_comes_from(long_shop, path, words):
    text = printed(long_shop.page(path))
    assert re.match(r"Ann Price · 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d \+00:00 · http://localhost/audit/", text)
    assert path in text and text.endswith(words)


def test_a_page_without_rows_says_nothing_of_rows(long_shop):
    for path in ("/?table=nothing", "/?since=x", "/help", "/activity/3"):
        assert "rows" not in printed(long_shop.get(path).text), path


def test_a_viewer_and_an_address_are_text(new_shop):
    shop = make_history(new_shop(viewer=lambda: Viewer("1", "<b>\u202eAnn"), permission=lambda action, target: True))
    html = shop.page("/?table=%3Cimg%20src=x%3E")
    assert "<b>" not in html and "<img" not in html and "&lt;b&gt;" in html


@pytest.mark.browser
@pytest.mark.skipif(IN_A_BROWSER[1].args[0], reason="there is no Chromium")
def test_it_is_seen_on_paper_only_where_all_is_unfolded(chromium, long_shop):
    page, problems = tab(chromium)
    with served(long_shop.application.app) as address:
        page.goto(
            f"{address}/audit/activity/{long_shop.address(long_shop.activity(record_key='42', verb='update').id)}"
        )
        foot, raw = page.locator(".audit-print"), page.locator("pre").first
        assert not foot.is_visible() and not raw.is_visible()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert foot.is_visible() and raw.is_visible() and "Ann Price" in foot.inner_text()
        page.emulate_media(media="screen")
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert not foot.is_visible() and not raw.is_visible()
    assert problems == []


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"email": "ann@x"}, "ann@x"),
        ({"full_name": "Ann Price", "username": "ann"}, "Ann Price"),
        ({"login": "ann", "__str__": lambda user: f"agent {user.login}"}, "agent ann"),
    ],
)
def test_a_user_has_one_name_in_the_log_and_in_print(create_app, attributes, name):
    columns = {key: sa.Column(sa.Text) for key in attributes if key != "__str__"}
    own = {key: value for key, value in attributes.items() if key == "__str__"}

    def declare(db):
        table = {"__tablename__": "users", "__table_args__": (AUDITED,), "id": sa.Column(sa.Integer, primary_key=True)}
        return SimpleNamespace(User=type("User", (UserMixin, db.Model), {**table, **columns, **own}))

    app = create_app(declare=declare, ui=AuditUI(permission=lambda *_: True))
    values = {key: attributes[key] for key in columns}
    with app.app.test_request_context("/"):
        user = app.models.User(id=7, **values)
        login_user(user)
        app.db.session.add(user)
        app.db.session.commit()
    html = app.app.test_client().get("/audit/", headers=logged_in_as(7)).text
    assert [t.actor_label for t in app.transactions()] == [name]
    assert printed(html).startswith(f"{name} · ")
