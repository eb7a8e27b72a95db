-- lock_tables: takes the locks of a migration so that no write of an application waits for long.
-- version: 1
DO $lock$
DECLARE
    tables text[] := ARRAY[@tables@]::text[];
    previous_timeout text := pg_catalog.current_setting('lock_timeout');
    previous_path text := pg_catalog.current_setting('search_path');
    gives_up_at timestamptz := pg_catalog.clock_timestamp() + interval '5 minutes';
    attempt_ends_at timestamptz;
    relation regclass;
BEGIN
    -- A function or operator of another schema on the path may match better, and would run with our rights.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    LOOP
        BEGIN
            -- Whoever wants to write comes after us in the queue of a lock for which we wait. So the whole attempt, and not
            -- each lock, ends soon; the end of this block gives back what it got, and everybody else goes on.
            attempt_ends_at := clock_timestamp() + interval '300 ms';
            FOR relation IN
                SELECT c.oid
                FROM unnest(tables) WITH ORDINALITY AS named (name, position)
                JOIN pg_catalog.pg_class AS c
                    ON c.oid = to_regclass(named.name)
                    OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(to_regclass(named.name)) AS p)
                WHERE c.relkind IN ('r', 'p')
                    -- whoever may only make triggers can't lock
                    AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
                ORDER BY named.position, c.oid
            LOOP
                PERFORM set_config(
                    'lock_timeout',
                    greatest(1, floor(extract(epoch FROM attempt_ends_at - clock_timestamp()) * 1000))::text,
                    true
                );
                EXECUTE format('LOCK TABLE ONLY %s IN @mode@ MODE', relation);
            END LOOP;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF clock_timestamp() > gives_up_at THEN
                RAISE EXCEPTION '(audit_logger) for 5 minutes there was no moment to lock %', relation
                    USING
                        ERRCODE = 'lock_not_available',
                        HINT = 'A transaction that is open for long has used the table; pg_stat_activity shows it. '
                            'Migrate again when it has ended.';
            END IF;
        END;
        PERFORM pg_sleep(0.3);
    END LOOP;
    PERFORM set_config('lock_timeout', previous_timeout, true);
    PERFORM set_config('search_path', previous_path, true);
END;
$lock$;
