"""What an operator does with a log: look whether it works, and record what was there before it."""
