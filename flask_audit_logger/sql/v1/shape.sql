-- audit_logger_shape: what the capture statements of a table depend on, as JSON of names, without OIDs.
-- version: 1
-- Columns have a class, which says how a value of theirs becomes JSON:
--   plain: to_jsonb keeps it exactly     float, array, jsonb, json: one of ours with values that need a mark
--   user, user_array: a type that somebody made, logged as text or texts     virtual: has no value of its own
CREATE OR REPLACE FUNCTION @schema@.audit_logger_shape(relation oid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    names text[];
    types oid[];
    bases oid[];
    sources jsonb := '{}';
BEGIN
    SELECT array_agg(a.attname ORDER BY a.attname), array_agg(a.atttypid ORDER BY a.attname)
    INTO names, types
    FROM pg_attribute AS a
    WHERE a.attrelid = relation
        AND a.attnum > 0
        AND NOT a.attisdropped;
    -- In a transaction that keeps its snapshot, pg_attribute is as old as that. A row is always of the present type.
    IF (SELECT has_schema_privilege(c.relnamespace, 'USAGE') FROM pg_class AS c WHERE c.oid = relation) THEN
        EXECUTE format(
            'SELECT ARRAY(SELECT jsonb_object_keys(to_jsonb(r.*))) FROM (SELECT (NULL::%s).*) AS r', relation::regclass
        )
        INTO names;
        EXECUTE format(
            'SELECT ARRAY[%s]::oid[]',
            (
                SELECT string_agg(format('pg_typeof((NULL::%s).%I)', relation::regclass, n.name), ', ' ORDER BY n.position)
                FROM unnest(names) WITH ORDINALITY AS n (name, position)
            )
        )
        INTO types;
    END IF;
    -- This is asked once on each connection, so it looks at domains and generated columns only where there are some.
    bases := types;
    WHILE EXISTS (SELECT FROM pg_type AS t WHERE t.oid = ANY (bases) AND t.typtype = 'd') LOOP
        bases := ARRAY(
            SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE u.type END
            FROM unnest(bases) WITH ORDINALITY AS u (type, position)
            LEFT JOIN pg_type AS t
                ON t.oid = u.type
            ORDER BY u.position
        );
    END LOOP;
    IF EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attgenerated <> '') THEN
        SELECT coalesce(jsonb_object_agg(g.name, g.sources), '{}')
        INTO sources
        FROM (
            SELECT a.attname AS name, jsonb_agg(DISTINCT source.attname) AS sources
            FROM pg_attribute AS a
            JOIN pg_depend AS d
                ON d.refclassid = 'pg_class'::regclass
                AND d.refobjid = relation
                AND d.refobjsubid NOT IN (0, a.attnum)
            JOIN pg_attribute AS source
                ON source.attrelid = relation
                AND source.attnum = d.refobjsubid
            WHERE a.attrelid = relation
                AND a.attgenerated <> ''
                AND (
                    d.classid = 'pg_class'::regclass
                    AND d.objid = relation
                    AND d.objsubid = a.attnum
                    OR d.classid = 'pg_attrdef'::regclass
                    AND d.objid = (
                        SELECT e.oid
                        FROM pg_attrdef AS e
                        WHERE e.adrelid = relation
                            AND e.adnum = a.attnum
                    )
                )
            GROUP BY a.attname
        ) AS g;
    END IF;
    RETURN (
        SELECT jsonb_build_object(
            'schema', s.nspname,
            'table', top.relname,
            'relation', relation::regclass::text,
            'partitioned', c.relkind = 'p',
            'key', (
                SELECT coalesce(jsonb_agg(a.attname ORDER BY k.position), '[]')
                FROM pg_index AS i
                CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, position)
                JOIN pg_attribute AS a
                    ON a.attrelid = i.indrelid
                    AND a.attnum = k.attnum
                WHERE i.indrelid = relation
                    AND i.indisprimary
                    AND k.position <= i.indnkeyatts
            ),
            'columns', (
                SELECT coalesce(
                    jsonb_agg(
                        jsonb_build_object(
                            'name', n.name,
                            'type', format_type(n.type, a.atttypmod),
                            'class', CASE
                                WHEN a.attgenerated = 'v' THEN 'virtual'
                                WHEN n.base = 3802 THEN 'jsonb'
                                WHEN n.base = 114 THEN 'json'
                                WHEN n.base IN (700, 701) THEN 'float'
                                WHEN b.is_array AND (n.base >= 16384 OR n.base = 199) THEN 'user_array'
                                WHEN n.base >= 16384 THEN 'user'
                                WHEN b.is_array THEN 'array'
                                ELSE 'plain'
                            END,
                            'read', CASE
                                WHEN n.base < 16384 AND n.base <> 199 THEN format_type(n.base, -1)
                                WHEN b.is_array THEN 'text[]'
                                ELSE 'text'
                            END,
                            'cast', n.base < 16384 AND n.base <> n.type,
                            -- Equal is the same image; of all other types 1.0 and 1.00, 0 and -0 may be equal.
                            'comparable', n.base IN (16, 17, 20, 21, 23, 26, 1082, 1083, 1114, 1184, 2950)
                                OR n.base IN (25, 1043) AND coalesce(l.collisdeterministic, false),
                            'bounded', coalesce(t.typlen > 0, false)
                                OR n.base IN (650, 869, 1700)
                                OR n.base IN (1042, 1043) AND a.atttypmod BETWEEN 0 AND 2500,
                            'sources', coalesce(sources -> n.name, '[]')
                        )
                        ORDER BY n.name COLLATE "C"
                    ),
                    '[]'
                )
                FROM unnest(names, types, bases) AS n (name, type, base)
                LEFT JOIN pg_type AS t
                    ON t.oid = n.base
                LEFT JOIN pg_type AS e
                    ON e.oid = t.typelem
                CROSS JOIN LATERAL (
                    SELECT coalesce(t.typcategory = 'A' AND (n.base < 16384 OR e.typdelim = ','), false) AS is_array
                ) AS b
                LEFT JOIN pg_attribute AS a
                    ON a.attrelid = relation
                    AND a.attname = n.name
                    AND NOT a.attisdropped
                LEFT JOIN pg_collation AS l
                    ON l.oid = a.attcollation
            )
        )
        FROM pg_class AS c
        JOIN pg_class AS top
            ON top.oid = coalesce(pg_partition_root(relation), relation)
        JOIN pg_namespace AS s
            ON s.oid = top.relnamespace
        WHERE c.oid = relation
    );
END;
$function$;
