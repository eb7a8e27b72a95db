"""Check that everything is logged and who could tamper with it, and record rows from before auditing."""
