"""The mapped classes of an application: which one has a name, and which attributes stand for columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from ..exceptions import ActorClassError


def class_called(mappers: Collection[Mapper[Any]], name: str) -> type[Any] | None:
    """The class with a name, if there is one.

    Of classes that extend each other it is the first, as they share their keys.

    :param name: of the class, or its path up to any module.
    :raises ActorClassError: if several classes have the name; otherwise it would be chance who the actors are.
    """
    paths = {m: f"{m.class_.__module__}.{m.class_.__name__}" for m in mappers}
    found = [m for m, path in paths.items() if f".{path}".endswith(f".{name}")]
    first = [m for m in found if all(other.isa(m) for other in found)]
    if found and not first:
        named = sorted(paths[m] for m in found)
        raise ActorClassError(
            f"Several models are called {name!r}: {', '.join(named)}. "
            f"Give the class of the actors or its path, as in AuditLogger(db, actor_cls={named[0]!r})."
        )
    return first[0].class_ if first else None


def attributes_of(mappers: Collection[Mapper[Any]], table: Table) -> dict[str, str]:
    """The mapped attributes of a table and the columns they stand for."""
    return {
        name: column.name
        for mapper in mappers
        if table in mapper.tables
        for name, column in mapper.columns.items()
        if getattr(column, "table", None) is table
    }
