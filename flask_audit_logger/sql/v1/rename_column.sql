-- rename_column: gives a column its new name in the entries of a table.
-- version: 1
UPDATE @schema@.activity
SET
    old_data = CASE
        WHEN old_data ? @old_column@
            THEN old_data - @old_column@ || pg_catalog.jsonb_build_object(@new_column@, old_data -> @old_column@)
        ELSE old_data
    END,
    changed_data = CASE
        WHEN changed_data ? @old_column@
            THEN changed_data - @old_column@ || pg_catalog.jsonb_build_object(@new_column@, changed_data -> @old_column@)
        ELSE changed_data
    END
WHERE schema = @table_schema@
    AND table_name = @table@
    AND (old_data ? @old_column@ OR changed_data ? @old_column@);
