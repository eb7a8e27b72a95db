"""Who is acting now, as far as the request tells. Never an error, and never a guess."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from flask import current_app, g, has_app_context, has_request_context, request

from .actors import Actor, identify
from .context import current_frame
from .request import default_client_addr, request_facts, split_address
from .stamp import Stamp, make_stamp

try:
    from flask_login import current_user
except ImportError:  # Flask-Login is optional
    current_user = None

logger = logging.getLogger("flask_audit_logger")

_ACTOR_KEY = "flask_audit_logger.actor"
_LABELS_KEY = "flask_audit_logger.labels"

#: Set while the actor is looked up: a write made by that look-up itself has no actor yet.
_is_looking_up: ContextVar[bool] = ContextVar("flask_audit_logger_is_looking_up", default=False)


class CurrentStamp:
    """Says what a write of this moment is stamped with.

    :param owner: the logger whose ``context()`` counts.
    :param get_actor_id: the application's callback, returning a key, an object or ``None``.
    :param get_actor_label: the application's callback for the name of that actor.
    :param get_client_addr: the application's callback for the address of the client.
    """

    def __init__(
        self,
        owner: object,
        get_actor_id: Callable[[], Any] | None = None,
        get_actor_label: Callable[[], Any] | None = None,
        get_client_addr: Callable[[], Any] | None = None,
    ) -> None:
        self._owner = owner
        self._get_actor_id = get_actor_id
        self._get_actor_label = get_actor_label
        self._get_client_addr = get_client_addr or default_client_addr

    def __call__(self) -> Stamp:
        frame = current_frame(self._owner)
        if _is_looking_up.get():
            return make_stamp(Actor(), None, dict(frame.facts), is_captured=frame.is_captured)
        token = _is_looking_up.set(True)
        try:
            actor = identify(frame.actor) if frame.has_actor else self._actor()
            address, other_address = split_address(_ask(self._get_client_addr))
            facts = {**(_ask(request_facts) or {}), **frame.facts}
            if other_address:
                facts.setdefault("client_addr", other_address)
            return make_stamp(actor, address, facts, is_captured=frame.is_captured)
        finally:
            _is_looking_up.reset(token)

    def _actor(self) -> Actor:
        if self._get_actor_id is None:
            actor = _ask(_logged_in_actor) or Actor()
        else:
            actor = _ask(lambda: identify(self._get_actor_id())) or Actor()  # type: ignore[misc]
            if actor.id is not None and actor.label is None:
                known = _ask(_logged_in_actor) or Actor()
                actor = known if known.id == actor.id else actor
        if self._get_actor_label is not None and actor.id is not None:
            return Actor(id=actor.id, label=_ask(self._get_actor_label) or actor.label)
        return actor


def _ask(callback: Callable[[], Any]) -> Any:
    """Call a callback whose failure must not become the failure of somebody's write."""
    try:
        return callback()
    except Exception:
        if has_app_context():
            logger.warning("%r failed; what it tells is recorded as unknown", callback, exc_info=True)
        return None


def _logged_in_actor() -> Actor | None:
    """The actor whom Flask-Login knows."""
    if current_user is None or not has_request_context() or not hasattr(current_app, "login_manager"):
        return None
    if "_login_user" in g:
        return _labelled(_identify_user(g._login_user))
    if _ACTOR_KEY not in request.environ:
        # The request has not asked yet who is logged in, and now is no time to run the application's loader in its own
        # session: we may be in the middle of a flush. In a context of its own it has a session of its own.
        with current_app.app_context():
            request.environ[_ACTOR_KEY] = _identify_user(current_user._get_current_object())
    found: Actor = request.environ[_ACTOR_KEY]
    return found


def _identify_user(user: Any) -> Actor:
    return identify(user) if user is not None and getattr(user, "is_authenticated", True) else Actor()


def _labelled(actor: Actor) -> Actor:
    """Complete the label of an object whose attributes expired with the one seen earlier in the request."""
    labels: dict[str, str] = request.environ.setdefault(_LABELS_KEY, {})
    if actor.id is None:
        return actor
    if actor.label is not None:
        labels[actor.id] = actor.label
    return Actor(id=actor.id, label=labels.get(actor.id))
