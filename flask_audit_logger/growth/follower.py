"""The server that pages read from: what brings the log there, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import OperationalError

from ..exceptions import ReadError
from ..models import AuditModels
from ..query.reader import AuditReader, lag_of
from ..schema.catalog import default_schema, has_log_tables
from ..schema.objects import LOG_TABLES, Tables
from ..sql import quote_ident, quote_literal

#: Finds the names of indexes.
Missing = Callable[[Connection, str], list[str]]

#: More minutes than that behind are a fault.
LATE = 5

_SUBSCRIPTIONS = text(
    """
    SELECT c.relname AS log, s.subname AS name, s.subpublications AS publications, s.subenabled AS is_on,
        r.srsubstate::text IN ('r', 's') AS is_copied, EXISTS (
            SELECT FROM pg_catalog.pg_stat_subscription AS w WHERE w.subid = s.oid AND w.pid IS NOT NULL
        ) AS is_running
    FROM pg_catalog.pg_subscription_rel AS r
    JOIN pg_catalog.pg_subscription AS s ON s.oid = r.srsubid
    JOIN pg_catalog.pg_class AS c ON c.oid = r.srrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname IN ('activity', 'transaction')
    """
)

_PUBLICATIONS = text(
    """
    SELECT p.pubname AS name, p.pubinsert AND p.pubupdate AS has_both, p.pubviaroot AS is_by_root,
        p.pubdelete OR p.pubtruncate AS takes_away, count(*) AS tables
    FROM pg_catalog.pg_publication AS p
    JOIN pg_catalog.pg_publication_tables AS t ON t.pubname = p.pubname
    WHERE p.pubname = ANY (CAST(:names AS name[])) AND t.schemaname = :schema
        AND t.tablename IN ('activity', 'transaction')
    GROUP BY 1, 2, 3, 4
    """
)


def statements(schema: str, actor_type: str, connection: str, name: str = "audit_log") -> tuple[list[str], list[str]]:
    """The SQL that lets another server follow a log: for the main server, and for the other one.

    :param schema: schema of the log, also there.
    :param actor_type: the type of the actors' keys.
    :param connection: how the other server reaches the main one, as libpq writes it.
    :param name: of the publication and the subscription.
    """
    tables = ", ".join(quote_ident(schema, log) for log in LOG_TABLES)
    publish = (
        f"CREATE PUBLICATION {name} FOR TABLE {tables} "
        "WITH (publish = 'insert, update', publish_via_partition_root = true)"
    )
    subscribe = f"CREATE SUBSCRIPTION {name} CONNECTION {quote_literal(connection)} PUBLICATION {name}"
    made = [f"CREATE SCHEMA IF NOT EXISTS {quote_ident(schema)}", *Tables(schema, 1, actor_type).create()]
    return [publish], [*made, subscribe]


def follower_faults(there: Engine, here: Engine, models: AuditModels, missing: Missing) -> tuple[list[str], str | None]:
    """Why another server doesn't follow a log, and a remark that is no fault.

    :param there: engine of the server that follows.
    :param here: engine of the main one.
    :param models: the log.
    :param missing: finds the indexes that a log in a schema lacks.
    """
    try:
        with here.connect() as connection:
            schema = models.activity.schema or default_schema(connection)
        with there.connect() as connection:
            if not has_log_tables(connection, schema):
                return ["the tables of the log are missing; `flask audit reader` prints what makes them"], None
            faults = [f"its index {index} is missing or not valid" for index in missing(connection, schema)]
            is_replica = bool(connection.scalar(text("SELECT pg_is_in_recovery()")))
            followed = list(connection.execute(_SUBSCRIPTIONS, {"schema": schema}))
            faults += [] if is_replica else _not_brought(followed)
        if followed:
            with here.connect() as connection:
                faults += _not_published(connection, schema, {name for row in followed for name in row.publications})
        lag = lag_of(AuditReader(there, models), AuditReader(here, models))
    except (OperationalError, ReadError) as error:
        return [f"it can't be read: {str(error).partition(chr(10))[0]}"], None
    if lag.minutes > LATE:
        faults.append(f"it is {lag.minutes} minutes behind")
    return faults, "how far it is behind is not known: the main server does not answer" if lag.behind is None else None


def _not_brought(followed: Sequence[Row[Any]]) -> Iterator[str]:
    """Why the subscriptions of a server don't bring what is new."""
    found = {row.log: row for row in followed}
    for log in LOG_TABLES:
        row = found.get(log)
        if row is None:
            yield f"no subscription of it has the table {log}"
        elif not row.is_on:
            yield f"its subscription {row.name} is disabled: ALTER SUBSCRIPTION {quote_ident(row.name)} ENABLE"
        elif not row.is_running:
            yield f"its subscription {row.name} does not run: the log of that server says why"
        elif not row.is_copied:
            yield f"its subscription {row.name} has not copied the table {log} yet"


def _not_published(connection: Connection, schema: str, names: Collection[str]) -> Iterator[str]:
    """Why the publications that are subscribed to are not what brings all that is new, and nothing else."""
    found = connection.execute(_PUBLICATIONS, {"schema": schema, "names": list(names)}).all()
    if not any(row.tables == len(LOG_TABLES) and row.has_both and row.is_by_root for row in found):
        yield (
            "none of its publications has both tables, insert and update, and publish_via_partition_root; "
            "`flask audit reader` prints one"
        )
    for row in found:
        if row.takes_away:
            yield f"the publication {row.name} publishes deletes, too: what is removed here is lost there"
