"""The demo's history: made once, by real requests, on the first start."""

from __future__ import annotations

from .history import ensure_history
from .visitor import SeedingError

__all__ = ["SeedingError", "ensure_history"]
