-- audit_logger_missing: what the current transaction lacks of what a table requires: "actor and reason", or null.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_missing(required jsonb)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    transaction_id bigint := @schema@.audit_logger_current_transaction();
    place tid := split_part(current_setting('flask_audit_logger.transaction'), ' ', 1)::tid;
BEGIN
    -- by its place, as in audit_logger_current_transaction
    RETURN (
        SELECT string_agg(r.name, ' and ' ORDER BY r.name)
        FROM @schema@.transaction AS t
        CROSS JOIN jsonb_array_elements_text(required) AS r (name)
        WHERE t.ctid = place
            AND t.id = transaction_id
            AND CASE r.name
                WHEN 'actor' THEN num_nonnulls(t.actor_id, t.actor_label) = 0
                ELSE coalesce(t.context ->> r.name, '') = ''
            END
    );
END;
$function$;
