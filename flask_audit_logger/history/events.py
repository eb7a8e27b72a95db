"""Events: what the application records beside changes of rows, such as that an invoice was exported."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.orm import Session

from ..databases import Database
from ..exceptions import ConfigurationError
from ..query.refs import mapped_key
from ..schema.catalog import default_schema, placed, translated
from ..schema.declared import Declaration, declaration_of
from ..schema.names import is_supported
from ..schema.table_options import TableOptions, is_audited, table_options
from ..sql import quote_ident

#: How what is recorded went.
OUTCOMES = ("success", "failure", "unknown")
#: Characters of the data of an event as JSON.
MOST_DATA = 100_000
#: Levels of dictionaries and lists in the data of an event.
MOST_NESTED = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}")
_MASKED = {"audit_logger": "masked"}
_MARK = "audit_logger"

_RECORD = """
    SELECT {log}.audit_logger_record_event(
        CAST(:schema AS text), CAST(:table AS text), CAST(:key AS text), CAST(:event AS jsonb)
    )
"""


@dataclass(frozen=True)
class Event:
    """An event as it was given and checked, but for what a log masks.

    :param data: what JSON can hold.
    """

    name: str
    outcome: str
    data: Mapping[str, Any]

    @classmethod
    def checked(cls, name: Any, outcome: Any, data: Mapping[str, Any]) -> Event:
        """Check what was given.

        :raises ConfigurationError: if it can't be recorded.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is no name of an event; give up to 100 letters, digits and _ . : / -, as 'order.sent'."
            )
        if outcome not in OUTCOMES:
            raise ConfigurationError(f"The outcome of {name} can't be {outcome!r}; choose from {', '.join(OUTCOMES)}.")
        event = cls(name, outcome, _plain(data, name))
        try:
            size = len(json.dumps(event.data))
        except ValueError as error:
            raise ConfigurationError(f"The data of {name} has a number of more digits than Python writes.") from error
        if size > MOST_DATA:
            raise ConfigurationError(
                f"The data of {name} has more than {MOST_DATA} characters as JSON. Record where it is, not all of it."
            )
        return event

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Event:
        """An event as the log has it."""
        return cls(content["name"], content["outcome"], content["data"])


def write(connection: Connection, metadata: MetaData, event: Event, target: Any = None) -> None:
    """Write an event in the running transaction of a connection; where there can't be a log, nothing.

    :param metadata: the tables of its database.
    :param target: a mapped object that has its key.
    :raises ConfigurationError: if there is no log, or the target is none.
    """
    if not is_supported(connection):
        return
    declaration = declaration_of(metadata)
    if declaration is None:
        raise ConfigurationError("There is no audited table in this database, so it has no log.")
    table = None if target is None else table_of(target)
    values: dict[str, Any] = {"schema": None, "table": None, "key": None}
    if table is not None:
        key = mapped_key(target)
        if key is None:
            raise ConfigurationError(f"{target!r} has no key yet. Add it to the session first; an event flushes it.")
        schema = translated(connection, table.schema) or default_schema(connection)
        values = {"schema": schema, "table": table.name, "key": key}
    content = {"name": event.name, "outcome": event.outcome, "data": _masked(event.data, declaration, table)}
    log = quote_ident(placed(connection, declaration).schema or default_schema(connection))
    statement = text(_RECORD.format(log=log.replace(":", "\\:")))
    connection.execute(statement, {**values, "event": json.dumps(content)})


def table_of(target: Any) -> Table:
    """The audited table of a mapped object: its own if it extends another class.

    :raises ConfigurationError: if it is no mapped object, or not audited.
    """
    mapper = getattr(type(target), "__mapper__", None)
    if mapper is None:
        raise ConfigurationError(f"The target of an event is a mapped object, not {target!r}.")
    tables = [table for table in reversed(mapper.tables) if isinstance(table, Table)]
    for table in tables:
        if is_audited(table):
            return table
    raise ConfigurationError(
        f"The table {tables[0].fullname} is not audited, so no history would show the event. Record it without a "
        "target, and say in its data what it is about."
    )


def metadata_of(database: Database, target: Any) -> MetaData:
    """The tables of the database that has the log of an event."""
    return database.metadatas[None] if target is None else table_of(target).metadata


def connection_for(session: Session, target: Any) -> Connection:
    """The connection of a session for an event; what is pending is sent first, so that the target has its key."""
    session.flush()
    return session.connection(bind_arguments={} if target is None else {"mapper": type(target).__mapper__})


def _masked(data: Mapping[str, Any], declaration: Declaration, table: Table | None) -> dict[str, Any]:
    """The data without what is never logged: the masks of the log at any depth, those of the target's table on top."""
    hidden, left_out = set(declaration.mask), set(declaration.exclude)

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            key: _MASKED if any(fnmatchcase(key, pattern) for pattern in hidden) else cleaned(each)
            for key, each in value.items()
            if not any(fnmatchcase(key, pattern) for pattern in left_out)
        }

    own, attributes = TableOptions(), {}
    if table is not None:
        attributes = dict(declaration.attributes(table))
        own = table_options(table, attributes=attributes, exclude=declaration.exclude, mask=declaration.mask)
    found: dict[str, Any] = cleaned(dict(data))
    # a value is named as its column, or as the attribute that stands for it
    names = {name: {name, attributes.get(name, name)} for name in found}
    return {
        name: _MASKED if names[name] & set(own.mask) else value
        for name, value in found.items()
        if not names[name] & set(own.exclude)
    }


def _plain(value: Any, place: str, depth: int = 1) -> Any:
    """A value as JSON has it; numbers that JSON has not, times and keys as text."""
    if depth > MOST_NESTED:
        raise ConfigurationError(f"The data of the event {place} is nested more than {MOST_NESTED} levels deep.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value, place, depth)
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigurationError(f"The data of the event {place} is {value!r}, which JSON can't hold.")
        return value
    if isinstance(value, Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value) or _MARK in value:
            raise ConfigurationError(f"The data of the event {place} has keys that are no texts, or {_MARK!r}.")
        return {_storable(key): _plain(each, f"{place}.{key}", depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, place, depth + 1) for each in value]
    raise ConfigurationError(
        f"The data of the event {place} is of type {type(value).__name__}. Give texts, numbers, times, UUIDs, lists "
        "and dictionaries; of an object its key."
    )


def _storable(text: str) -> str:
    # NUL, which jsonb refuses, and halves of a surrogate pair: what somebody typed must not fail the write
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
