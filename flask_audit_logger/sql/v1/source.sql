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
    is_large text;
    condition text;
    other_keys text;
    are_safe text;
    statements text;
    fallback text;
    rest text;
    requirement text := '';
    variables text := '';
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
    is_large := CASE verb
        WHEN 'insert' THEN new_is_large
        WHEN 'delete' THEN old_is_large
        ELSE concat_ws(' OR ', old_is_large, new_is_large)
    END;
    are_safe := concat_ws(
        ' AND ',
        format('NOT EXISTS (SELECT FROM old_table AS o WHERE %s)', old_is_large),
        format('NOT EXISTS (SELECT FROM new_table AS n WHERE %s)', new_is_large)
    );
    IF coalesce(is_large, '') = '' THEN
        is_large := 'false';
        are_safe := 'true';
    END IF;
    condition := format('(%s) IS NOT TRUE', is_large);
    IF verb = 'update' AND (shape ->> 'partitioned')::boolean THEN
        -- In a partitioned table MERGE may show a row that it inserted instead of the one that it updated: all or nothing.
        other_keys := format('NOT (%s)', @schema@.audit_logger_same_key(shape, options, 'o'::text, 'n'::text));
        are_safe := format(
            '%s AND capture.count = (SELECT count(*) FROM new_table) AND NOT EXISTS (SELECT FROM %s WHERE %s)',
            are_safe,
            pairs,
            other_keys
        );
        condition := are_safe;
    END IF;
    fallback := format(
        'EXECUTE %I.audit_logger_fallback(relation, %L::jsonb, %L::text, %s, %s, %s) USING relation',
        @schema_name@,
        options,
        verb,
        CASE verb WHEN 'insert' THEN '0::bigint' ELSE 'count' END,
        CASE verb
            WHEN 'insert' THEN 'count'
            WHEN 'delete' THEN '0::bigint'
            ELSE '(SELECT count(*) FROM new_table)'
        END,
        CASE WHEN other_keys IS NULL THEN format('CASE WHEN is_stored THEN %L END', is_large) ELSE 'NULL::text' END
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
                shape, options, verb, 'old_table AS o CROSS JOIN new_table AS n'::text, 'capture.relation'::text, condition,
                false, NULL::text
            ),
            @schema@.audit_logger_statement(
                shape, options, verb, pairs, 'capture.relation'::text, condition, false, NULL::text
            )
        );
        rest := format(
            $sql$
        IF is_stored THEN
            -- What was not logged did not change, or is large.
            IF %s THEN
                IF logged = 0 THEN
                    RETURN NULL;
                END IF;
                count := logged;
            END IF;
        END IF;
        IF logged < count THEN
            %s;
        END IF;$sql$,
            are_safe,
            fallback
        );
    ELSE
        -- Each row is logged, so the row of the transaction is needed in any case.
        statements := format(
            $sql$
        transaction_id := %I.audit_logger_current_transaction();
        %s;$sql$,
            @schema_name@,
            @schema@.audit_logger_statement(
                shape,
                options,
                verb,
                CASE verb WHEN 'delete' THEN 'old_table AS o'::text ELSE 'new_table AS n'::text END,
                'capture.relation'::text,
                condition,
                false,
                'capture.transaction_id'::text
            )
        );
        variables := E'\n    transaction_id bigint;';
        rest := format(E'\n        %s;', fallback);
    END IF;
    IF options ? 'require' THEN
        variables := variables || E'\n    missing text;\n    is_referential boolean;';
        requirement := format(
            $sql$
    missing := %1$I.audit_logger_missing(%2$L::jsonb);
    IF missing IS NOT NULL THEN%3$s
        PERFORM %1$I.audit_logger_refuse(missing, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text);
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
    -- Each expression is prepared once in each transaction, so there are few.
    RETURN format(
        $body$
<<capture>>
DECLARE
    relation oid := TG_RELID;
    count bigint;
    logged bigint := 0;
    has_shape boolean;
    is_stored boolean := false;%8$s
BEGIN
    SELECT count(*), %1$I.audit_logger_has_shape(%2$L, %3$L, %4$L) INTO count, has_shape FROM %5$s;
    IF count = 0 THEN
        RETURN NULL;
    END IF;
    -- Only these words switch capture off, and they leave a mark; anything else leaves it on.
    IF lower(current_setting('flask_audit_logger.enable_versioning', true)) IN ('false', 'off', 'no', '0') THEN
        PERFORM %1$I.audit_logger_note('capture_off'::text, TG_TABLE_SCHEMA::text, TG_TABLE_NAME::text);
        RETURN NULL;
    END IF;
    -- A statement for another shape may not even be read: it may name a column that is gone.
    IF has_shape AND TG_TABLE_NAME = %3$L AND TG_TABLE_SCHEMA = %2$L THEN
        is_stored := true;%6$s
        GET DIAGNOSTICS logged = ROW_COUNT;
    END IF;
    IF logged < count THEN%7$s
    END IF;%9$s
    RETURN NULL;
END;
$body$,
        @schema_name@,
        shape ->> 'schema',
        shape ->> 'table',
        md5(shape::text),
        CASE verb WHEN 'insert' THEN 'new_table' ELSE 'old_table' END,
        statements,
        rest,
        variables,
        requirement
    );
END;
$function$;
