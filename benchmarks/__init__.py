"""What auditing costs, as a ratio to the same work without it: ``make bench``."""
