-- audit_logger_value: the SQL that reads one column for the log.
-- version: 1
-- "row_alias" is the row that has the column. "other_alias" is the row it is compared with, if any; "max_size" is how
-- many bytes a value may take, or null where all values are known to be small.
-- Types of users never reach to_jsonb, which calls a cast of theirs to json: their text comes from the output function of
-- the type, which only a superuser can make. A cast in an expression could be theirs, too, so it starts from a text or a
-- domain (for which PostgreSQL ignores casts). All arguments of audit_logger_safe_value have exactly its types: of
-- functions with that name PostgreSQL would take one that matches better.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_value(
    described jsonb, row_alias text, other_alias text, max_size bigint
)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    class text := described ->> 'class';
    read_as text := described ->> 'read';
    value text := format('%s.%I', row_alias, described ->> 'name');
    other text := format('%s.%I', other_alias, described ->> 'name');
    as_text text;
    converted text;
BEGIN
    IF (described ->> 'cast')::boolean THEN
        value := format('(%s::%s)', value, read_as);
        other := format('(%s::%s)', other, read_as);
    END IF;
    as_text := format(CASE WHEN class IN ('user', 'user_array') THEN 'format(''%%s'', %s)' ELSE '%s::text' END, value);
    converted := CASE class
        WHEN 'float' THEN
            -- jsonb has no negative zero
            format(
                $sql$CASE WHEN %1$s = 0 AND %2$s = '-0' THEN '{"audit_logger": "text", "text": "-0"}' ELSE to_jsonb(%1$s) END$sql$,
                value, as_text
            )
        WHEN 'jsonb' THEN
            -- A JSON null is a value, SQL NULL is none; and somebody's value must not be taken for a mark of ours.
            format(
                $sql$CASE WHEN %1$s = 'null' THEN '{"audit_logger": "json null"}' WHEN %1$s -> 'audit_logger' IS NOT NULL
                THEN jsonb_build_object('audit_logger', 'value', 'value', %1$s) ELSE %1$s END$sql$,
                value
            )
        WHEN 'json' THEN
            format(
                '%1$I.audit_logger_safe_value(%2$s, ''json''::text, octet_length(%2$s)::bigint, %3$s::bigint)',
                @schema_name@, as_text, coalesce(max_size, 67108864)
            )
        WHEN 'user' THEN
            format('CASE WHEN num_nulls(%s) = 0 THEN %s END', value, as_text)
        WHEN 'array' THEN
            -- Bounds that don't start at 1, and elements that jsonb has no other value for.
            format(
                $sql$CASE WHEN %2$s ~ '%3$s' THEN jsonb_build_object('audit_logger', 'text', 'text', %2$s) ELSE to_jsonb(%1$s) END$sql$,
                value,
                as_text,
                CASE
                    WHEN read_as IN ('real[]', 'double precision[]') THEN '^\[|-0[,}]'
                    WHEN read_as = 'jsonb[]' THEN '^\[|"null"'
                    ELSE '^\['
                END
            )
        WHEN 'user_array' THEN
            format(
                $sql$CASE WHEN num_nulls(%1$s) > 0 THEN NULL WHEN %2$s ~ '^\['
                THEN jsonb_build_object('audit_logger', 'text', 'text', %2$s) ELSE to_jsonb(%2$s::text[]) END$sql$,
                value, as_text
            )
        ELSE value
    END;
    IF max_size IS NOT NULL AND NOT (described ->> 'bounded')::boolean AND class <> 'json' THEN
        -- jsonb ends at 256 MB, which the columns share.
        IF class = 'plain' AND read_as IN ('text', 'character varying', 'character', 'bytea') THEN
            converted := format(
                $sql$CASE WHEN octet_length(%1$s) > %2$s
                THEN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(%1$s)) ELSE to_jsonb(%1$s) END$sql$,
                value,
                -- the text of a bytea is twice as long
                CASE WHEN read_as = 'bytea' THEN max_size / 2 - 1 ELSE max_size END
            );
        ELSIF class = 'jsonb' THEN
            converted := format(
                $sql$CASE WHEN pg_column_size(%1$s) > %2$s AND pg_column_size(to_jsonb(%1$s)) > %3$s
                THEN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(%1$s)) ELSE %4$s END$sql$,
                value, max_size / 7000, max_size, converted
            );
        ELSE
            converted := format(
                $sql$CASE
                WHEN num_nulls(%1$s) > 0 THEN NULL
                WHEN pg_column_size(%1$s) > %2$s
                THEN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(%1$s))
                WHEN pg_column_size(%1$s) > %3$s
                THEN %4$I.audit_logger_safe_value(%5$s, %6$L::text, pg_column_size(%1$s)::bigint, %2$s::bigint)
                ELSE to_jsonb(%7$s) END$sql$,
                value, max_size, max_size / 7000, @schema_name@, as_text, read_as, converted
            );
        END IF;
    END IF;
    IF class = 'json' AND other_alias IS NOT NULL THEN
        -- Texts that differ where jsonb is the same.
        converted := format(
            $sql$CASE WHEN %1$s::text <> %2$s::text AND %3$s = %4$s
            THEN jsonb_build_object('audit_logger', 'text', 'text', %1$s::text) ELSE %3$s END$sql$,
            value,
            other,
            converted,
            @schema@.audit_logger_value(described, other_alias, NULL::text, max_size)
        );
    END IF;
    RETURN converted;
END;
$function$;
