"""Which record is meant: its table and its key, written as the log writes keys."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, NamedTuple

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import Float, Numeric

from ..schema.names import TableName

__all__ = ["RecordRef", "TableName", "key_components", "key_text", "mapped_key", "stored_key"]

#: Bytes of the longest key that is stored as it is; what a longer one begins with instead.
LONGEST_KEY = 1000
HASHED = "sha256:"


class RecordRef(NamedTuple):
    """One record: its table and its key as stored in ``activity.record_key``."""

    table: TableName
    key: str

    @property
    def components(self) -> tuple[str, ...]:
        """The values of the key's columns as text, in the order of the key."""
        return key_components(self.key)


def stored_key(components: Sequence[str]) -> str:
    """The text under which a key is stored: one component as it is, several as a JSON array, a long key as its hash.

    The array is written as PostgreSQL prints ``jsonb``: blanks after commas, nothing but control characters,
    quote and backslash escaped.
    """
    whole = components[0] if len(components) == 1 else json.dumps(list(components), ensure_ascii=False)
    data = whole.encode("utf-8", "surrogatepass")
    return whole if len(data) <= LONGEST_KEY else HASHED + hashlib.sha256(data).hexdigest()


def mapped_key(subject: Any) -> str | None:
    """The stored key of a mapped object; ``None`` if it has none yet."""
    mapper = type(subject).__mapper__
    values = mapper.primary_key_from_instance(subject)
    if any(value is None for value in values):
        return None
    return stored_key([key_text(*pair) for pair in zip(values, mapper.primary_key, strict=True)])


def key_components(key: str) -> tuple[str, ...]:
    """Take a stored key apart; the inverse of :func:`stored_key`.

    A one-column key whose value looks like an array of texts gives several components, which lead back to the same
    stored text, so a link made from them still finds the record.
    """
    if key.startswith("["):
        try:
            parts = json.loads(key)
        except ValueError:
            return (key,)
        if (
            isinstance(parts, list)
            and len(parts) > 1
            and all(isinstance(part, str) for part in parts)
            and stored_key(parts) == key
        ):
            return tuple(parts)
    return (key,)


def key_text(value: Any, column: Column[Any] | None) -> str:
    """A value of a key column as PostgreSQL writes it into JSON, in UTC as the log has it.

    :param value: as the models have it: a member of an enum, a ``Decimal`` …; a text is taken as the database has it.
    :param column: the declared column, if there is one; it says how the value gets into the database.
    """
    sent = value if column is None or isinstance(value, str) else _sent(value, column)
    if isinstance(sent, str):
        return sent
    if isinstance(sent, bool):
        return "true" if sent else "false"
    if isinstance(sent, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(sent).hex()
    if isinstance(sent, (dt.datetime, dt.time)):
        return _clock_text(sent)
    if isinstance(sent, (int, float, Decimal)):
        return _number_text(sent, column)
    return sent.isoformat() if isinstance(sent, dt.date) else str(sent)


def _sent(value: Any, column: Column[Any]) -> Any:
    """What SQLAlchemy sends to the database."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
    process = column.type.dialect_impl(dialect).bind_processor(dialect)
    try:
        return value if process is None else process(value)
    except (LookupError, TypeError, ValueError):
        return value  # it is already written as in the database


def _clock_text(moment: dt.datetime | dt.time) -> str:
    if isinstance(moment, dt.datetime) and moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC)
    offset = moment.strftime("%z")
    text = moment.replace(tzinfo=None).isoformat()
    text = text.rstrip("0") if moment.microsecond else text
    return f"{text}{offset[:3]}:{offset[3:]}" if offset else text


def _number_text(number: int | float | Decimal, column: Column[Any] | None) -> str:
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    kind = column.type if column is not None else None
    if not exact.is_finite():
        return str(exact)
    if isinstance(kind, Numeric) and not isinstance(kind, Float) and kind.scale is not None:
        try:
            exact = exact.quantize(Decimal(1).scaleb(-kind.scale), ROUND_HALF_UP)
        except InvalidOperation:
            return format(exact, "f")
    text = format(exact, "f")
    return text.removesuffix(".0") if isinstance(number, float) else text
