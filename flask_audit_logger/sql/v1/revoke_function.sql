-- audit_logger_revoke_function: takes the right to call a function from everybody but its owner.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_revoke_function(function oid)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    grantee text;
BEGIN
    -- Everybody may call a new function, and default privileges may name more roles. Whoever may call a trigger function
    -- can put it on a table of their own and forge entries.
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_proc AS p
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE p.oid = function
            AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', function::regprocedure, grantee);
    END LOOP;
END;
$function$;
