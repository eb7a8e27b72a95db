-- audit_logger_rotate: begins the partition of a month, as 2026_12, if neither it nor a later one has begun; gives it.
-- version: 1
-- An empty partition without an upper bound is always there, its lower bound far ahead of the ids that are drawn. It gets an
-- upper bound and the name of the month, a new spare one follows, and the ids go on in it. No write fails: if this never
-- runs, the entries stay where they are; if the ids get to the spare partition by themselves, they go into it.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_rotate(month text)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
-- Who wants to write waits as long as this waits.
SET lock_timeout = '400ms'
AS $function$
DECLARE
    step constant bigint := 1000000000;
    sequence regclass := to_regclass(format('%I.transaction_id_seq', @schema_name@));
    log text;
    part text;
    index record;
    bound bigint;
    next_bound bigint;
BEGIN
    IF month IS NULL OR month !~ '^[0-9]{4}_(0[1-9]|1[0-2])$' THEN
        RAISE EXCEPTION '(audit_logger) % is no month; give one like 2026_12', quote_nullable(month)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Two hosts may run this at the same time.
    PERFORM pg_advisory_xact_lock(hashtext('flask_audit_logger'), sequence::oid::integer);
    IF to_regclass(format('%I.transaction_spare', @schema_name@)) IS NULL
        -- An earlier month of a host whose clock is late would look as if it were over while entries are written to it.
        OR EXISTS (
            SELECT
            FROM pg_inherits AS i
            JOIN pg_class AS c
                ON c.oid = i.inhrelid
            WHERE i.inhparent = format('%I.transaction', @schema_name@)::regclass
                AND c.relname ~ '^transaction_[0-9]{4}_[0-9]{2}$'
                AND c.relname >= 'transaction_' || month
        )
    THEN
        RETURN NULL;
    END IF;
    LOCK TABLE @schema@.transaction, @schema@.activity IN ACCESS EXCLUSIVE MODE;
    SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \('?([0-9]+)'?\)$$)::bigint
    INTO bound
    FROM pg_class AS c
    WHERE c.oid = format('%I.transaction_spare', @schema_name@)::regclass;
    next_bound := (greatest(coalesce(pg_sequence_last_value(sequence), 0), bound) / step + 1) * step;
    FOREACH log IN ARRAY ARRAY['transaction', 'activity'] LOOP
        part := concat(log, '_', month);
        EXECUTE format('ALTER TABLE %1$I.%2$I DETACH PARTITION %1$I.%3$I', @schema_name@, log, log || '_spare');
        EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', @schema_name@, log || '_spare', part);
        FOR index IN
            SELECT x.relname
            FROM pg_index AS i
            JOIN pg_class AS x
                ON x.oid = i.indexrelid
            WHERE i.indrelid = format('%I.%I', @schema_name@, part)::regclass
                AND to_regclass(format('%I.%I', @schema_name@, replace(x.relname, log || '_spare', part))) IS NULL
        LOOP
            EXECUTE format(
                'ALTER INDEX %I.%I RENAME TO %I',
                @schema_name@, index.relname, replace(index.relname, log || '_spare', part)
            );
        END LOOP;
        EXECUTE format(
            'ALTER TABLE %1$I.%2$I ATTACH PARTITION %1$I.%3$I FOR VALUES FROM (%4$s) TO (%5$s)',
            @schema_name@, log, part, bound, next_bound
        );
        EXECUTE format(
            'CREATE TABLE %1$I.%2$I PARTITION OF %1$I.%3$I FOR VALUES FROM (%4$s) TO (MAXVALUE)',
            @schema_name@, log || '_spare', log, next_bound
        );
        EXECUTE format(
            'ALTER TABLE %I.%I OWNER TO %I',
            @schema_name@, log || '_spare',
            (SELECT pg_get_userbyid(c.relowner) FROM pg_class AS c WHERE c.oid = format('%I.%I', @schema_name@, log)::regclass)
        );
    END LOOP;
    PERFORM @schema@.audit_logger_protect();
    -- Last, as it is not undone with the rest.
    IF coalesce(pg_sequence_last_value(sequence), 0) < bound THEN
        PERFORM setval(sequence, bound, false);
    END IF;
    RETURN month;
END;
$function$;
