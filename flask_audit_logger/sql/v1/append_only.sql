-- audit_logger_append_only: the trigger function that lets only the owner of a table of the log change it.
-- version: 1
-- It runs as whoever writes: the functions of the log write as the owner. Nothing else is asked, so no setting opens it.
-- The argument is the owner at the time when the trigger was made, which saves the look at the catalog.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_append_only()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    -- No path is pinned, as that costs as much as the rest; so every name and operator is qualified. The usual case is a
    -- condition of its own: with a sub-select in it PL/pgSQL would run it as a query, which takes three times as long.
    IF current_user OPERATOR(pg_catalog.=) TG_ARGV[0] THEN
        RETURN NULL;
    END IF;
    IF pg_catalog.pg_has_role(
        (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) TG_RELID), 'USAGE'
    ) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '(audit_logger) % on % is refused: only its owner may change the log', TG_OP, TG_RELID::pg_catalog.regclass
        USING
            ERRCODE = 'insufficient_privilege',
            HINT = 'The functions of the log write to it, whoever changes an audited table. REVOKE the right that was granted.';
END;
$function$;
