"""Kinds of values: how a column's values are compared and shown."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any

from sqlalchemy.types import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    TypeEngine,
)


class Kind(enum.Enum):
    """How values are compared and shown."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATE = "date"
    INSTANT = "instant"
    TIMESTAMP = "timestamp"
    JSON = "json"
    ARRAY = "array"
    BINARY = "binary"
    DERIVED = "derived"
    PLAIN = "plain"


def kind_of_type(column_type: TypeEngine[Any]) -> Kind:
    """The kind of a declared column type."""
    if isinstance(column_type, TypeDecorator):
        return kind_of_type(column_type.impl_instance)
    name = column_type.__visit_name__.upper()
    if name == "TSVECTOR":
        return Kind.DERIVED
    if isinstance(column_type, DateTime):
        return Kind.INSTANT if column_type.timezone else Kind.TIMESTAMP
    kinds: tuple[tuple[type[Any], Kind], ...] = (
        (ARRAY, Kind.ARRAY),
        (JSON, Kind.JSON),
        (Boolean, Kind.BOOLEAN),
        (Integer, Kind.NUMBER),
        (Numeric, Kind.NUMBER),
        (Float, Kind.NUMBER),  # since SQLAlchemy 2.1 no Numeric
        (Date, Kind.DATE),
        (LargeBinary, Kind.BINARY),
        (Enum, Kind.PLAIN),
        (String, Kind.TEXT),
    )
    return next((kind for python, kind in kinds if isinstance(column_type, python)), Kind.PLAIN)


def kind_of_data(data: Any) -> Kind:
    """The kind of a logged value when nothing better is known."""
    if isinstance(data, bool):
        return Kind.BOOLEAN
    if isinstance(data, (int, Decimal)):
        return Kind.NUMBER
    if isinstance(data, list):
        return Kind.ARRAY
    if isinstance(data, dict):
        return Kind.JSON
    return Kind.TEXT


def type_of(data: Any) -> str:
    """The JSON type of a logged value."""
    if data is None:
        return "null"
    if isinstance(data, bool):
        return "boolean"
    if isinstance(data, (int, Decimal)):
        return "number"
    if isinstance(data, list):
        return "array"
    return "object" if isinstance(data, dict) else "string"


def settled(kind: Kind | None, *samples: Any) -> Kind:
    """The declared kind if the logged values fit it, else what the values themselves say.

    A column that was text once and is a number today has both in its history.
    """
    fits: dict[Kind, tuple[type[Any], ...]] = {
        Kind.NUMBER: (int, Decimal, str),  # NaN and money are logged as text
        Kind.BOOLEAN: (bool,),
        Kind.TEXT: (str,),
        Kind.DATE: (str,),
        Kind.INSTANT: (str,),
        Kind.TIMESTAMP: (str,),
        Kind.ARRAY: (list,),
        Kind.BINARY: (str,),
        Kind.DERIVED: (str,),
    }
    present = [sample for sample in samples if sample is not None]
    if kind is Kind.JSON or not present:
        inner = {kind_of_data(sample) for sample in present}
        return inner.pop() if len(inner) == 1 else (kind or Kind.PLAIN)
    if kind is not None and all(isinstance(sample, fits.get(kind, (object,))) for sample in present):
        return kind
    inner = {kind_of_data(sample) for sample in present}
    return inner.pop() if len(inner) == 1 else Kind.PLAIN
