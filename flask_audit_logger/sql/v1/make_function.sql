-- audit_logger_make_function: makes the function that captures one verb of a table, and returns its name.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_make_function(relation oid, options jsonb, verb text)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    name text := @schema@.audit_logger_function_name(relation, verb);
BEGIN
    -- One value is always logged as one text, whatever the settings of the session. PostgreSQL guesses the rows of a
    -- transition table: a nested loop between two of them is quadratic, and to merge them sorts both, where one hash table
    -- of the new rows is enough. The plans depend on no value, so the first five
    -- of a connection need not be made one by one.
    EXECUTE format(
        $sql$
        CREATE OR REPLACE FUNCTION %I.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp SET jit = off SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, MDY'
        SET "IntervalStyle" = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = '1' SET lc_monetary = 'C'
        SET plan_cache_mode = force_generic_plan%s AS %L
        $sql$,
        @schema_name@,
        name,
        CASE
            WHEN verb = 'update' THEN ' SET enable_nestloop = off SET enable_mergejoin = off'
            WHEN verb = 'delete' AND options ? 'require' THEN ' SET enable_nestloop = off'
        END,
        @schema@.audit_logger_source(@schema@.audit_logger_shape(relation), options, verb)
    );
    EXECUTE format(
        'COMMENT ON FUNCTION %I.%I() IS %L',
        @schema_name@,
        name,
        format('flask-audit-logger, version 1. Captures %s of %s.', verb, relation::regclass)
    );
    PERFORM @schema@.audit_logger_revoke_function(format('%I.%I()', @schema_name@, name)::regprocedure::oid);
    RETURN name;
END;
$function$;
