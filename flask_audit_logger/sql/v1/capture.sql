-- audit_logger_capture: the trigger function of every audited table. Writes one row of "activity" per changed row.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_capture()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- One value is always logged as one text, whatever the settings of the session.
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, MDY'
SET "IntervalStyle" = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
-- PostgreSQL guesses the rows of a transition table; a nested loop between two of them is quadratic.
SET enable_nestloop = off
AS $function$
<<capture>>
DECLARE
    options jsonb := coalesce(TG_ARGV[0], '{}');
    is_part boolean := options ?| '{exclude,only}';
    is_short boolean := coalesce(options ->> 'old_data' = 'changed', false);
    mask jsonb := '{}';
    is_projected boolean;
    jsonb_columns text[];
    schema_name text := TG_TABLE_SCHEMA;
    table_name text := TG_TABLE_NAME;
    only_key text;
    key_columns text[];
    excluded text[] := '{}';
    ignored text[] := '{}';
    xact_id bigint := pg_current_xact_id()::text::bigint;
    old_count bigint := 0;
    new_count bigint := 0;
    row_size bigint;
    verb text := lower(TG_OP);
    row_alias text;
    columns text;
    changes text;
BEGIN
    -- Queries on a transition table name their variables as capture.x: the table may have a column of any name.
    -- Rows are written whole, as n.*, for the same reason.
    IF NOT is_part THEN
        BEGIN
            IF TG_OP = 'INSERT' THEN
                SELECT count(*), max(pg_column_size(n.*)) INTO new_count, row_size FROM new_table AS n;
            ELSIF TG_OP = 'DELETE' THEN
                SELECT count(*), max(pg_column_size(o.*)) INTO old_count, row_size FROM old_table AS o;
            ELSIF TG_OP = 'UPDATE' THEN
                SELECT before.count, after.count, greatest(before.size, after.size)
                INTO old_count, new_count, row_size
                FROM (SELECT count(*) AS count, max(pg_column_size(o.*)) AS size FROM old_table AS o) AS before,
                    (SELECT count(*) AS count, max(pg_column_size(n.*)) AS size FROM new_table AS n) AS after;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- n.* reads and unfolds each value; all of them together may be too much
            row_size := 2147483647;
        END;
    END IF;
    -- Not measured, because of values that must not be read, or couldn't be.
    IF is_part OR row_size = 2147483647 THEN
        IF TG_OP IN ('INSERT', 'UPDATE') THEN
            SELECT count(*) INTO new_count FROM new_table;
        END IF;
        IF TG_OP IN ('UPDATE', 'DELETE') THEN
            SELECT count(*) INTO old_count FROM old_table;
        END IF;
    END IF;
    IF old_count = 0 AND new_count = 0 THEN
        RETURN NULL;
    END IF;

    -- A write to a partition is a change of the partitioned table.
    IF options ? 'partition' THEN
        SELECT n.nspname, c.relname
        INTO schema_name, table_name
        FROM pg_class AS c
        JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE c.oid = coalesce(pg_partition_root(TG_RELID), TG_RELID);
    END IF;

    -- Only these words switch capture off, and they leave a mark; anything else leaves it on.
    IF lower(current_setting('flask_audit_logger.enable_versioning', true)) IN ('false', 'off', 'no', '0') THEN
        PERFORM @schema@.audit_logger_note('capture_off'::text, schema_name, table_name);
        RETURN NULL;
    END IF;

    IF NOT options ? 'key' THEN
        key_columns := @schema@.audit_logger_key_columns(TG_RELID, options);
        only_key := CASE WHEN cardinality(key_columns) = 1 THEN key_columns[1] END;
    ELSIF jsonb_array_length(options -> 'key') = 1 THEN
        only_key := options #>> '{key,0}';
        key_columns := ARRAY[only_key];
    ELSE
        key_columns := ARRAY(SELECT jsonb_array_elements_text(options -> 'key'));
    END IF;
    IF options ? 'mask' THEN
        mask := (
            SELECT coalesce(jsonb_object_agg(a.attname, '{"audit_logger": "masked"}'::jsonb), '{}')
            FROM pg_attribute AS a
            WHERE a.attrelid = TG_RELID
                AND NOT a.attisdropped
                AND options -> 'mask' ? a.attname
        );
    END IF;
    IF options ? 'ignore' THEN
        ignored := ARRAY(SELECT jsonb_array_elements_text(options -> 'ignore'));
    END IF;

    -- A whole row is converted at once where that is certain to be right: each column has a type that to_jsonb converts
    -- without loss or error, the row is small (a compressed value unfolds to 255 times its size at most, and an array of
    -- nulls to 32 times that; jsonb ends at 256 MB), and no large value is read only to be left out. Else column by
    -- column, by a statement made for this table.
    is_projected := coalesce(row_size > 30000, false);
    IF is_part AND NOT is_projected THEN
        SELECT c.relkind = 'p' OR c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) > 0
        INTO is_projected
        FROM pg_class AS c
        WHERE c.oid = TG_RELID;
        excluded := ARRAY(
            SELECT a.attname
            FROM pg_attribute AS a
            WHERE a.attrelid = TG_RELID
                AND a.attnum > 0
                AND (options -> 'exclude' ? a.attname OR NOT options -> 'only' ? a.attname)
        );
    END IF;
    IF NOT is_projected THEN
        SELECT
            count(*) FILTER (WHERE a.atttypid <> 3802 OR a.attgenerated = 'v') > 0,
            array_agg(a.attname) FILTER (WHERE a.atttypid = 3802)
        INTO is_projected, jsonb_columns
        FROM pg_attribute AS a
        WHERE a.attrelid = TG_RELID
            AND a.attnum > 0
            AND NOT a.attisdropped
            AND (
                a.atttypid IN (114, 199, 3802)  -- json, json[], jsonb
                -- A type that somebody made: its owner can make a cast of it to json at any time, even while this
                -- statement runs, and to_jsonb would call its function with our rights.
                OR a.atttypid >= 16384
                OR a.attgenerated = 'v'
            );
        -- A JSON null takes a look at each row; for many rows a statement made for the table does it faster.
        is_projected := is_projected OR jsonb_columns IS NOT NULL AND greatest(old_count, new_count) > 1;
    END IF;

    -- OFFSET 0 keeps each conversion from being done once per use.
    IF NOT is_projected AND TG_OP = 'INSERT' THEN
        INSERT INTO @schema@.activity (
            schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, record_key, transaction_id
        )
        SELECT
            capture.schema_name,
            capture.table_name,
            TG_RELID,
            statement_timestamp(),
            xact_id,
            capture.verb,
            CASE WHEN mask = '{}' THEN c.new_row ELSE c.new_row || mask END,
            CASE
                WHEN octet_length(c.new_row ->> only_key) <= 1000 THEN c.new_row ->> only_key
                WHEN key_columns = '{}' THEN NULL
                ELSE @schema@.audit_logger_record_key(c.new_row, key_columns)
            END,
            (SELECT @schema@.audit_logger_current_transaction())
        FROM (
            SELECT CASE
                WHEN capture.jsonb_columns IS NULL THEN to_jsonb(n.*)
                ELSE (
                    -- JSON null and SQL NULL are both null in "record". Setting the column to NULL changes the row only if it
                    -- holds a JSON null.
                    SELECT coalesce(
                        w.record || (
                            SELECT jsonb_object_agg(
                                u.name,
                                CASE w.record -> u.name
                                    WHEN 'null' THEN '{"audit_logger": "json null"}'::jsonb
                                    ELSE jsonb_build_object('audit_logger', 'value', 'value', w.record -> u.name)
                                END
                            )
                            FROM unnest(capture.jsonb_columns) AS u (name)
                            WHERE CASE w.record -> u.name
                                WHEN 'null' THEN jsonb_populate_record(n.*, jsonb_build_object(u.name, NULL)) *<> n.*
                                ELSE w.record -> u.name -> 'audit_logger' IS NOT NULL
                            END
                        ),
                        w.record
                    )
                    FROM (SELECT to_jsonb(n.*) AS record OFFSET 0) AS w
                )
            END - capture.excluded AS new_row
            FROM new_table AS n
            OFFSET 0
        ) AS c;
        RETURN NULL;
    ELSIF NOT is_projected AND TG_OP = 'DELETE' THEN
        INSERT INTO @schema@.activity (
            schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, record_key, transaction_id
        )
        SELECT
            capture.schema_name,
            capture.table_name,
            TG_RELID,
            statement_timestamp(),
            xact_id,
            capture.verb,
            CASE WHEN mask = '{}' THEN c.old_row ELSE c.old_row || mask END,
            CASE
                WHEN octet_length(c.old_row ->> only_key) <= 1000 THEN c.old_row ->> only_key
                WHEN key_columns = '{}' THEN NULL
                ELSE @schema@.audit_logger_record_key(c.old_row, key_columns)
            END,
            (SELECT @schema@.audit_logger_current_transaction())
        FROM (
            SELECT CASE
                WHEN capture.jsonb_columns IS NULL THEN to_jsonb(o.*)
                ELSE (
                    SELECT coalesce(
                        w.record || (
                            SELECT jsonb_object_agg(
                                u.name,
                                CASE w.record -> u.name
                                    WHEN 'null' THEN '{"audit_logger": "json null"}'::jsonb
                                    ELSE jsonb_build_object('audit_logger', 'value', 'value', w.record -> u.name)
                                END
                            )
                            FROM unnest(capture.jsonb_columns) AS u (name)
                            WHERE CASE w.record -> u.name
                                WHEN 'null' THEN jsonb_populate_record(o.*, jsonb_build_object(u.name, NULL)) *<> o.*
                                ELSE w.record -> u.name -> 'audit_logger' IS NOT NULL
                            END
                        ),
                        w.record
                    )
                    FROM (SELECT to_jsonb(o.*) AS record OFFSET 0) AS w
                )
            END - capture.excluded AS old_row
            FROM old_table AS o
            OFFSET 0
        ) AS c;
        RETURN NULL;
    ELSIF NOT is_projected AND TG_OP = 'UPDATE' AND old_count = 1 AND new_count = 1 THEN
        INSERT INTO @schema@.activity (
            schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, changed_data, record_key,
            transaction_id
        )
        SELECT
            capture.schema_name,
            capture.table_name,
            TG_RELID,
            statement_timestamp(),
            xact_id,
            capture.verb,
            CASE
                WHEN is_short THEN @schema@.audit_logger_columns_of(c.changed, c.old_row || mask)
                WHEN mask = '{}' THEN c.old_row
                ELSE c.old_row || mask
            END,
            c.changed,
            CASE
                WHEN octet_length(c.old_row ->> only_key) <= 1000 THEN c.old_row ->> only_key
                WHEN key_columns = '{}' THEN NULL
                ELSE @schema@.audit_logger_record_key(c.old_row, key_columns)
            END,
            (SELECT @schema@.audit_logger_current_transaction())
        FROM (
            SELECT
                p.old_row,
                (
                    SELECT jsonb_object_agg(e.key, coalesce(mask -> e.key, e.value))
                    FROM jsonb_each(p.new_row) AS e
                    -- image comparison: 1.0 and 1.00 are equal, but not the same
                    WHERE ROW(e.value)::record *<> ROW(p.old_row -> e.key)::record
                ) AS changed
            FROM (
                SELECT
                    CASE
                        WHEN capture.jsonb_columns IS NULL THEN to_jsonb(o.*)
                        ELSE (
                            SELECT coalesce(
                                w.record || (
                                    SELECT jsonb_object_agg(
                                        u.name,
                                        CASE w.record -> u.name
                                            WHEN 'null' THEN '{"audit_logger": "json null"}'::jsonb
                                            ELSE jsonb_build_object('audit_logger', 'value', 'value', w.record -> u.name)
                                        END
                                    )
                                    FROM unnest(capture.jsonb_columns) AS u (name)
                                    WHERE CASE w.record -> u.name
                                        WHEN 'null' THEN jsonb_populate_record(o.*, jsonb_build_object(u.name, NULL)) *<> o.*
                                        ELSE w.record -> u.name -> 'audit_logger' IS NOT NULL
                                    END
                                ),
                                w.record
                            )
                            FROM (SELECT to_jsonb(o.*) AS record OFFSET 0) AS w
                        )
                    END - capture.excluded AS old_row,
                    CASE
                        WHEN capture.jsonb_columns IS NULL THEN to_jsonb(n.*)
                        ELSE (
                            SELECT coalesce(
                                w.record || (
                                    SELECT jsonb_object_agg(
                                        u.name,
                                        CASE w.record -> u.name
                                            WHEN 'null' THEN '{"audit_logger": "json null"}'::jsonb
                                            ELSE jsonb_build_object('audit_logger', 'value', 'value', w.record -> u.name)
                                        END
                                    )
                                    FROM unnest(capture.jsonb_columns) AS u (name)
                                    WHERE CASE w.record -> u.name
                                        WHEN 'null' THEN jsonb_populate_record(n.*, jsonb_build_object(u.name, NULL)) *<> n.*
                                        ELSE w.record -> u.name -> 'audit_logger' IS NOT NULL
                                    END
                                ),
                                w.record
                            )
                            FROM (SELECT to_jsonb(n.*) AS record OFFSET 0) AS w
                        )
                    END - capture.excluded AS new_row
                FROM old_table AS o, new_table AS n
                WHERE o.* *<> n.*
                OFFSET 0
            ) AS p
            OFFSET 0
        ) AS c
        WHERE c.changed - ignored <> '{}';
        RETURN NULL;
    END IF;

    -- An alias that is no column, so that it means the row.
    row_alias := 'audit_logger_row';
    WHILE EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = TG_RELID AND a.attname = row_alias) LOOP
        row_alias := row_alias || '_';
    END LOOP;
    columns := CASE
        WHEN is_projected OR is_part
            THEN @schema@.audit_logger_projection(TG_RELID, options, coalesce(row_size <= 30000, false))
        ELSE '*'
    END;
    changes := CASE
        WHEN TG_OP = 'INSERT' THEN
            $sql$
            SELECT 'insert', '{}'::jsonb, to_jsonb(%1$I.*), NULL::jsonb
            FROM (SELECT %2$s FROM new_table) AS %1$I
            $sql$
        WHEN TG_OP = 'DELETE' THEN
            $sql$
            SELECT 'delete', to_jsonb(%1$I.*), '{}'::jsonb, NULL::jsonb
            FROM (SELECT %2$s FROM old_table) AS %1$I
            $sql$
        -- Both tables hold their rows in the order in which they were changed, so the n-th old row became the n-th new
        -- row, as long as there are as many of them.
        WHEN old_count = new_count THEN
            $sql$
            SELECT 'update', to_jsonb(o.record), NULL::jsonb, to_jsonb(n.record)
            FROM (
                SELECT %1$I AS record, row_number() OVER () AS position
                FROM (SELECT %2$s FROM old_table) AS %1$I
            ) AS o
            JOIN (
                SELECT %1$I AS record, row_number() OVER () AS position
                FROM (SELECT %2$s FROM new_table) AS %1$I
            ) AS n
                USING (position)
            WHERE o.record *<> n.record
            $sql$
        -- A row that moved to another partition was dropped there by a trigger: only the key tells which.
        ELSE
            $sql$
            SELECT
                CASE WHEN n.record IS NULL THEN 'delete' WHEN o.record IS NULL THEN 'insert' ELSE 'update' END,
                coalesce(o.record, '{}'),
                CASE WHEN n.record IS NULL THEN '{}' WHEN o.record IS NULL THEN n.record END,
                n.record
            FROM (SELECT to_jsonb(%1$I.*) AS record FROM (SELECT %2$s FROM old_table) AS %1$I) AS o
            FULL JOIN (SELECT to_jsonb(%1$I.*) AS record FROM (SELECT %2$s FROM new_table) AS %1$I) AS n
                ON %3$I.audit_logger_record_key(o.record, $5) = %3$I.audit_logger_record_key(n.record, $5)
            $sql$
    END;
    EXECUTE format(
        $sql$
        INSERT INTO %3$I.activity (
            schema, table_name, relid, issued_at, native_transaction_id, verb, old_data, changed_data, record_key,
            transaction_id
        )
        SELECT
            $1,
            $2,
            $3,
            statement_timestamp(),
            $4,
            c.verb,
            CASE
                WHEN c.verb = 'insert' THEN c.old_row
                WHEN c.verb = 'update' AND $6 THEN %3$I.audit_logger_columns_of(c.changed, c.old_row || $7)
                WHEN $7 = '{}' THEN c.old_row
                ELSE c.old_row || $7
            END,
            CASE WHEN c.verb <> 'insert' OR $7 = '{}' THEN c.changed ELSE c.changed || $7 END,
            CASE
                WHEN octet_length(c.keyed_row ->> $9) <= 1000 THEN c.keyed_row ->> $9
                WHEN $5 = '{}' THEN NULL
                ELSE %3$I.audit_logger_record_key(c.keyed_row, $5)
            END,
            (SELECT %3$I.audit_logger_current_transaction())
        FROM (
            SELECT
                p.verb,
                p.old_row,
                CASE
                    WHEN p.changed IS NOT NULL THEN p.changed
                    ELSE (
                        SELECT jsonb_object_agg(e.key, coalesce($7 -> e.key, e.value))
                        FROM jsonb_each(p.new_row) AS e
                        WHERE ROW(e.value)::record *<> ROW(p.old_row -> e.key)::record
                    )
                END AS changed,
                CASE p.verb WHEN 'insert' THEN p.changed ELSE p.old_row END AS keyed_row
            FROM ($sql$ || changes || $sql$ OFFSET 0) AS p (verb, old_row, changed, new_row)
            OFFSET 0
        ) AS c
        WHERE c.verb <> 'update'
            OR c.changed - $8 <> '{}'
        $sql$,
        row_alias,
        columns,
        @schema_name@
    )
    USING schema_name, table_name, TG_RELID, xact_id, key_columns, is_short, mask, ignored, only_key;
    RETURN NULL;
END;
$function$;
