"""Promise: the application can know who read what in the log (S18)."""

from __future__ import annotations

import pytest

from tests.ui.shop import make_history


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
