"""What tests of several pages need: an address of each page, answers whatever their status, statements of a page."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

import flask_audit_logger
from tests.ui.previews import Browser, change_of, path_of
from tests.ui.shop import ANN

PACKAGE = Path(flask_audit_logger.__file__).parent
DOCS = PACKAGE.parent / "docs"


def addresses(shop, **values):
    """An address for every rule of the pages but the static files, with a query for those that need one."""
    values = {
        "activity_id": 1, "transaction_id": 1, "table": "products", "key": "42", "actor": "1", "column": "name",
        "name": "facets", **values,
    }  # fmt: skip
    values["change"] = shop.address(values["activity_id"])
    queries = {
        "value": "?side=new",
        "as_of": "?time=2100-01-01",
        "revert": f"?to={values['change']}&side=before",
    }
    adapter, found = shop.application.app.url_map.bind("localhost"), []
    for rule in shop.application.app.url_map.iter_rules():
        if rule.endpoint.startswith("audit.") and rule.endpoint != "audit.static":
            path = adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments})
            found.append(path + queries.get(rule.endpoint.partition(".")[2], ""))
    assert len(found) >= 15
    return found


def answer(shop, path, **options):
    """A response that was read to its end, so that a file leaves nothing open if the test fails."""
    return shop.get(path, buffered=True, **options)


def skips(statement):
    """Whether rows are skipped, other than in an index alone, where that tells how far to look; 0 skips nothing."""
    return re.search(r"OFFSET [^0]", statement) and not re.search(r" AS edge|\bnearest AS", statement)


def statements(shop, path):
    """What a page asks the database, without the values."""
    seen = []
    with shop.application.app.app_context():
        engine = shop.db.engine

    def note(conn, cursor, statement, parameters, *rest):
        assert not skips(statement), statement
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        answer(shop, path)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return seen


def browser_at_the_price(shop, user=ANN):
    browser, path = Browser(shop, user), path_of(change_of(shop, "price"), "before", "price")
    browser.preview(path)
    return browser, path
