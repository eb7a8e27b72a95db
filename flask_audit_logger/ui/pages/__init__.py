"""The pages: a file for each, with a template of the same name."""
