-- audit_logger_refuse: the error of a change that lacks what its table requires.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_refuse(missing text, schema_name text, table_name text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    RAISE EXCEPTION '(audit_logger) changes of the table %.% need: %', schema_name, table_name, missing
        USING
            ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'In the application: with audit_logger.context(actor=..., reason="..."). Elsewhere, in the same '
                'transaction: SELECT set_config(''flask_audit_logger.context'', '
                '''{"actor_label": "...", "context": {"reason": "..."}}'', true).';
END;
$function$;
