"""What the role of an application could do to hide or forge something."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, MetaData, Row, text

from ..schema.catalog import creators_in, default_schema
from ..schema.declared import declaration_of, declared_triggers

# A role can become any role that it is a member of, whether it inherits the rights of that one or not.
_SUPERUSER = text(
    """
    SELECT rolname
    FROM pg_catalog.pg_roles
    WHERE rolsuper AND pg_catalog.pg_has_role(oid, 'MEMBER')
    ORDER BY rolname <> current_user, rolname
    LIMIT 1
    """
)

# By name and not by to_regclass(), which asks for USAGE of the schema; a safe role has none.
_RIGHTS = text(
    """
    SELECT
        bool_or(role.oid = c.relowner) AS is_owner,
        bool_or(role.oid = n.nspowner) AS is_owner_of_schema,
        array_remove(
            ARRAY[
                CASE WHEN bool_or(pg_catalog.has_any_column_privilege(role.oid, c.oid, 'INSERT')) THEN 'INSERT' END,
                CASE WHEN bool_or(pg_catalog.has_any_column_privilege(role.oid, c.oid, 'UPDATE')) THEN 'UPDATE' END,
                CASE WHEN bool_or(pg_catalog.has_table_privilege(role.oid, c.oid, 'DELETE')) THEN 'DELETE' END,
                CASE WHEN bool_or(pg_catalog.has_table_privilege(role.oid, c.oid, 'TRUNCATE')) THEN 'TRUNCATE' END,
                CASE WHEN bool_or(pg_catalog.has_table_privilege(role.oid, c.oid, 'TRIGGER')) THEN 'TRIGGER' END
            ],
            NULL
        ) AS privileges
    FROM pg_catalog.pg_class AS named
    JOIN pg_catalog.pg_namespace AS its ON its.oid = named.relnamespace
    JOIN pg_catalog.pg_class AS c
        ON c.oid = named.oid OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(named.oid) AS p)
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles AS role ON pg_catalog.pg_has_role(role.oid, 'MEMBER')
    WHERE its.nspname = :schema AND named.relname = :table AND named.relkind IN ('r', 'p')
    """
)

_REPLICATION = text(
    """
    SELECT bool_or(pg_catalog.has_parameter_privilege(oid, 'session_replication_role', 'SET'))
    FROM pg_catalog.pg_roles
    WHERE pg_catalog.pg_has_role(oid, 'MEMBER')
    """
)


def powers(connection: Connection, metadata: MetaData) -> list[str]:
    """What the role of the connection could do to hide or forge something, in words."""
    declaration = declaration_of(metadata)
    if declaration is None:
        return []
    superuser = connection.scalar(_SUPERUSER)
    if superuser is not None:
        is_itself = superuser == connection.scalar(text("SELECT current_user"))
        return ["anything: it is a superuser" if is_itself else f"anything: it can become the superuser {superuser}"]
    default = default_schema(connection)
    found: list[str] = []
    for table in ("activity", "transaction"):
        found += _of_log(table, _rights(connection, declaration.schema or default, table))
    for triggers in declared_triggers(metadata):
        rights = _rights(connection, triggers.schema or default, triggers.table)
        if rights.is_owner:
            found.append(f"disable the triggers of {triggers.table}: it owns the table")
        elif "TRIGGER" in rights.privileges:
            found.append(f"replace the triggers of {triggers.table}: it has the privilege TRIGGER")
    if (connection.dialect.server_version_info or ()) >= (15,) and connection.scalar(_REPLICATION):
        found.append("write without any trigger: it may set session_replication_role")
    return found


def creators(connection: Connection, metadata: MetaData) -> list[str]:
    """Who else may create objects in the schema of the log, in words: a function there can come before one of ours."""
    declaration = declaration_of(metadata)
    if declaration is None:
        return []
    schema = declaration.schema or default_schema(connection)
    return [
        f"{holder} can create objects in the schema {schema} of the log" for holder in creators_in(connection, schema)
    ]


def _of_log(table: str, rights: Row[tuple[bool, bool, list[str]]]) -> Iterator[str]:
    if rights.is_owner:
        yield f"anything to {table}: it owns it"
        return
    if rights.is_owner_of_schema:
        yield f"drop {table}: it owns the schema"
    for privilege in rights.privileges:
        yield f"{privilege} on {table}"


def _rights(connection: Connection, schema: str, table: str) -> Row[tuple[bool, bool, list[str]]]:
    return connection.execute(_RIGHTS, {"schema": schema, "table": table}).one()
