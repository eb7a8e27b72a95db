"""Which statements may change an audited table."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Kind(Enum):
    """What a statement may do."""

    READ = "read"
    #: may change rows
    WRITE = "write"
    #: may change rows, and must not be put into a transaction by us: it may end one, or refuse to run in one
    CALL = "call"
    #: ends or undoes (a part of) a transaction, and with it what was set in it
    CONTROL = "control"


def _comment(depth: int) -> str:
    """A pattern for comments inside comments."""
    inside = f"|{_comment(depth - 1)}" if depth else ""
    return rf"/\*(?:[^*/]|\*(?!/)|/(?!\*){inside})*\*/"


_COMMENT = _comment(depth=5)
_COMMENTS = re.compile(rf"(?:\s+|--[^\n]*(?:\n|$)|{_COMMENT}|[(;])*", re.DOTALL)
_WORD = re.compile(r"[a-zA-Z]+")
# Not a column of such a name, and not the lock of SELECT … FOR UPDATE.
_CHANGE = re.compile(
    r"""(?<![\w."])(?:insert\s+into|(?<!for\s)(?<!key\s)update|delete\s+from|merge\s+into)\b(?!")""", re.IGNORECASE
)
_NEXT_CHANGE = re.compile(r";\s*(?:truncate|copy|call|do|execute)\b", re.IGNORECASE)
_EXECUTE = re.compile(r"\bexecute\b", re.IGNORECASE)
_FUNCTION_CALL = re.compile(r'(?:("[^"]+"|\b\w+)\s*\.\s*)?("[^"]+"|\b\w+)\s*\(')
# Texts, comments and the places of parameters are no code. All in one expression: a quote in a comment begins no text,
# and the other way round.
_NO_CODE = re.compile(
    rf"""
    (?P<comment>--[^\n]* | {_COMMENT})
    | \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'
    | \$(?P<tag>[a-zA-Z_]*)\$.*?\$(?P=tag)\$
    | %\(\w+\)s
    | (?P<name>"(?:[^"]|"")*")
    """,
    re.DOTALL | re.VERBOSE,
)
# Names that stand before a parenthesis without being called: `AS x (a, b)`, and `x (a, b) AS (SELECT …)` after WITH.
_ALIAS = re.compile(
    r"""
    \bas\s+(?:"[^"]+"|(?!materialized\b|not\b)\w+)\s*\(
    | (?:"[^"]+"|\b\w+)\s*\([^()]*\)(?=\s+as\s+(?:(?:not\s+)?materialized\s*)?
        \((?:\s|\()*(?:select|with|values|table|insert|update|delete|merge)\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)

_WRITES = frozenset("insert update delete merge copy truncate execute".split())
_CALLS = frozenset("call do".split())
_CONTROLS = frozenset("begin start commit end rollback abort prepare discard reset".split())
_QUERIES = frozenset("select with values table explain fetch declare".split())

# What may stand before a parenthesis in a query without calling a function of the application: words of the grammar,
# and the types and aggregates that ORMs emit. A name that is missing here costs one setting; a name too many loses an
# actor.
_HARMLESS = frozenset(
    """
    all and any array as between by case cast coalesce distinct else except exists extract filter from group having in
    intersect is join lateral like limit materialized not nullif on or order over partition row select set then union
    using values when where with within

    avg char count float length lower max min now numeric sum upper varchar
    """.split()
)


def kind_of(statement: str) -> Kind:
    """What a statement may do, as far as its text tells."""
    if len(statement) < _LONG:
        return _kind_of_short(statement)
    return _kind_of_long(statement) if len(statement) < _VERY_LONG else _kind_of(statement)


#: Of longer statements only some are remembered, and of very long ones none; in characters.
_LONG, _VERY_LONG = 5_000, 200_000


def _kind_of(statement: str) -> Kind:
    start = _COMMENTS.match(statement)
    word = _WORD.match(statement, start.end() if start else 0)
    first = word[0].lower() if word else ""
    if first in _WRITES:
        return Kind.WRITE
    if first in _CALLS:
        return Kind.CALL
    if first in _CONTROLS:
        return Kind.CONTROL
    code = _NO_CODE.sub(_without_text, statement)
    if first in _QUERIES:
        runs = first == "explain" and _EXECUTE.search(code)
        return Kind.WRITE if runs or _may_write(code) else Kind.READ
    # Something else, of which a part may write: one of several statements, the query of CREATE TABLE … AS.
    return Kind.CALL if _may_write(code) and (";" in code or first == "create") else Kind.READ


_kind_of_short = lru_cache(maxsize=2048)(_kind_of)
_kind_of_long = lru_cache(maxsize=64)(_kind_of)


def _without_text(found: re.Match[str]) -> str:
    return found["name"] or (" " if found["comment"] else " '' ")


def _may_write(query: str) -> bool:
    """Whether a query has a part that writes, or calls a function of which we don't know that it doesn't."""
    if _CHANGE.search(query) or _NEXT_CHANGE.search(query):
        return True
    called = _ALIAS.sub(" as (", query)
    return any(_is_unknown(schema, name) for schema, name in _FUNCTION_CALL.findall(called))


def _is_unknown(schema: str, name: str) -> bool:
    if schema.strip('"').lower() not in ("", "pg_catalog"):
        return True
    return name.strip('"').lower() not in _HARMLESS
