-- audit_logger_function_name: the name of the function that captures one verb of a table; a renamed table keeps it.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_function_name(relation oid, verb text)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    number integer := 0;
    name text := (
        SELECT p.proname
        FROM pg_trigger AS t
        JOIN pg_proc AS p
            ON p.oid = t.tgfoid
        JOIN pg_namespace AS n
            ON n.oid = p.pronamespace
        WHERE t.tgrelid = relation
            AND t.tgname = 'audit_logger_' || verb
            AND n.nspname = @schema_name@
            AND p.proname ~ ('^audit_logger_[0-9a-f]{16}_' || verb || '$')
    );
BEGIN
    -- A function is of one table: another one may have it because its triggers were copied, or have had this one's name.
    WHILE name IS NULL OR EXISTS (
        SELECT
        FROM pg_trigger AS t
        JOIN pg_proc AS p
            ON p.oid = t.tgfoid
        JOIN pg_namespace AS n
            ON n.oid = p.pronamespace
        WHERE n.nspname = @schema_name@
            AND p.proname = name
            AND t.tgrelid <> relation
    ) LOOP
        SELECT format(
            'audit_logger_%s_%s',
            left(md5(concat_ws('.', n.nspname, c.relname) || repeat('.', number)), 16),
            verb
        )
        INTO name
        FROM pg_class AS c
        JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE c.oid = relation;
        number := number + 1;
    END LOOP;
    RETURN name;
END;
$function$;
