"""The log in code: what happened to a record, how it was at a time, and what to do about it."""
