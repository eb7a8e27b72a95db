-- audit_logger_key_columns: the columns of a table's record key that may be stored: those of the primary key.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_key_columns(relation oid, options jsonb)
RETURNS text[]
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    key_columns text[];
BEGIN
    IF options ? 'key' THEN
        RETURN ARRAY(SELECT jsonb_array_elements_text(options -> 'key'));
    END IF;
    key_columns := ARRAY(
        SELECT a.attname
        FROM pg_index AS i
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
        JOIN pg_attribute AS a
            ON a.attrelid = i.indrelid
            AND a.attnum = k.attnum
        WHERE i.indrelid = relation
            AND i.indisprimary
        ORDER BY k.position
    );
    -- A column that must not be stored can't be part of what is stored as key.
    IF options -> 'mask' ?| key_columns OR options -> 'exclude' ?| key_columns OR NOT options -> 'only' ?& key_columns THEN
        RETURN '{}';
    END IF;
    RETURN key_columns;
END;
$function$;
