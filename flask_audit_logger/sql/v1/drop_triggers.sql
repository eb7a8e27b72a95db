-- audit_logger_drop_triggers: drops the triggers of a table and its partitions, but those of some verbs, and what they called.
-- version: 1
-- Only if they are there: DROP TRIGGER IF EXISTS locks out readers even if there is nothing to drop.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_drop_triggers(relation oid, kept text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT t.tgname AS name, t.tgrelid::regclass AS owner
        FROM pg_trigger AS t
        JOIN pg_proc AS p
            ON p.oid = t.tgfoid
        JOIN pg_namespace AS n
            ON n.oid = p.pronamespace
        CROSS JOIN LATERAL regexp_match(t.tgname, '^audit_logger_(insert|update|delete|truncate)$') AS m (verb)
        WHERE NOT t.tgisinternal
            AND (
                t.tgrelid = relation
                OR t.tgrelid IN (SELECT part.relid FROM pg_partition_tree(relation::regclass) AS part)
            )
            AND (
                m.verb IS NOT NULL
                OR n.nspname = @schema_name@
                AND p.proname ~ '^audit_logger_(capture|truncate|[0-9a-f]{16}_(insert|update|delete))$'
            )
            AND coalesce(m.verb[1] <> ALL (kept), true)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.name, found.owner);
    END LOOP;
    FOR found IN
        SELECT p.oid::regprocedure AS signature
        FROM pg_proc AS p
        JOIN pg_namespace AS n
            ON n.oid = p.pronamespace
        WHERE n.nspname = @schema_name@
            AND p.proname ~ '^audit_logger_[0-9a-f]{16}_(insert|update|delete)$'
            AND NOT EXISTS (
                SELECT
                FROM pg_trigger AS t
                WHERE t.tgfoid = p.oid
            )
    LOOP
        EXECUTE format('DROP FUNCTION %s', found.signature);
    END LOOP;
END;
$function$;
