"""The database objects of a log, and the SQL that makes and drops them."""

from __future__ import annotations

from dataclasses import dataclass

from ..exceptions import ConfigurationError
from ..sql import (
    APPEND_ONLY,
    COMPILED,
    FUNCTIONS,
    GUARD,
    TRIGGER_FUNCTIONS,
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
    "activity_end_idx",
    "activity_id_idx",
    "activity_pkey",
    "activity_rare_idx",
    "activity_record_idx",
    "transaction_actor_id_idx",
    "transaction_impersonated_idx",
    "transaction_issued_at_idx",
    "transaction_pkey",
    "transaction_undoes_idx",
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
    :param partition: ``"month"`` if they are partitioned, else ``None``.
    """

    schema: str | None
    version: int
    actor_type: str
    partition: str | None = None

    def create(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that make the tables, unless they are there."""
        made = [render("tables", self.version, self.schema or default_schema, actor_type=self.actor_type)]
        return made if self.partition is None else [*made, self._split(default_schema, is_new=True)]

    def split(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that partition plain tables, unless they are; nothing is copied."""
        return self._with_guard([self._split(default_schema, is_new=False)], self.schema or default_schema)

    def _split(self, default_schema: str, *, is_new: bool) -> str:
        schema = self.schema or default_schema
        return render("partition_tables", self.version, schema, is_new=str(is_new).lower())

    def unite(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that make partitioned tables plain ones again, which copies all entries."""
        schema = self.schema or default_schema
        plain = render("tables", self.version, schema, actor_type=self.actor_type)
        begin, finish = (render(name, self.version, schema) for name in ("unpartition_tables", "unpartition_finish"))
        return self._with_guard([begin, plain, finish], schema)

    def _with_guard(self, statements: list[str], schema: str) -> list[str]:
        """Statements that put other tables under the names of the log, if its functions are there or not."""
        # What has a row of a table for a variable remembers its type, which is that of the table before.
        remembering = render("current_transaction", self.version, schema)
        made = [remembering, *Functions(self.schema, self.version).guard(schema)]
        again = "\n".join(f"        EXECUTE {quote_literal(statement)};" for statement in made)
        capture = quote_literal(function_signature("capture", schema))
        guarded = (
            f"DO $audit_logger$\nBEGIN\n    IF pg_catalog.to_regprocedure({capture}) IS NOT NULL THEN\n{again}\n"
            "    END IF;\nEND;\n$audit_logger$"
        )
        return [f"DROP FUNCTION IF EXISTS {function_signature(GUARD, schema)}", *statements, guarded]

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
        names = [name for name, _ in FUNCTIONS if name != GUARD]
        made = [render(name, self.version, schema) for name in names]
        return [*made, *(self._comment(name, schema) for name in names), *self.guard(schema)]

    def guard(self, schema: str) -> list[str]:
        """Statements that let nobody but the owner touch the log, once tables and functions are there.

        :param schema: schema of the log.
        """
        return [
            render(GUARD, self.version, schema),
            self._comment(GUARD, schema),
            render("revoke", self.version, schema),
            f"SELECT {quote_ident(schema)}.audit_logger_protect()",
        ]

    def drop(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that drop the functions, if they are there, and whatever triggers still call them.

        No model may know the table of such a trigger: a partition that was detached, somebody's copy. Only triggers
        depend on a trigger function, so CASCADE takes nothing else along.
        """
        schema = self.schema or default_schema
        names = [name for name, _ in reversed(FUNCTIONS)]
        cascade = dict.fromkeys((*TRIGGER_FUNCTIONS, APPEND_ONLY), " CASCADE")
        fixed = [f"DROP FUNCTION IF EXISTS {function_signature(n, schema)}{cascade.get(n, '')}" for n in names]
        lines = [
            "DO $audit_logger$",
            "DECLARE",
            "    compiled pg_catalog.regprocedure;",
            "BEGIN",
            "    FOR compiled IN",
            "        SELECT p.oid FROM pg_catalog.pg_proc AS p",
            "        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace",
            f"        WHERE n.nspname OPERATOR(pg_catalog.=) {quote_literal(schema)}::name",
            f"            AND p.proname::text OPERATOR(pg_catalog.~) {quote_literal(COMPILED)}::text",
            "    LOOP",
            "        EXECUTE pg_catalog.format('DROP FUNCTION %s CASCADE', compiled);",
            "    END LOOP;",
            "END;",
            "$audit_logger$",
        ]
        return ["\n".join(lines), *fixed]

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
        """Statements that make the triggers of the captured verbs and their functions, and drop those of the others."""
        log = quote_ident(self.audit_schema or default_schema)
        verbs = quote_literal("{" + ",".join(self.options.verbs) + "}")
        options = quote_literal(self.options.argument())
        arguments = f"{self._oid(default_schema)}, {options}::jsonb, {verbs}::text[]"
        return [f"SELECT {log}.audit_logger_compile({arguments})"]

    def can_compile(self, default_schema: str = DEFAULT_SCHEMA) -> str:
        """Query whether the log has the function that makes those of its triggers."""
        function = function_signature("compile_again", self.audit_schema or default_schema)
        return f"SELECT pg_catalog.to_regprocedure({quote_literal(function)}) IS NOT NULL"

    def compile_again(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that make the functions anew for the table as it is now, with the options of its triggers."""
        table = f"pg_catalog.to_regclass({quote_literal(self.name(default_schema).quoted)})::oid"
        return [self._where_there("compile_again", table, default_schema)]

    def drop(self, default_schema: str = DEFAULT_SCHEMA) -> list[str]:
        """Statements that drop the triggers and their functions, if they are there."""
        return [self._where_there("drop_triggers", f"{self._oid(default_schema)}, '{{}}'::text[]", default_schema)]

    def _where_there(self, function: str, arguments: str, default_schema: str) -> str:
        """Call a function of the log; without the functions of the log there are no triggers that need it."""
        log = self.audit_schema or default_schema
        lines = [
            "DO $audit_logger$",
            "BEGIN",
            f"    IF pg_catalog.to_regprocedure({quote_literal(function_signature(function, log))}) IS NOT NULL THEN",
            f"        PERFORM {quote_ident(log)}.audit_logger_{function}({arguments});",
            "    END IF;",
            "END;",
            "$audit_logger$",
        ]
        return "\n".join(lines)

    def name(self, default_schema: str = DEFAULT_SCHEMA) -> TableName:
        """The table, with its schema."""
        return TableName.resolve(self.table, self.schema, default_schema)

    def _oid(self, default_schema: str) -> str:
        return f"{quote_literal(self.name(default_schema).quoted)}::pg_catalog.regclass::oid"


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
