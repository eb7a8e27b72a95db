-- unpartition_tables: begins to make partitioned tables of a log plain ones again: takes their names from them.
-- version: 1
-- "tables" then makes the plain ones, and "unpartition_finish" moves the entries.
DO $unpartition$
DECLARE
    log record;
    index record;
BEGIN
    FOR log IN
        SELECT c.oid, c.relname, c.relrowsecurity
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE n.nspname = @schema_name@ AND c.relname IN ('transaction', 'activity') AND c.relkind = 'p'
    LOOP
        IF log.relrowsecurity THEN
            RAISE EXCEPTION '(audit_logger) %.% has row security, which would not hold for the plain table',
                @schema_name@, log.relname
                USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'Revoke reading, drop the policies, unite the log, then put both on again.';
        END IF;
        FOR index IN
            SELECT x.relname
            FROM pg_catalog.pg_index AS i
            JOIN pg_catalog.pg_class AS x
                ON x.oid = i.indexrelid
            WHERE i.indrelid = log.oid
        LOOP
            EXECUTE pg_catalog.format(
                'ALTER INDEX %I.%I RENAME TO %I', @schema_name@, index.relname, 'partitioned_' || index.relname
            );
        END LOOP;
        EXECUTE pg_catalog.format(
            'ALTER SEQUENCE %I.%I RENAME TO %I',
            @schema_name@, log.relname || '_id_seq', 'partitioned_' || log.relname || '_id_seq'
        );
        EXECUTE pg_catalog.format(
            'ALTER TABLE %I.%I RENAME TO %I', @schema_name@, log.relname, 'partitioned_' || log.relname
        );
    END LOOP;
END;
$unpartition$;
