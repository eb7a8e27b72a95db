-- append_only_triggers: puts audit_logger_append_only on both tables of the log, unless it is there.
-- version: 1
DO $append_only$
DECLARE
    log record;
BEGIN
    FOR log IN
        SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner) AS owner
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE n.nspname = @schema_name@
            AND c.relname IN ('activity', 'transaction')
            AND c.relkind IN ('r', 'p')
            AND NOT EXISTS (
                SELECT
                FROM pg_catalog.pg_trigger AS t
                JOIN pg_catalog.pg_proc AS p
                    ON p.oid = t.tgfoid
                WHERE t.tgrelid = c.oid
                    AND t.tgname = 'audit_logger_append_only'
                    AND t.tgenabled = 'A'
                    -- BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE, FOR EACH STATEMENT
                    AND t.tgtype = 62
                    AND t.tgqual IS NULL
                    AND t.tgargs = pg_catalog.convert_to(pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.getdatabaseencoding())
                        || '\x00'
                    AND p.proname = 'audit_logger_append_only'
                    AND p.pronamespace = c.relnamespace
            )
    LOOP
        EXECUTE pg_catalog.format(
            'CREATE OR REPLACE TRIGGER audit_logger_append_only'
            ' BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %1$I.%2$I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION %1$I.audit_logger_append_only(%3$L)',
            @schema_name@, log.relname, log.owner
        );
        EXECUTE pg_catalog.format(
            'ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER audit_logger_append_only', @schema_name@, log.relname
        );
    END LOOP;
END;
$append_only$;
