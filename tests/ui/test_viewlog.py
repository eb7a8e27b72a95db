"""Promise: the application can know who read what in the log (S18)."""

from __future__ import annotations

import pytest

from flask_audit_logger.query.refs import RecordRef
from tests.ui.shop import ANN, CLEO, make_history


@pytest.fixture
def watched(new_shop):
    events = []
    shop = make_history(new_shop(on_view=events.append))
    return shop, events


def test_every_view_is_told(watched):
    shop, events = watched
    shop.page("/?table=products&actor=2")
    shop.page("/record/products/42")
    shop.page("/activity/4")
    shop.page("/transaction/4")
    shop.page("/actor/~none")
    assert [event.action for event in events] == ["list", "record", "activity", "transaction", "actor"]
    first, record, activity, *_ = events
    assert (first.viewer.id, first.viewer.label, first.status, first.rows) == ("1", "Ann Price", 200, 2)
    assert first.filters == {"table": ("products",), "actor": ("2",)} and first.address == "127.0.0.1"
    assert isinstance(record.target, RecordRef) and record.target.key == "42" and activity.target == 4


def test_refused_attempts_are_told(watched):
    shop, events = watched
    shop.page("/record/products/42", 403, user=CLEO)
    shop.page("/?since=x", 400)
    assert [(event.status, event.action) for event in events] == [(403, "record"), (400, "list")]
    assert events[0].viewer.label == "Cleo D’Angelo"


def test_an_export_is_told_with_its_rows(watched):
    shop, events = watched
    assert shop.get("/export.csv?table=products&verb=update").text
    assert (events[0].action, events[0].rows) == ("export", len(shop.ids("/?table=products&verb=update")))


def test_the_same_view_again_is_one(watched):
    shop, events = watched
    for _ in range(3):
        shop.page("/help")
    shop.page("/help?x=1")
    with shop.get("/static/audit.css"):
        pass
    assert len(events) == 2


def test_a_hook_that_fails_spoils_nothing_unless_it_has_to_know(new_shop, caplog):
    def broken(event):
        raise RuntimeError("no space left")

    assert "No changes" not in make_history(new_shop(on_view=broken)).page("/")
    assert "no space left" in caplog.text


def test_a_view_that_has_to_be_logged_and_can_not_be_is_not_shown(new_shop):
    def broken(event):
        raise RuntimeError("no space left")

    shop = make_history(new_shop(on_view=broken, view_log_required=True))
    html = shop.page("/", 503)
    assert "could not be recorded" in html and "Blue mug" not in html
    response = shop.get("/export.csv", user=ANN)
    assert response.status_code == 503 and "Blue mug" not in response.text
    assert response.headers["Cache-Control"] == "private, no-store"
