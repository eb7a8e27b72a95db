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

# What may stand before a parenthesis in a query without being a function of the application: words of the grammar,
# types, and functions of PostgreSQL that change no table. No prefixes and no doubtful names (an application may well
# have a `log('text')`): a name that is missing here costs one statement, a name too many loses an actor.
_HARMLESS = frozenset(
    """
    all and any array as between by case cast coalesce cube distinct else end except exists extract fetch filter from
    greatest group grouping having if ilike in intersect interval into is isnull join json lateral least like limit
    materialized not notnull nullif offset on only operator or order over overlaps overlay partition position returning
    rollup row rows select sets similar some substring symmetric tablesample then treat trim union using values varying
    when where window with within zone

    bit char character dec decimal double float nchar numeric precision time timestamp timestamptz varchar

    abs acos acosd age any_value array_agg array_append array_cat array_dims array_fill array_length array_lower
    array_ndims array_position array_positions array_prepend array_remove array_replace array_reverse array_sample
    array_shuffle array_sort array_to_json array_to_string array_to_tsvector array_upper ascii asin atan atan2 avg
    bit_and bit_count bit_length bit_or bit_xor bool_and bool_or btrim cardinality casefold cbrt ceil ceiling
    char_length character_length chr clock_timestamp col_description concat concat_ws convert convert_from convert_to
    corr cos cosd cot count covar_pop covar_samp crc32 crc32c cume_dist currval current_database current_query
    current_role current_schema current_schemas current_setting current_user date_add date_bin date_part date_subtract
    date_trunc datemultirange daterange decode degrees dense_rank div encode enum_first enum_last enum_range erf erfc
    every exp factorial family first_value floor format format_type gamma gcd gen_random_uuid generate_series
    generate_subscripts get_bit get_byte has_any_column_privilege has_column_privilege has_database_privilege
    has_function_privilege has_schema_privilege has_sequence_privilege has_table_privilege hashtext host hostmask
    inet_client_addr inet_merge inet_same_family inet_server_addr initcap int4multirange int4range int8multirange
    int8range isempty isfinite json_agg json_array json_array_elements json_array_elements_text json_array_length
    json_arrayagg json_build_array json_build_object json_each json_each_text json_exists json_extract_path
    json_extract_path_text json_object json_object_agg json_object_keys json_objectagg json_populate_record
    json_populate_recordset json_query json_scalar json_serialize json_strip_nulls json_table json_to_record
    json_to_recordset json_typeof json_value jsonb_agg jsonb_array_elements jsonb_array_elements_text
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists
    jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_populate_record
    jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset
    jsonb_typeof justify_days justify_hours justify_interval lag last_value lastval lcm lead left length lgamma ln
    localtime localtimestamp log10 lower lower_inc lower_inf lpad ltrim make_date make_interval make_time make_timestamp
    make_timestamptz masklen max md5 min min_scale mod mode multirange netmask network nextval normalize now nth_value
    ntile num_nonnulls num_nulls numnode nummultirange numrange obj_description octet_length parse_ident percent_rank
    percentile_cont percentile_disc pg_advisory_lock pg_advisory_unlock pg_advisory_xact_lock pg_backend_pid
    pg_client_encoding pg_column_size pg_current_xact_id pg_database_size pg_encoding_to_char pg_get_constraintdef
    pg_get_expr pg_get_indexdef pg_get_keywords pg_get_serial_sequence pg_get_userbyid pg_get_viewdef
    pg_indexes_size pg_is_in_recovery pg_relation_size pg_size_pretty pg_sleep pg_table_is_visible pg_table_size
    pg_total_relation_size pg_try_advisory_lock pg_try_advisory_xact_lock pg_type_is_visible pg_typeof
    phraseto_tsquery pi plainto_tsquery power querytree quote_ident quote_literal quote_nullable radians random
    random_normal range_agg range_intersect_agg range_merge rank regexp_count regexp_instr regexp_like regexp_match
    regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope repeat replace reverse right round row_number row_to_json rpad rtrim
    scale session_user set_masklen setseed setval setweight sha224 sha256 sha384 sha512 shobj_description sign sin sind
    split_part sqrt starts_with statement_timestamp stddev stddev_pop stddev_samp string_agg string_to_array
    string_to_table strip strpos substr sum tan tand timeofday timezone to_ascii to_bin to_char to_date to_hex to_json
    to_jsonb to_number to_oct to_regclass to_regtype to_timestamp to_tsquery to_tsvector transaction_timestamp
    translate trim_array trim_scale trunc ts_delete ts_filter ts_headline ts_lexize ts_rank ts_rank_cd ts_rewrite
    tsmultirange tsquery_phrase tsrange tstzmultirange tstzrange tsvector_to_array txid_current
    unaccent unicode_assigned unistr unnest upper upper_inc upper_inf uuid_extract_timestamp uuid_extract_version
    uuid_generate_v4 uuidv4 uuidv7 var_pop var_samp variance version websearch_to_tsquery width_bucket word_similarity
    xmlagg xmlattributes xmlconcat xmlelement xmlforest xmlparse xmlserialize xmltable similarity
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
