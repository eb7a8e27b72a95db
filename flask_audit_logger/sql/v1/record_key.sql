-- audit_logger_record_key: the SQL that makes the key of a record: its value as text, or a JSON array of texts.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_record_key(shape jsonb, options jsonb, row_alias text)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    key_columns text[] := @schema@.audit_logger_key_columns(shape, options);
    texts text[];
    is_short boolean;
    key text;
BEGIN
    IF key_columns = '{}' THEN
        RETURN 'NULL::text';
    END IF;
    SELECT
        array_agg(
            CASE
                -- as to_jsonb writes them
                WHEN c.described ->> 'read' IN ('smallint', 'integer', 'bigint', 'uuid', 'text', 'character varying')
                    AND c.described ->> 'class' = 'plain'
                    THEN format(
                        CASE WHEN (c.described ->> 'cast')::boolean THEN '%s.%I::%s::text' ELSE '%s.%I::text' END,
                        row_alias, c.name, c.described ->> 'read'
                    )
                ELSE format(
                    '(to_jsonb(%s) #>> ''{}'')', @schema@.audit_logger_value(c.described, row_alias, NULL::text, 67108864::bigint)
                )
            END
            ORDER BY k.position
        ),
        bool_and((c.described ->> 'bounded')::boolean)
    INTO texts, is_short
    FROM unnest(key_columns) WITH ORDINALITY AS k (name, position)
    JOIN @schema@.audit_logger_stored_columns(shape, options) AS c
        ON c.name = k.name;
    IF cardinality(texts) = 1 THEN
        key := texts[1];
    ELSE
        key := format('jsonb_build_array(%s)::text', array_to_string(texts, ', '));
        is_short := false;
    END IF;
    IF is_short THEN
        RETURN key;
    END IF;
    -- longer keys don't fit into the index of the log
    RETURN format(
        $sql$CASE WHEN octet_length(%1$s) > 1000
        THEN 'sha256:' || encode(sha256(convert_to(%1$s, 'UTF8')), 'hex') ELSE %1$s END$sql$,
        key
    );
END;
$function$;
