"""Every configuration key: its default, its check and its meaning."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Flask

from .exceptions import ConfigurationError

#: What can be recorded of a request, in the order of the documentation.
REQUEST_FACTS = ("method", "url_rule", "path", "endpoint", "request_id", "user_agent", "trace_id")

#: Names of URL arguments that are secrets, as patterns; `resetToken` is read as `reset_token`.
SECRET_ARGUMENTS = (
    "*token*", "*secret*", "*passw*", "*signature*", "sig", "*_sig", "*code*", "key", "*_key", "*apikey*", "*hash*",
    "*hmac*", "*nonce*", "otp", "*_otp", "pin", "*_pin", "*jwt*", "auth", "*_auth", "*session*", "*credential*",
    "*magic*", "*verif*", "*confirm*", "*activat*", "*invit*", "*unsubscribe*", "ticket",
)  # fmt: skip

#: Names of the periods of a list.
PERIODS = (
    "1h", "24h", "7d", "30d", "90d", "today", "yesterday", "this-month", "last-month", "this-quarter", "last-quarter",
    "this-year", "last-year", "all",
)  # fmt: skip

PAGE_SIZES = (25, 50, 100, 200)
THEMES = ("auto", "light", "dark")

#: Execution option of what is not to be stamped: it only reads the log, or was stamped already.
NOT_STAMPED = "flask_audit_logger_not_stamped"


def is_zone(name: str) -> bool:
    """Whether there is a time zone of that name."""
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(v, str) for v in value)


def _is_home(value: Any) -> bool:
    return value is None or (len(value) == 2 and all(isinstance(part, str) for part in value))


def _setting(default: Any, meaning: str, *, check: Callable[[Any], bool], legal: str) -> Any:
    """One key.

    :param meaning: what it does, and in which unit.
    :param legal: what it must be, for the message if it isn't.
    """
    return field(default=default, metadata={"meaning": meaning, "check": check, "legal": legal})


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """The keys of one prefix; a field for each, named like the key in lower case."""

    PREFIX: ClassVar[str]

    @classmethod
    def of(cls, app: Flask) -> Self:
        """Complete and check the configuration of an application, and read it.

        :raises ConfigurationError: naming the key and what it must be.
        """
        values = {}
        for name, (key, default, _) in cls.table().items():
            value = values[name] = app.config.setdefault(key, default)
            metadata = cls.__dataclass_fields__[name].metadata
            if not metadata["check"](value):
                raise ConfigurationError(f"{key} is {value!r}; it must be {metadata['legal']}.")
        return cls(**values)

    @classmethod
    def table(cls) -> dict[str, tuple[str, Any, str]]:
        """Key, default and meaning of each field."""
        return {f.name: (cls.PREFIX + f.name.upper(), f.default, f.metadata["meaning"]) for f in fields(cls)}


@dataclass(frozen=True, kw_only=True)
class CaptureSettings(_Settings):
    """What is recorded of who makes a change."""

    PREFIX = "AUDIT_LOGGER_"

    request_facts: Collection[str] = _setting(
        REQUEST_FACTS,
        f"which request facts are recorded: {', '.join(f'`{fact}`' for fact in REQUEST_FACTS)}",
        check=lambda value: _is_list_of_texts(value) and set(value) <= set(REQUEST_FACTS),
        legal=f"a list of some of {', '.join(REQUEST_FACTS)}",
    )
    secret_arguments: Collection[str] = _setting(
        SECRET_ARGUMENTS,
        "name patterns of URL arguments that are never recorded",
        check=_is_list_of_texts,
        legal="a list of patterns such as '*token*'",
    )
    request_id_header: str = _setting(
        "X-Request-ID",
        "request header recorded as `request_id`",
        check=_is_text,
        legal="the name of a header",
    )
    separate_stamp: bool = _setting(
        False,
        "whether who acts is sent in a statement of its own, rather than together with the first write",
        check=lambda value: isinstance(value, bool),
        legal="True or False",
    )


@dataclass(frozen=True, kw_only=True)
class PageSettings(_Settings):
    """How the pages behave."""

    PREFIX = "AUDIT_UI_"

    page_size: int = _setting(
        50, "rows on a page: 25, 50, 100 or 200", check=lambda value: value in PAGE_SIZES, legal="25, 50, 100 or 200"
    )
    fold_over: int = _setting(
        20,
        "so many changes of a transaction a list shows one by one; with more that match it is one row; 0: never",
        check=lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        legal="a number of changes, or 0",
    )
    default_period: str = _setting(
        "30d",
        "default period of the list",
        check=lambda value: value in PERIODS,
        legal=f"one of {', '.join(PERIODS)}",
    )
    timezone: str = _setting(
        "UTC",
        "IANA name of the time zone for viewers without one",
        check=lambda value: isinstance(value, str) and is_zone(value),
        legal="the IANA name of a time zone, such as 'Europe/Berlin'",
    )
    statement_timeout_ms: int = _setting(
        3000,
        "time limit in milliseconds for each statement of a page",
        check=_is_positive,
        legal="a positive number of milliseconds",
    )
    breakdown_timeout_ms: int = _setting(
        300,
        "time limit in milliseconds for each part of a breakdown",
        check=_is_positive,
        legal="a positive number of milliseconds",
    )
    count_cap: int = _setting(
        1000, "maximum number of rows to count", check=_is_positive, legal="a positive number of rows"
    )
    quarter_start_month: int = _setting(
        1,
        "first month of the first quarter, 1 to 12",
        check=lambda value: value in range(1, 13),
        legal="a month from 1 to 12",
    )
    theme: str = _setting(
        "auto",
        '`"auto"` follows the browser; or `"light"` or `"dark"`',
        check=lambda value: value in THEMES,
        legal="'auto', 'light' or 'dark'",
    )
    set_csp: bool = _setting(
        True,
        "whether the pages send a Content-Security-Policy if the response has none",
        check=lambda value: isinstance(value, bool),
        legal="True or False",
    )
    home: tuple[str, str] | None = _setting(
        None,
        "name and endpoint of the application's home page, for the first breadcrumb",
        check=_is_home,
        legal="a pair (name, endpoint) or None",
    )
    export_timeout_ms: int = _setting(
        60_000,
        "time limit in milliseconds for each statement of an export",
        check=_is_positive,
        legal="a positive number of milliseconds",
    )
    export_max_rows: int = _setting(
        100_000, "maximum number of rows in an export", check=_is_positive, legal="a positive number of rows"
    )
