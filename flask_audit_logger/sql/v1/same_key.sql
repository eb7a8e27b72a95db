-- audit_logger_same_key: SQL that says whether two rows of a table have the same record key.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_same_key(shape jsonb, options jsonb, one text, other text)
RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT coalesce(
        string_agg(
            format(
                CASE
                    WHEN (c.described ->> 'comparable')::boolean THEN '%1$s.%3$I = %2$s.%3$I'
                    ELSE 'ROW(%1$s.%3$I)::record *= ROW(%2$s.%3$I)::record'
                END,
                one,
                other,
                c.name
            ),
            ' AND '
        ),
        'false'
    )
    FROM @schema@.audit_logger_stored_columns(shape, options) AS c
    WHERE c.name = ANY (@schema@.audit_logger_key_columns(shape, options));
$function$;
