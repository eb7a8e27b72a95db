"""What is known of the running request or command, and what is recorded of it: not the secrets in its URL."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any
from uuid import UUID

import click
from flask import current_app, g, has_request_context, request

from .actors import Actor
from .blocks import Frame
from .stamp import Stamp

logger = logging.getLogger("flask_audit_logger")

#: A hook of the application: takes what is to be recorded of the request, returns what may be.
Redact = Callable[[dict[str, Any]], Mapping[str, Any]]

#: The longest text that is recorded of a request, in characters; what is longer is cut.
MAX_LENGTH = 1000

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


#: Arguments of a URL from this length on are recorded only if they consist of words and numbers.
LONG_ARGUMENT = 12

# /<name>, /<converter:name>, /<converter(options):name>
_VARIABLE = re.compile(r"<(?:[A-Za-z_]\w*(?:\(.*?\))?:)?([A-Za-z]\w*)>")
_WORD = r"(?:(?:[A-Za-z][a-z]{0,14}|[A-Z]{2,15})\d{0,4}|\d{1,10}[a-z]{0,3})"
_READABLE = re.compile(rf"\d{{1,20}}|{_WORD}(?:[-_.,:+~@ ]{_WORD})*")
_UUID = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def request_facts() -> dict[str, Any]:
    """Method, URL rule, path and so on of the request, as far as they are to be recorded."""
    return _read_request(current_app.config)


def command_facts() -> dict[str, Any]:
    """The running command, if there is one."""
    command = _command()
    return {"command": command} if command else {}


def recorded_path(rule: str, arguments: Mapping[str, Any], secret_names: Iterable[str]) -> str:
    """A path without its secrets: the URL rule, with those arguments filled in that are none.

    :param rule: the URL rule, such as ``/reset/<token>``.
    :param arguments: its arguments. One that is no text, number or UUID stays out: its ``str()`` may load from the
        database.
    :param secret_names: patterns (``*token*``) of the names of arguments that are secrets.
    """
    if not arguments:
        return rule
    patterns = tuple(secret_names)

    def fill(variable: re.Match[str]) -> str:
        name = variable[1]
        value = arguments.get(name)
        is_plain = isinstance(value, str | int | float | UUID)
        if not is_plain or _is_secret_name(name, patterns) or is_random(str(value)):
            return f"<{name}>"
        return str(value)

    return _VARIABLE.sub(fill, rule)


def is_random(text: str) -> bool:
    """Whether an argument of a URL looks like a working secret: long, and not made of words and numbers.

    >>> is_random("how-to-write-2-letters"), is_random("kq9xZ2vT0aWbQmLr7d")
    (False, True)
    """
    parts = (part for part in text.split("/") if len(part) >= LONG_ARGUMENT)
    return any(_UUID.search(part) or not _READABLE.fullmatch(part) for part in parts)


@lru_cache(maxsize=1024)
def _is_secret_name(name: str, patterns: tuple[str, ...]) -> bool:
    words = _CAPITAL.sub("_", name).lower()
    return any(fnmatchcase(words, pattern.lower()) for pattern in patterns)


def redacted(redact: Redact, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What may be recorded of a request. If the hook fails, nothing is."""
    try:
        return dict(redact(dict(facts)))
    except Exception:
        logger.warning("%r failed; nothing is recorded of the request", redact, exc_info=True)
        return {}


def default_client_addr() -> str | None:
    """The address of the client, as the application's own proxy settings say (``ProxyFix``); never a raw header."""
    return request.remote_addr if has_request_context() else None


def split_address(address: Any) -> tuple[str | None, str | None]:
    """Tell an address from other text.

    :return: the address as PostgreSQL's ``inet`` takes it, and the text if that is not all of it.
    """
    return (None, None) if address is None or address == "" else _split_address(str(address))


@lru_cache(maxsize=256)
def _split_address(text: str) -> tuple[str | None, str | None]:
    try:
        parsed = ipaddress.ip_address(text.strip())
    except ValueError:
        return None, text
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id:
        return str(parsed).partition("%")[0], text  # inet knows no zones
    return str(parsed), None


def _read_request(config: Mapping[str, Any]) -> dict[str, Any]:
    now = request._get_current_object()  # type: ignore[attr-defined]  # a proxy, looked behind once
    headers = now.headers
    parent = headers.get("traceparent")
    trace = _TRACEPARENT.fullmatch(parent) if parent else None
    # Without a rule nothing tells which part of the path is a secret.
    rule = now.url_rule.rule if now.url_rule is not None else None
    facts = {
        "method": now.method,
        "url_rule": rule,
        "path": rule and recorded_path(rule, now.view_args or {}, config["AUDIT_LOGGER_SECRET_ARGUMENTS"]),
        "endpoint": now.endpoint,
        "request_id": headers.get(config["AUDIT_LOGGER_REQUEST_ID_HEADER"]),
        "user_agent": headers.get("User-Agent"),
        "trace_id": trace and trace[1],
    }
    wanted: Collection[str] = config["AUDIT_LOGGER_REQUEST_FACTS"]
    return {name: value[:MAX_LENGTH] for name, value in facts.items() if value and name in wanted}


def _command() -> str | None:
    """The running command without the program: ``shop restock`` for ``flask shop restock``."""
    context = click.get_current_context(silent=True)
    names = []
    while context is not None and context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent
    return " ".join(reversed(names)) or None


def attributes_behind(proxy: Any) -> dict[str, Any]:
    """The attributes of what is behind a proxy, at the price of one look behind it."""
    found: dict[str, Any] = vars(proxy._get_current_object())
    return found


@dataclass(frozen=True)
class Answers:
    """What the application says of a write.

    :param actor: who acts; ``None`` if that is not known (yet), which is not the same as nobody.
    :param address: the address of the client.
    """

    actor: Actor | None
    address: Any


class Kept:
    """What was answered and made of it at one moment of a request, with all that may change until another moment.

    :ivar answers: what the application said.
    :ivar stamps: what was made of it, by whether changes are captured.
    """

    __slots__ = ("_address", "_command", "_frame", "_key", "_scope", "_user", "answers", "stamps")

    def __init__(self, frame: Frame | None, scope: object, user: Any, key: Any, address: Any, command: Any) -> None:
        self.answers: Answers | None = None
        self.stamps: dict[bool, Stamp] = {}
        self._frame = frame
        self._scope = scope
        self._user = user
        self._key = key
        self._address = address
        self._command = command

    def is_of(self, frame: Frame, scope: object, user: Any, key: Any, address: Any, command: Any) -> bool:
        """Whether nothing has changed. Equal is not enough: 1 and True are equal, and differ in JSON."""
        return (
            self._frame is frame
            and self._scope is scope
            and self._user is user
            and self._command is command
            and bool(self._key == key)
            and bool(self._address == address)
        )


class Known:
    """What is known of one request, of which parts are asked once; outside of requests, of one application context.

    :ivar facts: what is recorded of it.
    :ivar actors: who was logged in in it, by the key.
    :ivar labels: what ``get_actor_label`` called them; an answer that needs the database is not given twice.
    """

    __slots__ = ("_kept", "actors", "facts", "labels")

    def __init__(self) -> None:
        self.facts: Mapping[str, Any] | None = None
        self.actors: dict[Actor, Actor] = {}
        self.labels: dict[Actor, str] = {}
        self._kept = Kept(None, None, None, None, None, None)

    def kept(self, frame: Frame, scope: object) -> Kept:
        """What was kept if nothing has changed since, else a place to keep things for this moment.

        Threads may share a request: each writes only to the place of its own moment.

        :param frame: what the code says.
        :param scope: the answers of callbacks that hold now.
        """
        user: Any = None
        key: Any = None
        address: Any = None
        command: Any = None
        if has_request_context():
            address = request.remote_addr
            if not frame.has_actor:
                # it may be stored, or somebody else may be logged in, at any time
                user = attributes_behind(g).get("_login_user")
                state = getattr(user, "_sa_instance_state", None)
                key = state.key if state is not None else None if user is None else user.get_id()
        else:
            command = click.get_current_context(silent=True)
        kept = self._kept
        if not kept.is_of(frame, scope, user, key, address, command):
            kept = self._kept = Kept(frame, scope, user, key, address, command)
        return kept
