"""The response headers of the pages: on what our views and messages answer, on no response of the application."""

from __future__ import annotations

from flask import Response, current_app, g, request

from .rendering import is_standalone
from .state import UIState, current_state

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
    """Keep pages out of caches, frames and search engines. What the application has set stays.

    A sign-in page, a redirect to it or an error page of the application is left as it is.
    """
    is_static = (request.endpoint or "").endswith(".static")
    # popped: if something fails after this, the application's error page passes here as well
    if not g.pop("audit_answered", is_static):
        return response
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if is_static:
        if response.status_code == 200 and request.args.get("v"):
            response.headers["Cache-Control"] = _IMMUTABLE
        return response
    response.headers["Cache-Control"] = "private, no-store"
    response.vary.add("Cookie")
    state = current_state()
    if _wants_policy(state) and "Content-Security-Policy" not in response.headers:
        response.headers["Content-Security-Policy"] = policy(state.nonce())
    return response


def _wants_policy(state: UIState) -> bool:
    """Whether a page gets our policy: not within the application's layout, and not while a toolbar adds scripts."""
    is_debugged = current_app.debug or "debugtoolbar" in current_app.blueprints
    return state.config.set_csp and not is_debugged and is_standalone(state)


def policy(nonce: str | None = None) -> str:
    """The Content-Security-Policy of a page of its own."""
    source = "'self'" if nonce is None else f"'self' 'nonce-{nonce}'"
    return "; ".join([*_POLICY, f"style-src {source}", f"script-src {source}"])
