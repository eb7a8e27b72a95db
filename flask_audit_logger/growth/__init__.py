"""How a log grows for years: what is read from it for good, its months, what is kept and what is let go."""
