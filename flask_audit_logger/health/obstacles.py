"""What loses changes though every trigger is there: settings, rules, UNLOGGED tables, renamed columns, other tools."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from ..schema.catalog import default_schema
from ..schema.objects import Triggers
from ..sql import quote_ident

# Settings that were made for a database, a role, or a role in a database, for sessions to come.
_KEPT_SETTINGS = text(
    """
    SELECT r.rolname AS role, d.datname AS database, split_part(c.setting, '=', 1) AS name,
        substr(c.setting, strpos(c.setting, '=') + 1) AS value
    FROM pg_catalog.pg_db_role_setting AS s
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
    WHERE d.datname IS NULL OR d.datname = current_database()
    ORDER BY 1, 2, 3
    """
)

_PRESENT_SETTINGS = text(
    """
    SELECT name, current_setting(name, true) AS value
    FROM unnest(CAST(:names AS text[])) AS s (name)
    """
)

_OFF, _CONTEXT, _REPLICATION = (
    "flask_audit_logger.enable_versioning",
    "flask_audit_logger.context",
    "session_replication_role",
)

# A rule replaces the INSERT, and a row trigger before it (bits 1, 2 and 4 of its type) may leave the row out; those of
# a partition run, too, when the INSERT names its table.
_INTERCEPTED = text(
    """
    WITH part AS (
        SELECT c.oid, c.relname, c.relpersistence
        FROM pg_catalog.pg_class AS log
        JOIN pg_catalog.pg_namespace AS n ON n.oid = log.relnamespace
        JOIN pg_catalog.pg_class AS c
            ON c.oid = log.oid OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(log.oid) AS p)
        WHERE n.nspname = :schema AND log.relname IN ('activity', 'transaction')
    )
    SELECT 'the rule ' || r.rulename AS object, c.relname
    FROM pg_catalog.pg_rewrite AS r
    JOIN part AS c ON c.oid = r.ev_class
    WHERE r.ev_type = '3' AND r.ev_enabled <> 'D'
    UNION ALL
    SELECT 'the trigger ' || t.tgname, c.relname
    FROM pg_catalog.pg_trigger AS t
    JOIN part AS c ON c.oid = t.tgrelid
    WHERE t.tgtype & 7 = 7 AND t.tgenabled <> 'D' AND NOT t.tgisinternal
    UNION ALL
    SELECT 'a crash of the server, as it is UNLOGGED,', c.relname
    FROM part AS c
    WHERE c.relpersistence = 'u'
    ORDER BY 2, 1
    """
)

# The comment of a trigger that audit_logger_switch() has switched off.
_SWITCHED_OFF = text(
    """
    SELECT DISTINCT pg_catalog.obj_description(t.oid, 'pg_trigger') AS said
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = :schema AND p.proname LIKE 'audit\\_logger\\_%' AND t.tgenabled = 'D'
        AND pg_catalog.obj_description(t.oid, 'pg_trigger') LIKE 'switched off by %'
    ORDER BY 1
    """
)

_OWN_COLUMNS = text(
    """
    SELECT count(*)
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND NOT a.attisdropped
        AND (c.relname, a.attname) IN (('transaction', 'marks'), ('activity', 'record_key'))
    """
)

_EXTENSIONS = text("SELECT extname FROM pg_catalog.pg_extension WHERE extname IN ('citus', 'timescaledb') ORDER BY 1")

_TABLE = text(
    """
    SELECT array_agg(a.attname ORDER BY a.attnum) AS columns,
        ARRAY(
            SELECT s.subname::text
            FROM pg_catalog.pg_subscription_rel AS r
            JOIN pg_catalog.pg_subscription AS s ON s.oid = r.srsubid
            WHERE s.subenabled AND r.srrelid IN (
                SELECT c.oid UNION ALL SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) AS p
            )
            ORDER BY 1
        ) AS subscriptions
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = :schema AND c.relname = :table AND c.relkind IN ('r', 'p')
    GROUP BY c.oid
    """
)

#: What each extension can't do: citusdata/citus#906 and #3858; timescale/timescaledb#1084 and #7574.
_LIMITS = {
    "citus": "distributed and reference tables refuse triggers like those of the log; others can be audited",
    "timescaledb": "hypertables refuse triggers like those of the log (newer releases only for deletes in compressed "
    "ones); a chunk that is dropped leaves no entry",
}


def is_own_log(connection: Connection, schema: str) -> bool:
    """Whether the tables ``activity`` and ``transaction`` of a schema are those of a log of this release."""
    return bool(connection.scalar(_OWN_COLUMNS, {"schema": schema}) == 2)


def of_log(connection: Connection, schema: str) -> Iterator[str]:
    """What keeps changes of all tables out of a log, with the statement that ends it."""
    for said in connection.scalars(_SWITCHED_OFF, {"schema": schema}):
        switch = f"{quote_ident(schema, 'audit_logger_switch')}('on', 'why')"
        yield f"it was {said}: SELECT {switch}"
    yield from _kept_settings(connection)
    for row in connection.execute(_INTERCEPTED, {"schema": schema}):
        yield f"{row.object} on {row.relname} may take entries out of the log: drop it"


def of_table(connection: Connection, triggers: Triggers) -> Iterator[str]:
    """What keeps changes of one audited table out of a log, or values under another name in it."""
    place = {"schema": triggers.schema or default_schema(connection), "table": triggers.table}
    found = connection.execute(_TABLE, place).one_or_none()
    if found is None:
        return
    options = triggers.options
    named = {"mask": options.mask, "exclude": options.exclude, "ignore": options.ignore, "only": options.only or ()}
    for option, columns in {**named, "key": options.key or ()}.items():
        for column in sorted(set(columns) - set(found.columns)):
            yield f"option {option} is about the column {column}, which the table has no longer: was it renamed?"
    for subscription in found.subscriptions:
        yield (
            f"what the subscription {subscription} writes is not logged: "
            "PostgreSQL runs no statement triggers for it. Audit the table where it is published"
        )


def limits(connection: Connection) -> list[str]:
    """What extensions in this database can't do with audited tables."""
    return [f"the extension {name} is installed: {_LIMITS[name]}" for name in connection.scalars(_EXTENSIONS)]


def _kept_settings(connection: Connection) -> Iterator[str]:
    is_explained = False
    for row in connection.execute(_KEPT_SETTINGS):
        effect = _effect(row.name, row.value)
        if effect is None:
            continue
        is_explained = True
        role = None if row.role is None else f"ROLE {quote_ident(row.role)}"
        database = None if row.database is None else f"DATABASE {quote_ident(row.database)}"
        place = " IN ".join(filter(None, (role, database))) or "ROLE ALL"
        yield f"{row.name} is set to {row.value!r}, so {effect}: ALTER {place} RESET {row.name}"
    if is_explained:
        return
    for row in connection.execute(_PRESENT_SETTINGS, {"names": [_OFF, _REPLICATION]}):
        effect = _effect(row.name, row.value or "")
        if effect is not None:
            yield f"{row.name} is {row.value!r} on this connection, so {effect}: see its options and postgresql.conf"


def _effect(name: str, value: str) -> str | None:
    """What a setting does to the log, if it does something."""
    if name == _OFF and value.lower() in ("false", "off", "no", "0"):
        return "changes are not logged"
    if name == _REPLICATION and value == "replica":
        return "no trigger runs"
    if name == _CONTEXT and value:
        return "who writes without the application is taken for somebody else"
    return None
