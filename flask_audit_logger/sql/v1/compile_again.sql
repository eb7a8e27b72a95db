-- audit_logger_compile_again: makes the functions of a table's triggers anew, after the table was altered.
-- version: 1
-- It takes no lock on the table. A trigger that calls another function is left as it is.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_compile_again(relation oid)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT @schema@.audit_logger_make_function(relation, c.options, c.verb)
    FROM @schema@.audit_logger_compiled(relation) AS c;
$function$;
