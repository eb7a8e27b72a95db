-- audit_logger_statement: the statement that captures the changes of a table, made from the table's shape and options.
-- version: 1
-- Arguments:
--   verb            insert, update, delete or snapshot
--   source          what follows FROM: the old row as o, the new one as n
--   relation        SQL for the oid of the table that was changed
--   condition       SQL that rows must meet
--   is_careful      whether values may be too large for jsonb
--   transaction_id  SQL for the id of the row of "transaction", or null: a sub-select that makes it once a row is logged
CREATE OR REPLACE FUNCTION @schema@.audit_logger_statement(
    shape jsonb,
    options jsonb,
    verb text,
    source text,
    relation text,
    condition text,
    is_careful boolean,
    transaction_id text
)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    old_row text := '';
    new_row text := '';
    unchanged text;
    conditions text := condition;
    rows text := source;
BEGIN
    IF verb IN ('update', 'delete') THEN
        old_row := coalesce(@schema@.audit_logger_projection(
            shape, options, 'o'::text, CASE WHEN verb = 'update' THEN 'n'::text END, is_careful
        ), '');
        rows := format('%s CROSS JOIN LATERAL (SELECT %s) AS old_row', rows, old_row);
    END IF;
    IF verb <> 'delete' THEN
        new_row := coalesce(@schema@.audit_logger_projection(
            shape, options, 'n'::text, CASE WHEN verb = 'update' THEN 'o'::text END, is_careful
        ), '');
        rows := format('%s CROSS JOIN LATERAL (SELECT %s) AS new_row', rows, new_row);
    END IF;
    IF verb = 'update' THEN
        SELECT
            string_agg(
                format(
                    CASE
                        WHEN (c.described ->> 'comparable')::boolean
                            THEN 'CASE WHEN o.%1$I IS NOT DISTINCT FROM n.%1$I THEN %1$L END'
                        ELSE 'CASE WHEN ROW(o.%1$I)::record *= ROW(n.%1$I)::record THEN %1$L END'
                    END,
                    c.name
                ),
                ', '
            ),
            concat_ws(
                ' AND ',
                conditions,
                -- Images are compared: 1.0 and 1.00 are equal, but not the same. Not "o.* *<> n.*": a pair of rows that is
                -- sorted or hashed would hold both rows twice.
                format(
                    '(%s)',
                    coalesce(
                        nullif(concat_ws(
                            ' OR ',
                            string_agg(format('o.%1$I IS DISTINCT FROM n.%1$I', c.name), ' OR ')
                                FILTER (WHERE c.is_cause AND (c.described ->> 'comparable')::boolean),
                            'ROW(' || string_agg(format('o.%I', c.name), ', ')
                                FILTER (WHERE c.is_cause AND NOT (c.described ->> 'comparable')::boolean)
                            || ')::record *<> ROW(' || string_agg(format('n.%I', c.name), ', ')
                                FILTER (WHERE c.is_cause AND NOT (c.described ->> 'comparable')::boolean)
                            || ')::record'
                        ), ''),
                        'false'
                    )
                )
            )
        INTO unchanged, conditions
        FROM @schema@.audit_logger_stored_columns(shape, options) AS c;
        unchanged := format('ARRAY[%s]::text[]', unchanged);
        rows := format('%s CROSS JOIN LATERAL (SELECT %s AS names) AS unchanged', rows, unchanged);
    END IF;
    -- A sub-select without a reference to the rows runs once, and only if there are rows. The one that writes keeps
    -- PostgreSQL from folding the SELECT into the INSERT, which costs a few microseconds a statement.
    RETURN format(
        $sql$INSERT INTO %I.activity (
    schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, changed_data, record_key, transaction_id
)
SELECT
    %L, %L, %s, statement_timestamp(), (SELECT pg_current_xact_id()::text::bigint), %L, %s, %s, %s,
    %s
FROM %s
WHERE %s$sql$,
        @schema_name@,
        shape ->> 'schema',
        shape ->> 'table',
        relation,
        verb,
        CASE
            WHEN old_row = '' THEN '''{}''::jsonb'
            WHEN verb = 'update' AND options ->> 'old_data' = 'changed' THEN 'to_jsonb(old_row.*) - unchanged.names'
            ELSE 'to_jsonb(old_row.*)'
        END,
        CASE
            WHEN new_row = '' THEN '''{}''::jsonb'
            WHEN verb = 'update' THEN 'to_jsonb(new_row.*) - unchanged.names'
            ELSE 'to_jsonb(new_row.*)'
        END,
        @schema@.audit_logger_record_key(
            shape, options, CASE WHEN verb IN ('update', 'delete') THEN 'o'::text ELSE 'n'::text END
        ),
        coalesce(transaction_id, format('(SELECT %I.audit_logger_current_transaction())', @schema_name@)),
        rows,
        coalesce(nullif(conditions, ''), 'true')
    );
END;
$function$;
