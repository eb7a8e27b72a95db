-- audit_logger_pairs: what follows FROM where the old and new rows of an UPDATE are paired, as o and n.
-- version: 1
-- Both tables hold their rows in the order in which they were changed, so the n-th old row became the n-th new one.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_pairs(shape jsonb)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    position text := 'audit_logger_position';
BEGIN
    WHILE EXISTS (SELECT FROM jsonb_array_elements(shape -> 'columns') AS c WHERE c ->> 'name' = position) LOOP
        position := position || '_';
    END LOOP;
    RETURN format(
        $sql$(SELECT o.*, row_number() OVER () AS %1$I FROM old_table AS o) AS o
    JOIN (SELECT n.*, row_number() OVER () AS %1$I FROM new_table AS n) AS n
        ON o.%1$I = n.%1$I$sql$,
        position
    );
END;
$function$;
