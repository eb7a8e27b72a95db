"""Links from the application's own pages into the log."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from ..exceptions import ConfigurationError, NotInitializedError
from ..query.keys import key_text
from ..query.refs import RecordRef, stored_key
from .state import UIState, find_state, this_app


def audit_record_url(subject: Any, key: Any = None) -> str:
    """Address of the history of a record.

    :param subject: a model object, or the name of a table (``"products"``, ``"billing.orders"``).
    :param key: with a table: the value of its key, or a tuple of values for a key of several columns.
    """
    state = find()
    return state.links.record(record_of(state, subject, key))


def audit_actor_url(actor_id: Any) -> str:
    """Address of what an actor did; ``None`` is the actor that was not recorded."""
    return find().links.actor(None if actor_id is None else str(actor_id))


def record_of(state: UIState, subject: Any, key: Any = None) -> RecordRef:
    """The record that an application means.

    :raises ConfigurationError: if a table is named without a key, or an object has none yet.
    """
    if isinstance(subject, RecordRef):
        return subject
    if isinstance(subject, str):
        if key is None:
            raise ConfigurationError(f"audit_record_url({subject!r}) needs the record's key as well")
        ref = state.catalog.ref(subject)
        info = state.catalog.get(ref)
        parts = key if isinstance(key, (tuple, list)) else (key,)
        columns = list(info.table.primary_key.columns) if info is not None else []
        return RecordRef(ref, stored_key([key_text(*pair) for pair in zip_longest(parts, columns[: len(parts)])]))
    mapper = type(subject).__mapper__
    values = mapper.primary_key_from_instance(subject)
    if any(value is None for value in values):
        raise ConfigurationError(f"{subject!r} has no key yet; flush it before linking to its history")
    table = mapper.local_table
    name = table.name if table.schema is None else f"{table.schema}.{table.name}"
    parts = [key_text(*pair) for pair in zip(values, mapper.primary_key, strict=True)]
    return RecordRef(state.catalog.ref(name), stored_key(parts))


def find() -> UIState:
    """The pages that links of this application lead to.

    :raises NotInitializedError: if there are none.
    """
    state = find_state(this_app())
    if state is None:
        raise NotInitializedError("this application has no audit pages; give AuditLogger a ui")
    return state
