-- audit_logger_truncate: captures that a table is emptied, while its rows can still be read.
-- version: 1
CREATE OR REPLACE TRIGGER audit_logger_truncate
BEFORE TRUNCATE ON @table@
FOR EACH STATEMENT
EXECUTE FUNCTION @schema@.audit_logger_truncate(@options@);
