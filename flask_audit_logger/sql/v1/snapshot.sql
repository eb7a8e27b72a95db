-- snapshot: records the rows of a table that the log knows nothing of yet, as verb "snapshot". Repeating it is harmless.
-- version: 1
DO $snapshot$
DECLARE
    root regclass := @table@;
    options jsonb := @options@;
    only_leaf regclass := @leaf@;
    first_block bigint := @first_block@;
    last_block bigint := @last_block@;
    shape jsonb;
    leaf regclass;
    recorded bigint;
    given text := coalesce(pg_catalog.current_setting('flask_audit_logger.context', true), '');
    -- As for the triggers: one value is always logged as one text, whatever the settings of the session.
    pinned jsonb := '{
        "search_path": "pg_catalog, pg_temp",
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "lc_monetary": "C",
        "jit": "off"
    }';
    -- Until the path is pinned, names are qualified: another schema of it may have functions that match better.
    session jsonb := (
        SELECT pg_catalog.jsonb_object_agg(s.name, pg_catalog.current_setting(s.name))
        FROM pg_catalog.jsonb_object_keys(pinned) AS s (name)
    );
BEGIN
    IF given = '' THEN
        PERFORM pg_catalog.set_config('flask_audit_logger.context', '{"context": {"job": "baseline"}}', true);
    END IF;
    PERFORM pg_catalog.set_config(p.key, p.value, true) FROM pg_catalog.jsonb_each_text(pinned) AS p;
    IF @schema@.audit_logger_key_columns(@schema@.audit_logger_shape(root::oid), options) = '{}' THEN
        RAISE EXCEPTION '(audit_logger) the rows of % have no record key', root
            USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Without a key nobody could tell which of them the log knows already.';
    END IF;
    FOR leaf IN
        SELECT c.oid
        FROM pg_class AS c
        WHERE c.relkind = 'r'
            AND (c.oid = root OR c.oid IN (SELECT p.relid FROM pg_partition_tree(root) AS p))
            AND (only_leaf IS NULL OR c.oid = only_leaf)
        ORDER BY 1
    LOOP
        IF row_security_active(leaf) THEN
            RAISE EXCEPTION '(audit_logger) row security hides rows of % from %', leaf, current_user
                USING
                    ERRCODE = 'insufficient_privilege',
                    HINT = 'Use the owner of the table without FORCE ROW LEVEL SECURITY, or a role with BYPASSRLS.';
        END IF;
        -- A statement sees each row once, wherever an update moves it meanwhile; the next statement may find it in a block
        -- that was read before. So whoever reads a table in parts reads the whole of it in the end.
        -- FOR SHARE waits for a change that is under way, and reads what came of it: a snapshot never stands after the
        -- entry of a change in the log, with values of before it. Rows that the log knows are not locked.
        shape := @schema@.audit_logger_shape(leaf::oid);
        EXECUTE @schema@.audit_logger_statement(
            shape,
            options,
            'snapshot'::text,
            format(
                $sql$(
                    SELECT r.*
                    FROM ONLY %s AS r
                    WHERE %s
                        AND NOT EXISTS (
                            SELECT
                            FROM @schema@.activity AS a
                            WHERE a.schema = %L
                                AND a.table_name = %L
                                AND a.record_key = %s
                            AND a.verb <> 'event'%s
                        )
                    FOR SHARE
                ) AS n$sql$,
                leaf,
                CASE
                    WHEN first_block IS NULL THEN 'true'
                    ELSE format('r.ctid >= ''(%s,0)'' AND r.ctid < ''(%s,0)''', first_block, last_block + 1)
                END,
                shape ->> 'schema',
                shape ->> 'table',
                @schema@.audit_logger_record_key(shape, options, 'r'::text),
                -- an update that was logged without the rest of the row
                CASE WHEN options ->> 'old_data' = 'changed' THEN ' AND a.verb <> ''update''' END
            ),
            '$1'::text,
            NULL::text,
            true,
            NULL::text
        )
        USING leaf::oid;
        GET DIAGNOSTICS recorded = ROW_COUNT;
        RAISE NOTICE 'audit log: snapshot of % rows of %', recorded, leaf;
    END LOOP;
    PERFORM pg_catalog.set_config(s.key, s.value, true) FROM pg_catalog.jsonb_each_text(session) AS s;
    PERFORM pg_catalog.set_config('flask_audit_logger.context', given, true);
END;
$snapshot$;
