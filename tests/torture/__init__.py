"""Random transactions from many threads against a model of what must be in the log."""
