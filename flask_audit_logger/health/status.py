"""Health of a log: missing or changed triggers, roles that could tamper with it, and a trial change of each table."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, Row, text
from sqlalchemy.exc import DBAPIError

from ..growth.maintain import overdue
from ..schema.catalog import (
    ExistingTriggers,
    are_current,
    default_schema,
    existing_triggers,
    has_log_tables,
    installed_version,
    log_partition,
    placed,
    tables_in,
    translated,
    triggers_of_other_logs,
    uncompiled_tables,
)
from ..schema.declared import Declaration, declaration_of, declared_functions, wanted_triggers
from ..schema.names import TableName
from ..schema.objects import LOG_INDEXES, LOG_TABLES, Functions, Triggers
from ..schema.table_options import audited_tables, table_options, unclassified
from ..sql import quote_ident
from . import obstacles

# A role can become any role it is a member of, with or without inheriting its rights.
_SUPERUSER = text(
    """
    SELECT rolname
    FROM pg_catalog.pg_roles
    WHERE rolsuper AND pg_catalog.pg_has_role(oid, 'MEMBER')
    ORDER BY rolname <> current_user, rolname
    LIMIT 1
    """
)

# By name: to_regclass() needs USAGE on the schema, which a safe role lacks.
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

# Reading is no fault: pages and reports do it.
_GRANTS = text(
    """
    SELECT CASE a.grantee WHEN 0 THEN 'every role' ELSE 'role ' || pg_catalog.pg_get_userbyid(a.grantee) END AS holder,
        string_agg(DISTINCT a.privilege_type, ', ' ORDER BY a.privilege_type) AS privileges, o.name AS object
    FROM (
        SELECT 'function ' || p.proname AS name, p.proowner AS owner,
            coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = :schema
            AND pg_catalog.obj_description(p.oid, 'pg_proc') LIKE 'flask-audit-logger, version %'
            AND p.proname <> 'audit_logger_record_event'
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.relname, c.relowner, acls.acl
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT c.relacl AS acl
            UNION ALL
            SELECT attacl FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND NOT attisdropped
        ) AS acls
        WHERE n.nspname = :schema AND (
            c.relname IN ('activity', 'transaction')
            OR c.relkind = 'S' AND EXISTS (
                SELECT
                FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_class AS log ON log.oid = d.refobjid
                WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND log.relname IN ('activity', 'transaction')
            )
        )
    ) AS o
    CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
    WHERE a.grantee <> o.owner AND a.privilege_type <> 'SELECT'
    GROUP BY a.grantee, o.name
    ORDER BY 1, o.name
    """
)

_INDEXES = text(
    """
    SELECT c.relname
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_class AS log ON log.oid = i.indrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = log.relnamespace
    WHERE n.nspname = :schema AND log.relname IN ('activity', 'transaction') AND i.indisvalid
    """
)

_CREATORS = text(
    """
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'every role' ELSE 'role ' || role.rolname END AS holder
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
    LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = a.grantee
    WHERE n.nspname = :schema AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner AND role.rolsuper IS NOT TRUE
        AND a.grantee NOT IN (
            SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = 'activity'
        )
    ORDER BY 1
    """
)

#: Expressions that change a value, by category of its type.
_CHANGED_VALUES = {
    "b": "NOT {0}",
    "N": "{0} + 1",
    "S": "{0} || 'x'",
    "D": "{0} + interval '1 day'",
    "T": "{0} + interval '1 second'",
}

#: Entries of this database transaction.
_OWN = "native_transaction_id = CAST(CAST(pg_current_xact_id() AS text) AS bigint)"

_COLUMNS = text(
    """
    SELECT a.attname, t.typcategory::text AS category, a.attgenerated <> '' AS is_generated
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
    """
)


@dataclass(frozen=True)
class Finding:
    """State of the log or of one table.

    :param name: the log or the table, with its schema unless that is the default one.
    :param problems: why changes are not logged as the models say.
    :param triggers: the triggers the table should have.
    :param note: a remark that is no fault.
    """

    name: str
    problems: tuple[str, ...] = ()
    triggers: Triggers | None = None
    note: str | None = None


@dataclass(frozen=True)
class ProbeResult:
    """Outcome of one trial change.

    :param verb: the kind of change.
    :param is_logged: whether the change was logged; ``None`` if it was impossible.
    :param reason: why it was impossible.
    """

    verb: str
    is_logged: bool | None
    reason: str = ""


def check(connection: Connection, metadata: MetaData) -> list[Finding]:
    """Compare the database with the models: the log, each audited table by schema and name, unexpected triggers."""
    declaration = declaration_of(metadata)
    functions = declared_functions(metadata)
    if declaration is None or functions is None:
        return []
    declaration.prepare()
    declaration, functions = placed(connection, declaration), placed(connection, functions)
    default = default_schema(connection)
    log = declaration.schema or default
    there = tables_in(connection)
    existing = {f.triggers.name(default): f for f in existing_triggers(connection, declaration.schema)}
    elsewhere = {t.name(default): t for t in triggers_of_other_logs(connection, declaration.schema)}
    is_there = has_log_tables(connection, log)
    faults = list(_faults_of_log(connection, functions, log)) if is_there else ["its tables are missing"]
    if is_there and obstacles.is_own_log(connection, log):
        faults += overdue(connection, declaration, dt.datetime.now(dt.UTC))
    if is_there and log_partition(connection, log) != declaration.partition:
        faults.append("its tables are not laid out as AuditLogger(partition=…) says; `flask db migrate` changes them")
    uncompiled = [] if faults else uncompiled_tables(connection, functions)
    faults += obstacles.of_log(connection, log)
    found = [Finding(f"log in schema {log}", tuple(faults), note="; ".join(obstacles.limits(connection)) or None)]
    unclassified_columns = dict(_unclassified(connection, metadata, declaration))
    for wanted in wanted_triggers(connection, metadata):
        name = wanted.name(default)
        present = existing.pop(name, None)
        differences = tuple(_differences(wanted, present))
        if present is not None:
            differences += tuple(obstacles.of_table(connection, present.triggers))
        if name in elsewhere:
            differences = (f"its changes are logged in schema {elsewhere[name].audit_schema or default}",)
        missing = differences if name in there else ("the table is missing",)
        notes = ["it was altered; until `flask audit compile` its changes are logged more slowly"]
        notes = notes if name in uncompiled else []
        if name in unclassified_columns:
            columns = ", ".join(unclassified_columns[name])
            notes.append(f"its columns {columns} may be personal: say so, or not, by the option `personal`")
        found.append(Finding(name.short(default), missing, wanted, "; ".join(notes) or None))
    note = "no audited model has this table, but its triggers write to the log"
    return found + [Finding(name.short(default), note=note) for name in existing]


def _unclassified(
    connection: Connection, metadata: MetaData, declaration: Declaration
) -> Iterator[tuple[TableName, list[str]]]:
    """The columns that nobody said of whether they are personal, by table."""
    default = default_schema(connection)
    for table in audited_tables(metadata):
        attributes = declaration.attributes(table)
        options = table_options(table, attributes=attributes, exclude=declaration.exclude, mask=declaration.mask)
        columns = unclassified(metadata, table, options, attributes)
        if columns:
            yield TableName(translated(connection, table.schema) or default, table.name), columns


def _faults_of_log(connection: Connection, functions: Functions, schema: str) -> Iterator[str]:
    if not obstacles.is_own_log(connection, schema):
        yield (
            "its tables lack columns: if flask-audit-logger 2.0.0 or postgresql-audit made them, `flask db migrate` "
            "converts them; if they are somebody else's, give AuditLogger another schema"
        )
        return
    if installed_version(connection, schema) is None:
        yield "its functions are missing"
    elif not are_current(connection, functions):
        yield "its functions are outdated or were changed"
    for name in missing_indexes(connection, schema):
        yield f"its index {name} is missing or not valid"
    for grant in _grants_on_log(connection, schema):
        yield f"{grant}: REVOKE it"


def missing_indexes(connection: Connection, schema: str) -> list[str]:
    """The indexes that the tables of a log should have and have not, or not valid."""
    return sorted(set(LOG_INDEXES) - set(connection.scalars(_INDEXES, {"schema": schema})))


def _grants_on_log(connection: Connection, schema: str) -> list[str]:
    """Who may write to a log or its functions besides the owner: ``role app has INSERT, UPDATE on activity``."""
    rows = connection.execute(_GRANTS, {"schema": schema})
    return [f"{row.holder} has {row.privileges} on {row.object}" for row in rows]


def risks(connection: Connection, metadata: MetaData) -> list[str]:
    """Ways in which the role of the connection, or anybody who may create objects, could hide or forge entries."""
    declaration = declaration_of(metadata)
    if declaration is None:
        return []
    schema = placed(connection, declaration).schema or default_schema(connection)
    role = connection.scalar(text("SELECT current_user"))
    own = [f"role {role} {right}" for right in _rights_of_role(connection, metadata, schema)]
    # A function in the schema of the log could match a call better than one of ours does.
    others = [
        f"{holder} can create objects in the schema {schema} of the log" for holder in _creators_in(connection, schema)
    ]
    return own + others


def _creators_in(connection: Connection, schema: str) -> list[str]:
    """Who may create objects in the schema of a log besides its owners: ``every role``, ``role ann``."""
    return list(connection.scalars(_CREATORS, {"schema": schema}))


def probe(connection: Connection, triggers: Triggers) -> Iterator[ProbeResult]:
    """Insert, update and delete one existing row, the only proof that its triggers work.

    TRUNCATE is not tried, because it locks the table for everybody.

    :param connection: in a new transaction, which the caller rolls back.
    """
    for verb in triggers.options.verbs:
        if verb != "truncate":
            yield _try(connection, triggers, verb)


def _try(connection: Connection, triggers: Triggers, verb: str) -> ProbeResult:
    """Try one statement after another: a constraint may forbid some values."""
    default = default_schema(connection)
    table = quote_ident(triggers.schema or default, triggers.table)
    activity, transaction = (
        _escaped(quote_ident(triggers.audit_schema or default, name)) for name in ("activity", "transaction")
    )
    if connection.scalar(text(f"SELECT true FROM {_escaped(table)} LIMIT 1")) is None:  # noqa: S608 - quoted
        return ProbeResult(verb, None, "the table is empty")
    reason = "no column has a type that can be changed"
    for statement in _statements(connection, triggers, table, verb):
        savepoint = connection.begin_nested()
        try:
            before = connection.scalar(text(f"SELECT max(id) FROM {transaction}")) or 0  # noqa: S608 - quoted
            if not connection.execute(text(_escaped(statement))).rowcount:
                reason = "every row is locked"
                continue
            verbs = connection.scalars(
                text(f"SELECT verb FROM {activity} WHERE transaction_id > :before AND {_OWN}"),  # noqa: S608 - quoted
                {"before": before},
            ).all()
            return ProbeResult(verb, verb in verbs)
        except DBAPIError as error:
            reason = str(error.orig).partition("\n")[0]
        finally:
            savepoint.rollback()
    return ProbeResult(verb, None, reason)


def _statements(connection: Connection, triggers: Triggers, table: str, verb: str) -> Iterator[str]:
    columns = connection.execute(_COLUMNS, {"table": table}).all()
    row = f"(SELECT ctid FROM ONLY {table} LIMIT 1 FOR UPDATE SKIP LOCKED)"  # noqa: S608 - quoted
    if triggers.options.partitioned:
        row = f"(SELECT ctid FROM {table} LIMIT 1)"  # noqa: S608 - quoted
    if verb == "update":
        logged = triggers.options
        for column in columns:
            is_stored = column.attname not in logged.exclude and (logged.only is None or column.attname in logged.only)
            if (
                is_stored
                and column.category in _CHANGED_VALUES
                and not column.is_generated
                and column.attname not in logged.ignore
            ):
                name = quote_ident(column.attname)
                changed = _CHANGED_VALUES[column.category].format(name)
                yield f"UPDATE {table} SET {name} = {changed} WHERE ctid = {row} AND {name} IS NOT NULL"  # noqa: S608 - quoted
        return
    names = ", ".join(quote_ident(column.attname) for column in columns if not column.is_generated)
    # One statement, so that foreign keys to this row still hold at its end.
    yield (
        f"WITH gone AS (DELETE FROM {table} WHERE ctid = {row} RETURNING *) "  # noqa: S608 - quoted
        f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM gone"
    )


def _escaped(sql: str) -> str:
    return sql.replace(":", "\\:")


def _differences(wanted: Triggers, found: ExistingTriggers | None) -> Iterator[str]:
    there = () if found is None else found.triggers.options.verbs
    for verb in wanted.options.verbs:
        if verb not in there:
            yield f"no working trigger for {verb}"
    if found is None:
        return
    for verb in there:
        if verb not in wanted.options.verbs:
            yield f"unexpected trigger for {verb}"
    for field in dataclasses.fields(wanted.options):
        differs = getattr(wanted.options, field.name) != getattr(found.triggers.options, field.name)
        if there and differs and field.name not in ("verbs", "partitioned"):
            yield f"option {field.name} differs"
    if found.triggers.version != wanted.version:
        yield f"the triggers are of version {found.triggers.version}"
    if not found.is_complete and found.triggers.options.partitioned:
        yield "a partition has other triggers, or one captures twice"
    elif not found.is_complete and set(there) >= set(wanted.options.verbs):
        yield "a trigger captures twice, or is switched off"


def _rights_of_role(connection: Connection, metadata: MetaData, schema: str) -> Iterator[str]:
    superuser = connection.scalar(_SUPERUSER)
    if superuser is not None:
        is_itself = superuser == connection.scalar(text("SELECT current_user"))
        yield "is a superuser" if is_itself else f"can become the superuser {superuser}"
        return
    for table in LOG_TABLES:
        yield from _rights_on_log(table, _rights(connection, schema, table))
    for triggers in wanted_triggers(connection, metadata):
        rights = _rights(connection, triggers.schema or default_schema(connection), triggers.table)
        if rights.is_owner:
            yield f"owns {triggers.table}, so it can disable its triggers"
        elif "TRIGGER" in rights.privileges:
            yield f"has TRIGGER on {triggers.table}, so it can replace its triggers"
    if (connection.dialect.server_version_info or ()) >= (15,) and connection.scalar(_REPLICATION):
        yield "can set session_replication_role, so it can write without triggers"


def _rights_on_log(table: str, rights: Row[tuple[bool, bool, list[str]]]) -> Iterator[str]:
    if rights.is_owner:
        yield f"owns {table}"
        return
    if rights.is_owner_of_schema:
        yield f"owns the schema of {table}, so it can drop it"
    for privilege in rights.privileges:
        yield f"has {privilege} on {table}"


def _rights(connection: Connection, schema: str, table: str) -> Row[tuple[bool, bool, list[str]]]:
    return connection.execute(_RIGHTS, {"schema": schema, "table": table}).one()
