"""The plan of the demo's history holds together on whatever day the demo is started."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest

from example_app.models import OrderStatus
from example_app.seed import deeds
from example_app.seed.plan import ORDERS, plan_events
from example_app.seed.timeline import DAYS, GAP, STEP, Written, _moments, in_order


class Rehearsal:
    """Stands for somebody at a browser: takes note of forms, and refuses a step that an order can't take."""

    numbers = itertools.count(1)
    statuses: dict[str, OrderStatus]

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, path: str, form: str = "record", **fields: object) -> str:
        kind = path.split("/")[1]
        if form == "status":
            before, after = self.statuses[path], OrderStatus(fields["status"])
            assert after in before.following, path
            self.statuses[path] = after
        if not path.endswith("/new"):
            return path
        created = f"/{kind}/{next(self.numbers)}"
        if kind == "orders":
            Rehearsal.statuses[created] = OrderStatus.NEW
        return created


@pytest.mark.parametrize("hour", [0, 11, 23])
@pytest.mark.parametrize("day", range(1, 8))
def test_the_plan_holds_together(day, hour, monkeypatch):
    monkeypatch.setattr(deeds, "Visitor", Rehearsal)
    monkeypatch.setattr(deeds.Deeds, "command", lambda self, name: lambda: None)
    monkeypatch.setattr(deeds.Deeds, "by_console", lambda self: None)
    monkeypatch.setattr(Rehearsal, "statuses", {}, raising=False)
    now = dt.datetime(2026, 3, day, hour, 30, tzinfo=dt.UTC)
    events = in_order(plan_events(None, now))  # type: ignore[arg-type]
    for event in events:
        event.run()
    assert len(Rehearsal.statuses) == ORDERS
    assert now - dt.timedelta(days=DAYS) <= events[0].moment
    assert events[-1].moment < now
    assert all(later.moment - sooner.moment >= GAP for sooner, later in itertools.pairwise(events))


def test_transactions_of_an_event_follow_each_other():
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    written = [Written(begin, 0, 3), Written(begin + GAP, 3, 5)]
    assert list(_moments([1, 3, 4, 5], written)) == [
        (1, begin),
        (3, begin + STEP),
        (4, begin + GAP),
        (5, begin + GAP + STEP),
    ]
