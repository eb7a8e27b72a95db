-- revoke: takes the right to call the functions of the log from everybody but their owner.
-- version: 1
DO $revoke$
BEGIN
    PERFORM @schema@.audit_logger_revoke_function(p.oid)
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n
        ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) @schema_name@::pg_catalog.name
        -- The application records events; whoever else shall not: REVOKE EXECUTE, which stays.
        AND p.proname OPERATOR(pg_catalog.<>) 'audit_logger_record_event'::pg_catalog.name
        AND pg_catalog.obj_description(p.oid, 'pg_proc') OPERATOR(pg_catalog.~~) 'flask-audit-logger, version %'::pg_catalog.text;
END;
$revoke$;
