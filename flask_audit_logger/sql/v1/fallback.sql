-- audit_logger_fallback: the statements that capture a change whose statements are not stored, or not right for it.
-- version: 1
-- They are those of the generator for the table as it is now, for values of any size. "condition" is what rows must meet,
-- where the stored statements have logged the others.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_fallback(
    relation oid, options jsonb, verb text, old_count bigint, new_count bigint, condition text
)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    shape jsonb := @schema@.audit_logger_shape(relation);
    same_key text;
    present text;
    pairs text;
    is_unread boolean;
BEGIN
    IF (SELECT c.relpersistence = 't' FROM pg_class AS c WHERE c.oid = relation) THEN
        -- Nobody audits a temporary table; entries of one would be forged.
        RETURN 'SELECT';
    END IF;
    same_key := @schema@.audit_logger_same_key(shape, options, 'o'::text, 'n'::text);
    pairs := CASE
        WHEN new_count = 1 AND old_count = 1 THEN 'old_table AS o CROSS JOIN new_table AS n'
        ELSE @schema@.audit_logger_pairs(shape)
    END;
    IF verb <> 'update'
        OR condition IS NOT NULL
        OR NOT (shape ->> 'partitioned')::boolean
        OR same_key = 'false' AND old_count = new_count
    THEN
        RETURN @schema@.audit_logger_statement(
            shape,
            options,
            verb,
            CASE verb WHEN 'insert' THEN 'new_table AS n' WHEN 'delete' THEN 'old_table AS o' ELSE pairs END,
            '$1'::text,
            condition,
            true,
            NULL::text
        );
    END IF;

    -- In a partitioned table the new rows can't be believed: where MERGE inserts and then updates, PostgreSQL puts the
    -- inserted row into them instead of the updated one; and a row that moves to another partition may be dropped there
    -- by a trigger. So the table itself is asked what became of a key. Rows that we can't read are noted.
    SELECT
        NOT has_schema_privilege(c.relnamespace, 'USAGE')
            OR NOT has_table_privilege(c.oid, 'SELECT')
            OR row_security_active(c.oid)
    INTO is_unread
    FROM pg_class AS c
    WHERE c.oid = relation;
    IF is_unread THEN
        PERFORM @schema@.audit_logger_note('rows_unread'::text, shape ->> 'schema', shape ->> 'table');
        present := 'new_table';
    ELSE
        present := relation::regclass::text;
    END IF;
    RETURN concat_ws(
        E';\n',
        @schema@.audit_logger_statement(
            shape, options, 'update'::text, format('old_table AS o JOIN %s AS n ON %s', present, same_key), '$1'::text,
            NULL::text, true, NULL::text
        ),
        -- A key that is gone was changed, if there is a new row for each old one, else the row was dropped.
        @schema@.audit_logger_statement(
            shape, options, 'update'::text, pairs, '$1'::text,
            format(
                '%s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s) AND NOT EXISTS (SELECT FROM old_table AS p WHERE %s)',
                (old_count = new_count)::text,
                present,
                @schema@.audit_logger_same_key(shape, options, 'o'::text, 'p'::text),
                @schema@.audit_logger_same_key(shape, options, 'n'::text, 'p'::text)
            ),
            true,
            NULL::text
        ),
        @schema@.audit_logger_statement(
            shape, options, 'delete'::text, 'old_table AS o'::text, '$1'::text,
            format(
                '%s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)',
                (old_count <> new_count)::text,
                present,
                @schema@.audit_logger_same_key(shape, options, 'o'::text, 'p'::text)
            ),
            true,
            NULL::text
        ),
        @schema@.audit_logger_statement(
            shape, options, 'insert'::text, 'new_table AS n'::text, '$1'::text,
            format(
                '%s AND NOT EXISTS (SELECT FROM old_table AS p WHERE %s)',
                (old_count <> new_count)::text,
                @schema@.audit_logger_same_key(shape, options, 'n'::text, 'p'::text)
            ),
            true,
            NULL::text
        )
    );
END;
$function$;
