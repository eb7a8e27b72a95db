-- audit_logger_truncate: the trigger function for TRUNCATE. Logs that a table is emptied, or its rows, or refuses it.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_truncate()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- One value is always logged as one text.
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, MDY'
SET "IntervalStyle" = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
SET lc_monetary = 'C'
AS $function$
<<capture>>
DECLARE
    options jsonb := coalesce(TG_ARGV[0], '{}');
    mode text := coalesce(options ->> 'truncate', 'marker');
    schema_name text := TG_TABLE_SCHEMA;
    table_name text := TG_TABLE_NAME;
    relation oid := TG_RELID;
    missing text;
    is_parent boolean;
    is_unread boolean := false;
    is_stale boolean := false;
BEGIN
    -- A partition is logged as the partitioned table.
    IF options ? 'partition' THEN
        SELECT n.nspname, c.relname
        INTO schema_name, table_name
        FROM pg_class AS c
        JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE c.oid = coalesce(pg_partition_root(TG_RELID), TG_RELID);
    END IF;
    IF mode = 'refuse' THEN
        RAISE EXCEPTION '(audit_logger) TRUNCATE of the audited table %.% is refused', schema_name, table_name
            USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Use DELETE, or change the option "truncate" of this table.';
    ELSIF mode = 'rows' THEN
        -- Rows that we may not read, or not all of them, are no reason to let TRUNCATE fail, nor may they be missing
        -- unseen. The rows of partitions are logged by their own triggers, if they have them by now.
        SELECT
            c.relkind = 'p',
            CASE
                WHEN c.relkind = 'p' THEN EXISTS (
                    SELECT
                    FROM pg_partition_tree(c.oid) AS p
                    WHERE p.isleaf
                        AND NOT EXISTS (
                            SELECT
                            FROM pg_trigger AS t
                            WHERE t.tgrelid = p.relid
                                AND t.tgname = TG_NAME
                                AND t.tgenabled <> 'D'
                        )
                )
                ELSE NOT has_schema_privilege(c.relnamespace, 'USAGE')
                    OR NOT has_table_privilege(c.oid, 'SELECT')
                    OR row_security_active(c.oid)
            END
        INTO is_parent, is_unread
        FROM pg_class AS c
        WHERE c.oid = TG_RELID;
        IF is_parent AND NOT is_unread THEN
            RETURN NULL;
        END IF;
        -- TRUNCATE removes rows that were committed since the snapshot of the transaction, which can't be read in it.
        is_stale := current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
    END IF;
    -- Only these words switch capture off.
    IF lower(current_setting('flask_audit_logger.enable_versioning', true)) IN ('false', 'off', 'no', '0') THEN
        PERFORM @schema@.audit_logger_note('capture_off'::text, schema_name, table_name);
        RETURN NULL;
    END IF;
    IF is_unread THEN
        PERFORM @schema@.audit_logger_note('rows_unread'::text, schema_name, table_name);
    ELSIF is_stale THEN
        PERFORM @schema@.audit_logger_note('rows_behind_snapshot'::text, schema_name, table_name);
    END IF;

    IF mode <> 'rows' OR is_unread OR is_stale THEN
        -- Whoever empties a partitioned table empties its partitions; their triggers fire after its own. An entry made
        -- since tells that this is another statement of the same text. Where inserts leave no entry, nothing tells, and
        -- each partition has an entry of its own.
        IF options ? 'partition' THEN
            PERFORM
            FROM @schema@.activity AS a
            WHERE a.transaction_id = (SELECT @schema@.audit_logger_current_transaction())
                AND a.verb = 'truncate'
                AND a.issued_at = statement_timestamp()
                AND a.relid <> TG_RELID
                AND a.relid IN (SELECT p.relid FROM pg_partition_ancestors(TG_RELID) AS p (relid))
                AND EXISTS (
                    SELECT
                    FROM pg_trigger AS t
                    WHERE t.tgrelid = TG_RELID
                        AND t.tgname = 'audit_logger_insert'
                        AND t.tgenabled <> 'D'
                )
                AND NOT EXISTS (
                    SELECT
                    FROM @schema@.activity AS b
                    WHERE b.transaction_id = a.transaction_id
                        AND b.id > a.id
                        AND b.table_name = a.table_name
                        AND b.schema = a.schema
                );
            IF FOUND THEN
                RETURN NULL;
            END IF;
        END IF;
        INSERT INTO @schema@.activity
            (schema, table_name, relid, issued_at, native_transaction_id, verb, transaction_id)
        VALUES (
            capture.schema_name,
            capture.table_name,
            TG_RELID,
            statement_timestamp(),
            pg_current_xact_id()::text::bigint,
            'truncate',
            @schema@.audit_logger_current_transaction()
        );
    ELSE
        EXECUTE @schema@.audit_logger_statement(
            @schema@.audit_logger_shape(relation),
            options,
            'delete'::text,
            format('ONLY %s AS o', relation::regclass),
            '$1'::text,
            NULL::text,
            true,
            NULL::text
        )
        USING relation;
    END IF;

    IF options ? 'require' THEN
        missing := @schema@.audit_logger_missing(options -> 'require');
        IF missing IS NOT NULL THEN
            PERFORM @schema@.audit_logger_refuse(missing, schema_name, table_name);
        END IF;
    END IF;
    RETURN NULL;
END;
$function$;
