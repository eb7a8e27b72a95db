"""Promise: every link leads somewhere, wherever the pages are; an address that no link has is answered by 404."""

from __future__ import annotations

import re
from collections import Counter, deque
from itertools import cycle, islice
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from flask_audit_logger.ui import AuditUI, RevertPolicy
from tests.support.models import AUDITED
from tests.ui.previews import Browser
from tests.ui.shop import ANN, declare_shop, links, make_history, make_shop, may_read


@pytest.mark.slow
def test_every_link_leads_somewhere(shop):
    """Follow the links from the list, of those that differ in numbers only a few; no page is missing and none fails."""
    seen: set[str] = set()
    shapes: Counter[str] = Counter()
    waiting = deque(["/audit/?period=all"])
    while waiting and len(seen) < 200:
        path = waiting.popleft().partition("#")[0]
        shape = re.sub(r"\d+", "0", path)
        if not path.startswith("/audit") or path in seen or shapes[shape] == 4:
            continue
        seen.add(path)
        shapes[shape] += 1
        response = shop.get(path, follow_redirects="zone=" in path)
        assert response.status_code == 200, path
        if path.count("&") + path.count("?") <= 1 and "text/html" in response.content_type:
            waiting.extend(links(response.text))
        response.close()
    kinds = {path.split("/")[2].partition("?")[0] for path in seen}
    assert {"", "activity", "record", "transaction", "actor"} <= kinds


NOWHERE = [
        "/activity/99999999999999999999", "/activity/0", "/transaction/99999999999999999999", "/record/products/4711",
        "/record/products/", "/record/products/~0", "/record/products/4%00", "/record/a.b.c/1", "/record/products/~41",
        "/record/products/~ED~A0~80", "/record/products/a,,b", "/record/pro%2Fducts/1", "/actor/~zz", "/activity/-1",
        "/activity/1/value/name", "/activity/1/value/nothing?side=new", "/activity/1/value/name?side=both",
    ]  # fmt: skip


def test_addresses_that_mean_nothing_give_404(shop):
    for path in NOWHERE:
        assert shop.get(path).status_code == 404, path


def test_the_pages_can_be_anywhere(new_shop):
    """Another prefix, another name of the blueprint, an application that is mounted below a path."""
    shop = make_history(new_shop(url_prefix="/back/log", name="history"))
    shop.prefix = "/back/log"
    below = {"environ_overrides": {"SCRIPT_NAME": "/shop"}}
    for path in ("/", "/record/products/42", "/activity/4", "/transactions", "/export", "/?since=x"):
        with shop.get(path, **below) as response:
            found = re.findall(r'(?:href|src|action|data-audit-breakdown)="([^"#]+)', response.text)
        assert found and all(address.startswith("/shop/back/log/") for address in found), path
    assert shop.application.app.test_client().get("/audit/").status_code == 404


def test_a_default_schema_that_is_not_public(create_app, database_url):
    """Tables of the connection's own schema have no schema in their addresses."""
    engine = sa.create_engine(database_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA tenant"))
        connection.execute(sa.text(f'ALTER DATABASE "{database_url.database}" SET search_path = tenant'))
    shop = make_history(make_shop(create_app))
    assert "<h1>Blue mug, large</h1>" in shop.page("/record/products/42")
    assert "/record/products/42" in shop.page("/") and "tenant" not in shop.page("/")
    assert shop.ids("/?table=products") == shop.ids("/?table=tenant.products") != []


STRANGE = ("%00", "%ED%A0%80", "99999999999999999999", "-1", "~ED~A0~80", "0000-00-00", "10000-01-01", "Mars%2FOlympus",
           "192.0.2.1%2F99", "x" * 5000, "%FF%FE", "1e400")  # fmt: skip


@pytest.mark.slow
def test_s21_strange_input_is_an_answer_of_400_or_404(shop):
    names = "table key actor since until tz addr tx req before after col limit from to time".split()
    # each name gets half of the values on a list, others in turn; the other pages read them by the same forms
    pages = {"/": len(STRANGE) // 2, "/transactions": 3, "/record/products/42/at": 3, "/export.csv": 3}
    for path, values in pages.items():
        for number, name in enumerate(names):
            for value in islice(cycle(STRANGE), number, number + values):
                with shop.get(f"{path}?{name}={value}") as response:
                    assert response.status_code in (200, 400, 404), (path, name, value)
    for value in STRANGE:
        for path in ("/activity/{}", "/transaction/{}", "/record/{}/1", "/record/products/{}",
                     "/breakdown/{}", "/activity/1/value/{}?side=new"):  # fmt: skip
            assert shop.get(path.format(value)).status_code == 404, (path, value)
        assert shop.get(f"/actor/{value}").status_code in (200, 404), value  # a number may be somebody who did nothing


QUOTED = 'we"ird; DROP TABLE products; --'


ODD_NAME = "na'me %s :x"


def declare_quoted(db):
    """The shop and a table whose name and columns need quotes everywhere."""
    models = declare_shop(db)

    class Odd(db.Model):
        __tablename__ = QUOTED
        __table_args__ = (AUDITED,)
        key = sa.Column('k"; --', sa.Integer, primary_key=True)
        name = sa.Column(ODD_NAME, sa.Text)

    models.Odd = Odd
    return models


def test_s22_names_are_never_part_of_a_statement(create_app):
    from tests.ui.shop import Shop

    ui = AuditUI(permission=may_read, revert=RevertPolicy())
    shop = Shop(create_app(declare=declare_quoted, ui=ui))
    with shop.application.app.app_context():
        shop.db.session.add(shop.models.User(id=ANN, name="Ann"))
        shop.db.session.commit()
    shop.add(ANN, "Odd", key=1, name="first")
    shop.change(ANN, "Odd", 1, name="second")
    change = shop.activity(table_name=QUOTED)
    href = next(link for link in links(shop.page("/")) if "/record/we" in link)
    for path in (href, f"{href}/at", f"{href}/compare?from=first&to=now", f"/activity/{change.id}", "/?breakdown=1",
                 f"/?table={quote(QUOTED)}&key=1", f"/?table={quote(QUOTED)}&col={quote(ODD_NAME)}",
                 "/transactions", f"/transaction/{change.transaction_id}", "/export.csv"):  # fmt: skip
        assert "second" in shop.page(path) or path in ("/transactions",), path
    path = f"{href}/revert?to={change.id}&side=before"
    browser = Browser(shop)
    browser.preview(path)
    browser.fields["column"] = [ODD_NAME]
    assert browser.send(path).status_code == 303
    with shop.acting(ANN) as session:
        assert session.get(shop.models.Odd, 1).name == "first"
    assert shop.sql("SELECT count(*) FROM products") == [(0,)]


def test_s22_names_in_an_address_are_values(shop):
    names = ("products'; DROP TABLE activity; --", 'products"; DROP TABLE activity; --', "x) OR (1=1", "%s", "$1")
    for name in names:
        word = quote(name, safe="")
        for path in (f"/?table={word}", f"/?period=all&table={word}&table=products", f"/transactions?table={word}",
                     f"/export.csv?table={word}"):  # fmt: skip
            assert shop.get(path).status_code == 200, path
        assert shop.get(f"/?table=products&col={word}").status_code == 400
        tilded = "".join(c if c.isalnum() else f"~{ord(c):02X}" for c in name)
        for path in (f"/record/{tilded}/1", f"/record/products/{tilded}", f"/actor/{tilded}"):
            assert shop.get(path).status_code == 404, path
    assert shop.page("/?period=all")
