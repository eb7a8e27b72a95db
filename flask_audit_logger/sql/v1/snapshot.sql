-- snapshot: records the rows of a table that the log knows nothing of yet, as verb "snapshot". Repeating it is harmless.
-- version: 1
DO $snapshot$
DECLARE
    root regclass := @table@;
    options jsonb := @options@;
    only_leaf regclass := @leaf@;
    first_block bigint := @first_block@;
    last_block bigint := @last_block@;
    root_schema text;
    root_name text;
    key_columns text[];
    only_key text;
    mask jsonb;
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
    SELECT n.nspname, c.relname
    INTO root_schema, root_name
    FROM pg_class AS c
    JOIN pg_namespace AS n
        ON n.oid = c.relnamespace
    WHERE c.oid = root;
    key_columns := @schema@.audit_logger_key_columns(root::oid, options);
    IF key_columns = '{}' THEN
        RAISE EXCEPTION '(audit_logger) the rows of % have no record key', root
            USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Without a key nobody could tell which of them the log knows already.';
    END IF;
    IF cardinality(key_columns) = 1 THEN
        only_key := key_columns[1];
    END IF;
    mask := (
        SELECT coalesce(jsonb_object_agg(m.name, '{"audit_logger": "masked"}'::jsonb), '{}')
        FROM jsonb_array_elements_text(coalesce(options -> 'mask', '[]')) AS m (name)
    );
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
        EXECUTE format(
            $sql$
            INSERT INTO @schema@.activity (
                schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, record_key, transaction_id
            )
            SELECT
                $1,
                $2,
                $3,
                statement_timestamp(),
                pg_current_xact_id()::text::bigint,
                'snapshot',
                c.record || $5,
                CASE
                    WHEN octet_length(c.record ->> $6) <= 1000 THEN c.record ->> $6
                    ELSE @schema@.audit_logger_record_key(c.record, $4)
                END,
                (SELECT @schema@.audit_logger_current_transaction())
            FROM (
                SELECT to_jsonb(r.*) AS record
                FROM (
                    SELECT %1$s
                    FROM ONLY %2$s
                    WHERE %3$s
                        AND (
                            SELECT NOT EXISTS (
                                SELECT
                                FROM @schema@.activity AS a
                                WHERE a.schema = $1
                                    AND a.table_name = $2
                                    AND a.record_key = k.record_key
                            )
                            FROM (
                                SELECT
                                    CASE
                                        WHEN octet_length(p.record ->> $6) <= 1000 THEN p.record ->> $6
                                        ELSE @schema@.audit_logger_record_key(p.record, $4)
                                    END AS record_key
                                FROM (SELECT to_jsonb(p.*) AS record FROM (SELECT %4$s) AS p OFFSET 0) AS p
                            ) AS k
                        )
                    FOR SHARE
                ) AS r
                OFFSET 0
            ) AS c
            $sql$,
            @schema@.audit_logger_projection(leaf::oid, options, false),
            leaf,
            CASE
                WHEN first_block IS NULL THEN 'true'
                ELSE format('ctid >= ''(%s,0)'' AND ctid < ''(%s,0)''', first_block, last_block + 1)
            END,
            @schema@.audit_logger_projection(leaf::oid, jsonb_build_object('only', key_columns), false)
        )
        USING root_schema, root_name, leaf, key_columns, mask, only_key;
        GET DIAGNOSTICS recorded = ROW_COUNT;
        RAISE NOTICE 'audit log: snapshot of % rows of %', recorded, leaf;
    END LOOP;
    PERFORM pg_catalog.set_config(s.key, s.value, true) FROM pg_catalog.jsonb_each_text(session) AS s;
    PERFORM pg_catalog.set_config('flask_audit_logger.context', given, true);
END;
$snapshot$;
