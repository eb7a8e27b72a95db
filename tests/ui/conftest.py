"""Shops to read the log of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ui.browsing import running_chromium
from tests.ui.shop import Shop, make_history, make_shop


@pytest.fixture
def new_shop(create_app: Callable[..., Any]) -> Callable[..., Shop]:
    """Make a shop; the arguments are those of :class:`AuditUI` and ``config``."""
    return lambda **ui: make_shop(create_app, **ui)


@pytest.fixture
def shop(new_shop: Callable[..., Shop]) -> Shop:
    """A shop with a history that Ann and Bob may read."""
    return make_history(new_shop())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running Chromium; see :mod:`tests.ui.browsing`."""
    with running_chromium() as browser:
        yield browser
