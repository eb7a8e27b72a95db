-- audit_logger_compile: makes the triggers of a table, and the functions that they call, from its shape and options.
-- version: 1
-- Triggers of verbs that are not captured, and ones under other names, which would log each change twice, are dropped.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_compile(relation oid, options jsonb, verbs text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    verb text;
    function_name text;
    target record;
BEGIN
    PERFORM @schema@.audit_logger_drop_triggers(relation, verbs);
    FOREACH verb IN ARRAY verbs LOOP
        function_name := 'audit_logger_truncate';
        IF verb <> 'truncate' THEN
            function_name := @schema@.audit_logger_make_function(relation, options, verb);
        END IF;
        FOR target IN
            SELECT relation::regclass AS name, function_name AS called, options AS argument
            UNION ALL
            -- Writes to a partition itself are rare: their statements are made when they happen.
            SELECT
                c.oid::regclass,
                CASE verb WHEN 'truncate' THEN function_name ELSE 'audit_logger_capture' END,
                options || '{"partition": true}'
            FROM pg_partition_tree(relation::regclass) AS p
            JOIN pg_class AS c
                ON c.oid = p.relid
            WHERE c.oid <> relation
                AND c.relkind <> 'f'
        LOOP
            EXECUTE format(
                'CREATE OR REPLACE TRIGGER %I %s ON %s%s FOR EACH STATEMENT EXECUTE FUNCTION %I.%I(%L)',
                'audit_logger_' || verb,
                CASE verb WHEN 'truncate' THEN 'BEFORE TRUNCATE' ELSE 'AFTER ' || upper(verb) END,
                target.name,
                CASE verb
                    WHEN 'insert' THEN ' REFERENCING NEW TABLE AS new_table'
                    WHEN 'update' THEN ' REFERENCING OLD TABLE AS old_table NEW TABLE AS new_table'
                    WHEN 'delete' THEN ' REFERENCING OLD TABLE AS old_table'
                    ELSE ''
                END,
                @schema_name@,
                target.called,
                target.argument
            );
        END LOOP;
    END LOOP;
END;
$function$;
