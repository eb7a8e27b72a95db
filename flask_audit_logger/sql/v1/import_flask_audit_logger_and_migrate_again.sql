-- audit_logger_import_flask_audit_logger_and_migrate_again: keeps the tables of the log while triggers write to them.
-- version: 1
-- It depends on both tables, so PostgreSQL drops neither before it, and says its name instead. Alembic drops the tables
-- alone if the package is not imported; without them every write of the application would fail.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_import_flask_audit_logger_and_migrate_again(
    OUT transaction @schema@.transaction,
    OUT activity @schema@.activity
)
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT NULL::@schema@.transaction, NULL::@schema@.activity;
$function$;
