-- audit_logger_stored_columns: the columns of a table that its log stores, from its shape and options.
-- version: 1
-- A column that is computed from a masked or excluded one is masked, too. What is virtual has no value of its own.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_stored_columns(shape jsonb, options jsonb)
RETURNS TABLE (name text, is_masked boolean, is_cause boolean, described jsonb)
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT
        c ->> 'name',
        o.mask ? (c ->> 'name')
            OR EXISTS (
                SELECT
                FROM jsonb_array_elements_text(c -> 'sources') AS s (name)
                WHERE o.mask ? s.name
                    OR o.exclude ? s.name
            ),
        NOT o.ignore ? (c ->> 'name'),
        c
    FROM jsonb_array_elements(shape -> 'columns') AS c
    CROSS JOIN (
        SELECT
            coalesce(options -> 'exclude', '[]') AS exclude,
            coalesce(options -> 'mask', '[]') AS mask,
            coalesce(options -> 'ignore', '[]') AS ignore
    ) AS o
    WHERE c ->> 'class' <> 'virtual'
        AND NOT o.exclude ? (c ->> 'name')
        AND coalesce(options -> 'only' ? (c ->> 'name'), true);
$function$;
