"""Which MetaData of a database object has which log, with the classes that read it, and which model the actors are."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import MetaData, Table, inspect
from sqlalchemy.orm import Mapper

from .databases import Database
from .exceptions import ActorClassError, ConfigurationError
from .models import AuditModels, bind_actor, make_models
from .schema import create_all
from .schema.declared import (
    Declaration,
    declare,
    declare_copy,
    is_declared,
    undeclare,
    undeclare_copy,
    unwatch,
    watch,
)
from .schema.table_options import audit_all, audited_tables, check_excepted

DEFAULT_ACTOR_CLASS = "User"


@dataclass(frozen=True)
class Wanted:
    """What an application says of its logs.

    :param schema: schema of the logs, if one was given.
    :param actor_cls: the model of the actors, its name or path, if one was given.
    :param exclude: patterns of columns that are never stored.
    :param mask: patterns of columns whose values are never stored.
    :param excepted: the tables that are not audited; ``None`` if only those are that are marked.
    :param partition: ``"month"`` if the tables of the logs are partitioned.
    :param archive: the folder of the archive, if there is one.
    :param keep: how long the entries of which table are kept.
    :param read_bind: the bind of a server that has a copy of the log, if pages read there.
    """

    schema: str | None
    actor_cls: str | type[Any] | None
    exclude: tuple[str, ...]
    mask: tuple[str, ...]
    excepted: frozenset[str] | None
    partition: str | None
    archive: str | None
    keep: tuple[tuple[str, str], ...]
    read_bind: str | None


class Registry:
    """Makes the tables of the logs and follows what the application imports after it.

    :param database: the application's way to its databases; what counts here are the tables and mapped classes.
    :raises ConfigurationError: if the application has a table of the log's name.
    :raises ActorClassError: if several models have the name of the actor model.
    """

    def __init__(self, database: Database, wanted: Wanted) -> None:
        self._database = database
        self._wanted = wanted
        self._models: dict[MetaData, AuditModels] = {}
        self._bound_actor: type[Any] | None = None
        self._bound: set[MetaData] = set()
        self._completing = threading.RLock()
        self.complete()

    def configure(self, database: Database, wanted: Wanted) -> None:
        """Take over what a newer logger says. Tables and classes are kept if they would be the same.

        :raises ConfigurationError: if the application has a table of the log's name.
        :raises ActorClassError: if several models have the name of the actor model.
        """
        with self._completing:
            self._database = database
            if (wanted.schema, wanted.actor_cls) != (self._wanted.schema, self._wanted.actor_cls):
                self._forget_models()
            self._wanted = wanted
            for metadata, models in self._models.items():
                self._declare(metadata, models)
            self.complete()

    def models_of(self, bind_key: str | None) -> AuditModels:
        """Tables and classes of the log in the database of one bind.

        :raises ConfigurationError: if that database has no audited table.
        """
        metadata = self._database.metadatas.get(bind_key)
        self.complete(metadata)
        if metadata not in self._models:
            raise ConfigurationError(f"There is no audited table in the database of the bind {bind_key!r}.")
        return self._models[metadata]

    def complete(self, asked_for: MetaData | None = None) -> type[Any] | None:
        """Take in what was imported since: databases with audited tables, and the actor model.

        :param asked_for: somebody wants the log of this one. The default database has one even if nothing is audited,
            but only then: it need not be PostgreSQL.
        :returns: the actor model, if there is one.
        """
        with self._completing:
            for bind, metadata in list(self._database.metadatas.items()):
                if bind is not None and bind == self._wanted.read_bind:
                    _refuse_audited(bind, metadata)
                    declare_copy(metadata, self._wanted.schema or self._default.schema)
                    continue
                audit_all(metadata, self._wanted.excepted)
                if is_declared(metadata):
                    continue
                is_default = metadata is asked_for is self._default
                if is_default or any(True for _ in audited_tables(metadata)):
                    self._declare(metadata, self._make_models(metadata))
                else:
                    self._watch(metadata)
            return self.find_actor()

    def find_actor(self) -> type[Any] | None:
        """The model of the actors, if there is one; the logs then refer to it."""
        wanted = self._wanted.actor_cls or DEFAULT_ACTOR_CLASS
        wanted_cls = class_called(self._database.mappers(), wanted) if isinstance(wanted, str) else wanted
        actor = self._bound_actor = self._bound_actor or wanted_cls
        if actor is not None:
            # The log of the default database, and the one that is beside the actors.
            beside = {self._default, getattr(inspect(actor).local_table, "metadata", None)}
            for metadata in self._models.keys() & beside - self._bound:
                bind_actor(self._models[metadata], actor)
                self._bound.add(metadata)
        return wanted_cls

    @property
    def actor(self) -> type[Any] | None:
        """The model of the actors that the logs refer to; looked for only until it is there."""
        return self._bound_actor or self.find_actor()

    def detach(self) -> None:
        """Stop to follow ``create_all()`` and what is imported."""
        for metadata in self._database.metadatas.values():
            create_all.detach(metadata)
            unwatch(metadata)
            undeclare_copy(metadata)
            audit_all(metadata, None)

    def _forget_models(self) -> None:
        for metadata in self._models:
            undeclare(metadata)
        self._models.clear()
        self._bound.clear()
        self._bound_actor = None

    def _make_models(self, metadata: MetaData) -> AuditModels:
        models = make_models(metadata, self._wanted.schema, is_partitioned=self._wanted.partition is not None)
        _refuse_neighbours(models)
        return models

    def _declare(self, metadata: MetaData, models: AuditModels) -> None:
        self._models[metadata] = models
        declare(
            metadata,
            Declaration(
                schema=models.activity.schema,
                exclude=self._wanted.exclude,
                mask=self._wanted.mask,
                partition=self._wanted.partition,
                archive=self._archive_of(metadata),
                keep=self._wanted.keep,
                actor_type=lambda: models.actor_type,
                attributes=lambda table: attributes_of(self._database.mappers(), table),
                prepare=self._prepare,
            ),
        )
        self._watch(metadata)

    def _archive_of(self, metadata: MetaData) -> str | None:
        """The folder of a log: that of the default database is the given one, those of binds are in it."""
        bind = next((key for key, each in self._database.metadatas.items() if each is metadata), None)
        given = self._wanted.archive
        return given if given is None or bind is None else os.path.join(given, bind)

    def _watch(self, metadata: MetaData) -> None:
        create_all.attach(metadata)
        watch(metadata, partial(self.complete, metadata))

    def _prepare(self) -> None:
        """Complete the log before its tables are made or compared.

        :raises ConfigurationError: if the application has a table of the log's name.
        :raises ActorClassError: if the actor model was named and doesn't exist, or several have its name.
        :raises UnknownOptionError: if ``except_tables`` names a table that doesn't exist.
        """
        if self.complete() is None and self._wanted.actor_cls is not None:
            raise ActorClassError(
                f"The actor class {self._wanted.actor_cls!r} is no model of this SQLAlchemy object. "
                "Import its module before migrations run, or give another actor_cls."
            )
        for models in self._models.values():
            _refuse_neighbours(models)
        check_excepted(self._database.metadatas.values(), self._wanted.excepted or ())

    @property
    def _default(self) -> MetaData:
        return self._database.metadatas[None]


def _refuse_neighbours(models: AuditModels) -> None:
    """Refuse a table of the application where one of the log is."""
    if any(table.fullname in models.beside.tables for table in (models.activity, models.transaction)):
        raise ConfigurationError(
            "The application has a table 'activity' or 'transaction' of its own. "
            "Give the log a schema: AuditLogger(db, schema='audit_logs')."
        )


def excepted(tables: str, names: tuple[str, ...]) -> frozenset[str] | None:
    """The tables that are not audited; ``None`` if only those are that are marked."""
    if tables == "all":
        return frozenset(names)
    if tables != "marked":
        raise ConfigurationError(f"tables is {tables!r}; choose from 'marked', 'all'.")
    if names:
        raise ConfigurationError('except_tables goes with tables="all": without it a table is audited if it is marked.')
    return None


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


def _refuse_audited(bind: str, metadata: MetaData) -> None:
    table = next(audited_tables(metadata), None)
    if table is not None:
        raise ConfigurationError(
            f"The audited table {table.name!r} is in the bind {bind!r}, which read_bind= names: that server has a copy "
            "of the log, and changes there are not logged."
        )


def refuse_nonsense(schema: str | None, **callbacks: Any) -> None:
    """Refuse arguments of a logger that mean nothing.

    :raises ConfigurationError: names the argument.
    """
    if schema == "":
        raise ConfigurationError("schema is ''; give the name of a schema, or nothing for the default one.")
    for name, given in callbacks.items():
        if given is not None and not callable(given):
            raise ConfigurationError(f"{name} is {given!r}; give a function.")
