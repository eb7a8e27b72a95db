"""The database objects of a log, and the SQL that makes and drops them."""

from __future__ import annotations

from dataclasses import dataclass

from ..exceptions import ConfigurationError
from ..sql import (
    APPEND_ONLY,
    FUNCTIONS,
    GUARD,
    TRIGGER_FUNCTIONS,
    VERBS,
    function_signature,
    quote_ident,
    quote_literal,
    render,
)
from .names import TableName
from .table_options import TableOptions

#: Stands for "no schema was given" where SQL needs a name and no connection can be asked.
DEFAULT_SCHEMA = "public"

#: Names of the two tables of a log.
LOG_TABLES = ("transaction", "activity")

#: Names of their indexes, keys included.
LOG_INDEXES = (
    "activity_id_idx",
    "activity_pkey",
    "activity_record_idx",
    "transaction_actor_id_idx",
    "transaction_issued_at_idx",
    "transaction_pkey",
)

#: What somebody reads who looks up the function that keeps the tables.
_GUARD_COMMENT = (
    ". Keeps the tables of the log while triggers write to them. To remove the log, take AuditLogger out of the "
    'application, leave "import flask_audit_logger" in it, and let "flask db migrate" write the migration again.'
)


@dataclass(frozen=True)
class Tables:
    """The two tables of one log.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    :param version: version of the SQL.
    :param actor_type: the type of the actors' keys, as PostgreSQL writes it.
    """

    schema: str | None
    version: int
    actor_type: str

    def create(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that make the tables, unless they are there."""
        return [render("tables", self.version, self.schema or default_schema, actor_type=self.actor_type)]

    def drop(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that drop the tables, if they are there; their functions have to be gone by then."""
        named = ", ".join(quote_ident(self.schema or default_schema, name) for name in LOG_TABLES)
        return [f"DROP TABLE IF EXISTS {named}"]


@dataclass(frozen=True)
class Functions:
    """The functions of one log.

    :param schema: schema of the log; ``None`` is the default schema of the connection.
    :param version: version of the SQL.
    """

    schema: str | None
    version: int

    def create(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that make the functions, or replace them by this version."""
        schema = self.schema or default_schema
        if "$" in schema:
            raise ConfigurationError(f"The schema {schema!r} of the log has a '$' in its name; use one without.")
        made = [render(name, self.version, schema) for name, _ in FUNCTIONS]
        comments = [self._comment(name, schema) for name, _ in FUNCTIONS]
        return [*made, *comments, *(render(name, self.version, schema) for name in ("revoke", "append_only_triggers"))]

    def drop(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that drop the functions, if they are there, and whatever triggers still call them.

        No model may know the table of such a trigger: a partition that was detached, somebody's copy. Only triggers
        depend on a trigger function, so CASCADE takes nothing else along.
        """
        schema = self.schema or default_schema
        names = [name for name, _ in reversed(FUNCTIONS)]
        cascade = dict.fromkeys((*TRIGGER_FUNCTIONS, APPEND_ONLY), " CASCADE")
        return [f"DROP FUNCTION IF EXISTS {function_signature(n, schema)}{cascade.get(n, '')}" for n in names]

    def _comment(self, name: str, schema: str) -> str:
        comment = f"flask-audit-logger, version {self.version}{_GUARD_COMMENT if name == GUARD else ''}"
        return f"COMMENT ON FUNCTION {function_signature(name, schema)} IS {quote_literal(comment)}"


@dataclass(frozen=True)
class Triggers:
    """The triggers of one audited table.

    :param table: name of the table.
    :param schema: schema of the table; ``None`` is the default schema of the connection.
    :param audit_schema: schema of the log; ``None`` is the default schema of the connection.
    :param version: version of the SQL.
    """

    table: str
    schema: str | None
    audit_schema: str | None
    version: int
    options: TableOptions

    def create(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that make the triggers of the captured verbs and drop those of the others."""
        table = self.name(default_schema).quoted
        statements = [self._drop_others(table, default_schema)]
        statements += [self._create_one(verb, table, default_schema, partition=False) for verb in self.options.verbs]
        if self.options.partitioned:
            statements += [
                self._on_partitions(self._create_one(verb, "%s", default_schema, partition=True), default_schema)
                for verb in self.options.verbs
            ]
        return statements

    def drop(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that drop the triggers, if they are there."""
        statements = [self._drop_one(verb, self.name(default_schema).quoted) for verb in VERBS]
        if self.options.partitioned:
            statements += [self._on_partitions(self._drop_one(verb, "%s"), default_schema) for verb in VERBS]
        return statements

    def name(self, default_schema: str = DEFAULT_SCHEMA) -> TableName:
        """The table, with its schema."""
        return TableName.resolve(self.table, self.schema, default_schema)

    def _create_one(self, verb: str, table: str, default_schema: str, *, partition: bool) -> str:
        options = quote_literal(self.options.argument(partition=partition))
        audit_schema = self.audit_schema or default_schema
        return render(f"trigger_{verb}", self.version, audit_schema, table=table, options=options)

    @staticmethod
    def _drop_one(verb: str, table: str) -> str:
        return f"DROP TRIGGER IF EXISTS audit_logger_{verb} ON {table}"

    def _drop_others(self, table: str, default_schema: str) -> str:
        """Drop triggers of other verbs, and under other names: a renamed one would log each change twice.

        Only if they are there: DROP TRIGGER IF EXISTS locks out readers even if there is nothing to drop.
        """
        log = self.audit_schema or default_schema
        functions = ", ".join(
            f"pg_catalog.to_regprocedure({quote_literal(function_signature(name, log))})::oid"
            for name in TRIGGER_FUNCTIONS
        )
        kept = ", ".join(quote_literal(f"audit_logger_{verb}") for verb in self.options.verbs) or "NULL"
        ours = ", ".join(quote_literal(f"audit_logger_{verb}") for verb in VERBS)
        named = quote_literal(table)
        lines = [
            "DO $audit_logger$",
            "DECLARE",
            "    other record;",
            "BEGIN",
            "    FOR other IN",
            "        SELECT tgname, tgrelid::regclass AS tgrelid",
            "        FROM pg_catalog.pg_trigger",
            "        WHERE NOT tgisinternal",
            f"            AND (tgfoid IN ({functions}) OR tgname IN ({ours}))",
            f"            AND (tgname IN ({kept})) IS NOT TRUE",
            f"            AND (tgrelid = {named}::regclass::oid",
            f"                OR tgrelid IN (SELECT relid::oid FROM pg_catalog.pg_partition_tree({named})))",  # noqa: S608 - quoted
            "    LOOP",
            "        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', other.tgname, other.tgrelid);",
            "    END LOOP;",
            "END;",
            "$audit_logger$",
        ]
        return "\n".join(lines)

    def _on_partitions(self, statement: str, default_schema: str) -> str:
        """Run a statement, in which ``%s`` stands for the table, on each partition that can have such triggers."""
        table = quote_literal(self.name(default_schema).quoted)
        escaped = quote_literal(statement.replace("%", "%%").replace("%%s", "%s", 1))
        return (  # names and statement are quoted
            "DO $audit_logger$\nDECLARE\n    leaf regclass;\nBEGIN\n"  # noqa: S608 - quoted
            "    FOR leaf IN SELECT oid FROM pg_catalog.pg_class\n"
            f"        WHERE relkind <> 'f' AND oid <> {table}::regclass::oid\n"
            f"        AND oid IN (SELECT relid::oid FROM pg_catalog.pg_partition_tree({table})) LOOP\n"
            f"        EXECUTE pg_catalog.format({escaped}, leaf);\n"
            "    END LOOP;\nEND;\n$audit_logger$"
        )


def snapshot(
    triggers: Triggers,
    default_schema: str = DEFAULT_SCHEMA,
    leaf: str | None = None,
    first_block: int | None = None,
    last_block: int | None = None,
) -> str:
    """The statement that records rows of a table which the log knows nothing of.

    :param leaf: a partition or the table itself, quoted; all if not given.
    :param first_block: where in it to begin.
    :param last_block: where in it to end.
    """
    return render(
        "snapshot",
        triggers.version,
        triggers.audit_schema or default_schema,
        table=quote_literal(triggers.name(default_schema).quoted),
        options=quote_literal(triggers.options.argument()),
        leaf="NULL" if leaf is None else quote_literal(leaf),
        first_block="NULL" if first_block is None else str(first_block),
        last_block="NULL" if last_block is None else str(last_block),
    )
