-- convert_transactions: gives activities without a transaction one of their own, in the order of time.
-- version: 1
DO $convert$
BEGIN
    -- A native transaction id may come again after a restore, but not within an hour: that is one database transaction.
    CREATE TABLE @schema@.audit_logger_orphans AS
    SELECT
        o.id,
        o.native_transaction_id,
        o.issued_at,
        sum(o.is_first) OVER (PARTITION BY o.native_transaction_id ORDER BY o.issued_at, o.id) AS island,
        NULL::bigint AS transaction_id
    FROM (
        SELECT
            a.id,
            coalesce(a.native_transaction_id, 0) AS native_transaction_id,
            a.issued_at,
            CASE
                WHEN a.issued_at - lag(a.issued_at) OVER (PARTITION BY a.native_transaction_id ORDER BY a.issued_at, a.id)
                    <= interval '1 hour' THEN 0
                ELSE 1
            END AS is_first
        FROM @schema@.activity AS a
        WHERE a.transaction_id IS NULL
    ) AS o;

    -- Ids of transactions are in the order of time, and pages rely on it. So where rows come in between, all get a new
    -- id; the old one stays in the context. Without orphans every row keeps its id.
    CREATE TABLE @schema@.audit_logger_transactions AS
    SELECT row_number() OVER (ORDER BY t.issued_at, t.old_id, t.native_transaction_id, t.island) AS id, t.*
    FROM (
        SELECT t.id AS old_id, t.native_transaction_id, t.issued_at, NULL::bigint AS island
        FROM @schema@.transaction AS t
        UNION ALL
        SELECT NULL, o.native_transaction_id, min(o.issued_at), o.island
        FROM @schema@.audit_logger_orphans AS o
        GROUP BY o.native_transaction_id, o.island
    ) AS t
    WHERE EXISTS (SELECT FROM @schema@.audit_logger_orphans);
    ANALYZE @schema@.audit_logger_orphans, @schema@.audit_logger_transactions;
    UPDATE @schema@.audit_logger_orphans AS o
    SET transaction_id = t.id
    FROM @schema@.audit_logger_transactions AS t
    WHERE t.native_transaction_id = o.native_transaction_id
        AND t.island = o.island;
    ALTER TABLE @schema@.audit_logger_orphans ADD PRIMARY KEY (id);
    CREATE UNIQUE INDEX ON @schema@.audit_logger_transactions (old_id);
    ANALYZE @schema@.audit_logger_orphans, @schema@.audit_logger_transactions;

    UPDATE @schema@.transaction AS t
    SET
        id = n.id,
        context = jsonb_build_object('origin', @origin@, 'origin_id', n.old_id)
    FROM @schema@.audit_logger_transactions AS n
    WHERE n.old_id = t.id;
    INSERT INTO @schema@.transaction (id, native_transaction_id, issued_at, context)
    SELECT n.id, n.native_transaction_id, n.issued_at, jsonb_build_object('origin', @origin@)
    FROM @schema@.audit_logger_transactions AS n
    WHERE n.old_id IS NULL;
    ALTER TABLE @schema@.transaction ADD CONSTRAINT transaction_pkey PRIMARY KEY (id);
    -- The primary key begins with the transaction, which is not there yet; the conversion looks activities up by id.
    CREATE UNIQUE INDEX audit_logger_ids ON @schema@.activity (id);
END;
$convert$;
