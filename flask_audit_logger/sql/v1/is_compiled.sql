-- audit_logger_is_compiled: whether the functions of a table's triggers are what would be made for it now.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_is_compiled(relation oid)
RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT coalesce(bool_and(p.prosecdef AND p.prosrc = @schema@.audit_logger_source(s.shape, c.options, c.verb)), true)
    FROM (SELECT @schema@.audit_logger_shape(relation) AS shape) AS s
    CROSS JOIN @schema@.audit_logger_compiled(relation) AS c
    JOIN pg_proc AS p
        ON p.oid = c.function;
$function$;
