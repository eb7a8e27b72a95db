"""Configuration keys of the pages, each with its default, its unit and its check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..exceptions import ConfigurationError
from .times import PERIODS, is_zone

PREFIX = "AUDIT_UI_"


@dataclass(frozen=True)
class UIConfig:
    """The settings of one application; read from ``app.config`` with the prefix ``AUDIT_UI_``."""

    #: Rows on a page: 25, 50, 100 or 200.
    page_size: int = 50
    #: Period of the list when none is asked for; one of the names of the period filter.
    default_period: str = "30d"
    #: IANA name of the zone in which times are shown to a viewer who has none.
    timezone: str = "UTC"
    #: Milliseconds after which a statement of a page is stopped.
    statement_timeout_ms: int = 3000
    #: Milliseconds for each part of the breakdown beside a list.
    panel_timeout_ms: int = 300
    #: Rows up to which matches are counted.
    count_cap: int = 10_000
    #: First month of the first quarter, 1 to 12.
    quarter_start_month: int = 1
    #: ``auto`` follows the browser; ``light`` and ``dark`` don't.
    theme: str = "auto"
    #: Whether the pages send a Content-Security-Policy if the response has none.
    set_csp: bool = True
    #: Name of the application and an endpoint of it, for the first breadcrumb.
    home: tuple[str, str] | None = None
    #: Milliseconds after which a statement of an export is stopped.
    export_timeout_ms: int = 60_000
    #: Most rows an export holds.
    export_max_rows: int = 100_000

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> UIConfig:
        """Read and check the settings.

        :raises ConfigurationError: naming the key and what it may be.
        """
        given = {f.name: settings[key] for f in fields(cls) if (key := PREFIX + f.name.upper()) in settings}
        for name, value in given.items():
            accepts, words = CHECKS[name]
            if not accepts(value):
                raise ConfigurationError(f"{PREFIX}{name.upper()} is {value!r}; it must be {words}")
        return cls(**given)

    def defaults(self) -> dict[str, Any]:
        """All keys with the values that hold, to be set where the application set none."""
        return {PREFIX + f.name.upper(): getattr(self, f.name) for f in fields(self)}


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _zone(value: Any) -> bool:
    return isinstance(value, str) and is_zone(value)


def _home(value: Any) -> bool:
    return value is None or (len(value) == 2 and all(isinstance(part, str) for part in value))


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "page_size": (lambda value: value in (25, 50, 100, 200), "25, 50, 100 or 200"),
    "default_period": (lambda value: value in PERIODS, "one of " + ", ".join(PERIODS)),
    "timezone": (_zone, "the IANA name of a time zone, such as 'Europe/Berlin'"),
    "statement_timeout_ms": (_positive, "a positive number of milliseconds"),
    "panel_timeout_ms": (_positive, "a positive number of milliseconds"),
    "count_cap": (_positive, "a positive number of rows"),
    "quarter_start_month": (lambda value: value in range(1, 13), "a month from 1 to 12"),
    "theme": (lambda value: value in ("auto", "light", "dark"), "'auto', 'light' or 'dark'"),
    "set_csp": (lambda value: isinstance(value, bool), "True or False"),
    "home": (_home, "a pair (name, endpoint) or None"),
    "export_timeout_ms": (_positive, "a positive number of milliseconds"),
    "export_max_rows": (_positive, "a positive number of rows"),
}
