-- audit_logger_columns_of: the values of one row for the columns of another.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_columns_of(wanted jsonb, record jsonb)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}')
    FROM jsonb_each(record) AS e
    WHERE wanted ? e.key;
$function$;
