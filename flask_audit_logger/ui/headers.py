"""Response headers of the pages."""

from __future__ import annotations

from flask import Response, request

from .rendering import is_standalone
from .state import current_state

_POLICY = (
    "default-src 'none'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)
_HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
#: A year; the address of a file changes with its content.
_IMMUTABLE = "public, max-age=31536000, immutable"


def add_headers(response: Response) -> Response:
    """Keep pages out of caches, frames and search engines. What the application has set stays."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if (request.endpoint or "").endswith(".static"):
        if response.status_code == 200 and request.args.get("v"):
            response.headers["Cache-Control"] = _IMMUTABLE
        return response
    response.headers["Cache-Control"] = "private, no-store"
    response.vary.add("Cookie")
    state = current_state()
    if state.config.set_csp and "Content-Security-Policy" not in response.headers and is_standalone(state):
        response.headers["Content-Security-Policy"] = policy(state.nonce())
    return response


def policy(nonce: str | None = None) -> str:
    """The Content-Security-Policy of a page of its own."""
    source = "'self'" if nonce is None else f"'self' 'nonce-{nonce}'"
    return "; ".join([*_POLICY, f"style-src {source}", f"script-src {source}"])
