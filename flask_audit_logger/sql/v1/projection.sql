-- audit_logger_projection: the select list that reads one row of a table for the log.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_projection(relation oid, options jsonb)
RETURNS text
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    -- Excluded columns are not even read. A virtual column has no value in a transition table, so its expression stands
    -- for it. What to_jsonb might fail on, or might make look like NULL or like a mark of ours, goes through
    -- audit_logger_safe_value; so does what is large: the columns share the 256 MB at which jsonb ends.
    -- Types of users are read as text while there is a cast to json that neither a superuser nor the owner of the log made:
    -- to_jsonb would call its function, with the rights of the owner of the log.
    SELECT
        string_agg(
            CASE
                WHEN a.attgenerated = 'v'
                    THEN format('(%s) AS %I', pg_get_expr(d.adbin, d.adrelid), a.attname)
                WHEN a.atttypid IN (114, 199) OR a.atttypid >= 16384  -- json, json[], types of users
                    THEN format(
                        '%1$I.audit_logger_safe_value(%2$I, %3$s, %4$L) AS %2$I',
                        @schema_name@,
                        a.attname,
                        a.max_size,
                        a.atttypid >= 16384 AND casts.are_strange
                    )
                WHEN a.attlen = -1
                    THEN format(
                        $sql$
                        CASE
                            WHEN pg_column_size(%2$I) > %4$s %5$s THEN %1$I.audit_logger_safe_value(%2$I, %3$s, false)
                            ELSE to_jsonb(%2$I)
                        END AS %2$I
                        $sql$,
                        @schema_name@,
                        a.attname,
                        a.max_size,
                        a.max_size / 7000,
                        CASE  -- jsonb
                            WHEN a.atttypid = 3802
                                THEN format('OR %1$I = ''null'' OR %1$I -> ''audit_logger'' IS NOT NULL', a.attname)
                        END
                    )
                ELSE quote_ident(a.attname)
            END,
            ', '
            ORDER BY a.attnum
        )
    FROM (
        SELECT
            a.*,
            least(67108864, 209715200 / greatest(1, count(*) FILTER (WHERE a.attlen = -1) OVER ())) AS max_size
        FROM pg_attribute AS a
        WHERE a.attrelid = relation
            AND a.attnum > 0
            AND NOT a.attisdropped
            AND NOT coalesce(options -> 'exclude' ? a.attname, false)
            AND coalesce(options -> 'only' ? a.attname, true)
    ) AS a
    CROSS JOIN (
        SELECT
            EXISTS (
                SELECT
                FROM pg_cast AS c
                JOIN pg_proc AS p
                    ON p.oid = c.castfunc
                JOIN pg_roles AS r
                    ON r.oid = p.proowner
                WHERE c.castsource >= 16384
                    AND c.casttarget IN (114, 3802)
                    AND NOT r.rolsuper
                    AND r.rolname <> current_user
            ) AS are_strange
    ) AS casts
    LEFT JOIN pg_attrdef AS d
        ON d.adrelid = a.attrelid
        AND d.adnum = a.attnum;
$function$;
