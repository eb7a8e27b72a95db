-- audit_logger_record_key: the key of a record as one text.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_record_key(record jsonb, key_columns text[])
RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT
        CASE
            WHEN octet_length(k.whole) > 1000
                -- longer keys don't fit into the index of the log
                THEN 'sha256:' || encode(sha256(convert_to(k.whole, 'UTF8')), 'hex')
            ELSE k.whole
        END
    FROM (
        SELECT
            CASE cardinality(key_columns)
                WHEN 0 THEN NULL
                WHEN 1 THEN record ->> key_columns[1]
                ELSE (
                    SELECT jsonb_agg(record ->> c.name ORDER BY c.position)::text
                    FROM unnest(key_columns) WITH ORDINALITY AS c (name, position)
                )
            END AS whole
    ) AS k;
$function$;
