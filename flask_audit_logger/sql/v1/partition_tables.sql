-- partition_tables: partitions the tables of a log by transaction, unless they are; all entries stay in the first partition.
-- version: 1
DO $partition$
DECLARE
    step constant bigint := 1000000000;
    month text := pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY_MM');
    previous_path text := pg_catalog.current_setting('search_path');
    log record;
    former text;
    spare text;
    sequence text;
    drawn bigint;
    is_drawn boolean;
    bound bigint;
    indexes text[];
    definitions text[];
    reader text;
BEGIN
    -- Where the functions of a log are, its tables were made before, perhaps with entries: a migration partitions those.
    IF @is_new@ AND pg_catalog.to_regprocedure(
        pg_catalog.format('%I.audit_logger_current_transaction()', @schema_name@)
    ) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    FOR log IN
        SELECT
            c.oid,
            c.relname,
            format('%I.%I', n.nspname, c.relname) AS quoted,
            pg_get_userbyid(c.relowner) AS owner,
            c.relacl,
            c.relrowsecurity,
            CASE c.relname WHEN 'transaction' THEN 'id' ELSE 'transaction_id' END AS bounded
        FROM pg_class AS c
        JOIN pg_namespace AS n
            ON n.oid = c.relnamespace
        WHERE n.nspname = @schema_name@
            AND c.relname IN ('transaction', 'activity')
            AND c.relkind = 'r'
        ORDER BY c.relname DESC
    LOOP
        IF log.relrowsecurity THEN
            RAISE EXCEPTION '(audit_logger) % has row security, which would not hold for the partitioned table', log.quoted
                USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'Revoke reading, drop the policies, partition the log, then put both on again.';
        END IF;
        former := concat(log.relname, '_', month);
        spare := format('%I.%I', @schema_name@, log.relname || '_spare');
        sequence := format('%I.%I', @schema_name@, log.relname || '_id_seq');
        -- A conversion leaves it with what comes next, which nobody has drawn.
        EXECUTE format('SELECT last_value, is_called FROM %s', sequence) INTO drawn, is_drawn;
        IF log.relname = 'transaction' THEN
            bound := (drawn / step + 1) * step;
        END IF;
        SELECT
            array_agg(x.relname::text),
            array_agg(
                CASE
                    WHEN k.oid IS NULL THEN pg_get_indexdef(x.oid)
                    ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', log.quoted, k.conname, pg_get_constraintdef(k.oid))
                END
            )
        INTO indexes, definitions
        FROM pg_index AS i
        JOIN pg_class AS x
            ON x.oid = i.indexrelid
        LEFT JOIN pg_constraint AS k
            ON k.conindid = x.oid
            AND k.contype = 'p'
        WHERE i.indrelid = log.oid;

        -- Before version 17 PostgreSQL has no identity of partitioned tables, so ids come from a sequence by default.
        EXECUTE format('ALTER TABLE %s ALTER id DROP IDENTITY, ALTER id DROP DEFAULT', log.quoted);
        EXECUTE format('ALTER TABLE %s RENAME TO %I', log.quoted, former);
        FOR position IN 1 .. cardinality(indexes) LOOP
            EXECUTE format(
                'ALTER INDEX %I.%I RENAME TO %I',
                @schema_name@, indexes[position],
                CASE
                    WHEN strpos(indexes[position], log.relname) > 0 THEN replace(indexes[position], log.relname, former)
                    ELSE concat_ws('_', former, indexes[position])
                END
            );
        END LOOP;
        EXECUTE format(
            'CREATE TABLE %s (LIKE %I.%I INCLUDING DEFAULTS) PARTITION BY RANGE (%I)',
            log.quoted, @schema_name@, former, log.bounded
        );
        EXECUTE format('ALTER TABLE %s OWNER TO %I', log.quoted, log.owner);
        EXECUTE format('CREATE SEQUENCE %s', sequence);
        EXECUTE format('ALTER SEQUENCE %s OWNER TO %I', sequence, log.owner);
        EXECUTE format('ALTER SEQUENCE %s OWNED BY %s.id', sequence, log.quoted);
        EXECUTE format('ALTER TABLE %s ALTER id SET DEFAULT nextval(%L)', log.quoted, sequence);
        PERFORM setval(sequence::regclass, drawn, is_drawn);
        FOR position IN 1 .. cardinality(definitions) LOOP
            EXECUTE definitions[position];
        END LOOP;
        EXECUTE format(
            'ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES FROM (MINVALUE) TO (%s)',
            log.quoted, @schema_name@, former, bound
        );
        EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%s) TO (MAXVALUE)', spare, log.quoted, bound);
        EXECUTE format('ALTER TABLE %s OWNER TO %I', spare, log.owner);
        -- Who may read the log reads it by its name, which is that of another table now.
        FOR reader IN
            SELECT coalesce(quote_ident(r.rolname), 'PUBLIC')
            FROM aclexplode(log.relacl) AS a
            LEFT JOIN pg_roles AS r
                ON r.oid = a.grantee
            WHERE a.privilege_type = 'SELECT'
                AND a.grantee <> (SELECT c.relowner FROM pg_class AS c WHERE c.oid = log.oid)
        LOOP
            EXECUTE format('GRANT SELECT ON %s TO %s', log.quoted, reader);
        END LOOP;
    END LOOP;
    PERFORM set_config('search_path', previous_path, true);
END;
$partition$;
