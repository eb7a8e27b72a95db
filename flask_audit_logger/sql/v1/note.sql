-- audit_logger_note: adds a table to a list in the marks of the current transaction; returns the transaction's id.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_note(note text, schema_name text, table_name text)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    transaction_id bigint := @schema@.audit_logger_current_transaction();
    remembered text := current_setting('flask_audit_logger.transaction');
    noted text := concat(schema_name, '.', table_name);
BEGIN
    UPDATE @schema@.transaction AS t
    SET marks = t.marks || jsonb_build_object(note, coalesce(t.marks -> note, '[]') || to_jsonb(noted))
    WHERE t.ctid = split_part(remembered, ' ', 1)::tid
        AND t.id = transaction_id
        AND NOT coalesce(t.marks -> note, '[]') ? noted
    RETURNING concat(t.ctid, substr(remembered, strpos(remembered, ' '))) INTO remembered;
    IF FOUND THEN
        -- the row has moved
        PERFORM set_config('flask_audit_logger.transaction', remembered, true);
    END IF;
    RETURN transaction_id;
END;
$function$;
