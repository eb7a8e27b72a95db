-- convert_back: gives a log the columns that it had before convert_structure, and activities the transaction they had.
-- version: 1
DO $convert$
DECLARE
    session_zone text := current_setting('TimeZone');
    found record;
BEGIN
    LOCK TABLE @schema@.activity, @schema@.transaction IN ACCESS EXCLUSIVE MODE;
    FOR found IN
        SELECT c.conname, c.conrelid::regclass AS relation
        FROM pg_constraint AS c
        WHERE c.conrelid IN ('@quoted_schema@.activity'::regclass, '@quoted_schema@.transaction'::regclass)
            AND c.contype IN ('p', 'u', 'x')
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.relation, found.conname);
    END LOOP;
    FOR found IN
        SELECT i.indexrelid::regclass AS relation
        FROM pg_index AS i
        WHERE i.indrelid IN ('@quoted_schema@.activity'::regclass, '@quoted_schema@.transaction'::regclass)
    LOOP
        EXECUTE format('DROP INDEX %s', found.relation);
    END LOOP;

    -- The old tables have one row per database transaction, and none for the changes nobody was known for.
    CREATE TABLE @schema@.audit_logger_transactions AS
    SELECT
        t.id,
        first_value(t.id) OVER (PARTITION BY t.native_transaction_id, t.is_made, t.island ORDER BY t.id) AS kept_id,
        t.is_made,
        t.origin_id
    FROM (
        SELECT
            t.id,
            t.native_transaction_id,
            t.context ? 'origin' AND NOT t.context ? 'origin_id' AS is_made,
            -- only a log that was converted has ids of before
            coalesce((t.context ->> 'origin_id')::bigint, CASE WHEN h.has_made THEN NULL ELSE t.id END) AS origin_id,
            CASE
                WHEN @is_timed@ THEN floor(
                    extract(epoch FROM t.issued_at - min(t.issued_at) OVER (PARTITION BY t.native_transaction_id)) / 3600
                )
            END AS island
        FROM @schema@.transaction AS t
        CROSS JOIN (
            SELECT count(*) FILTER (WHERE s.context ? 'origin_id') > 0 AS has_made
            FROM @schema@.transaction AS s
        ) AS h
    ) AS t;
    ANALYZE @schema@.audit_logger_transactions;
    -- Rows that were made since get ids after those that were there before.
    UPDATE @schema@.audit_logger_transactions AS t
    SET origin_id = s.last_id + s.position
    FROM (
        SELECT
            n.id,
            row_number() OVER (ORDER BY n.id) AS position,
            (SELECT coalesce(max(m.origin_id), 0) FROM @schema@.audit_logger_transactions AS m) AS last_id
        FROM @schema@.audit_logger_transactions AS n
        WHERE n.origin_id IS NULL
    ) AS s
    WHERE s.id = t.id;
    ALTER TABLE @schema@.audit_logger_transactions ADD PRIMARY KEY (id);
    ANALYZE @schema@.audit_logger_transactions;
    ALTER TABLE @schema@.activity ALTER COLUMN transaction_id DROP NOT NULL;
    UPDATE @schema@.activity AS a
    SET transaction_id = CASE WHEN NOT t.is_made THEN k.origin_id END
    FROM @schema@.audit_logger_transactions AS t
    JOIN @schema@.audit_logger_transactions AS k
        ON k.id = t.kept_id
    WHERE t.id = a.transaction_id
        AND (t.is_made OR k.origin_id <> a.transaction_id);
    DELETE FROM @schema@.transaction AS t
    USING @schema@.audit_logger_transactions AS n
    WHERE n.id = t.id
        AND (n.is_made OR n.kept_id <> n.id);
    UPDATE @schema@.transaction AS t
    SET id = n.origin_id
    FROM @schema@.audit_logger_transactions AS n
    WHERE n.id = t.id
        AND n.origin_id <> t.id;
    DROP TABLE @schema@.audit_logger_transactions;

    PERFORM set_config('TimeZone', 'UTC', true);
    ALTER TABLE @schema@.transaction
        ALTER COLUMN id DROP IDENTITY,
        ALTER COLUMN native_transaction_id DROP NOT NULL,
        ALTER COLUMN native_transaction_id TYPE @native_type@ USING native_transaction_id::text::@native_type@,
        ALTER COLUMN issued_at DROP NOT NULL,
        ALTER COLUMN issued_at TYPE timestamp,
        DROP COLUMN actor_label,
        DROP COLUMN db_user,
        DROP COLUMN application_name,
        DROP COLUMN context,
        DROP COLUMN marks;
    ALTER TABLE @schema@.activity
        ALTER COLUMN id DROP IDENTITY,
        ALTER COLUMN schema DROP NOT NULL,
        ALTER COLUMN table_name DROP NOT NULL,
        ALTER COLUMN table_name TYPE text COLLATE "default",
        ALTER COLUMN relid DROP NOT NULL,
        ALTER COLUMN relid TYPE integer,
        ALTER COLUMN issued_at DROP NOT NULL,
        ALTER COLUMN issued_at TYPE timestamp,
        ALTER COLUMN native_transaction_id DROP NOT NULL,
        ALTER COLUMN native_transaction_id TYPE @native_type@ USING native_transaction_id::text::@native_type@,
        ALTER COLUMN verb DROP NOT NULL,
        ALTER COLUMN old_data DROP NOT NULL,
        ALTER COLUMN changed_data DROP NOT NULL,
        DROP COLUMN record_key;
    PERFORM set_config('TimeZone', session_zone, true);
    CREATE SEQUENCE @schema@.transaction_id_seq OWNED BY @schema@.transaction.id;
    CREATE SEQUENCE @schema@.activity_id_seq OWNED BY @schema@.activity.id;
    ALTER TABLE @schema@.transaction ALTER COLUMN id SET DEFAULT nextval('@quoted_schema@.transaction_id_seq');
    ALTER TABLE @schema@.activity ALTER COLUMN id SET DEFAULT nextval('@quoted_schema@.activity_id_seq');
    PERFORM setval('@quoted_schema@.transaction_id_seq', coalesce(max(t.id), 0) + 1, false)
    FROM @schema@.transaction AS t;
    PERFORM setval('@quoted_schema@.activity_id_seq', coalesce(max(a.id), 0) + 1, false)
    FROM @schema@.activity AS a;
    IF @is_renamed@ THEN
        ALTER TABLE @schema@.activity RENAME COLUMN schema TO schema_name;
    END IF;
END;
$convert$;
