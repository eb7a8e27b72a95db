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
                SELECT coalesce(jsonb_agg(d.description ORDER BY d.name COLLATE "C"), '[]')
                FROM (
                    SELECT
                        n.name,
                        jsonb_build_object(
                            'name', n.name,
                            'type', format_type(n.type, a.atttypmod),
                            'class', CASE
                                WHEN a.attgenerated = 'v' THEN 'virtual'
                                WHEN b.base = 3802 THEN 'jsonb'
                                WHEN b.base = 114 THEN 'json'
                                WHEN b.base IN (700, 701) THEN 'float'
                                WHEN b.is_array AND (b.base >= 16384 OR b.base = 199) THEN 'user_array'
                                WHEN b.base >= 16384 THEN 'user'
                                WHEN b.is_array THEN 'array'
                                ELSE 'plain'
                            END,
                            'read', CASE
                                WHEN b.base < 16384 AND b.base <> 199 THEN format_type(b.base, -1)
                                WHEN b.is_array THEN 'text[]'
                                ELSE 'text'
                            END,
                            'cast', b.base < 16384 AND b.base <> n.type,
                            -- Equal is the same image; of all other types 1.0 and 1.00, 0 and -0 may be equal.
                            'comparable', b.base IN (16, 17, 20, 21, 23, 26, 1082, 1083, 1114, 1184, 2950)
                                OR b.base IN (25, 1043) AND coalesce(l.collisdeterministic, false),
                            'bounded', b.length > 0
                                OR b.base IN (650, 869, 1700)
                                OR b.base IN (1042, 1043) AND a.atttypmod BETWEEN 0 AND 2500,
                            'sources', (
                                SELECT coalesce(jsonb_agg(DISTINCT source.attname), '[]')
                                FROM pg_depend AS d
                                JOIN pg_attribute AS source
                                    ON source.attrelid = relation
                                    AND source.attnum = d.refobjsubid
                                WHERE a.attgenerated <> ''
                                    AND d.refclassid = 'pg_class'::regclass
                                    AND d.refobjid = relation
                                    AND d.refobjsubid NOT IN (0, a.attnum)
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
                            )
                        ) AS description
                    FROM unnest(names, types) AS n (name, type)
                    LEFT JOIN pg_attribute AS a
                        ON a.attrelid = relation
                        AND a.attname = n.name
                        AND NOT a.attisdropped
                    LEFT JOIN pg_collation AS l
                        ON l.oid = a.attcollation
                    CROSS JOIN LATERAL (
                        WITH RECURSIVE under (type) AS (
                            SELECT n.type
                            UNION ALL
                            SELECT t.typbasetype
                            FROM under AS u
                            JOIN pg_type AS t
                                ON t.oid = u.type
                                AND t.typtype = 'd'
                        )
                        SELECT
                            coalesce(max(t.oid::bigint), n.type::bigint)::oid AS base,
                            coalesce(max(t.typlen), -1) AS length,
                            coalesce(bool_or(t.typcategory = 'A' AND (t.oid < 16384 OR e.typdelim = ',')), false) AS is_array
                        FROM under AS u
                        JOIN pg_type AS t
                            ON t.oid = u.type
                            AND t.typtype <> 'd'
                        LEFT JOIN pg_type AS e
                            ON e.oid = t.typelem
                    ) AS b
                ) AS d
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
