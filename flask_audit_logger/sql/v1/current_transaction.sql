-- audit_logger_current_transaction: the row of "transaction" that the changes of this moment belong to.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_current_transaction()
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    given text := coalesce(current_setting('flask_audit_logger.context', true), '');
    remembered text := coalesce(current_setting('flask_audit_logger.transaction', true), '');
    xact_id bigint := pg_current_xact_id()::text::bigint;
    position text;
    actor @schema@.transaction;
    plain jsonb;
    marks jsonb := '{}';
    made record;
BEGIN
    -- Remembered is "<ctid> <id> <table> <context it was made from>": another log in this database has another table.
    -- Both settings are local to the database transaction and roll back with a savepoint together with the row, so they
    -- can't disagree by accident; a forged or stale id is caught by the look at the row: it must be of this database
    -- transaction (a transaction id alone comes again after a restore into a new cluster, its time does not).
    -- The row is read by its place. Reading it through an index would lock the page of the index in SERIALIZABLE, which
    -- every other new transaction writes to: a conflict for each of them.
    IF remembered <> '' AND right(remembered, length(given)) = given THEN
        -- no backslash in it: they mean something else while standard_conforming_strings is off
        position := left(remembered, length(remembered) - length(given));
        IF position ~ '^[(][0-9]{1,9},[0-9]{1,4}[)] [0-9]{1,18} [0-9]{1,10} $' THEN
            SELECT t.id
            INTO made
            FROM @schema@.transaction AS t
            WHERE t.ctid = split_part(position, ' ', 1)::tid
                AND t.id = split_part(position, ' ', 2)::bigint
                AND t.tableoid::bigint = split_part(position, ' ', 3)::bigint
                AND t.native_transaction_id = xact_id
                AND t.issued_at >= transaction_timestamp();
            IF FOUND THEN
                RETURN made.id;
            END IF;
        END IF;
    END IF;

    BEGIN
        actor := jsonb_populate_record(NULL::@schema@.transaction, nullif(given, '')::jsonb);
    EXCEPTION WHEN OTHERS THEN
        -- An unreadable context must not break the write, nor be guessed at: what can be read is kept, nobody is named
        -- by a key that can't be one. Characters come escaped; what the encoding of the database lacks becomes "?".
        BEGIN
            BEGIN
                plain := given::jsonb;
            EXCEPTION WHEN OTHERS THEN
                plain := regexp_replace(given, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u(?!00[0-7])[0-9a-f]{4}', E'\\1?', 'g')::jsonb;
            END;
            BEGIN
                actor := jsonb_populate_record(NULL::@schema@.transaction, plain);
            EXCEPTION WHEN OTHERS THEN
                actor := jsonb_populate_record(NULL::@schema@.transaction, plain - '{actor_id,client_addr}'::text[]);
                actor.actor_label := coalesce(actor.actor_label, plain ->> 'actor_id');
                marks := jsonb_build_object('unreadable', plain - '{actor_label,context}'::text[]);
            END;
        EXCEPTION WHEN OTHERS THEN
            actor := NULL;
            marks := jsonb_build_object('unreadable', left(given, 2000));
        END;
    END;
    IF jsonb_typeof(actor.context) <> 'object' THEN
        marks := jsonb_build_object('unreadable', actor.context);
        actor.context := NULL;
    END IF;

    INSERT INTO @schema@.transaction (
        native_transaction_id, issued_at, actor_id, actor_label, client_addr, db_user, application_name, context, marks
    )
    VALUES (
        xact_id,
        clock_timestamp(),
        actor.actor_id,
        actor.actor_label,
        actor.client_addr,
        session_user,
        current_setting('application_name'),
        coalesce(actor.context, '{}'),
        marks
    )
    RETURNING id, ctid, tableoid INTO made;

    PERFORM set_config(
        'flask_audit_logger.transaction', concat_ws(' ', made.ctid, made.id, made.tableoid, given), true
    );
    RETURN made.id;
END;
$function$;
