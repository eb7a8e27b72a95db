"""Logs, tables and records by the names that people write on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..exceptions import ConfigurationError
from ..query.put_back import column_of
from ..query.refs import HASHED, RecordRef, key_components, key_text, stored_key
from ..query.tables import TableInfo
from ..schema.declared import declaration_of
from .changes import typed_rows
from .source import Logger, Source, source_of

#: Audited tables that an error names.
MOST_NAMED = 20


@dataclass(frozen=True)
class Named:
    """A record that somebody named.

    :param key: as the log writes it.
    :param identity: the values of its key as the models have them.
    """

    source: Source
    info: TableInfo
    key: str
    identity: tuple[Any, ...]

    @property
    def ref(self) -> RecordRef:
        """The record."""
        return RecordRef(self.info.name, self.key)

    @property
    def mapped(self) -> tuple[type[Any], Any]:
        """Its class and key, as ``session.get()`` takes them.

        :raises ConfigurationError: if no class is mapped to the table.
        """
        found = [mapper for mapper in self.source.database.mappers() if mapper.local_table is self.info.table]
        if not found:
            raise ConfigurationError(
                f"No class is mapped to {self.info.name}, so there is nothing to make of its rows. "
                f"`flask audit history {self.info.name} …` lists their changes."
            )
        # of several classes of one table the one that all others inherit from
        mapper = min(found, key=lambda each: len(list(each.iterate_to_root())))
        return mapper.class_, self.identity if len(self.identity) > 1 else self.identity[0]


def log_named(logger: Logger, bind: str | None) -> Source:
    """The log of a bind; without one that of the default database, or the only one that there is.

    :raises ConfigurationError: if there is none, or several and none of the default database.
    """
    binds = _binds(logger)
    if bind is not None:
        if bind not in binds:
            raise ConfigurationError(f"There is no log of a bind {bind!r}; {_known(binds)}.")
        return source_of(logger, bind)
    if None in binds or len(binds) == 1:
        return source_of(logger, None if None in binds else binds[0])
    raise ConfigurationError(f"Of which database? {_known(binds)}." if binds else "The models declare no log.")


def table_named(logger: Logger, name: str, bind: str | None) -> tuple[Source, TableInfo]:
    """An audited table by its name, or by ``schema.name``.

    :param bind: where to look; by default in all databases.
    :raises ConfigurationError: if there is none, or one in several databases.
    """
    sources = [log_named(logger, bind)] if bind is not None else [source_of(logger, each) for each in _binds(logger)]
    found = [(source, info) for source in sources if (info := _audited(source, name)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"Several databases have a table {name!r}; {_known(_binds(logger))}.")
    known = [source.catalog.text(info.name) for source in sources for info in source.catalog.audited]
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    raise ConfigurationError(
        f"{name!r} is no audited table; there are {', '.join(known[:MOST_NAMED]) or 'none'}{more}. "
        "`flask audit log` lists changes of tables that are gone, too."
    )


def record_named(logger: Logger, table: str, key: Sequence[str], bind: str | None) -> Named:
    """A record by its table and the texts of its key: each value for itself, or as the log writes a key.

    :raises ConfigurationError: if there is no such table, or it can't have such a key.
    """
    source, info = table_named(logger, table, bind)
    parts = key_components(key[0]) if len(key) == 1 and len(info.key) != 1 else tuple(key)
    if parts[0].startswith(HASHED) and len(key) == 1:
        raise ConfigurationError(f"{key[0]} stands for a key that is too long for the log; give the key itself.")
    if len(parts) != len(info.key) or not parts:
        raise ConfigurationError(
            f"The key of {info.name} is {', '.join(info.key)}, not {' '.join(key)}." if info.key
            else f"{info.name} has no key, so the log can't tell its rows apart."
        )  # fmt: skip
    with source.reader.reading() as log:
        (values,) = typed_rows(log, info, [dict(zip(info.key, parts, strict=True))])
    columns = [column_of(info, name) for name in info.key]
    identity = tuple(values[name] for name in info.key)
    for column, text, value in zip(columns, parts, identity, strict=True):
        if value is text and not isinstance(text, _python(column)):
            raise ConfigurationError(f"{text!r} can't be a value of {info.name}.{column.name} ({column.type}).")
    return Named(source, info, stored_key([key_text(*pair) for pair in zip(identity, columns, strict=True)]), identity)


def _python(column: Any) -> type[Any]:
    try:
        found: type[Any] = column.type.python_type
    except NotImplementedError:
        return str
    return found


def _audited(source: Source, name: str) -> TableInfo | None:
    info = source.catalog.get(source.catalog.named(name))
    return info if info is not None and info.is_audited else None


def _binds(logger: Logger) -> list[str | None]:
    metadatas = logger.database.metadatas
    return [bind for bind, metadata in metadatas.items() if declaration_of(metadata) is not None]


def _known(binds: Sequence[str | None]) -> str:
    return f"give --bind with one of {', '.join(bind for bind in binds if bind is not None) or 'none'}"
