-- audit_logger_projection: the select list that reads one row of a table for the log.
-- version: 1
-- The arguments are those of audit_logger_value; "is_careful" says that values may be large.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_projection(
    shape jsonb, options jsonb, row_alias text, other_alias text, is_careful boolean
)
RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT
        string_agg(
            format(
                '%s AS %I',
                CASE
                    WHEN c.is_masked THEN $sql$'{"audit_logger": "masked"}'::jsonb$sql$
                    ELSE @schema@.audit_logger_value(
                        c.described,
                        row_alias,
                        other_alias,
                        CASE WHEN is_careful THEN c.max_size END
                    )
                END,
                c.name
            ),
            ', '
        )
    FROM (
        SELECT
            s.*,
            least(
                67108864::bigint,
                209715200 / greatest(1, count(*) FILTER (WHERE NOT (s.described ->> 'bounded')::boolean) OVER ())
            ) AS max_size
        FROM @schema@.audit_logger_stored_columns(shape, options) AS s
    ) AS c;
$function$;
