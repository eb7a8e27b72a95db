-- unpartition_finish: moves the entries of a partitioned log into its plain tables, and drops the partitioned ones.
-- version: 1
DO $unpartition$
DECLARE
    log text;
    former text;
    columns text;
    reader record;
BEGIN
    FOREACH log IN ARRAY ARRAY['transaction', 'activity'] LOOP
        former := pg_catalog.format('%I.%I', @schema_name@, 'partitioned_' || log);
        IF pg_catalog.to_regclass(former) IS NULL THEN
            CONTINUE;
        END IF;
        SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
        INTO columns
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = pg_catalog.to_regclass(former) AND a.attnum > 0 AND NOT a.attisdropped;
        EXECUTE pg_catalog.format(
            'INSERT INTO %I.%I (%s) SELECT %s FROM %s', @schema_name@, log, columns, columns, former
        );
        -- The beginning of a month leaves it with what comes next, which nobody has drawn.
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.setval(%L, last_value, is_called) FROM %I.%I',
            pg_catalog.format('%I.%I', @schema_name@, log || '_id_seq'),
            @schema_name@, 'partitioned_' || log || '_id_seq'
        );
        FOR reader IN
            SELECT pg_catalog.pg_get_userbyid(c.relowner) AS owner, a.grantee <> c.relowner AS is_other,
                coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC') AS name
            FROM pg_catalog.pg_class AS c
            LEFT JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
                ON a.privilege_type = 'SELECT'
            LEFT JOIN pg_catalog.pg_roles AS r
                ON r.oid = a.grantee
            WHERE c.oid = pg_catalog.to_regclass(former)
        LOOP
            EXECUTE pg_catalog.format('ALTER TABLE %I.%I OWNER TO %I', @schema_name@, log, reader.owner);
            IF reader.is_other THEN
                EXECUTE pg_catalog.format('GRANT SELECT ON %I.%I TO %s', @schema_name@, log, reader.name);
            END IF;
        END LOOP;
        EXECUTE pg_catalog.format('DROP TABLE %s', former);
    END LOOP;
END;
$unpartition$;
