-- audit_logger_capture: the trigger function of tables without functions of their own, which partitions are.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_capture()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- One value is always logged as one text, whatever the settings of the session.
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, MDY'
SET "IntervalStyle" = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
SET lc_monetary = 'C'
-- PostgreSQL guesses the rows of a transition table; a nested loop between two of them is quadratic.
SET enable_nestloop = off
AS $function$
<<capture>>
DECLARE
    options jsonb := coalesce(TG_ARGV[0], '{}');
    relation oid := TG_RELID;
    old_count bigint := 0;
    new_count bigint := 0;
    missing text;
    is_referential boolean;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        SELECT count(*) INTO old_count FROM old_table;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        SELECT count(*) INTO new_count FROM new_table;
    END IF;
    IF old_count = 0 AND new_count = 0 THEN
        RETURN NULL;
    END IF;
    -- Only these words switch capture off, and they leave a mark; anything else leaves it on.
    IF lower(current_setting('flask_audit_logger.enable_versioning', true)) IN ('false', 'off', 'no', '0') THEN
        PERFORM @schema@.audit_logger_note('capture_off'::text, n.nspname::text, c.relname::text)
        FROM pg_class AS c
        JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE c.oid = coalesce(pg_partition_root(relation), relation);
        RETURN NULL;
    END IF;
    EXECUTE @schema@.audit_logger_fallback(relation, options, lower(TG_OP), old_count, new_count, NULL::text)
    USING relation;
    IF options ? 'require' THEN
        missing := @schema@.audit_logger_missing(options -> 'require');
        IF missing IS NOT NULL AND TG_OP <> 'INSERT' THEN
            EXECUTE @schema@.audit_logger_referential(relation) INTO is_referential;
        END IF;
        IF missing IS NOT NULL AND is_referential IS NOT TRUE THEN
            PERFORM @schema@.audit_logger_refuse(missing, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text);
        END IF;
    END IF;
    RETURN NULL;
END;
$function$;
