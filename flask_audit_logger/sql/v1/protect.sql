-- audit_logger_protect: lets only the owner change the tables of the log and their partitions; gives those that were open.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_protect()
RETURNS SETOF regclass
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    log record;
    given record;
BEGIN
    FOR log IN
        SELECT c.oid::regclass AS name, pg_get_userbyid(c.relowner) AS owner
        FROM pg_class AS named
        JOIN pg_namespace AS n
            ON n.oid = named.relnamespace
        JOIN pg_class AS c
            ON c.oid = named.oid
            OR c.oid IN (SELECT p.relid FROM pg_partition_tree(named.oid) AS p)
        WHERE n.nspname = @schema_name@
            AND named.relname IN ('activity', 'transaction')
            AND named.relkind IN ('r', 'p')
            AND NOT EXISTS (
                SELECT
                FROM pg_trigger AS t
                JOIN pg_proc AS p
                    ON p.oid = t.tgfoid
                WHERE t.tgrelid = c.oid
                    AND t.tgname = 'audit_logger_append_only'
                    AND t.tgenabled = 'A'
                    -- BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE, FOR EACH STATEMENT
                    AND t.tgtype = 62
                    AND t.tgqual IS NULL
                    AND t.tgargs = convert_to(pg_get_userbyid(c.relowner), getdatabaseencoding()) || '\x00'
                    AND p.proname = 'audit_logger_append_only'
                    AND p.pronamespace = n.oid
            )
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER audit_logger_append_only'
            ' BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION %I.audit_logger_append_only(%L)',
            log.name, @schema_name@, log.owner
        );
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_logger_append_only', log.name);
        -- What default privileges gave. Reading is left to whoever got it: nobody forges anything by it.
        FOR given IN
            SELECT
                CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
                c.oid::regclass AS name,
                a.privilege_type,
                coalesce(quote_ident(r.rolname), 'PUBLIC') AS grantee
            FROM pg_class AS c
            CROSS JOIN LATERAL aclexplode(c.relacl) AS a
            LEFT JOIN pg_roles AS r
                ON r.oid = a.grantee
            WHERE a.grantee <> c.relowner
                AND a.privilege_type <> 'SELECT'
                AND (
                    c.oid = log.name
                    OR c.relkind = 'S' AND EXISTS (
                        SELECT
                        FROM pg_depend AS d
                        WHERE d.objid = c.oid
                            AND d.refobjid = log.name
                            AND d.deptype IN ('a', 'i')
                    )
                )
        LOOP
            EXECUTE format(
                'REVOKE %s ON %s %s FROM %s CASCADE', given.privilege_type, given.kind, given.name, given.grantee
            );
        END LOOP;
        RETURN NEXT log.name;
    END LOOP;
END;
$function$;
