-- audit_logger_switch: switches all triggers of a log off or on, for an emergency; gives the tables.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_switch(state text, reason text)
RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET lock_timeout = '5s'
AS $function$
DECLARE
    marked text := CASE state WHEN 'off' THEN 'switched_off' WHEN 'on' THEN 'switched_on' END;
    said text := format('switched off by %s at %s: %s', session_user, date_trunc('second', clock_timestamp()), reason);
    found record;
BEGIN
    IF marked IS NULL OR coalesce(reason, '') = '' THEN
        RAISE EXCEPTION '(audit_logger) say ''off'' or ''on'', and why: SELECT audit_logger_switch(''off'', ''the disk is full'')'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM set_config(
        'flask_audit_logger.context', jsonb_build_object('context', jsonb_build_object('reason', reason))::text, true
    );
    FOR found IN
        SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, array_agg(t.tgname::text) AS names
        FROM pg_trigger AS t
        JOIN pg_proc AS p
            ON p.oid = t.tgfoid
        JOIN pg_class AS c
            ON c.oid = t.tgrelid
        JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE p.pronamespace = (SELECT log.oid FROM pg_namespace AS log WHERE log.nspname = @schema_name@)
            AND p.proname LIKE 'audit\_logger\_%'
            AND p.proname <> 'audit_logger_append_only'
            AND NOT t.tgisinternal
        GROUP BY 1, 2
        ORDER BY 1, 2
    LOOP
        FOR position IN 1 .. cardinality(found.names) LOOP
            EXECUTE format(
                'ALTER TABLE %I.%I %s TRIGGER %I',
                found.schema_name, found.table_name, CASE state WHEN 'off' THEN 'DISABLE' ELSE 'ENABLE' END,
                found.names[position]
            );
            EXECUTE format(
                'COMMENT ON TRIGGER %I ON %I.%I IS %L',
                found.names[position], found.schema_name, found.table_name, CASE state WHEN 'off' THEN said END
            );
        END LOOP;
        BEGIN
            PERFORM @schema@.audit_logger_note(marked, found.schema_name, found.table_name);
        EXCEPTION WHEN OTHERS THEN
            -- The log may be what is broken.
            RAISE WARNING '(audit_logger) that %.% is switched % could not be logged: %',
                found.schema_name, found.table_name, state, SQLERRM;
        END;
        RETURN NEXT format('%I.%I', found.schema_name, found.table_name);
    END LOOP;
END;
$function$;
