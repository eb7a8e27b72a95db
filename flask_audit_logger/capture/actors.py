"""The key and the display name of a user object."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Session
from sqlalchemy.orm.util import identity_key
from werkzeug.local import LocalProxy

from ..models import ACTOR_NAMES

logger = logging.getLogger("flask_audit_logger")


# Kept on the object, for as long as it lives: a commit expires its attributes.
_NAME_KEY = "flask_audit_logger_name"


@dataclass(frozen=True)
class Actor:
    """Somebody who makes changes.

    :param id: the key as text; a composite key as a JSON array of texts.
    :param label: how the actor is called.
    :param model: the class, if it is a mapped object.
    :param who: the mapped object, if its name was not loaded when it was given.
    """

    id: str | None = None
    label: str | None = None
    model: type[Any] | None = None
    who: Any = field(default=None, compare=False, repr=False)

    def is_among(self, model: type[Any] | None) -> bool:
        """Whether the key is one of the actor class, as far as is known: of its table, not only equal to one."""
        if self.model is None or model is None or self.model is model:
            return True
        return _table_of_keys(self.model) is _table_of_keys(model)


def identify(who: Any, *, with_label: bool = True) -> Actor:
    """Key and name of ``who``: a mapped object, an object of Flask-Login, or a key. Nothing expired is loaded for it.

    :param with_label: whether the name is wanted.
    """
    who = itself(who)
    if who is None or isinstance(who, Actor):
        return who or Actor()
    if isinstance(who, tuple):
        return Actor(id=_key(who))
    state, get_id = _state(who), getattr(who, "get_id", None)
    if state is None and not callable(get_id):
        return Actor(id=_as_text(who))
    label = (remembered_name(who) if is_expired(who) else display_name(who)) if with_label else None
    if state is not None:
        source = who if with_label and label is None else None
        return Actor(id=_key_of_state(state), label=label, model=state.mapper.class_, who=source)
    return Actor(id=_as_text(get_id()), label=label)  # type: ignore[misc]  # callable, as was just asked


def display_name(user: Any) -> str | None:
    """The name of a user object, the same in the log, for the viewer of a page and in print.

    It is ``str()`` of the user if its class defines that, else the first of
    :data:`~flask_audit_logger.models.ACTOR_NAMES` that it has.
    Attributes that are not loaded are loaded.
    """
    user = itself(user)
    state = _state(user)
    if state is None:
        return _display_name(user)
    with _as_stored(state):
        name = state.info[_NAME_KEY] = _display_name(user)
    return name


@contextmanager
def _as_stored(state: InstanceState[Any]) -> Iterator[None]:
    """Show the columns of an object as they are before this change: who renames themself does it by the old name.

    What had expired when it was set anew is not known, and shown as it is.
    """
    changed = state.committed_state if state.persistent else {}
    names = state.mapper.column_attrs.keys() if changed else ()
    before = {n: changed[n] for n in names if n in changed and not isinstance(changed[n], LoaderCallableStatus)}
    now = {name: state.dict[name] for name in before if name in state.dict}
    state.dict.update(before)
    try:
        yield
    finally:
        state.dict.update(now)


def loaded_object(session: Session, model: type[Any], key: str | None) -> Any:
    """The object of a class that a session has loaded, by the text of its key; ``None`` if there is none."""
    columns = inspect(model).primary_key
    if key is None or len(columns) != 1:
        return None
    value = columns[0].type.python_type(key)
    return session.identity_map.get(identity_key(model, (value,)))


def remembered_name(user: Any) -> str | None:
    """The name of a mapped object that is not to be loaded: what it was called when it was, or what is loaded of it."""
    state = _state(user)
    return (None if state is None else state.info.get(_NAME_KEY)) or loaded_name(user)


def _display_name(user: Any) -> str | None:
    if _has_own_str(type(user)):
        try:
            return str(user)
        except Exception:
            # It may want what a detached object can't load. The key is right all the same.
            logger.debug("str() of an actor failed", exc_info=True)
    return _first_name(lambda name: getattr(user, name, None)) or loaded_name(user)


def loaded_name(user: Any) -> str | None:
    """The name of a user object as far as it is loaded."""
    state = _state(user)
    return _first_name((state.dict if state is not None else getattr(user, "__dict__", {})).get)


def itself(who: Any) -> Any:
    """The object behind a proxy, as :data:`flask_login.current_user` is one."""
    while isinstance(who, LocalProxy):  # current_user itself, or what stands in for it
        who = who._get_current_object()
    return who


def _table_of_keys(model: type[Any]) -> Any:
    return inspect(model).primary_key[0].table


def is_expired(who: Any) -> bool:
    """Whether attributes of a mapped object have to be loaded before they can be read."""
    state = _state(who)
    return state is not None and bool(state.expired or state.expired_attributes)


def _state(who: Any) -> InstanceState[Any] | None:
    state = getattr(who, "_sa_instance_state", None)  # what inspect() looks at
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


def _has_own_str(cls: type[Any]) -> bool:
    return any("__str__" in base.__dict__ for base in cls.__mro__ if base is not object)


def _first_name(value_of: Callable[[str], Any]) -> str | None:
    try:
        found = next((v for name in ACTOR_NAMES if (v := value_of(name)) and not callable(v)), None)
        return None if found is None else str(found)
    except Exception:
        logger.debug("the name of an actor can't be read", exc_info=True)
        return None


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)
