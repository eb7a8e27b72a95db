-- revoke: takes the right to call the functions of the log from everybody but their owner.
-- version: 1
DO $revoke$
DECLARE
    given record;
BEGIN
    -- Everybody may call a new function, and default privileges may name more roles. Whoever may call a trigger function
    -- can put it on a table of their own and forge entries.
    FOR given IN
        SELECT p.oid::regprocedure AS function, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC') AS grantee
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_namespace AS n
            ON n.oid = p.pronamespace
        CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
        LEFT JOIN pg_catalog.pg_roles AS r
            ON r.oid = a.grantee
        WHERE n.nspname = @schema_name@
            AND pg_catalog.obj_description(p.oid, 'pg_proc') LIKE 'flask-audit-logger, version %'
            AND a.grantee <> p.proowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', given.function, given.grantee);
    END LOOP;
END;
$revoke$;
