-- audit_logger_truncate: the trigger function for TRUNCATE. Logs that a table is emptied, or its rows, or refuses it.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_truncate()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- As in audit_logger_capture: one value is always logged as one text.
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, MDY'
SET "IntervalStyle" = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
AS $function$
<<capture>>
DECLARE
    options jsonb := coalesce(TG_ARGV[0], '{}');
    mode text := coalesce(options ->> 'truncate', 'marker');
    schema_name text := TG_TABLE_SCHEMA;
    table_name text := TG_TABLE_NAME;
    key_columns text[];
    mask jsonb := '{}';
    is_parent boolean;
    is_unread boolean;
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
    END IF;
    -- As in audit_logger_capture: only these words switch capture off.
    IF lower(current_setting('flask_audit_logger.enable_versioning', true)) IN ('false', 'off', 'no', '0') THEN
        PERFORM @schema@.audit_logger_note('capture_off'::text, schema_name, table_name);
        RETURN NULL;
    END IF;
    IF is_unread THEN
        PERFORM @schema@.audit_logger_note('rows_unread'::text, schema_name, table_name);
    END IF;

    IF mode <> 'rows' OR is_unread THEN
        -- Whoever empties a partitioned table empties its partitions; their triggers fire after its own. An entry made
        -- since tells that this is another statement of the same text.
        IF options ? 'partition' THEN
            PERFORM
            FROM @schema@.activity AS a
            WHERE a.transaction_id = (SELECT @schema@.audit_logger_current_transaction())
                AND a.verb = 'truncate'
                AND a.issued_at = statement_timestamp()
                AND a.relid <> TG_RELID
                AND a.relid IN (SELECT p.relid FROM pg_partition_ancestors(TG_RELID) AS p (relid))
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
        RETURN NULL;
    END IF;

    key_columns := @schema@.audit_logger_key_columns(TG_RELID, options);
    IF options ? 'mask' THEN
        mask := (
            SELECT coalesce(jsonb_object_agg(a.attname, '{"audit_logger": "masked"}'::jsonb), '{}')
            FROM pg_attribute AS a
            WHERE a.attrelid = TG_RELID
                AND NOT a.attisdropped
                AND options -> 'mask' ? a.attname
        );
    END IF;
    EXECUTE format(
        $sql$
        INSERT INTO %1$I.activity (
            schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, record_key, transaction_id
        )
        SELECT
            $1,
            $2,
            $3,
            statement_timestamp(),
            pg_current_xact_id()::text::bigint,
            'delete',
            c.record || $5,
            CASE WHEN $4 <> '{}' THEN %1$I.audit_logger_record_key(c.record, $4) END,
            (SELECT %1$I.audit_logger_current_transaction())
        FROM (SELECT to_jsonb(r.*) AS record FROM (SELECT %2$s FROM ONLY %3$s) AS r OFFSET 0) AS c
        $sql$,
        @schema_name@,
        @schema@.audit_logger_projection(TG_RELID, options, false),
        TG_RELID::regclass
    )
    USING schema_name, table_name, TG_RELID, key_columns, mask;
    RETURN NULL;
END;
$function$;
