"""Promise: the application can know who read what in the log (S18)."""

from __future__ import annotations

import pytest

from flask_audit_logger.query.refs import RecordRef
from tests.ui.everywhere import answer
from tests.ui.shop import CLEO, make_history


@pytest.fixture
def watched(new_shop):
    events = []
    shop = make_history(new_shop(on_view=events.append))
    return shop, events


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


def test_s18_every_view_and_every_refusal_is_told(new_shop):
    events = []
    shop = make_history(new_shop(on_view=events.append))
    shop.page("/?table=products&actor=2")
    shop.page("/record/products/42")
    shop.page("/activity/4")
    shop.page("/transaction/4")
    shop.page("/actor/~none")
    assert shop.get("/export.csv?table=products&verb=update").text
    shop.page("/record/products/42", 403, user=CLEO)
    shop.page("/?since=x", 400)
    told = [(event.action, event.status) for event in events]
    pages = ("list", "record", "activity", "transaction", "actor", "export")
    assert told == [*((action, 200) for action in pages), ("record", 403), ("list", 400)]
    first, record, activity, _, _, export, refused, _ = events
    assert (first.viewer.id, first.viewer.label, first.rows) == ("1", "Ann Price", 2)
    assert first.filters == {"table": ("products",), "actor": ("2",)} and first.address == "127.0.0.1"
    assert isinstance(record.target, RecordRef) and record.target.key == "42" and activity.target.activity_id == 4
    assert export.rows == len(shop.ids("/?table=products&verb=update")) and refused.viewer.label == "Cleo D’Angelo"


def test_s18_what_can_not_be_logged_is_not_shown_if_it_has_to_be(new_shop):
    def broken(event):
        raise RuntimeError("no space left")

    shop = make_history(new_shop(on_view=broken, view_log_required=True))
    for path in ("/", "/export.csv", "/record/products/42"):
        response = answer(shop, path)
        assert response.status_code == 503 and "Blue mug" not in response.text
        assert response.headers["Cache-Control"] == "private, no-store"
    assert "could not be recorded" in shop.page("/", 503)
