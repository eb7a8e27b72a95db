"""Configuration keys of the capturing side, each with its default and meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

#: Execution option of the connections on which the log is read: they can't write, so they need no actor.
READS_ONLY = "flask_audit_logger_reads_only"


@dataclass(frozen=True)
class Setting:
    """One configuration key.

    :param key: the key in ``app.config``.
    :param default: its value if the application sets none.
    :param meaning: what it does, and in which unit.
    :param check: whether a value is legal.
    """

    key: str
    default: Any
    meaning: str
    check: Callable[[Any], bool]


SETTINGS = (
    Setting(
        "AUDIT_LOGGER_REQUEST_FACTS",
        REQUEST_FACTS,
        f"What is recorded of a request: any of {', '.join(REQUEST_FACTS)}.",
        lambda value: not isinstance(value, str) and set(value) <= set(REQUEST_FACTS),
    ),
    Setting(
        "AUDIT_LOGGER_SECRET_ARGUMENTS",
        SECRET_ARGUMENTS,
        "Patterns of the names of URL arguments that are never recorded.",
        lambda value: not isinstance(value, str) and all(isinstance(pattern, str) for pattern in value),
    ),
    Setting(
        "AUDIT_LOGGER_REQUEST_ID_HEADER",
        "X-Request-ID",
        "The request header whose value is recorded as request_id.",
        lambda value: isinstance(value, str) and bool(value),
    ),
)


def set_defaults(app: Flask) -> None:
    """Complete the configuration of ``app`` and check it.

    :raises ConfigurationError: if a key has a value that means nothing.
    """
    for setting in SETTINGS:
        value = app.config.setdefault(setting.key, setting.default)
        if not setting.check(value):
            raise ConfigurationError(f"{setting.key} can't be {value!r}. {setting.meaning}")
