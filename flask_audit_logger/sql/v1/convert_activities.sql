-- convert_activities: gives a range of activities their record key and their transaction.
-- version: 1
UPDATE @schema@.activity AS a
SET
    record_key = CASE
        WHEN octet_length(k.whole) > 1000 THEN 'sha256:' || encode(sha256(convert_to(k.whole, 'UTF8')), 'hex')
        ELSE k.whole
    END,
    transaction_id = coalesce(o.transaction_id, n.id, b.transaction_id),
    old_data = coalesce(b.old_data, '{}'),
    changed_data = coalesce(b.changed_data, '{}')
FROM @schema@.activity AS b
LEFT JOIN @schema@.audit_logger_orphans AS o
    ON o.id = b.id
LEFT JOIN @schema@.audit_logger_transactions AS n
    ON n.old_id = b.transaction_id
LEFT JOIN (VALUES @record_keys@) AS r (schema, table_name, key_columns)
    ON r.schema = b.schema
    AND r.table_name = b.table_name
CROSS JOIN LATERAL (SELECT CASE b.verb WHEN 'insert' THEN b.changed_data ELSE b.old_data END AS record) AS d
CROSS JOIN LATERAL (
    SELECT
        CASE cardinality(r.key_columns)
            WHEN 1 THEN d.record ->> r.key_columns[1]
            ELSE (
                SELECT jsonb_agg(d.record ->> c.name ORDER BY c.position)::text
                FROM unnest(r.key_columns) WITH ORDINALITY AS c (name, position)
            )
        END AS whole
) AS k
WHERE a.id = b.id
    AND b.id BETWEEN @first@ AND @last@;
