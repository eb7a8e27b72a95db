-- audit_logger_current_transaction: the row of "transaction" that the changes of this moment belong to.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_current_transaction()
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    given text := coalesce(current_setting('flask_audit_logger.context', true), '');
    remembered text := coalesce(current_setting('flask_audit_logger.transaction', true), '');
    xact_id bigint := pg_current_xact_id()::text::bigint;
    actor @schema@.transaction;
    current_id bigint;
BEGIN
    -- Remembered is "<id> <context it was made from>". Both settings are local to the database transaction and roll
    -- back with a savepoint together with the row, so they can't disagree by accident; a forged or stale id is caught
    -- by the look at the row: it must be of this database transaction (a transaction id alone comes again after a
    -- restore into a new cluster, its time does not).
    IF remembered <> '' AND substr(remembered, strpos(remembered, ' ') + 1) = given THEN
        SELECT t.id
        INTO current_id
        FROM @schema@.transaction AS t
        WHERE t.id = CASE WHEN remembered ~ '^[0-9]{1,18} ' THEN split_part(remembered, ' ', 1)::bigint END
            AND t.native_transaction_id = xact_id
            AND t.issued_at >= transaction_timestamp();
        IF FOUND THEN
            RETURN current_id;
        END IF;
    END IF;

    BEGIN
        actor := jsonb_populate_record(NULL::@schema@.transaction, nullif(given, '')::jsonb);
    EXCEPTION WHEN OTHERS THEN
        -- An unreadable context must not break the write, nor be guessed at: nobody is named, the text is kept.
        actor := NULL;
        actor.context := jsonb_build_object('unreadable', left(given, 2000));
    END;

    INSERT INTO @schema@.transaction (
        native_transaction_id, issued_at, actor_id, actor_label, client_addr, db_user, application_name, context
    )
    VALUES (
        xact_id,
        clock_timestamp(),
        actor.actor_id,
        actor.actor_label,
        actor.client_addr,
        session_user,
        current_setting('application_name'),
        coalesce(actor.context, '{}')
    )
    RETURNING id INTO current_id;

    PERFORM set_config('flask_audit_logger.transaction', current_id || ' ' || given, true);
    RETURN current_id;
END;
$function$;
