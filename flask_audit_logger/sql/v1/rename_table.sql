-- rename_table: gives the entries of a table its new name, so that the history of its records goes on.
-- version: 1
DO $rename$
BEGIN
    -- Two histories under one name could never be told apart again.
    IF EXISTS (
        SELECT
        FROM @schema@.activity AS a
        WHERE a.schema = @new_schema@
            AND a.table_name = @new_table@
    ) THEN
        RAISE EXCEPTION '(audit_logger) the log has entries of a table %.% already', @new_schema@, @new_table@
            USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Give those of a former table another name before, by op.rename_audit_logger_table(). '
                    'If they are of the table that was renamed, write to it after this operation.';
    END IF;
    UPDATE @schema@.activity AS a
    SET
        schema = @new_schema@,
        table_name = @new_table@
    WHERE a.schema = @old_schema@
        AND a.table_name = @old_table@;
END;
$rename$;
