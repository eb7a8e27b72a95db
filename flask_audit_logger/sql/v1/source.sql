-- audit_logger_source: the body of the trigger function that captures one verb of one table.
-- version: 1
-- What the shape and the options of the table decide is decided here, once. What is left to the trigger depends on the
-- rows: whether there is one or many, and whether a value may be too large for jsonb.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_source(shape jsonb, options jsonb, verb text)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    pairs text := @schema@.audit_logger_pairs(shape);
    old_is_large text;
    new_is_large text;
    other_keys text;
    are_safe text;
    statements text;
    requirement text := '';
BEGIN
    -- A compressed value unfolds to 255 times its size at most, an array of nulls to 32 times that; all columns together
    -- must stay below the 256 MB at which jsonb ends.
    SELECT
        string_agg(format('pg_column_size(o.%I) > %s', c.name, c.max_size), ' OR '),
        string_agg(format('pg_column_size(n.%I) > %s', c.name, c.max_size), ' OR ')
    INTO old_is_large, new_is_large
    FROM (
        SELECT s.name, least(30000, 400000 / count(*) OVER ()) AS max_size
        FROM @schema@.audit_logger_stored_columns(shape, options) AS s
        WHERE NOT (s.described ->> 'bounded')::boolean
    ) AS c;
    -- In a partitioned table MERGE may show a row that it inserted instead of the one that it updated.
    IF verb = 'update' AND (shape ->> 'partitioned')::boolean THEN
        other_keys := format('NOT (%s)', @schema@.audit_logger_same_key(shape, options, 'o'::text, 'n'::text));
    END IF;
    are_safe := coalesce(
        nullif(
            concat_ws(
                ' AND ',
                CASE
                    WHEN verb <> 'insert' AND old_is_large IS NOT NULL
                        THEN format('NOT EXISTS (SELECT FROM old_table AS o WHERE %s)', old_is_large)
                END,
                CASE
                    WHEN verb <> 'delete' AND new_is_large IS NOT NULL
                        THEN format('NOT EXISTS (SELECT FROM new_table AS n WHERE %s)', new_is_large)
                END,
                CASE
                    WHEN other_keys IS NOT NULL
                        THEN format(
                            'capture.count = (SELECT count(*) FROM new_table) AND NOT EXISTS (SELECT FROM %s WHERE %s)',
                            pairs,
                            other_keys
                        )
                END
            ),
            ''
        ),
        'true'
    );
    IF verb = 'update' THEN
        statements := format(
            $sql$
        IF count = 1 THEN
            %s;
        ELSE
            %s;
        END IF;$sql$,
            @schema@.audit_logger_statement(
                shape, options, verb, 'old_table AS o CROSS JOIN new_table AS n'::text, 'capture.relation'::text,
                CASE
                    WHEN other_keys IS NOT NULL THEN are_safe
                    ELSE format(
                        '(%s) IS NOT TRUE',
                        coalesce(nullif(concat_ws(' OR ', old_is_large, new_is_large), ''), 'false')
                    )
                END,
                false
            ),
            @schema@.audit_logger_statement(
                shape, options, verb, pairs, 'capture.relation'::text, are_safe, false
            )
        );
    ELSE
        statements := format(
            E'\n        %s;',
            @schema@.audit_logger_statement(
                shape,
                options,
                verb,
                CASE verb WHEN 'delete' THEN 'old_table AS o'::text ELSE 'new_table AS n'::text END,
                'capture.relation'::text,
                are_safe,
                false
            )
        );
    END IF;
    IF options ? 'require' THEN
        requirement := format(
            $sql$
    missing := %1$I.audit_logger_missing(%2$L::jsonb);
    IF missing IS NOT NULL THEN%3$s
        PERFORM %1$I.audit_logger_refuse(missing, schema_name, table_name);
    END IF;$sql$,
            @schema_name@,
            options -> 'require',
            CASE
                WHEN verb <> 'insert' THEN
                    format(
                        $sql$
        EXECUTE %I.audit_logger_referential(relation) INTO is_referential;
        IF is_referential THEN
            RETURN NULL;
        END IF;$sql$,
                        @schema_name@
                    )
            END
        );
    END IF;
    RETURN format(
        $body$
<<capture>>
DECLARE
    relation oid := TG_RELID;
    schema_name text := TG_TABLE_SCHEMA;
    table_name text := TG_TABLE_NAME;
    count bigint;
    has_shape boolean;
    is_captured boolean := false;
    missing text;
    is_referential boolean;
BEGIN
    SELECT count(*), %1$I.audit_logger_has_shape(%2$L, %3$L, %4$L) INTO count, has_shape FROM %5$s;
    IF count = 0 THEN
        RETURN NULL;
    END IF;
    -- Only these words switch capture off, and they leave a mark; anything else leaves it on.
    IF lower(current_setting('flask_audit_logger.enable_versioning', true)) IN ('false', 'off', 'no', '0') THEN
        PERFORM %1$I.audit_logger_note('capture_off'::text, schema_name, table_name);
        RETURN NULL;
    END IF;
    -- A statement for another shape may not even be read: it may name a column that is gone.
    IF has_shape AND table_name = %3$L AND schema_name = %2$L THEN%6$s
        is_captured := FOUND;
        IF NOT is_captured THEN
            IF %7$s THEN
                RETURN NULL;  -- nothing changed
            END IF;
        END IF;
    END IF;
    IF NOT is_captured THEN
        EXECUTE %1$I.audit_logger_fallback(relation, %8$L::jsonb, %9$L::text, %10$s, %11$s)
        USING relation;
    END IF;%12$s
    RETURN NULL;
END;
$body$,
        @schema_name@,
        shape ->> 'schema',
        shape ->> 'table',
        md5(shape::text),
        CASE verb WHEN 'insert' THEN 'new_table' ELSE 'old_table' END,
        statements,
        are_safe,
        options,
        verb,
        CASE verb WHEN 'insert' THEN '0::bigint' ELSE 'count' END,
        CASE verb
            WHEN 'insert' THEN 'count'
            WHEN 'delete' THEN '0::bigint'
            ELSE '(SELECT count(*) FROM new_table)'
        END,
        requirement
    );
END;
$function$;
