"""What the text of a statement tells: whether it may change an audited table, and whether it may undo settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache


class Kind(Enum):
    """What a statement may do."""

    READ = "read"
    #: may change rows
    WRITE = "write"
    #: may change rows, and must not be put into a transaction by us: it may end one, or refuse to run in one
    CALL = "call"
    #: begins, ends or undoes (a part of) a transaction, and with it what was set in it
    CONTROL = "control"


class Step(Enum):
    """What a statement does to a savepoint."""

    BEGIN = "begin"
    RELEASE = "release"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Traits:
    """What the text of a statement tells.

    :param kind: what it may do.
    :param savepoint: what it does to which savepoint, if it is a statement for one.
    :param forgets: whether it may undo settings of the transaction in a way that can't be followed.
    :param may_set: whether it may make settings of ours itself; then its parameters tell more.
    :param is_single: whether it is certainly one statement.
    :param is_copy: whether it is a COPY.
    :param is_utility: whether it is a command like VACUUM, of which some refuse to run inside a transaction.
    :param is_harmless: whether it leaves settings as they are.
    """

    kind: Kind
    savepoint: tuple[Step, str] | None = None
    forgets: bool = False
    may_set: bool = False
    is_single: bool = True
    is_copy: bool = False
    is_utility: bool = False
    is_harmless: bool = True


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
_CONTROLS = frozenset("begin start commit end rollback abort prepare discard reset savepoint release".split())
_DEFINITIONS = frozenset("create alter drop comment grant revoke".split())
_QUERIES = frozenset("select with values table explain fetch declare".split())

_SAVEPOINT = re.compile(
    r"""
    [\s;(]*
    (?:(?P<begin>savepoint) | (?P<release>release(?:\s+savepoint)?)
        | (?P<undo>rollback(?:\s+(?:work|transaction))?\s+to(?:\s+savepoint)?))
    \s+ (?P<name>"(?:[^"]|"")+" | \w+)
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Also as one of several statements. Savepoints alone can be followed, other ends can't.
_FORGETS = re.compile(
    r"""
    (?:^|;)[\s(]* (?:
        begin | start | commit | end | rollback | abort | discard | savepoint | release
        | prepare\s+transaction | reset\s+all
    )\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Names of settings come as text or as parameters, and may be quoted in parts.
_SETS = re.compile(r"flask_audit_logger|set_config", re.IGNORECASE)

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


def traits_of(statement: str) -> Traits:
    """What a statement may do, as far as its text tells."""
    if len(statement) < _LONG:
        return _traits_of_short(statement)
    return _traits_of_long(statement) if len(statement) < _VERY_LONG else _traits_of(statement)


#: Of longer statements only some are remembered, and of very long ones none; in characters.
_LONG, _VERY_LONG = 5_000, 200_000


def _traits_of(statement: str) -> Traits:
    start = _COMMENTS.match(statement)
    word = _WORD.match(statement, start.end() if start else 0)
    first = word[0].lower() if word else ""
    code: str | None = None
    if first not in _WRITES or ";" in statement:
        code = _NO_CODE.sub(_without_text, statement).rstrip("; \t\r\n")
    is_single = code is None or ";" not in code
    kind = _kind_of(first, code or "")
    savepoint = _savepoint(code) if kind is Kind.CONTROL and code is not None else None
    forgets = savepoint is None and code is not None and _FORGETS.search(code) is not None
    may_set = first not in _DEFINITIONS and _SETS.search(statement) is not None
    return Traits(
        kind=kind,
        savepoint=savepoint,
        forgets=forgets,
        may_set=may_set,
        is_single=is_single,
        is_copy=first == "copy",
        is_utility=kind is Kind.READ and first not in _QUERIES,
        is_harmless=savepoint is None and not forgets and not may_set,
    )


def _kind_of(first: str, code: str) -> Kind:
    if first in _WRITES:
        return Kind.WRITE
    if first in _CALLS:
        return Kind.CALL
    if first in _QUERIES:
        runs = first == "explain" and _EXECUTE.search(code)
        return Kind.WRITE if runs or _may_write(code) else Kind.READ
    # Something else, of which a part may write: one of several statements, the query of CREATE TABLE … AS.
    if (";" in code or first == "create") and _may_write(code):
        return Kind.CALL
    return Kind.CONTROL if first in _CONTROLS else Kind.READ


def _savepoint(code: str) -> tuple[Step, str] | None:
    found = _SAVEPOINT.fullmatch(code)
    if found is None:
        return None
    step = next(step for step in Step if found[step.value])
    name = found["name"]
    return step, name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


_traits_of_short = lru_cache(maxsize=2048)(_traits_of)
_traits_of_long = lru_cache(maxsize=64)(_traits_of)


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
