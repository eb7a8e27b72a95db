-- audit_logger_referential: a query that tells whether a referential action made the change: no old row has its parent left.
-- version: 1
-- The action of a foreign key runs after the parent is gone; whoever changes a row themselves still has the parent of it.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_referential(relation oid)
RETURNS text
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT 'SELECT ' || coalesce(
        string_agg(
            format(
                'NOT EXISTS (SELECT FROM old_table AS o WHERE num_nulls(%s) > 0 OR EXISTS (SELECT FROM %s AS p WHERE %s))',
                k.columns,
                f.confrelid::regclass,
                k.conditions
            ),
            ' OR '
        ),
        'false'
    )
    FROM pg_constraint AS f
    CROSS JOIN LATERAL (
        SELECT
            string_agg(format('o.%I', a.attname), ', ') AS columns,
            -- as texts: an operator of a user's type would run with our rights
            string_agg(format('format(''%%s'', o.%I) = format(''%%s'', p.%I)', a.attname, b.attname), ' AND ') AS conditions
        FROM unnest(f.conkey, f.confkey) AS u (own, referenced)
        JOIN pg_attribute AS a
            ON a.attrelid = f.conrelid
            AND a.attnum = u.own
        JOIN pg_attribute AS b
            ON b.attrelid = f.confrelid
            AND b.attnum = u.referenced
    ) AS k
    WHERE f.conrelid = relation
        AND f.contype = 'f'
        AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))
        AND has_schema_privilege((SELECT c.relnamespace FROM pg_class AS c WHERE c.oid = f.confrelid), 'USAGE')
        AND has_table_privilege(f.confrelid, 'SELECT');
$function$;
