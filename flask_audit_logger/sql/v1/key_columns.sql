-- audit_logger_key_columns: the columns of a table's record key, from its shape and options.
-- version: 1
-- Without the option it is the primary key. A column that must not be stored can't be part of what is stored as key.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_key_columns(shape jsonb, options jsonb)
RETURNS text[]
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT
        CASE
            WHEN bool_and(s.name IS NOT NULL AND NOT s.is_masked) THEN array_agg(k.name ORDER BY k.position)
            ELSE '{}'
        END
    FROM jsonb_array_elements_text(coalesce(options -> 'key', shape -> 'key')) WITH ORDINALITY AS k (name, position)
    LEFT JOIN @schema@.audit_logger_stored_columns(shape, options) AS s
        ON s.name = k.name;
$function$;
