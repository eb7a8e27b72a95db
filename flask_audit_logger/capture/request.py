"""What the running request or command says of the changes it makes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Any

import click
from flask import current_app, has_request_context, request

_FACTS_KEY = "flask_audit_logger.facts"

#: The longest text that is recorded of a request, in characters; what is longer is cut.
MAX_LENGTH = 1000

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def request_facts() -> dict[str, Any]:
    """Method, path, endpoint and so on of the request, as far as they are to be recorded; else the command."""
    if not has_request_context():
        command = _command()
        return {"command": command} if command else {}
    facts: dict[str, Any] | None = request.environ.get(_FACTS_KEY)
    if facts is None:
        facts = _read_request(current_app.config["AUDIT_LOGGER_REQUEST_FACTS"])
        request.environ[_FACTS_KEY] = facts
    return facts


def default_client_addr() -> str | None:
    """The address of the client, as the application's own proxy settings say (``ProxyFix``); never a raw header."""
    return request.remote_addr if has_request_context() else None


def split_address(address: Any) -> tuple[str | None, str | None]:
    """Tell an address from other text.

    :return: the address as PostgreSQL's ``inet`` takes it, and the text if that is not all of it.
    """
    if address is None or address == "":
        return None, None
    text = str(address)
    try:
        parsed = ipaddress.ip_address(text.strip())
    except ValueError:
        return None, text
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id:
        return str(parsed).partition("%")[0], text  # inet knows no zones
    return str(parsed), None


def _read_request(wanted: Collection[str]) -> dict[str, Any]:
    header = current_app.config["AUDIT_LOGGER_REQUEST_ID_HEADER"]
    trace = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    facts = {
        "method": request.method,
        "path": request.path,
        "endpoint": request.endpoint,
        "request_id": request.headers.get(header),
        "user_agent": request.headers.get("User-Agent"),
        "trace_id": trace and trace[1],
    }
    return {name: value[:MAX_LENGTH] for name, value in facts.items() if value and name in wanted}


def _command() -> str | None:
    """The running command without the program: ``shop restock`` for ``flask shop restock``."""
    context = click.get_current_context(silent=True)
    names = []
    while context is not None and context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent
    return " ".join(reversed(names)) or None
