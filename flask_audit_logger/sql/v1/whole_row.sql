-- audit_logger_whole_row: one row as jsonb, in which a JSON null is not taken for NULL, nor a value for a mark of ours.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_whole_row(record anyelement, jsonb_columns text[])
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    converted jsonb := to_jsonb(record);
    name text;
BEGIN
    FOREACH name IN ARRAY jsonb_columns LOOP
        -- Both are null in "converted". Setting the column to NULL changes the row only if it held a JSON null.
        IF converted -> name = 'null' AND jsonb_populate_record(record, jsonb_build_object(name, NULL)) *<> record THEN
            converted := converted || jsonb_build_object(name, '{"audit_logger": "json null"}'::jsonb);
        ELSIF converted -> name -> 'audit_logger' IS NOT NULL THEN
            converted := converted || jsonb_build_object(
                name,
                jsonb_build_object('audit_logger', 'value', 'value', converted -> name)
            );
        END IF;
    END LOOP;
    RETURN converted;
END;
$function$;
