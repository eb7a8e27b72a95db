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
    #: may change rows, and may end a transaction itself
    CALL = "call"
    #: ends or undoes (a part of) a transaction, and with it what was set in it
    CONTROL = "control"


_COMMENTS = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*", re.DOTALL)
_WORD = re.compile(r"[a-zA-Z]+")
_CHANGE = re.compile(r"\b(?:insert\s+into|(?<!for\s)(?<!key\s)update|delete\s+from|merge\s+into)\b", re.IGNORECASE)
_FUNCTION_CALL = re.compile(r'(?:("[^"]+"|\w+)\s*\.\s*)?("[^"]+"|\b\w+)\s*\(')
_STRINGS = re.compile(r"'(?:[^']|'')*'")

_WRITES = frozenset("insert update delete merge copy truncate".split())
_CALLS = frozenset("call do execute".split())
_CONTROLS = frozenset("begin start commit end rollback abort prepare discard reset".split())
_QUERIES = frozenset("select with values table explain fetch declare".split())

# What may stand before a parenthesis in a query without being a function of the application: words of the grammar, and
# functions of PostgreSQL that change no table. A function that is missing here costs one statement, no more.
_HARMLESS = frozenset(
    """
    all and any array as between by case cast coalesce cube distinct else end except exists extract fetch filter from
    greatest group grouping having if ilike in intersect interval into is isnull join json lateral least like limit
    materialized not notnull nullif offset on only or order over overlaps overlay partition position rollup row rows
    select sets similar some substring tablesample then treat trim union using values varying when where window with
    within bit char character decimal dec float numeric nchar varchar precision time timestamp timestamptz text
    abs acos age array_agg ascii asin atan atan2 avg bit_and bit_length bit_or bool_and bool_or btrim cardinality cbrt
    ceil ceiling char_length character_length chr clock_timestamp concat concat_ws convert corr cos cot count
    covar_pop covar_samp crc32 cume_dist current_database current_query current_schema current_schemas current_setting
    daterange datemultirange decode degrees dense_rank div encode enum_first enum_last enum_range erf every exp
    factorial family first_value floor format format_type gcd gen_random_uuid generate_series generate_subscripts
    get_bit get_byte has_column_privilege has_schema_privilege has_table_privilege host hostmask inet_client_addr
    inet_server_addr initcap int4range int8range isempty isfinite justify_days justify_hours justify_interval lag
    last_value lcm lead left length ln localtimestamp log log10 lower lower_inc lower_inf lpad ltrim make_date
    make_interval make_time make_timestamp make_timestamptz masklen max md5 min mod mode netmask network normalize now
    nth_value ntile num_nonnulls num_nulls numrange obj_description octet_length parse_ident percent_rank
    percentile_cont percentile_disc phraseto_tsquery pi plainto_tsquery power quote_ident quote_literal quote_nullable
    radians random range_agg range_merge rank regr_count regr_slope repeat replace reverse right round row_number
    row_to_json rpad rtrim scale set_masklen setseed setweight sha224 sha256 sha384 sha512 shobj_description sign sin
    split_part sqrt starts_with statement_timestamp stddev stddev_pop stddev_samp string_agg string_to_array
    string_to_table strip strpos substr sum tan timeofday timezone translate trim_array trim_scale trunc
    ts_headline ts_rank ts_rank_cd tsmultirange tsrange tstzrange tsvector_to_array txid_current unaccent unnest upper
    upper_inc upper_inf uuid_generate_v4 uuidv4 uuidv7 var_pop var_samp variance version websearch_to_tsquery
    width_bucket xmlagg xmlelement xmlforest similarity word_similarity
    """.split()
)
_HARMLESS_PREFIXES = ("array_", "date_", "json_", "jsonb_", "pg_", "regexp_", "st_", "to_", "ts")


def kind_of(statement: str) -> Kind:
    """What a statement may do, as far as its text tells."""
    return _kind_of(statement) if len(statement) < _LONG else _kind_of.__wrapped__(statement)


#: Longer statements are not remembered, in characters.
_LONG = 5000


@lru_cache(maxsize=2048)
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
    if first in _QUERIES and _may_write(statement):
        return Kind.WRITE
    return Kind.READ


def _may_write(query: str) -> bool:
    """Whether a query has a part that writes, or calls a function of which we don't know that it doesn't."""
    text = _STRINGS.sub("''", query)
    if _CHANGE.search(text):
        return True
    return any(_is_unknown(schema, name) for schema, name in _FUNCTION_CALL.findall(text))


def _is_unknown(schema: str, name: str) -> bool:
    if schema.strip('"').lower() not in ("", "pg_catalog"):
        return True
    name = name.strip('"').lower()
    return name not in _HARMLESS and not name.startswith(_HARMLESS_PREFIXES)
