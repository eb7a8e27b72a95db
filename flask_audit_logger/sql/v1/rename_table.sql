-- rename_table: gives the entries of a table its new name, so that the history of its records goes on.
-- version: 1
UPDATE @schema@.activity
SET
    schema = @new_schema@,
    table_name = @new_table@
WHERE schema = @old_schema@
    AND table_name = @old_table@;
