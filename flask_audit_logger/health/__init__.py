"""Is everything logged, who could tamper with the log, and recording rows from before auditing."""
