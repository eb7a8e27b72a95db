"""The functions of a log in the order in which they are made, and the reading and quoting of the SQL files.

A file of ``v1/`` is one function or script, rendered for one schema and never changed once released.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

#: The newest version of the SQL in this package.
CURRENT_VERSION = 1

#: The function that keeps the tables from being dropped before the triggers. The error of PostgreSQL says its name,
#: so that is what leads on.
GUARD = "import_flask_audit_logger_and_migrate_again"

#: Functions in the order in which they are made; each uses only those before it.
FUNCTIONS = (
    ("current_transaction", ""),
    ("note", "text, text, text"),
    ("record_event", "text, text, text, jsonb"),
    ("missing", "jsonb"),
    ("refuse", "text, text, text"),
    ("referential", "oid"),
    ("safe_value", "text, text, bigint, bigint"),
    ("shape", "oid"),
    ("has_shape", "text, text, text"),
    ("stored_columns", "jsonb, jsonb"),
    ("key_columns", "jsonb, jsonb"),
    ("value", "jsonb, text, text, bigint"),
    ("projection", "jsonb, jsonb, text, text, boolean"),
    ("record_key", "jsonb, jsonb, text"),
    ("same_key", "jsonb, jsonb, text, text"),
    ("pairs", "jsonb"),
    ("statement", "jsonb, jsonb, text, text, text, text, boolean, text"),
    ("fallback", "oid, jsonb, text, bigint, bigint, text"),
    ("source", "jsonb, jsonb, text"),
    ("capture", ""),
    ("truncate", ""),
    ("revoke_function", "oid"),
    ("function_name", "oid, text"),
    ("drop_triggers", "oid, text[]"),
    ("make_function", "oid, jsonb, text"),
    ("compile", "oid, jsonb, text[]"),
    ("compiled", "oid"),
    ("compile_again", "oid"),
    ("is_compiled", "oid"),
    ("switch", "text, text"),
    ("append_only", ""),
    ("protect", ""),
    ("rotate", "text"),
    (GUARD, ""),
)

#: The one that the application calls itself: default privileges, or GRANT and REVOKE, say who may.
CALLABLE = "record_event"

#: Those that triggers of audited tables call.
TRIGGER_FUNCTIONS = ("capture", "truncate")

#: Matches the names of the functions that are made for one table and verb.
COMPILED = "^audit_logger_[0-9a-f]{16}_(insert|update|delete)$"

#: Matches the names of all functions that triggers call.
CALLED = "^audit_logger_(capture|truncate|[0-9a-f]{16}_(insert|update|delete))$"
#: The one that triggers of the log itself call; its name is theirs, too.
APPEND_ONLY = "append_only"

_PLACEHOLDER = re.compile("@([a-z_]+)@")

#: Verbs that have a trigger, in the order in which the triggers are made.
VERBS = ("insert", "update", "delete", "truncate")

#: The verb of what the application records beside the changes of rows.
EVENT = "event"
#: Verbs of what a log says about itself.
OF_ITSELF = ("pruned", "hold", "release", "erased")
#: Verbs of the entries that are no change of a row; the index ``activity_rare_idx`` has them.
NOTICES = (*OF_ITSELF, EVENT)


def quote_ident(*names: str) -> str:
    """Quote an identifier, or a qualified one: ``quote_ident("a", 'b"c')`` is ``"a"."b""c"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def quote_literal(value: str) -> str:
    """Quote a text as an SQL string that means the same whatever ``standard_conforming_strings`` is.

    It has no ``$``, which could end the block that the string stands in.
    """
    quoted = "'" + value.replace("'", "''").replace("\\", "\\\\").replace("$", "\\044") + "'"
    return f" E{quoted}" if "\\" in quoted else quoted


def render(name: str, version: int, schema: str, **identifiers: str) -> str:
    """The SQL of one object.

    :param name: name of the file without ``.sql``.
    :param version: which of the released versions.
    :param schema: schema of the log, not quoted.
    :param identifiers: further ``@name@`` placeholders with the SQL that replaces them.
    """
    sql = _read(name, version)
    replacements = {"schema": quote_ident(schema), "schema_name": quote_literal(schema), **identifiers}
    # in one pass: a table may be called @schema@
    sql = _PLACEHOLDER.sub(lambda found: replacements.get(found[1], found[0]), sql)
    return sql.strip().removesuffix(";")


def function_signature(name: str, schema: str) -> str:
    """``"schema"."audit_logger_name"(argument types)``."""
    return f"{quote_ident(schema, f'audit_logger_{name}')}({dict(FUNCTIONS)[name]})"


@cache
def _read(name: str, version: int) -> str:
    return files(__package__).joinpath(f"v{version}/{name}.sql").read_text(encoding="utf-8")
