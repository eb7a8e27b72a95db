-- convert_finish: what every row has from now on, and the indexes of the log.
-- version: 1
DO $convert$
BEGIN
    DROP TABLE @schema@.audit_logger_orphans;
    DROP TABLE @schema@.audit_logger_transactions;
    ALTER TABLE @schema@.transaction
        ALTER COLUMN native_transaction_id SET NOT NULL,
        ALTER COLUMN issued_at SET NOT NULL;
    ALTER TABLE @schema@.activity
        ALTER COLUMN schema SET NOT NULL,
        ALTER COLUMN table_name SET NOT NULL,
        ALTER COLUMN relid SET NOT NULL,
        ALTER COLUMN issued_at SET NOT NULL,
        ALTER COLUMN native_transaction_id SET NOT NULL,
        ALTER COLUMN verb SET NOT NULL,
        ALTER COLUMN old_data SET NOT NULL,
        ALTER COLUMN changed_data SET NOT NULL,
        ALTER COLUMN transaction_id SET NOT NULL;
    CREATE INDEX transaction_issued_at_idx ON @schema@.transaction (issued_at, id);
    CREATE INDEX transaction_actor_id_idx ON @schema@.transaction (actor_id, id);
    CREATE INDEX transaction_impersonated_idx ON @schema@.transaction (id) WHERE context OPERATOR(pg_catalog.?) 'impersonator';
    CREATE INDEX transaction_undoes_idx ON @schema@.transaction ((context OPERATOR(pg_catalog.->>) 'undoes'), id)
        WHERE context OPERATOR(pg_catalog.?) 'undoes';
    DROP INDEX @schema@.audit_logger_ids;
    ALTER TABLE @schema@.activity ADD CONSTRAINT activity_pkey PRIMARY KEY (transaction_id, id);
    CREATE INDEX activity_record_idx ON @schema@.activity (table_name, record_key, id);
    -- What few entries are in: where records end, where tables were emptied, and what the log says about itself.
    CREATE INDEX activity_end_idx ON @schema@.activity (table_name, record_key, id) WHERE verb IN ('delete', 'truncate');
    CREATE INDEX activity_rare_idx ON @schema@.activity (verb, transaction_id, id)
        WHERE verb IN ('truncate', 'pruned', 'hold', 'release', 'erased', 'event');
    CREATE INDEX activity_id_idx ON @schema@.activity USING brin (id) WITH (autosummarize = true);
    PERFORM setval(pg_get_serial_sequence('@quoted_schema@.transaction', 'id'), coalesce(max(t.id), 0) + 1, false)
    FROM @schema@.transaction AS t;
    PERFORM setval(pg_get_serial_sequence('@quoted_schema@.activity', 'id'), coalesce(max(a.id), 0) + 1, false)
    FROM @schema@.activity AS a;
END;
$convert$;
