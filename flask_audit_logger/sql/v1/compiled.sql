-- audit_logger_compiled: the verbs of a table that functions of its own capture, with their options and these functions.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_compiled(relation oid)
RETURNS TABLE (verb text, options jsonb, function oid)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT
        m.verb[1],
        convert_from(substring(t.tgargs FOR octet_length(t.tgargs) - 1), getdatabaseencoding())::jsonb,
        p.oid
    FROM pg_trigger AS t
    JOIN pg_proc AS p
        ON p.oid = t.tgfoid
    JOIN pg_namespace AS n
        ON n.oid = p.pronamespace
    CROSS JOIN LATERAL regexp_match(t.tgname, '^audit_logger_(insert|update|delete)$') AS m (verb)
    WHERE t.tgrelid = relation
        AND n.nspname = @schema_name@
        AND p.proname ~ ('^audit_logger_[0-9a-f]{16}_' || m.verb[1] || '$');
$function$;
