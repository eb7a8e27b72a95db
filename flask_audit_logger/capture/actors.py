"""Who somebody is: the key and the name of an actor, without touching the database."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import InstanceState, Session
from werkzeug.local import LocalProxy

logger = logging.getLogger("flask_audit_logger")

#: Attributes that are tried as the name of an actor whose class has no ``__str__`` of its own.
LABEL_ATTRIBUTES = ("display_name", "full_name", "name", "username", "email", "login")


@dataclass(frozen=True)
class Actor:
    """Somebody who makes changes.

    :param id: the key as text; a composite key as a JSON array of texts.
    :param label: how the actor is called.
    :param model: the class, if it is a mapped object.
    """

    id: str | None = None
    label: str | None = None
    model: type[Any] | None = None

    def is_among(self, model: type[Any] | None) -> bool:
        """Whether the key is one of the actor class, as far as is known: of its table, not only equal to one."""
        return self.model is None or model is None or _table_of_keys(self.model) is _table_of_keys(model)


def identify(who: Any, *, refreshed_in: Session | None = None) -> Actor:
    """Key and name of ``who``: a mapped object, an object of Flask-Login, or a key.

    :param refreshed_in: the session of which an expired object may be loaded for it. Any other may be expired, detached
        or deleted, and this may be called in the middle of its own flush.
    """
    while isinstance(who, LocalProxy):  # current_user itself, or what stands in for it
        who = who._get_current_object()
    if who is None or isinstance(who, Actor):
        return who or Actor()
    if isinstance(who, tuple):
        return Actor(id=_key(who))
    state = _state(who)
    if state is not None:
        key = _key_of_state(state)
        if refreshed_in is not None and state.session is refreshed_in and is_expired(who):
            refreshed_in.refresh(who)
        return Actor(id=key, label=_label_of_state(who, state), model=state.mapper.class_)
    get_id = getattr(who, "get_id", None)
    if callable(get_id):
        return Actor(id=_as_text(get_id()), label=_label(who, getattr(who, "__dict__", {})))
    return Actor(id=_as_text(who))


def _table_of_keys(model: type[Any]) -> Any:
    return inspect(model).primary_key[0].table


def is_expired(who: Any) -> bool:
    """Whether attributes of a mapped object have to be loaded before they can be read."""
    state = _state(who)
    return state is not None and bool(state.expired or state.expired_attributes)


def _state(who: Any) -> InstanceState[Any] | None:
    try:
        state = inspect(who)
    except NoInspectionAvailable:
        return None
    return state if isinstance(state, InstanceState) else None


def _key_of_state(state: InstanceState[Any]) -> str | None:
    if state.identity is not None:
        values = state.identity
    else:
        mapper = state.mapper
        values = tuple(state.dict.get(mapper.get_property_by_column(c).key) for c in mapper.primary_key)
    return _key(values)


def _key(values: tuple[Any, ...]) -> str | None:
    if not values or any(value is None for value in values):
        return None
    if len(values) == 1:
        return _as_text(values[0])
    return json.dumps([_as_text(value) for value in values], ensure_ascii=False)


def _label_of_state(who: Any, state: InstanceState[Any]) -> str | None:
    # A __str__ may read any attribute, so it is asked only when that needs no statement.
    if is_expired(who):
        return _label_from(state.dict)
    return _label(who, state.dict)


def _label(who: Any, values: dict[str, Any]) -> str | None:
    if _has_own_str(type(who)):
        try:
            return str(who)
        except Exception:
            # It may want what a detached object can't load. The key is right all the same.
            logger.debug("str() of an actor failed", exc_info=True)
    return _label_from(values)


def _has_own_str(cls: type[Any]) -> bool:
    return any("__str__" in base.__dict__ for base in cls.__mro__ if base is not object)


def _label_from(values: dict[str, Any]) -> str | None:
    return next((str(values[name]) for name in LABEL_ATTRIBUTES if values.get(name)), None)


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)
