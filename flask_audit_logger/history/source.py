"""Where code finds what it asks about: the log of a database, and the record or tables of a mapped object or class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import Engine, MetaData, Table, Text, cast, inspect, literal, select
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper

from ..databases import Database, engine_with
from ..exceptions import BadValue, ConfigurationError
from ..models import AuditModels
from ..query.reader import AuditReader
from ..query.refs import RecordRef, key_text, stored_key
from ..query.tables import TableCatalog, TableInfo
from ..schema.declared import declaration_of
from ..schema.table_options import TableOptions, table_options

#: Longest time for one statement of code that reads the log; a page has less.
TIMEOUT_MS = 30_000


class Logger(Protocol):
    """The part of an ``AuditLogger`` that is needed to find a log."""

    @property
    def database(self) -> Database:
        """The way to the application's databases."""

    @property
    def actor_cls(self) -> type[Any] | None:
        """The model of the actors, if there is one."""

    def models_of(self, bind_key: str | None) -> AuditModels:
        """Tables and classes of the log in the database of one bind."""


@dataclass(frozen=True)
class Source:
    """The log of one database, read where it is written.

    :param bind_key: of the database; ``None`` for the default one.
    :param actor_cls: the model of the actors, if there is one.
    """

    database: Database
    metadata: MetaData
    reader: AuditReader
    catalog: TableCatalog
    actor_cls: type[Any] | None
    bind_key: str | None

    @property
    def engine(self) -> Engine:
        """The engine of the database."""
        return self.reader.engine

    def info(self, table: Table) -> TableInfo:
        """What the models say about one of the tables."""
        return next(info for info in map(self.catalog.get, self.catalog.names) if info and info.table is table)

    def options(self, info: TableInfo) -> TableOptions:
        """How one of the tables is logged."""
        declared = declaration_of(self.metadata)
        if declared is None:
            return TableOptions()
        return table_options(
            info.table, attributes=declared.attributes(info.table), exclude=declared.exclude, mask=declared.mask
        )


@dataclass(frozen=True)
class Target:
    """What a call is about.

    :param mapper: of the class, if a class or object was given.
    :param tables: the audited tables of the class; of joined inheritance several.
    :param key: of the record as the log writes it; ``None`` for all records.
    :param identity: the values of its key as the models have them.
    """

    source: Source
    mapper: Mapper[Any]
    tables: tuple[TableInfo, ...]
    key: str | None
    identity: tuple[Any, ...] = ()

    @property
    def components(self) -> tuple[str, ...]:
        """The values of the key as texts of the database."""
        columns: Any = self.mapper.primary_key
        return tuple(key_text(*pair) for pair in zip(self.identity, columns, strict=True))

    @property
    def records(self) -> tuple[RecordRef, ...]:
        """The rows of the record, one in each table of its class; none if all records are meant."""
        return () if self.key is None else tuple(RecordRef(table.name, self.key) for table in self.tables)


def source_of(logger: Logger, bind_key: str | None = None) -> Source:
    """The log in the database of a bind.

    :raises ConfigurationError: if it has no audited table, or no engine that is not async.
    """
    database, models = logger.database, logger.models_of(bind_key)
    metadata = database.metadatas[bind_key]
    engine = engine_with(database, metadata)
    catalog = _catalog(models, metadata, engine)
    return Source(database, metadata, AuditReader(engine, models, TIMEOUT_MS), catalog, logger.actor_cls, bind_key)


def target_of(logger: Logger, subject: Any, key: Any = None) -> Target:
    """The table and record of a mapped object, or of a class and a key.

    :param key: of the record as in ``session.get()``: a value, or several as a tuple or dictionary.
    :raises ConfigurationError: if it is not mapped, not audited or has no key yet.
    """
    mapper = _mapper(subject)
    tables = [table for table in mapper.tables if isinstance(table, Table)]
    metadatas = logger.database.metadatas
    bind = next((bind for bind, metadata in metadatas.items() if tables and metadata is tables[0].metadata), _NO_BIND)
    if bind is _NO_BIND:
        raise ConfigurationError(f"{mapper.class_.__name__} has no table in the databases of this AuditLogger.")
    source = source_of(logger, bind)
    audited = tuple(info for info in map(source.info, tables) if info.is_audited)
    if not audited:
        names = ", ".join(repr(table.fullname) for table in tables)
        raise ConfigurationError(
            f"{mapper.class_.__name__} is not audited: {names} lacks info={{'audit_logged': True}}, so the log has "
            "nothing about it."
        )
    identity = _identity(mapper, subject, key)
    found = Target(source, mapper, audited, None, identity)
    return replace(found, key=stored_key(found.components)) if identity else found


@contextmanager
def bad_key_named(target: Target) -> Iterator[None]:
    """Say which part of the key is no value of its column, if a read fails by that.

    Only PostgreSQL knows what a type can be, and it is asked only then.

    :raises BadValue: if the read fails by a value.
    """
    try:
        yield
    except BadValue as error:
        for column, given, part in zip(target.mapper.primary_key, target.identity, target.components, strict=True):
            try:
                with target.source.reader.reading() as log:
                    log.scalar(select(cast(literal(part, Text), column.type).is_(None)))
            except BadValue:
                kind = column.type.compile(dialect=target.source.engine.dialect)
                name = target.mapper.class_.__name__
                raise BadValue(f"{given!r} can't be a key of {name}: its column {column.name!r} is {kind}") from error
        raise


_NO_BIND: Any = object()


def _mapper(subject: Any) -> Mapper[Any]:
    cls = subject if isinstance(subject, type) else type(subject)
    found: Any
    try:
        found = inspect(cls)
    except NoInspectionAvailable:
        found = None
    if not isinstance(found, Mapper):
        raise ConfigurationError(f"{subject!r} is neither a mapped class nor an object of one.")
    return found


def _identity(mapper: Mapper[Any], subject: Any, key: Any) -> tuple[Any, ...]:
    columns = mapper.primary_key
    names = [mapper.get_property_by_column(column).key for column in columns]
    if not isinstance(subject, type):
        if key is not None:
            raise ConfigurationError("Give an object, or a class and a key, not both.")
        # not by its attributes: those of a deleted or expired object would be loaded
        values: Sequence[Any] = inspect(subject).identity or mapper.primary_key_from_instance(subject)
        if any(value is None for value in values):
            raise ConfigurationError(f"This {mapper.class_.__name__} has no key yet: it was not flushed.")
        return tuple(values)
    if key is None:
        return ()
    if isinstance(key, Mapping):
        values = [key[name] for name in names] if key.keys() == set(names) else []
    else:
        values = list(key) if isinstance(key, (tuple, list)) else [key]
    if len(values) != len(columns) or any(value is None for value in values):
        raise ConfigurationError(f"The key of {mapper.class_.__name__} is {', '.join(names)}, not {key!r}.")
    return tuple(values)


def _catalog(models: AuditModels, metadata: MetaData, engine: Engine) -> TableCatalog:
    """The tables beside a log, read again when there are more of them."""
    if engine.dialect.default_schema_name is None:
        with engine.connect():  # the driver knows the default schema only after its first connection
            pass
    default = engine.dialect.default_schema_name or "public"
    known = (len(metadata.tables), default)
    kept = models.activity.info.get("audit_catalog")
    if kept is None or kept[0] != known:
        kept = models.activity.info["audit_catalog"] = (known, TableCatalog([metadata], default))
    catalog: TableCatalog = kept[1]
    return catalog
