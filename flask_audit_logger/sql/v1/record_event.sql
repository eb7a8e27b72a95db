-- audit_logger_record_event: makes an entry of something that is no change of a row; returns its id.
-- version: 1
-- It is the one function of the log that the role of the application calls itself. It writes nothing but events, and
-- who made them is what the settings of the database transaction say, as for a change. The data is JSON that the caller
-- made, so no type of a user is looked at.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_record_event(
    target_schema text, target_table text, target_key text, event jsonb
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    made bigint;
BEGIN
    IF (
        jsonb_typeof(event) = 'object'
        AND event - '{name,outcome,data}'::text[] = '{}'
        AND jsonb_typeof(event -> 'name') = 'string'
        AND event ->> 'name' ~ '^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}$'
        AND event ->> 'outcome' IN ('success', 'failure', 'unknown')
        AND jsonb_typeof(event -> 'data') = 'object'
        AND num_nulls(target_schema, target_table) IN (0, 2)
        AND (target_key IS NULL OR target_table IS NOT NULL AND octet_length(target_key) <= 1000)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION '(audit_logger) this is no event'
            USING
                ERRCODE = 'invalid_parameter_value',
                HINT = 'It has a name, an outcome (success, failure or unknown) and an object as data.';
    END IF;
    INSERT INTO @schema@.activity (
        schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, record_key, transaction_id
    )
    VALUES (
        coalesce(target_schema, ''),
        coalesce(target_table, 'event'),
        coalesce(to_regclass(quote_ident(target_schema) || '.' || quote_ident(target_table))::oid, 0),
        statement_timestamp(),
        pg_current_xact_id()::text::bigint,
        'event',
        event,
        target_key,
        @schema@.audit_logger_current_transaction()
    )
    RETURNING id INTO made;
    RETURN made;
END;
$function$;
