"""Shops to read the log of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.shop import Shop, make_history, make_shop


@pytest.fixture
def new_shop(create_app: Callable[..., Any]) -> Callable[..., Shop]:
    """Make a shop; the arguments are those of :class:`AuditUI` and ``config``."""
    return lambda **ui: make_shop(create_app, **ui)


@pytest.fixture
def shop(new_shop: Callable[..., Shop]) -> Shop:
    """A shop with a history that Ann and Bob may read."""
    return make_history(new_shop())
