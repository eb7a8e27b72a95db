-- audit_logger_projection: the select list that reads one row of a table for the log.
-- version: 1
-- The argument "is_small" says that each row is small enough to be converted whole.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_projection(relation oid, options jsonb, is_small boolean)
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    -- Excluded columns are not even read. A virtual column has no value in a transition table, so its expression stands
    -- for it. What to_jsonb might fail on goes through audit_logger_safe_value, what it might make look like NULL or like
    -- a mark of ours is marked; the columns share the 256 MB at which jsonb ends.
    -- Types of users never reach to_jsonb, which calls a cast of theirs to json: their text comes from the output function
    -- of the type, which only a superuser can make. A cast in an expression could be theirs, too, so it starts from a text
    -- or a domain (for which PostgreSQL ignores casts). All arguments of audit_logger_safe_value have exactly its types: of
    -- functions with that name PostgreSQL would take one that matches better.
    RETURN (
        SELECT
            string_agg(
                CASE
                    WHEN c.attgenerated = 'v'
                        THEN format('(%s) AS %I', pg_get_expr(d.adbin, d.adrelid), c.attname)
                    WHEN is_small AND c.base = 3802  -- jsonb
                        THEN format(
                            $sql$
                            CASE
                                WHEN %1$s = 'null' THEN '{"audit_logger": "json null"}'
                                WHEN %1$s -> 'audit_logger' IS NOT NULL
                                    THEN jsonb_build_object('audit_logger', 'value', 'value', %1$s)
                                ELSE %1$s
                            END AS %2$I
                            $sql$,
                            c.value,
                            c.attname
                        )
                    WHEN is_small AND c.base >= 16384
                        THEN format(
                            'CASE WHEN num_nulls(%1$s) = 0 THEN format(''%%s'', %1$s)::%2$s END AS %3$I',
                            c.value,
                            c.read_as,
                            c.attname
                        )
                    WHEN is_small AND c.base NOT IN (114, 199)
                        THEN format('%s AS %I', c.value, c.attname)
                    WHEN c.base = 3802  -- jsonb
                        THEN format(
                            $sql$
                            CASE
                                WHEN %1$s = 'null' THEN '{"audit_logger": "json null"}'
                                WHEN pg_column_size(%1$s) > %2$s AND pg_column_size(to_jsonb(%1$s)) > %3$s
                                    THEN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(%1$s))
                                WHEN %1$s -> 'audit_logger' IS NOT NULL
                                    THEN jsonb_build_object('audit_logger', 'value', 'value', %1$s)
                                ELSE %1$s
                            END AS %4$I
                            $sql$,
                            c.value,
                            c.max_size / 7000,
                            c.max_size,
                            c.attname
                        )
                    WHEN c.base IN (17, 25, 1042, 1043)  -- bytea, whose text is twice as long, text, char, varchar
                        THEN format(
                            $sql$
                            CASE
                                WHEN octet_length(%1$s) > %2$s
                                    THEN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(%1$s))
                                ELSE to_jsonb(%1$s)
                            END AS %3$I
                            $sql$,
                            c.value,
                            CASE WHEN c.base = 17 THEN c.max_size / 2 - 1 ELSE c.max_size END,
                            c.attname
                        )
                    WHEN c.attlen = -1 OR c.base >= 16384
                        THEN format(
                            $sql$
                            CASE
                                WHEN num_nulls(%1$s) > 0 THEN NULL
                                WHEN pg_column_size(%1$s) > %2$s
                                    THEN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(%1$s))
                                WHEN pg_column_size(%1$s) > %3$s
                                    THEN %4$I.audit_logger_safe_value(
                                        format('%%s', %1$s), %5$L::text, pg_column_size(%1$s)::bigint, %2$s::bigint
                                    )
                                ELSE to_jsonb(%6$s)
                            END AS %7$I
                            $sql$,
                            c.value,
                            c.max_size,
                            CASE WHEN c.base IN (114, 199) THEN -1 ELSE c.max_size / 7000 END,  -- json, json[]
                            @schema_name@,
                            c.read_as,
                            CASE WHEN c.base >= 16384 THEN format('format(''%%s'', %s)::%s', c.value, c.read_as) ELSE c.value END,
                            c.attname
                        )
                    ELSE format('%s AS %I', c.value, c.attname)
                END,
                ', '
                ORDER BY c.attnum
            )
        FROM (
            SELECT
                a.attnum,
                a.attname,
                a.attlen,
                a.attgenerated,
                t.oid AS base,
                least(67108864, 209715200 / greatest(1, count(*) FILTER (WHERE a.attlen = -1) OVER ())) AS max_size,
                CASE
                    WHEN t.oid < 16384 AND t.oid <> a.atttypid THEN format('(%I::%s)', a.attname, format_type(t.oid, -1))
                    ELSE quote_ident(a.attname)
                END AS value,
                CASE
                    WHEN t.oid < 16384 THEN format_type(t.oid, -1)
                    -- the elements of an array are texts, unless another character than the comma stands between them
                    WHEN t.typcategory = 'A' AND e.typdelim = ',' THEN 'text[]'
                    ELSE 'text'
                END AS read_as
            FROM pg_attribute AS a
            JOIN pg_type AS named
                ON named.oid = a.atttypid
            JOIN pg_type AS t
                ON t.oid = CASE
                    WHEN named.typtype = 'd' THEN (
                        WITH RECURSIVE base AS (
                            SELECT named.typbasetype AS type
                            UNION ALL
                            SELECT d.typbasetype
                            FROM base AS b
                            JOIN pg_type AS d
                                ON d.oid = b.type
                                AND d.typtype = 'd'
                        )
                        SELECT b.type
                        FROM base AS b
                        JOIN pg_type AS d
                            ON d.oid = b.type
                            AND d.typtype <> 'd'
                    )
                    ELSE a.atttypid
                END
            LEFT JOIN pg_type AS e
                ON e.oid = t.typelem
            WHERE a.attrelid = relation
                AND a.attnum > 0
                AND NOT a.attisdropped
                AND NOT coalesce(options -> 'exclude' ? a.attname, false)
                AND coalesce(options -> 'only' ? a.attname, true)
        ) AS c
        LEFT JOIN pg_attrdef AS d
            ON d.adrelid = relation
            AND d.adnum = c.attnum
    );
END;
$function$;
