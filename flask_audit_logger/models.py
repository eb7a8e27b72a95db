"""The classes that read the log, their columns and their schema.

Their tables, made by ``sql/v1/tables.sql``, have a metadata of their own: no column, mixin, naming rule or dialect of
the application reaches them, and neither Alembic nor ``create_all()`` sees them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import INET, JSONB, OID
from sqlalchemy.orm import foreign, registry, relationship, remote

#: Attributes that are tried as the name of an actor whose class has no ``__str__`` of its own.
ACTOR_NAMES = ("display_name", "full_name", "name", "username", "email", "login")


class AuditLogTransaction:
    """One unit of work: who made the changes that point to it, from where, when and why.

    A database transaction has one row, or several if the actor or the context changed inside it; rows of one
    database transaction share ``native_transaction_id``.
    """

    id: int
    #: PostgreSQL's 64-bit transaction id. Unique only within the life of one cluster; never used to join.
    native_transaction_id: int
    #: Clock time at which the row was made, so that the order of ids is the order of time.
    issued_at: dt.datetime
    #: Key of the actor in the type of the actor's own key; ``None`` if it is not known. No foreign key.
    actor_id: Any
    #: How the actor was called at that time.
    actor_label: str | None
    #: Address of the client (``str`` or an :mod:`ipaddress` object, as the driver gives it).
    client_addr: str | IPv4Interface | IPv6Interface | None
    #: The login role of the database session.
    db_user: str | None
    #: The ``application_name`` of the database session.
    application_name: str | None
    #: Request, command, job, reason and whatever the application added.
    context: dict[str, Any]
    #: What only the database says: ``capture_off``, ``rows_unread``, ``unreadable``. No context can forge it.
    marks: dict[str, Any]
    #: The actor's row if it still exists; only there if an actor class is known.
    actor: Any
    activities: list[AuditLogActivity]

    def __repr__(self) -> str:
        return f"<AuditLogTransaction id={self.id!r} issued_at={self.issued_at!r}>"


class AuditLogActivity:
    """One change of one row, or one TRUNCATE."""

    id: int
    schema: str
    table_name: str
    #: ``oid`` of the table that was changed (a partition's own, where one was).
    relid: int
    #: Start of the statement that made the change.
    issued_at: dt.datetime
    native_transaction_id: int
    #: ``insert``, ``update``, ``delete``, ``truncate``, ``snapshot``, or of no row: ``event``, ``pruned``, ``hold`` …
    verb: str
    #: The row before the change; ``{}`` for an insert.
    old_data: dict[str, Any]
    #: Insert: the row. Update: the changed columns with their new values. Delete: ``{}``.
    changed_data: dict[str, Any]
    #: Key of the record before the change: the value as text, or for a composite key a JSON array of texts.
    record_key: str | None
    transaction_id: int
    transaction: AuditLogTransaction

    def __repr__(self) -> str:
        return f"<AuditLogActivity table_name={self.table_name!r} id={self.id!r}>"


@dataclass(frozen=True)
class AuditModels:
    """The classes and tables of one log.

    :param beside: the metadata of the application's tables in the same database.
    :param is_partitioned: whether the tables have a partition for each month.
    """

    activity_cls: type[AuditLogActivity]
    transaction_cls: type[AuditLogTransaction]
    beside: MetaData
    is_partitioned: bool = False

    @property
    def activity(self) -> Table:
        """The activity table."""
        return self.activity_cls.__table__  # type: ignore[attr-defined,no-any-return]  # set by the mapper

    @property
    def transaction(self) -> Table:
        """The transaction table."""
        return self.transaction_cls.__table__  # type: ignore[attr-defined,no-any-return]  # set by the mapper

    @property
    def actor_type(self) -> str:
        """The type of the actors' keys as PostgreSQL writes it."""
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
        return self.transaction.c.actor_id.type.compile(dialect=dialect)


def make_models(beside: MetaData, schema: str | None, *, is_partitioned: bool = False) -> AuditModels:
    """Make the tables, and classes mapped to them.

    :param beside: the metadata of the application's tables in the same database.
    :param schema: schema of the log; ``None`` is the one of ``beside``, or else the default schema of the connection.
    :param is_partitioned: whether they have a partition for each month.
    """
    # Flask-SQLAlchemy finds the engine of a table by the key of its bind.
    metadata = MetaData(schema=beside.schema, info={"bind_key": beside.info.get("bind_key")})
    transaction = _transaction_table(metadata, schema)
    activity = _activity_table(metadata, schema)
    transaction_cls = type("AuditLogTransaction", (AuditLogTransaction,), {"__table__": transaction})
    activity_cls = type("AuditLogActivity", (AuditLogActivity,), {"__table__": activity})
    mappers = registry(metadata=metadata)
    mappers.map_imperatively(
        transaction_cls,
        transaction,
        properties={
            "activities": relationship(
                activity_cls,
                primaryjoin=transaction.c.id == foreign(activity.c.transaction_id),
                order_by=activity.c.id,
                viewonly=True,
            )
        },
    )
    mappers.map_imperatively(
        activity_cls,
        activity,
        # As in release 2.0.0: session.get(activity_cls, id). It reads by the BRIN index.
        primary_key=[activity.c.id],
        properties={
            "transaction": relationship(
                transaction_cls, primaryjoin=foreign(activity.c.transaction_id) == transaction.c.id, viewonly=True
            )
        },
    )
    return AuditModels(activity_cls, transaction_cls, beside, is_partitioned)


def bind_actor(models: AuditModels, actor_cls: type[Any]) -> None:
    """Give ``transaction.actor_id`` the type of the actor's key and add the relationship ``actor``.

    A composite key is kept as text (a JSON array), and then there is no relationship.
    """
    key = inspect(actor_cls).primary_key
    actor_id = models.transaction.c.actor_id
    if len(key) != 1:
        return
    actor_id.type = key[0].type
    inspect(models.transaction_cls).add_property(
        "actor",
        relationship(actor_cls, primaryjoin=remote(key[0]) == foreign(actor_id), viewonly=True, uselist=False),
    )


def _transaction_table(metadata: MetaData, schema: str | None) -> Table:
    return Table(
        "transaction",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("native_transaction_id", BigInteger, nullable=False),
        Column("issued_at", DateTime(timezone=True), nullable=False),
        Column("actor_id", Text),
        Column("actor_label", Text),
        Column("client_addr", INET),
        Column("db_user", Text),
        Column("application_name", Text),
        Column("context", JSONB, server_default=text("'{}'::jsonb"), nullable=False),
        Column("marks", JSONB, server_default=text("'{}'::jsonb"), nullable=False),
        schema=schema,
    )


def _activity_table(metadata: MetaData, schema: str | None) -> Table:
    return Table(
        "activity",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("schema", Text, nullable=False),
        Column("table_name", Text(collation="C"), nullable=False),
        Column("relid", OID, nullable=False),
        Column("issued_at", DateTime(timezone=True), nullable=False),
        Column("native_transaction_id", BigInteger, nullable=False),
        Column("verb", Text, nullable=False),
        Column("old_data", JSONB, server_default=text("'{}'::jsonb"), nullable=False),
        Column("changed_data", JSONB, server_default=text("'{}'::jsonb"), nullable=False),
        Column("record_key", Text(collation="C")),
        Column("transaction_id", BigInteger, primary_key=True),
        schema=schema,
    )
