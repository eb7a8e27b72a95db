"""Small wrong changes of the package, each of which a test named for it must notice: ``make mutants``."""
