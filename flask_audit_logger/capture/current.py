"""Who is acting now, as far as the request tells. Never an error, and never a guess."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from flask import current_app, g, has_app_context, has_request_context, request, session
from sqlalchemy.exc import DBAPIError
from werkzeug.local import LocalProxy

from .actors import Actor, identify, is_expired
from .apart import apart, is_another_session_possible
from .context import Frame, current_frame
from .memory import memory_of
from .request import Redact, default_client_addr, request_facts, split_address
from .stamp import Stamp, make_stamp

try:
    from flask_login import current_user
except ImportError:  # Flask-Login is optional
    current_user = None

logger = logging.getLogger("flask_audit_logger")

_ACTORS_KEY = "flask_audit_logger.actors"
_LABELS_KEY = "flask_audit_logger.labels"

#: While the actor is looked up, the connection that is to write. A write of the look-up itself has no actor yet.
_writer: ContextVar[Any] = ContextVar("flask_audit_logger_writer", default=None)


def writer() -> Any:
    """The connection that waits for this look-up, if this is a statement of one."""
    return _writer.get()


class CurrentStamp:
    """Says what a write of this moment is stamped with.

    :param get_owner: gives whose ``context()`` counts.
    :param get_actor_cls: gives the actor class, if there is one.
    :param get_actor_id: the application's callback, returning a key, an object or ``None``.
    :param get_actor_label: the application's callback for the name of that actor.
    :param get_client_addr: the application's callback for the address of the client.
    :param redact: the application's hook that takes out what must not be recorded of a request.
    """

    def __init__(
        self,
        get_owner: Callable[[], object],
        get_actor_cls: Callable[[], type[Any] | None],
        get_actor_id: Callable[[], Any] | None = None,
        get_actor_label: Callable[[], Any] | None = None,
        get_client_addr: Callable[[], Any] | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._get_owner = get_owner
        self._get_actor_cls = get_actor_cls
        self._get_actor_id = get_actor_id
        self._get_actor_label = get_actor_label
        self._get_client_addr = get_client_addr
        self._redact = redact

    def __call__(self, driver: Any) -> Stamp:
        frame = current_frame(self._get_owner())
        if writer() is not None:
            return make_stamp(Actor(), None, self._facts(frame), is_captured=frame.is_captured)
        token = _writer.set(driver)
        try:
            actor = identify(frame.actor) if frame.has_actor else self._actor()
            told = self._get_client_addr
            address, other_address = split_address(_ask_apart(told) if told else _ask(default_client_addr))
            facts = {**(_ask(lambda: request_facts(self._redact)) or {}), **self._facts(frame)}
            if not self._is_known(actor):
                facts["actor"] = _key_elsewhere(actor)
                actor = Actor(label=actor.label)
            if other_address:
                facts.setdefault("client_addr", other_address)
            return make_stamp(actor, address, facts, is_captured=frame.is_captured)
        finally:
            _writer.reset(token)

    def _is_known(self, actor: Actor) -> bool:
        """Whether the key is one of the actor class, so that it names nobody else."""
        return actor.model is None or actor.is_among(_ask(self._get_actor_cls))

    def _facts(self, frame: Frame) -> dict[str, Any]:
        behind = frame.impersonator
        if behind is None:
            return dict(frame.facts)
        key = {"id": behind.id} if self._is_known(behind) else _key_elsewhere(behind)
        return {**frame.facts, "impersonator": {"label": behind.label, **key}}

    def _actor(self) -> Actor:
        if self._get_actor_id is None:
            actor = _ask(_logged_in_actor) or Actor()
        else:
            actor = _ask_apart(self._told_actor) or Actor()
            if actor.id is not None and actor.label is None:
                known = _ask(_logged_in_actor) or Actor()
                is_same = known.model is actor.model or (actor.model is None and self._is_known(known))
                actor = known if is_same and known.id == actor.id else actor
        if self._get_actor_label is not None and actor.id is not None:
            return replace(actor, label=_ask_apart(self._get_actor_label) or actor.label)
        return actor

    def _told_actor(self) -> Actor:
        with _current_user_loaded_apart():
            return identify(self._get_actor_id())  # type: ignore[misc]  # asked only if there is one


def _key_elsewhere(actor: Actor) -> dict[str, str | None]:
    return {"class": actor.model.__name__ if actor.model is not None else None, "key": actor.id}


def _gave_up() -> bool:
    """Whether an answer has waited too long for a lock that the transaction of the write may hold itself."""
    return bool(memory_of(writer()).gave_up)


def _ask(callback: Callable[[], Any]) -> Any:
    """Call a callback whose failure must not become the failure of somebody's write."""
    try:
        return callback()
    except Exception:
        if has_app_context():
            logger.warning("%r failed; what it tells is recorded as unknown", callback, exc_info=True)
        return None


def _ask_apart(callback: Callable[[], Any]) -> Any:
    """Call a callback of the application without the session that is writing.

    A query of it that fails would take the transaction of the write with it, and a commit would end it.
    """
    if _gave_up():
        return None
    with apart(keeps_globals=True, shares_session=not is_another_session_possible()):
        return _ask(callback)


def _has_login() -> bool:
    return current_user is not None and has_request_context() and hasattr(current_app, "login_manager")


def _logged_in_actor() -> Actor | None:
    """The actor whom Flask-Login knows."""
    if not _has_login():
        return None
    if "_login_user" in g:
        return _labelled(g._login_user)
    # Flask-Login keeps the key of whoever is logged in in the session, so a login or logout in between is noticed.
    seen: dict[Any, Actor] = request.environ.setdefault(_ACTORS_KEY, {})
    logged_in = session.get("_user_id")
    if logged_in not in seen:
        actor = _load_apart(_identify_and_load)
        if actor is None:
            return None
        seen[logged_in] = actor
    return seen[logged_in]


def _load_apart(use: Callable[[Any], Any]) -> Any:
    """Load the current user without touching the session of the application, and use it while it is loaded.

    The request has not asked yet who is logged in, and now is no time to run the application's loader in its own
    session: we may be in the middle of a flush.
    """
    if _gave_up():
        return None
    if not is_another_session_possible():
        # Waiting for a connection while we hold one could be for ever; sharing one would roll its transaction back.
        logger.warning("the pool has no second connection to load the current user; the actor is recorded as unknown")
        return None
    try:
        return _load_once(use)
    except DBAPIError:
        # The pool had a dead connection. The one that the application writes on may be alive, so ask again.
        if _gave_up():
            raise
        logger.debug("the current user is loaded once more", exc_info=True)
    return _load_once(use)


def _load_once(use: Callable[[Any], Any]) -> Any:
    # What the loader keeps in flask.g is of the other session, so the application doesn't get it.
    with apart(keeps_globals=False):
        g.pop("_login_user", None)
        return use(current_user._get_current_object())


@contextmanager
def _current_user_loaded_apart() -> Iterator[None]:
    """Let the application's callback ask for ``current_user`` without loading it in the application's session."""
    if not _has_login() or "_login_user" in g:
        yield
        return
    found: list[Any] = []

    def load() -> Any:
        if not found:
            found.append(_load_apart(lambda user: user))
        return found[0]

    g._login_user = stand_in = LocalProxy(load)
    try:
        yield
    finally:
        # The application loads its own when it wants one, unless the callback logged somebody in.
        if g.get("_login_user") is stand_in:
            g.pop("_login_user")


def _identify_user(user: Any, own_session: Any = None) -> Actor:
    is_somebody = user is not None and getattr(user, "is_authenticated", True)
    return identify(user, refreshed_in=own_session) if is_somebody else Actor()


def _identify_and_load(user: Any) -> Actor:
    return _identify_user(user, current_app.extensions["sqlalchemy"].session())


def _labelled(user: Any) -> Actor:
    """Who the current user is; if its attributes expired, by the name seen earlier or, once, loaded apart."""
    actor = _identify_user(user)
    if actor.id is None:
        return actor
    labels: dict[Actor, str | None] = request.environ.setdefault(_LABELS_KEY, {})
    unnamed = replace(actor, label=None)
    if actor.label is not None:
        labels[unnamed] = actor.label
    elif unnamed not in labels and is_expired(user):
        loaded = _ask(lambda: _load_apart(_identify_and_load))
        labels[unnamed] = loaded.label if loaded is not None and replace(loaded, label=None) == unnamed else None
    return replace(actor, label=labels.get(unnamed))
