-- audit_logger_has_shape: whether a table still has the shape that its capture statements were made for.
-- version: 1
-- PostgreSQL asks an immutable function when it plans a statement, and keeps the answer with the plan. It plans anew when
-- the table of a transition table is altered, so what is declared here is true for as long as it is believed.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_has_shape(schema_name text, table_name text, fingerprint text)
RETURNS boolean
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT coalesce(
        (
            SELECT md5(@schema@.audit_logger_shape(c.oid)::text) = fingerprint
            FROM pg_class AS c
            JOIN pg_namespace AS n
                ON n.oid = c.relnamespace
            WHERE n.nspname = schema_name
                AND c.relname = table_name
        ),
        false
    );
$function$;
