"""Promise: with max_concurrent a process reads only so much of the log at once, and never forgets that it is done."""

from __future__ import annotations

import pytest

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.ui.views import panels
from tests.support.apps import logged_in_as
from tests.ui.shop import ANN, CLEO, make_history

HEAVY = ("/panel/facets", "/panel/histogram", "/export", "/export.csv", "/export.jsonl", "/?panels=1")


@pytest.fixture
def narrow(new_shop):
    return make_history(new_shop(max_concurrent=1))


def open_export(shop):
    """An export that is being sent."""
    client = shop.application.app.test_client()
    return client.get("/audit/export.csv", headers=logged_in_as(ANN), buffered=False)


def test_while_an_export_is_sent_nothing_heavy_is_read(narrow):
    sending = open_export(narrow)
    for path in HEAVY:
        response = narrow.get(path)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "5"), path
        assert "Please wait a moment" in response.text
    narrow.page("/")
    narrow.page("/record/products/42")
    assert sending.text.count("\r\n") > 10
    sending.close()
    narrow.page("/export.csv")


def test_every_end_gives_the_place_back(narrow, monkeypatch):
    def fails(*_):
        raise RuntimeError("no")

    for _ in range(3):
        for path in HEAVY:
            narrow.get(path).close()
        narrow.get("/panel/facets?since=x").close()
        narrow.get("/export.csv", user=CLEO).close()
        narrow.get("/panel/histogram", headers={"Sec-Fetch-Site": "cross-site"}).close()
        narrow.application.app.test_client().head("/audit/export.csv", headers=logged_in_as(ANN)).close()
    monkeypatch.setattr(panels, "facets_shown", fails)
    with pytest.raises(RuntimeError, match="no"):
        narrow.get("/panel/facets")
    narrow.page("/panel/histogram")


def test_without_it_there_is_no_limit(shop):
    sending = open_export(shop)
    for path in HEAVY:
        shop.page(path)
    assert sending.text.count("\r\n") > 10


def test_a_limit_below_one_is_refused(new_shop):
    with pytest.raises(ConfigurationError, match="max_concurrent is 0; it must be at least 1, or None"):
        new_shop(max_concurrent=0)
