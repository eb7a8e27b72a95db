"""The entries that a log makes about itself, such as ``pruned``, and where a log is for the jobs that make them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TextClause, text

from ..exceptions import ConfigurationError
from ..schema.catalog import default_schema, placed
from ..schema.declared import Declaration
from ..sql import quote_ident

_OWNER = text(
    """
    SELECT pg_catalog.pg_get_userbyid(c.relowner) AS name, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_ours,
        current_user AS role
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = 'activity' AND c.relkind IN ('r', 'p')
    """
)

_IS_READABLE = text(
    """
    SELECT bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname IN ('activity', 'transaction') AND c.relkind IN ('r', 'p')
    """
)

_NOTICE = """
    INSERT INTO {activity} (
        schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, transaction_id
    )
    VALUES (
        :schema, :table, coalesce(pg_catalog.to_regclass(:relation)::oid, 0), pg_catalog.statement_timestamp(),
        pg_catalog.pg_current_xact_id()::text::bigint, :verb, CAST(:data AS jsonb),
        {log}.audit_logger_current_transaction()
    )
    RETURNING transaction_id, id
"""


@dataclass(frozen=True)
class Log:
    """Where a log is.

    :param schema: schema of its tables.
    :param default: schema of what is named without one.
    """

    schema: str
    default: str

    def sql(self, statement: str) -> TextClause:
        """A statement in which ``{activity}``, ``{transaction}`` and ``{log}``, the schema, become quoted names."""
        names = {name: quote_ident(self.schema, name) for name in ("activity", "transaction")}
        names["log"] = quote_ident(self.schema)
        return text(statement.format(**{name: quoted.replace(":", "\\:") for name, quoted in names.items()}))


def log_of(connection: Connection, declaration: Declaration) -> Log:
    """The log that a declaration means on a connection."""
    default = default_schema(connection)
    return Log(placed(connection, declaration).schema or default, default)


def check_owner(connection: Connection, log: Log) -> None:
    """Nobody but the owner of a log may change it.

    :raises ConfigurationError: if the role of the connection has not the owner's rights, or there is no log.
    """
    owner = connection.execute(_OWNER, {"schema": log.schema}).one_or_none()
    if owner is None:
        raise ConfigurationError(
            f"There is no log in schema {log.schema} yet: `flask db upgrade`, if the migration is waiting; else "
            "`flask db migrate` writes it."
        )
    if not owner.is_ours:
        raise ConfigurationError(
            f"The log in schema {log.schema} belongs to the role {owner.name}, and this is {owner.role}. Only "
            "the owner may do this: run it with the database URL that migrations use."
        )


def is_readable(connection: Connection, log: Log) -> bool:
    """Whether the role of the connection may read a log."""
    return bool(connection.scalar(_IS_READABLE, {"schema": log.schema}))


def notice(connection: Connection, log: Log, verb: str, schema: str, table: str, data: Mapping[str, Any]) -> str:
    """Make an entry of the log about itself, by whoever the connection is told to name.

    It has no record key, so that no history takes it for a change; a key it is about is in ``data``.

    :returns: its address, ``<transaction id>.<id>``.
    """
    values = {
        "schema": schema,
        "table": table,
        "relation": quote_ident(schema, table),
        "verb": verb,
        "data": json.dumps(data, ensure_ascii=False),
    }
    made = connection.execute(log.sql(_NOTICE), values).one()
    return f"{made.transaction_id}.{made.id}"
